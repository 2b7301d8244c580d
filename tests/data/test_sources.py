"""Data sets from files, the hub and reasoning-gym: tables, subsets, errors."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_tables import load, write

from gainrl.config.data import DifficultyColumn, Few, Fields, Files, Generated, Gym, Hub, Registered
from gainrl.data.sources import load_splits
from gainrl.errors import ConfigError, DataError

ROWS = [{"question": f"{n} + 1 = ?", "answer": n + 1, "why": f"#### {n + 1}"} for n in range(40)]
WITH_SOLUTION = Fields(solution="why")
LEVEL = DifficultyColumn(column="level", scale="difficulty", range=(1, 5))


def from_file(path: Path, rows: list | None = None, **spec) -> dict[str, pd.DataFrame]:
    if rows is not None:
        write(path, rows)
    return load(Files(source="file", train_file=str(path), **spec))


def error_of(path: Path, rows: list | None = None, **spec) -> str:
    with pytest.raises(DataError) as caught:
        from_file(path, rows, **spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_every_format_gives_the_same_table(tmp_path, suffix) -> None:
    splits = from_file(tmp_path / f"rows.{suffix}", ROWS, fields=WITH_SOLUTION)
    train = splits["train"]
    assert list(train.columns) == ["id", "question", "answer", "solution"]
    assert train["id"].tolist()[:2] == ["mine/train/0000", "mine/train/0001"]
    assert train["answer"].tolist() == [str(n + 1) for n in range(40)]
    assert len(splits["eval"]) == len(splits["warmup"]) == 0


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_dots_reach_into_nested_records(tmp_path, suffix) -> None:
    rows = [
        {
            "extra_info": {"question": f"Q{n}", "index": n},
            "reward_model": {"ground_truth": str(n), "style": "rule"},
            "prompt": [{"content": f"Q{n} please", "role": "user"}],
        }
        for n in range(3)
    ]
    fields = Fields(
        question="extra_info.question",
        answer="reward_model.ground_truth",
        solution="prompt.0.content",
        difficulty=DifficultyColumn(column="extra_info.index", scale="difficulty", range=(0, 2)),
        category="reward_model.style",
    )
    train = from_file(tmp_path / f"rows.{suffix}", rows, fields=fields)["train"]
    assert train.iloc[2].to_dict() == {
        "id": "mine/train/0002",
        "question": "Q2",
        "answer": "2",
        "solution": "Q2 please",
        "difficulty": 2.0,
        "category": "rule",
    }


def test_a_column_whose_name_has_dots_is_found(tmp_path) -> None:
    rows = [{"a.b": "Q", "answer": "1"}]
    train = from_file(tmp_path / "rows.json", rows, fields=Fields(question="a.b"))["train"]
    assert train["question"].tolist() == ["Q"]


def test_train_and_eval_files_have_their_own_ids(tmp_path) -> None:
    path = write(tmp_path / "rows.json", ROWS)
    splits = load(Files(source="file", train_file=path, eval_file=path, eval=5))
    assert len(splits["train"]) == 40
    assert splits["eval"]["id"].str.startswith("mine/eval/").all()


def test_json_lines_may_hold_line_separators_inside_strings(tmp_path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\ufeff{"question": "a\u2028b", "answer": "1"}\n\n', encoding="utf-8")
    assert from_file(path)["train"]["question"].tolist() == ["a\u2028b"]


# --- subsets -------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 5),
    train=st.one_of(st.none(), st.integers(0, 25)),
    warmup=st.integers(0, 15),
)
def test_subsets_are_disjoint_seeded_and_in_source_order(tmp_path_factory, seed, train, warmup):
    path = tmp_path_factory.getbasetemp() / "subset.json"
    if not path.exists():
        write(path, ROWS)
    spec = {"seed": seed, "train": train, "warmup": warmup, "fields": WITH_SOLUTION}
    first, again = from_file(path, **spec), from_file(path, **spec)
    for split in first:
        pd.testing.assert_frame_equal(first[split], again[split])
    kept, warm = first["train"]["id"].tolist(), first["warmup"]["id"].tolist()
    assert len(kept) == (40 - warmup if train is None else train)
    assert len(warm) == warmup
    assert kept == sorted(kept)
    assert warm == sorted(warm)
    assert not set(kept) & set(warm)
    assert all(i.startswith("mine/train/") for i in warm)


def test_subsets_depend_on_the_seed_and_are_nested(tmp_path) -> None:
    path = tmp_path / "rows.json"
    ten = set(from_file(path, ROWS, train=10)["train"]["id"])
    twenty = set(from_file(path, train=20)["train"]["id"])
    other = set(from_file(path, train=10, seed=1)["train"]["id"])
    assert ten < twenty
    assert ten != other


def test_a_few_rows_hold_the_longest_questions(tmp_path) -> None:
    path, rows = tmp_path / "rows.json", [dict(row) for row in ROWS]
    rows[23]["question"], rows[5]["question"] = "long " * 90, "long " * 80
    write(path, rows)
    few = Few(train=6, eval=4, warmup=3)
    cut = from_file(path, eval_file=str(path), few=few, warmup=8, fields=WITH_SOLUTION)
    assert [len(cut[split]) for split in ("train", "eval", "warmup")] == [6, 4, 3]
    assert {"mine/eval/0005", "mine/eval/0023"} <= set(cut["eval"]["id"])
    whole = from_file(path, warmup=8, fields=WITH_SOLUTION)
    assert set(cut["train"]["id"]) < set(whole["train"]["id"])
    longest = [frame["train"]["question"].str.len().nlargest(2).tolist() for frame in (cut, whole)]
    assert longest[0] == longest[1]


def test_a_source_smaller_than_a_few_rows_is_taken_whole(tmp_path) -> None:
    few = Few(train=100, eval=100, warmup=100)
    cut = from_file(tmp_path / "rows.json", ROWS, few=few)
    pd.testing.assert_frame_equal(cut["train"], from_file(tmp_path / "rows.json")["train"])


def test_a_warm_up_leaves_the_train_rows_in_place(tmp_path) -> None:
    path = tmp_path / "rows.json"
    without = from_file(path, ROWS, train=10, fields=WITH_SOLUTION)["train"]
    with_warmup = from_file(path, train=10, warmup=30, fields=WITH_SOLUTION)["train"]
    pd.testing.assert_frame_equal(without, with_warmup)


def test_warm_up_rows_have_a_solution(tmp_path) -> None:
    rows = [{**row, "why": row["why"] if n % 4 == 0 else None} for n, row in enumerate(ROWS)]
    splits = from_file(tmp_path / "rows.json", rows, warmup=10, fields=WITH_SOLUTION)
    assert splits["warmup"]["solution"].notna().all()
    assert splits["warmup"]["id"].tolist() == [f"mine/train/{n:04d}" for n in range(0, 40, 4)]
    message = error_of(tmp_path / "rows.json", rows, warmup=11, fields=WITH_SOLUTION)
    assert message == (
        "data set 'mine': warmup (rows with a solution) asks for 11 rows; there are 10"
    )


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train": 41}, "train asks for 41 rows; there are 40"),
        ({"train": 31, "warmup": 10}, "train asks for 31 rows; there are 30"),
        ({"eval": 1}, "eval asks for 1 rows; there are 0"),
    ],
)
def test_more_rows_than_there_are(tmp_path, counts, message) -> None:
    got = error_of(tmp_path / "rows.json", ROWS, fields=WITH_SOLUTION, **counts)
    assert got == f"data set 'mine': {message}"


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_missing_file(tmp_path, suffix) -> None:
    path = tmp_path / f"rows.{suffix}"
    assert error_of(path) == f"{path}: no such file"


def test_no_file_at_all() -> None:
    with pytest.raises(ConfigError, match="'mine' names neither train_file nor eval_file"):
        load(Files(source="file"))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("rows.json", b'[{"a": 1},\n{"a": }]', "line 2: not valid JSON: Expecting value"),
        (
            "rows.json",
            b'{"a": 1}',
            "a JSON data set is a list of records, not a dict",
        ),
        ("rows.json", b"[1]", "row 0 (from 0) is a int, not a record"),
        ("rows.json", b"[]", "holds no rows"),
        ("rows.json", b'["\xff"]', "not UTF-8 text (byte 2)"),
        ("rows.jsonl", b'{"question": "q", "answer": "1"}\n{"q', "line 2: not valid JSON"),
        ("rows.jsonl", b'\n{"a": \n', "line 2: not valid JSON: Expecting value"),
        ("rows.parquet", b"no parquet", "not a readable Parquet file"),
        ("rows.csv", b"question,answer", "unknown kind of file; known: .json, .jsonl, .parquet"),
    ],
)
def test_malformed_file(tmp_path, file, content, message) -> None:
    path = tmp_path / file
    path.write_bytes(content)
    assert error_of(path).startswith(f"{path}: {message}")


def test_missing_column_names_the_nearest(tmp_path) -> None:
    path = tmp_path / "rows.json"
    rows = [{"extra_info": {"question": "q"}, "answer": "1"}]
    assert error_of(path, rows, fields=Fields(question="extra_inf.question")) == (
        f"{path}: no column 'extra_inf.question' for the question; "
        "did you mean 'extra_info.question'?"
    )
    column = DifficultyColumn(column="anser", scale="pass_rate")
    optional = Fields(question="extra_info.question", difficulty=column)
    assert "no column 'anser' for the difficulty; did you mean 'answer'?" in error_of(
        path, rows, fields=optional
    )


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_missing_answer(tmp_path, value) -> None:
    rows = [*ROWS[:3], {"question": "q", "answer": value}]
    path = tmp_path / "rows.json"
    assert error_of(path, rows) == f"{path}: row 3 (from 0) has no answer in 'answer'"


def test_missing_answers_are_counted(tmp_path) -> None:
    rows = [ROWS[0], {"question": "q"}, {"question": "q", "answer": None}]
    assert error_of(tmp_path / "rows.jsonl", rows).endswith(
        "line 2 has no answer in 'answer' (and 1 more)"
    )


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_empty_question(tmp_path, value) -> None:
    rows = [*ROWS[:2], {"question": value, "answer": "1"}]
    path = tmp_path / "rows.json"
    assert error_of(path, rows) == f"{path}: row 2 (from 0): the question in 'question' is empty"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("answer", ["1", "2"], "'answer' is a list of 2 values, not text"),
        ("answer", {"a": 1}, "'answer' is a dict, not text"),
        ("level", "hard", "'level' is 'hard', not a number"),
        ("level", "inf", "'level' is inf, not a finite number"),
    ],
)
def test_a_cell_of_the_wrong_kind(tmp_path, field, value, message) -> None:
    rows = [{**row, "level": 1} for row in ROWS[:3]]
    rows[1][field] = value
    path = tmp_path / "rows.json"
    assert (
        error_of(path, rows, fields=Fields(difficulty=LEVEL))
        == f"{path}: row 1 (from 0): {message}"
    )


@pytest.mark.parametrize(
    ("train_ids", "eval_ids", "message"),
    [
        (["a", "a"], ["b"], "row 1 repeats the id 'a'"),
        (["a", "b"], ["b"], "the id 'b' is in two splits"),
    ],
)
def test_duplicated_ids(monkeypatch, train_ids, eval_ids, message) -> None:
    def table(ids):
        return pd.DataFrame({"id": ids, "question": "q", "answer": "1"})

    made = {"train": table(train_ids), "eval": table(eval_ids), "warmup": table([])}
    fake = types.SimpleNamespace(generated_splits=lambda spec, name: made)
    monkeypatch.setitem(sys.modules, "gainrl.data.pools", fake)
    with pytest.raises(DataError, match=message):
        load_splits(Generated(source="generate", task="chain"), data_dir=None, name="mine")


# --- hub -----------------------------------------------------------------------------------------

HUB = Hub(source="hub", id="someone/sums", config="easy", revision="abc", eval_split=None)


def test_hub_asks_for_the_named_table(monkeypatch) -> None:
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert len(load(HUB)["train"]) == 40
    assert asked == [(("someone/sums", "easy"), {"split": "train", "revision": "abc"})]


def test_a_local_copy_replaces_the_hub(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: pytest.fail("went to the hub"))
    copy = tmp_path / "someone--sums--easy" / "train.parquet"
    copy.parent.mkdir()
    write(copy, ROWS[:7])
    assert len(load(HUB, data_dir=tmp_path)["train"]) == 7


@pytest.mark.parametrize("error", [ConnectionError("no\nroute"), ValueError("Unknown split")])
def test_hub_errors_are_one_line(monkeypatch, error) -> None:
    def load_dataset(*args, **kwargs):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError) as caught:
        load(HUB)
    reason = str(error).replace("\n", " ")
    assert str(caught.value) == (
        f"someone/sums (abc, config easy, split train): cannot read from the hub: {reason}"
    )


def test_the_hub_layout_of_gsm8k(monkeypatch) -> None:
    rows = [{"question": "q", "answer": "4 + 5 = <<4+5=9>>9, times 120\n#### 1,080"}]
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: datasets.Dataset.from_list(rows))
    row = load(Registered(source="registry", name="gsm8k"))["train"].iloc[0]
    assert row["answer"] == "1080"
    assert row["solution"] == "4 + 5 = 9, times 120\n#### 1,080"


# --- reasoning-gym -------------------------------------------------------------------------------


@dataclass
class _GymConfig:
    seed: int
    size: int
    terms: int = 2


def _fake_gym(monkeypatch) -> None:
    def create_dataset(task, **arguments):
        config = _GymConfig(**arguments)
        assert config.terms > 0, "terms must be positive"
        draw = [np.random.default_rng(config.seed + n) for n in range(config.size)]
        return [{"question": f"{g.integers(99)}?", "answer": "1", "metadata": {}} for g in draw]

    gym = types.ModuleType("reasoning_gym")
    gym.create_dataset = create_dataset
    factory = types.ModuleType("reasoning_gym.factory")
    factory.DATASETS = {"chain_sum": None}
    monkeypatch.setitem(sys.modules, "reasoning_gym", gym)
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", factory)


def _gym(**keys) -> Gym:
    return Gym(**{"source": "reasoning_gym", "task": "chain_sum", "train": 6, "eval": 4, **keys})


def test_gym_splits_one_stream(monkeypatch) -> None:
    _fake_gym(monkeypatch)
    splits = load(_gym(arguments={"terms": 3}))
    assert [len(splits[s]) for s in ("train", "eval", "warmup")] == [6, 4, 0]
    longer = load(_gym(train=10))["train"]["question"].tolist()
    assert longer == splits["train"]["question"].tolist() + splits["eval"]["question"].tolist()
    assert len(load(_gym(train=0))["train"]) == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"task": "chain_sun"}, "unknown task 'chain_sun'; did you mean 'chain_sum'?"),
        ({"arguments": {"term": 1}}, "unexpected keyword argument 'term'"),
        ({"arguments": {"terms": 0}}, "terms must be positive"),
    ],
)
def test_gym_errors(monkeypatch, keys, message) -> None:
    _fake_gym(monkeypatch)
    with pytest.raises(ConfigError) as caught:
        load(_gym(**keys))
    assert message in str(caught.value)


def test_gym_that_is_not_installed(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ConfigError, match=r"pip install 'gainrl\[gym\]'"):
        load(_gym())
