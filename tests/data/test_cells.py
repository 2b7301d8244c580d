"""Cells as real files have them: read as they are meant, or refused with their file and row."""

from __future__ import annotations

import datetime
import json
import sys
from decimal import Decimal
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_tables import load

from gainrl.config.data import Fields, Files, Hub
from gainrl.data import answers
from gainrl.data.cells import is_blank
from gainrl.data.prompts import Renderer
from gainrl.errors import DataError

CODE = '{"kind": "StreamTests", "pairs": [["1\\n", "#### 2\\n"]]}'


def lines(path: Path, *rows: str) -> Path:
    path.write_bytes("\n".join(rows).encode())
    return path


def read(path: Path, **spec):
    return load(Files(source="file", train_file=str(path), **spec))["train"]


def message(path: Path, **spec) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **spec)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2.5e-07, "0.00000025"),
        (1e23, "100000000000000000000000"),
        (-0.0, "0"),
        (-3.0, "-3"),
        (10.0, "10"),
        (0.1 + 0.2, "0.30000000000000004"),
        (2**70, str(2**70)),
        (Decimal("12.50"), "12.5"),
        (Decimal("1E+3"), "1000"),
        (np.float32(0.7), "0.7"),
        (np.float16(0.7), "0.7"),
        (float(2**53 - 1), "9007199254740991"),
        (np.float32(2e9), "2000000000"),
        (np.int64(-4), "-4"),
        (np.array([[1.5]]), "1.5"),
        ((["7"],), "7"),
    ],
)
def test_numbers_are_written_in_full(value, written) -> None:
    assert answers.text(value) == written


@pytest.mark.parametrize("value", [float("nan"), Decimal("NaN"), np.float32("nan"), None, "", " "])
def test_no_number_is_no_text(value) -> None:
    assert answers.text(value) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("-inf"), "is -inf, not a finite number"),
        (Decimal("Infinity"), "is Infinity, not a finite number"),
        (
            2.0**70,
            r"is 1.1805916207174113e\+21, a float, which has not all digits of such a number",
        ),
        (np.float32(123456789), "is 123456792.0, a float, which has not all .*"),
        (True, "is a bool, not text"),
        (np.bool_(True), "is a bool, not text"),
        (datetime.date(2020, 1, 2), "is a date, not text"),
        (b"5", "is a bytes, not text"),
        ([], "is a list of 0 values, not text"),
        (np.array([1, 2]), "is a ndarray of 2 values, not text"),
        ({"value": 5}, "is a dict, not text"),
    ],
)
def test_what_is_no_text(value, reason) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        answers.text(value)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_a_float_column_says_what_was_meant(tmp_path, kind) -> None:
    values = pa.array(np.array([0.3, 24, 1e-3], kind.to_pandas_dtype()), kind)
    nested = pa.StructArray.from_arrays([pa.array([[x] for x in values], pa.list_(kind))], ["x"])
    path = tmp_path / "rows.parquet"
    table = pa.table({"question": ["a", "b", "c"], "answer": values, "deep": nested})
    pq.write_table(table, path)
    plain, deep = read(path), read(path, fields=Fields(answer="deep.x"))
    assert plain["answer"].tolist() == deep["answer"].tolist() == ["0.3", "24", "0.001"]


def test_a_float_column_of_the_hub_says_what_was_meant(monkeypatch) -> None:
    table = pa.table({"question": ["a"], "answer": pa.array([0.3], pa.float32())})
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: datasets.Dataset(table))
    hub = Hub(source="hub", id="someone/sums", eval_split=None)
    assert load(hub)["train"]["answer"].tolist() == ["0.3"]


# --- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "blank",
    ["\u200b", "\ufeff \u2060", "\u200e\u00ad", "\u3164", "\u2800", "\ufe0f", "\u0301", "\u00a0\t"],
)
def test_a_text_that_is_not_seen_is_empty(tmp_path, blank) -> None:
    assert is_blank(blank)
    row = {"question": "q", "answer": "5"}
    path = tmp_path / "rows.jsonl"
    lines(path, json.dumps(row), "", json.dumps({**row, "question": blank}))
    assert message(path) == "line 3: the question in 'question' is empty"
    lines(path, json.dumps(row), json.dumps({**row, "answer": blank}))
    assert message(path) == "line 2 has no answer in 'answer'"
    with pytest.raises(DataError, match="prompt 'a': the question is empty"):
        Renderer(None).tokens(["a"], [blank])


def test_text_that_is_seen_stays() -> None:
    for seen in ("é", "e\u0301", "दो", "👩‍🚀", "-", "\ue000"):
        assert not is_blank(seen)
        assert answers.text(f"\ufeff\u200b {seen}\u200b\n") == seen


@pytest.mark.parametrize(
    ("escape", "reason"),
    [
        ("\\udc4d", "has half of a surrogate pair (\\udc4d) as its character 3, which is no text"),
        ("\\u0000", "has a NUL character (\\u0000) as its character 3, which is no text"),
    ],
)
@pytest.mark.parametrize("column", ["question", "answer", "why"])
def test_what_no_file_takes_is_refused(tmp_path, escape, reason, column) -> None:
    row = {"question": '"q"', "answer": '"5"', "why": '"w"', column: f'"go{escape}!"'}
    path = lines(tmp_path / "rows.jsonl", *["{" + ", ".join(f'"{k}": {row[k]}' for k in row) + "}"])
    assert message(path, fields=Fields(solution="why")) == f"line 1: '{column}' {reason}"


def test_a_whole_pair_is_text(tmp_path) -> None:
    path = lines(tmp_path / "rows.jsonl", '{"question": "\\ud83d\\udc4d", "answer": "5"}')
    assert read(path)["question"].tolist() == ["👍"]


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "gold"),
    [
        ("3 * 4 = <<3*4=12>>12\nSo 12 and 1,000.\n#### 1,012", "1012"),
        ("It is 9. #### 9\n", "9"),
        (r"So $x = \boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{\boxed{6}}, that is \boxed{6}", "6"),
        ('["x+1"]', "x+1"),
        ("['12']", "12"),
        (r'["\\frac{1}{2}"]', r"\frac{1}{2}"),
        (r'["\pi"]', r"\pi"),
        ("[12]", "[12]"),
        ("[0, 1)", "[0, 1)"),
        ("# 5", "# 5"),
    ],
)
def test_an_answer_of_the_users_own(tmp_path, cell, gold) -> None:
    path = lines(tmp_path / "rows.jsonl", json.dumps({"question": "q", "answer": cell}))
    assert read(path)["answer"].tolist() == [gold]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("#### Answer\n5", "has '####', but not once before the answer at its end"),
        ("#### 5\n#### 6", "has '####', but not once"),
        ("##### 5", "has '####', but not once"),
        ("5\n####", "has '####', but not once"),
        (r"\boxed{5} or \boxed{6}", "has 2 different boxes; give the answer alone"),
        ('["5", "6"]', "is a list of 2 values written as text, not one answer"),
        (
            '["\\frac{1}{2}"]',
            "is a list written as text, in which a backslash became part of '\\x0crac",
        ),
        ('["5" and "6"]', "looks like a list written as text, but is no valid JSON"),
    ],
)
def test_an_answer_that_says_too_much(tmp_path, cell, reason) -> None:
    path = lines(tmp_path / "rows.jsonl", json.dumps({"question": "q", "answer": cell}))
    assert message(path).startswith(f"line 1: 'answer' {reason}")


def test_the_text_of_tests_is_left_alone(tmp_path) -> None:
    path = lines(tmp_path / "rows.jsonl", json.dumps({"question": "q", "answer": CODE}))
    assert read(path, grader="code")["answer"].tolist() == [CODE]


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (
            "r.jsonl",
            b'[\n{"question": 1}\n]',
            "line 1: a list of records is a file whose name ends",
        ),
        (
            "r.json",
            b'{"question": 1}\n{"question": 2}',
            "line 2: not valid JSON: Extra data; one re",
        ),
        ("r.jsonl", b"{}\n" + b"[" * 99999, "line 2: cannot read this JSON: maximum recursion"),
        ("r.jsonl", b"\n" + b"9" * 5000, "line 2: cannot read this JSON: Exceeds the limit"),
        (
            "r.jsonl",
            b'{"a": 1, "a": 2}',
            "line 1: cannot read this JSON: the key 'a' has two values",
        ),
        ("r.json", b'[{"a": 1, "a": 2}]', "cannot read this JSON: the key 'a' has two values"),
        ("r.jsonl", b"{}\n{}\n\xff", "line 3: not UTF-8 text (byte 0)"),
        ("r.jsonl", b"\xff\xfe{\0}\0", "line 1: not UTF-8 text (byte 0)"),
        ("r.jsonl.gz", b"{}", "not a readable gzip file"),
    ],
)
def test_a_file_of_another_kind(tmp_path, file, content, reason) -> None:
    path = tmp_path / file
    path.write_bytes(content)
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(4300)  # Python's own: the sandbox's protocol lifts it when imported
    try:
        assert message(path).startswith(reason)
    finally:
        sys.set_int_max_str_digits(digits)


def test_lines_of_windows_and_keys_that_agree(tmp_path) -> None:
    row = b'{"question": "q", "answer": "5", "answer": "5"}\r\n'
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + row + b"\r\n" + row)
    assert read(path)["answer"].tolist() == ["5", "5"]


def test_a_folder_is_no_file(tmp_path) -> None:
    path = tmp_path / "rows.jsonl"
    path.mkdir()
    assert message(path) == "cannot read: Is a directory"


def test_a_parquet_file_with_a_column_twice(tmp_path) -> None:
    path = tmp_path / "rows.parquet"
    column = pa.array(["q"])
    pq.write_table(pa.Table.from_arrays([column] * 3, ["question", "answer", "answer"]), path)
    assert message(path) == "has the column 'answer' twice"


# --- the hub, with a folder in its place ---------------------------------------------------------

ROW = '{"question": "q", "answer": "5"}\n'


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.jsonl": ROW, "b.jsonl": ROW.replace("}", ', "more": 1}')}, "column names don't match"),
        ({"a.jsonl": ROW + '{"question": \n'}, "a.jsonl"),
        ({"a.csv": "question,answer\na,b\na,b,c\n"}, "Expected 2 fields in line 3, saw 3"),
        ({"set.py": "import datasets\n"}, ""),
        ({"a.jsonl": ""}, "StopIteration"),
        ({"a.zip": "no archive"}, "not a zip file"),
        ({"a.parquet": "no table"}, "Parquet"),
        ({"a.jsonl": ROW, "README.md": "---\nconfigs: 5\n---\n"}, "configs"),
    ],
)
def test_what_the_hub_cannot_give_is_one_line(monkeypatch, tmp_path, files, reason) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "set"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(DataError) as caught:
        load(Hub(source="hub", id=str(folder), eval_split=None))
    said = str(caught.value)
    assert said.startswith(f"{folder} (main, split train): cannot read from the hub: ")
    assert "\n" not in said
    assert reason in said
    assert not said.endswith(": ")
