"""Files between stages: whole or not there at all, checked on both sides, the same bytes twice."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from gainrl.errors import DataError
from gainrl.records import (
    ORDER,
    PROMPTS,
    SAMPLES,
    SCORES,
    append_lines,
    atomic_write,
    check_table,
    finite,
    read_json,
    read_lines,
    read_metadata,
    read_table,
    truncate_lines,
    write_json,
    write_table,
    write_text,
)


def prompts(rows: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"d/train/{row}" for row in range(rows)],
            "question": [f"{row} + 1 = ?" for row in range(rows)],
            "answer": [str(row + 1) for row in range(rows)],
        }
    )


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


# --- atomic writes -------------------------------------------------------------------------------


def test_a_file_appears_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as file:
        file.write(b"whole")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert [item.name for item in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("before", [None, b"old"])
def test_an_exception_leaves_nothing_new_and_the_old_file_as_it_was(tmp_path, kind, before):
    path = tmp_path / "file.txt"
    if before is not None:
        path.write_bytes(before)

    def write() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise kind("stop")

    with pytest.raises(DataError if kind is OSError else kind):
        write()
    left = {item.name: item.read_bytes() for item in tmp_path.iterdir()}
    assert left == ({} if before is None else {"file.txt": before})


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(small_disk):
    path = small_disk / "file.bin"
    with pytest.raises(DataError) as caught, atomic_write(path) as file:
        file.write(b"x" * 1_000_000)
    assert str(caught.value) == f"{path}: cannot write: No space left on device"
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_keeps_the_old_table(small_disk):
    path = small_disk / "train.parquet"
    write_table(path, prompts(), PROMPTS)
    large = prompts(20_000)
    large["question"] = [os.urandom(8).hex() for _ in range(len(large))]
    with pytest.raises(DataError, match=r"train\.parquet: cannot write: No space left on device"):
        write_table(path, large, PROMPTS)
    assert [item.name for item in small_disk.iterdir()] == ["train.parquet"]
    assert len(read_table(path, PROMPTS)) == 3


def test_a_full_disk_while_appending_is_an_error_that_names_the_file(small_disk):
    path = small_disk / "steps.jsonl"
    append_lines(path, [{"step": 1}])
    with pytest.raises(DataError, match=r"steps\.jsonl: cannot append: No space left on device"):
        append_lines(path, [{"step": 2, "text": "x" * 1_000_000}])
    assert read_lines(path) == [{"step": 1}]  # what was written of the second line is torn


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_text(tmp_path / "file" / "below.txt", "text")


def test_the_umask_decides_who_may_read_a_file(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file.txt", "text")
    finally:
        assert os.umask(before) == 0o027  # as it was found
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == 0o640


# --- tables --------------------------------------------------------------------------------------


def with_cell(column: str, row: int, value: object) -> pd.DataFrame:
    frame = prompts().astype(object)
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (prompts().drop(columns="answer"), "the prompt table has no column 'answer'"),
        (prompts().assign(colour="red"), "unknown column 'colour' in the prompt table"),
        (with_cell("answer", 1, None), "row 1 has no 'answer'"),
        (with_cell("question", 2, math.nan), "row 2 has no 'question'"),
        (with_cell("id", 2, "d/train/0"), "row 2 repeats the id 'd/train/0'"),
        (with_cell("answer", 0, 7), "column 'answer' is not of kind str"),
        (prompts().assign(difficulty="hard"), "column 'difficulty' is not of kind float"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_table_that_does_not_fit_is_refused_by_file_column_and_row(tmp_path, frame, words):
    path = tmp_path / "train.parquet"
    with pytest.raises(DataError) as caught:
        write_table(path, frame, PROMPTS)
    assert str(caught.value) == f"{path}: {words}"
    assert list(tmp_path.iterdir()) == []


def test_reading_checks_as_well(tmp_path):
    path = tmp_path / "train.parquet"
    prompts().drop(columns="answer").to_parquet(path)
    with pytest.raises(DataError) as caught:
        read_table(path, PROMPTS)
    assert str(caught.value) == f"{path}: the prompt table has no column 'answer'"


def test_whole_numbers_are_not_read_from_fractions():
    frame = pd.DataFrame({"rank": [0.0, 1.0], "id": ["a", "b"], "value": [1.0, 2.0]})
    with pytest.raises(DataError, match="column 'rank' is not of kind int"):
        check_table(frame, ORDER, "angle.parquet")


def test_a_required_number_is_finite_and_an_optional_one_need_not_be():
    frame = pd.DataFrame({"id": ["a", "b"], "n_prefix": 1, "n_question": 2, "c_intra": 0.5})
    frame = frame.assign(c_inter=[0.25, -math.inf], c_released=math.inf)
    with pytest.raises(DataError, match=r"^scores: row 1: 'c_inter' is infinite$"):
        check_table(frame, SCORES, "scores")
    check_table(frame.assign(c_inter=0.25), SCORES, "scores")


def test_optional_cells_may_be_empty_and_samples_repeat_ids():
    check_table(prompts().assign(difficulty=[1.0, None, 3.0]), PROMPTS, "here")
    several = {"id": ["a", "a"], "sample": [0, 1], "response": ["", "x"], "correct": [0, 1]}
    check_table(pd.DataFrame({**several, "tokens": [1, 2]}), SAMPLES, "here")


def test_an_empty_table_keeps_its_columns(tmp_path):
    path = tmp_path / "warmup.parquet"
    write_table(path, prompts(0), PROMPTS)
    assert list(read_table(path, PROMPTS).columns) == ["id", "question", "answer"]


def test_a_table_and_its_metadata_come_back(tmp_path):
    path = tmp_path / "scores.parquet"
    frame = pd.DataFrame(
        {"id": ["a"], "n_prefix": [3], "n_question": [4], "c_intra": [0.5], "c_inter": [0.25]}
    )
    write_table(path, frame, SCORES, {"model": "abc", "nested": {"x": [1, 2]}})
    pd.testing.assert_frame_equal(read_table(path, SCORES), frame, check_dtype=False)
    assert read_metadata(path) == {"model": "abc", "nested": {"x": [1, 2]}}
    first = path.read_bytes()
    write_table(path, frame, SCORES, {"nested": {"x": [1, 2]}, "model": "abc"})
    assert path.read_bytes() == first


@pytest.mark.parametrize("content", [None, b"", b"PAR1 not really"])
def test_a_missing_or_damaged_table_is_named(tmp_path, content):
    path = tmp_path / "train.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(path, PROMPTS)
    assert str(caught.value).startswith(f"{path}: ")


# --- JSON ----------------------------------------------------------------------------------------


def test_equal_values_give_equal_bytes(tmp_path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    write_json(one, {"b": [1, 2.5, None], "a": {"y": "ü", "x": 1e-7}})
    write_json(two, {"a": {"x": 1e-7, "y": "ü"}, "b": [1, 2.5, None]})
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes().endswith(b"\n")
    assert read_json(one) == {"b": [1, 2.5, None], "a": {"y": "ü", "x": 1e-7}}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_json_cannot_name_are_refused_and_nothing_is_written(tmp_path, value):
    with pytest.raises(DataError, match=rf"a\.json: cannot record: 'y\.0\.x' is {value}$"):
        write_json(tmp_path / "a.json", {"y": [{"x": value}]})
    with pytest.raises(DataError, match=rf"a\.jsonl: cannot record: 'x' of step 2 is {value}$"):
        append_lines(tmp_path / "a.jsonl", [{"x": 1.0}, {"step": 2, "x": value}])
    assert list(tmp_path.iterdir()) == []
    assert finite(value) is None
    assert finite(0.5) == 0.5


def test_a_missing_or_damaged_json_file_is_named(tmp_path):
    path = tmp_path / "run.json"
    with pytest.raises(DataError) as caught:
        read_json(path)
    assert str(caught.value) == f"{path}: no such file"
    for content in (b'{"a": ', b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_json(path)
        assert str(caught.value).startswith(f"{path}: not valid JSON")


# --- JSON lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", ['{"step": 3, "acc', '{"step": 3}', "\ud83d"])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    path = tmp_path / "steps.jsonl"
    append_lines(path, [{"step": 1}, {"step": 2}])
    with open(path, "ab") as file:
        file.write(torn.encode("utf-8", "surrogatepass")[:-1] or b"x")
    assert read_lines(path) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("bad", [b'{"step": 2', b"\xff", b""])
def test_a_bad_line_before_the_last_is_an_error_with_its_number(tmp_path, bad):
    path = tmp_path / "steps.jsonl"
    path.write_bytes(b'{"step": 1}\n' + bad + b'\n{"step": 3}\n')
    with pytest.raises(DataError) as caught:
        read_lines(path)
    assert str(caught.value) == f"{path}: line 2 is not valid JSON"


def test_a_file_of_lines_that_is_missing_or_empty_has_no_rows(tmp_path):
    assert read_lines(tmp_path / "none.jsonl") == []
    (tmp_path / "empty.jsonl").touch()
    assert read_lines(tmp_path / "empty.jsonl") == []


def test_truncating_keeps_the_steps_up_to_one_and_forgets_the_torn_line(tmp_path):
    path = tmp_path / "steps.jsonl"
    rows = [{"step": step, "accuracy": step / 10} for step in range(1, 6)]
    append_lines(path, rows)
    with open(path, "a") as file:
        file.write('{"step": 6, "acc')
    assert truncate_lines(path, 3) == rows[:3]
    assert read_lines(path) == rows[:3]
    append_lines(path, rows[3:])
    assert read_lines(path) == rows
    whole = path.read_bytes()
    assert truncate_lines(path, 5) == rows
    assert path.read_bytes() == whole  # a resumed file is the same bytes as one in a single go
    assert truncate_lines(path, 0) == []
    assert path.read_bytes() == b""


def test_truncating_a_missing_file_makes_none(tmp_path):
    assert truncate_lines(tmp_path / "none.jsonl", 3) == []
    assert list(tmp_path.iterdir()) == []


def test_lines_have_sorted_keys(tmp_path):
    path = tmp_path / "steps.jsonl"
    append_lines(path, [{"step": 1, "accuracy": 0.5}])
    assert path.read_text() == '{"accuracy": 0.5, "step": 1}\n'
    assert json.loads(path.read_text()) == {"step": 1, "accuracy": 0.5}


def test_lines_of_a_file_that_is_removed_as_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda path: True)  # as it was a moment ago
    assert read_lines(tmp_path / "steps.jsonl") == []
