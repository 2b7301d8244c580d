"""The known data sets: entries, readers of their cells, who grades them, and the real copies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pandas as pd
import pytest
from source_tables import load, write

from gainrl.config.data import Fields, Files, Generated, Gym, Registered
from gainrl.data import answers, sources
from gainrl.data.entry import Columns, Entry, Split
from gainrl.data.registry import REGISTRY, Entries, find, grader_of
from gainrl.data.sources import _registered
from gainrl.errors import ConfigError, DataError

DATA = Path(
    os.environ.get("GAINRL_DATA_DIR")
    or Path(__file__).resolve().parents[2].parent / "shared" / "data"
)


# --- registry ------------------------------------------------------------------------------------


def test_unknown_name_in_the_registry() -> None:
    with pytest.raises(ConfigError, match="unknown data set 'gsm8' in the registry; did you mean"):
        load(Registered(source="registry", name="gsm8"))


def test_a_missing_local_copy_is_read_from_the_hub_and_said(monkeypatch, tmp_path, caplog) -> None:
    rows = datasets.Dataset.from_list([{"question": "1 + 1 = ?", "answer": "#### 2"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: rows)
    spec = Registered(source="registry", name="gsm8k", eval=0)
    assert load(spec, data_dir=tmp_path)["train"]["answer"].tolist() == ["2"]
    assert f"{tmp_path}: no copy of 'gsm8k' there; reading openai/gsm8k (main" in caplog.text


def test_a_data_set_that_is_on_no_hub_is_asked_for(tmp_path) -> None:
    columns = Columns(fields=Fields())
    split = Split(rows=3, local="mine.parquet", columns=columns)
    entry = Entry(name="mine", licence="MIT", answers="number", grader="maths", train=split)
    with pytest.raises(DataError, match=r"mine\.parquet: no local copy of data set 'mine', which"):
        _registered(entry, split, tmp_path)
    with pytest.raises(DataError, match=r"name a folder with mine\.parquet in GAINRL_DATA_DIR"):
        _registered(entry, split, None)


def test_known_answers_that_are_missing_are_left_out(monkeypatch, tmp_path, caplog) -> None:
    rows = [{"problem": f"p{n}", "answer": "1", "difficulty": 0.0, "type": "x"} for n in range(9)]
    for row in (2, 5, 6, 7):
        rows[row]["answer"] = None
    write(tmp_path / "math_train.json", rows)
    spec = Registered(source="registry", name="math", eval=0)
    train = load(spec, data_dir=tmp_path)["train"]
    assert [i[-1] for i in train["id"]] == ["0", "1", "3", "4", "8"]
    assert train["difficulty"].isna().all()  # the stray level 0 is no level
    assert "left out 4 rows without an answer: 2, 5, 6, 7" in caplog.text
    rows[8]["answer"] = ""
    write(tmp_path / "math_train.json", rows)
    with pytest.raises(
        DataError, match=r"row 2 \(from 0\) has no answer in 'answer' \(and 4 more\)"
    ):
        load(spec, data_dir=tmp_path)


def test_every_entry_names_real_readers_and_one_place() -> None:
    for entry in REGISTRY.values():
        assert find(entry.name) is entry
        for split in filter(None, (entry.train, entry.eval)):
            assert split.hub or split.local
            for columns in filter(None, (split.columns, split.local_columns)):
                assert {columns.reader(field) for field in sources._FIELDS} <= set(answers.READERS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licenze": "MIT"}, "unknown key 'licenze'; did you mean 'licence'"),
        ({"grader": "math"}, "grader: 'math' is no grader: maths, maths-tolerant, code"),
        ({"eval": {"rows": 3, "columns": {"fields": {}}}}, "eval: needs the key 'hub' or 'local'"),
        ({"eval": {"like": "other"}}, "other.yaml: cannot read"),
    ],
)
def test_a_data_set_is_one_file_that_is_checked(tmp_path, change, message) -> None:
    split = {"rows": 3, "hub": {"id": "a/b", "split": "test"}, "columns": {"fields": {}}}
    entry = {"licence": "MIT", "answers": "number", "grader": "maths", "eval": split}
    known = tmp_path / "known.yaml"
    known.write_text(json.dumps(entry), encoding="utf-8")
    few = {**entry, "eval": {"like": "known", "rows": 2}}
    (tmp_path / "few.yaml").write_text(json.dumps(few), encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text(json.dumps({**entry, **change}), encoding="utf-8")
    entries = Entries(tmp_path)
    assert sorted(entries) == ["few", "known", "wrong"]
    assert entries["few"].eval == entries["known"].eval.model_copy(update={"rows": 2})
    with pytest.raises(ConfigError) as caught:
        entries["wrong"]
    assert message in str(caught.value)


def test_the_registry_imports_nothing_heavy() -> None:
    code = (
        "import sys, gainrl.data.registry;"
        "print(sorted({'torch', 'transformers', 'datasets', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("spec", "grader"),
    [
        (Registered(source="registry", name="gsm8k"), "maths"),
        (Registered(source="registry", name="minerva"), "maths-tolerant"),
        (Registered(source="registry", name="humaneval"), "code"),
        (Registered(source="registry", name="humaneval", grader="maths"), "maths"),
        (Generated(source="generate", task="chain"), "maths"),
        (Generated(source="generate", task="code"), "code"),
        (Gym(source="reasoning_gym", task="chain_sum"), "maths"),
        (Files(source="file", train_file="rows.json"), "maths"),
        (Files(source="file", train_file="rows.json", grader="code"), "code"),
    ],
)
def test_who_grades_a_data_set(spec, grader) -> None:
    assert grader_of(spec) == grader


def test_some_rows_of_a_source_keep_their_numbers(tmp_path) -> None:
    rows = [
        {"problem": "p", "answer": [str(n)], "solution": ["s"], "subfield": "Algebra"}
        for n in range(5)
    ]
    rows = [{**row, "is_multiple_answer": n in (0, 3)} for n, row in enumerate(rows)]
    write(tmp_path / "olympiad_bench.json", rows)
    frame = load(Registered(source="registry", name="olympiadbench-single"), data_dir=tmp_path)
    assert frame["eval"]["id"].tolist() == [f"mine/eval/000{n}" for n in (1, 2, 4)]
    del rows[2]["is_multiple_answer"]
    write(tmp_path / "olympiad_bench.json", rows)
    with pytest.raises(
        DataError, match=r"row 2 \(from 0\) has no 'is_multiple_answer', by which rows are"
    ):
        load(Registered(source="registry", name="olympiadbench-single"), data_dir=tmp_path)


@pytest.mark.parametrize(
    ("reader", "cell", "expected"),
    [
        (answers.text, 142.0, "142"),
        (answers.text, 0.5, "0.5"),
        (answers.text, [" 7\n"], "7"),
        (answers.hashes, "so\n#### -1,234", "-1234"),
        (answers.hashes, "no mark", None),
        (answers.boxed, r"\boxed{a} or \boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (answers.boxed, r"\boxed{\textbf{(A)}\ \{1, 2\}}", r"\textbf{(A)}\ \{1, 2\}"),
        (answers.boxed, r"x = \boxed 2.", "2"),
        (answers.boxed, "no box", None),
        (answers.alternatives, ["15 km\n", "15\n", "15"], "15 km || 15"),
        (answers.joined, ["$69$,$84$"], "69,84"),
        (answers.level, "Level 5", 5.0),
        (answers.level, "Level ?", None),
        (answers.level, 0.0, None),
        (
            answers.without_instruction,
            "Why? Let's think step by step and output the final answer within \\boxed{}.",
            "Why?",
        ),
    ],
)
def test_readers(reader, cell, expected) -> None:
    assert reader(cell) == expected


# --- the real copies -----------------------------------------------------------------------------


def _real(name: str, **keys) -> dict[str, pd.DataFrame]:
    if not DATA.is_dir():
        pytest.skip(f"no copies of the real data sets in {DATA}")
    return load(Registered(source="registry", name=name, **keys), name=name, data_dir=DATA)


@pytest.mark.parametrize(
    "name",
    [name for name, entry in REGISTRY.items() if entry.grader != "code" and name != "deepscaler"],
)
def test_the_real_copies_have_the_rows_they_should(name) -> None:
    splits = _real(name)
    entry = find(name)
    for split, place in (("train", entry.train), ("eval", entry.eval)):
        expected = place.rows - place.unanswered if place else 0
        assert len(splits[split]) == expected
        assert splits[split]["answer"].str.strip().str.len().gt(0).all()
        assert splits[split]["question"].str.len().gt(5).all()
        assert not splits[split]["question"].str.contains("step by step and output").any()


@pytest.mark.parametrize(
    ("name", "split", "row", "answer"),
    [
        ("gsm8k", "train", 0, "72"),
        ("gsm8k", "eval", 0, "18"),
        ("math", "eval", 0, r"\left( 3, \frac{\pi}{2} \right)"),
        ("amc", "train", 1, r"\textbf{(A)}\ 26"),
        ("amc23", "eval", 0, "142"),
        ("aime24", "eval", 1, "025"),
        ("olympiadbench", "eval", 1, r"\frac{1}{2 n+2}"),
        ("minerva", "eval", 10, "0.01 || 0.02"),
    ],
)
def test_some_real_answers(name, split, row, answer) -> None:
    table = _real(name)[split].set_index("id")
    assert table.loc[f"{name}/{split}/{row:04d}", "answer"] == answer


def test_real_solutions_can_warm_up() -> None:
    splits = _real("gsm8k", train=100, eval=50, warmup=200)
    assert [len(splits[s]) for s in ("train", "eval", "warmup")] == [100, 50, 200]
    assert splits["warmup"]["solution"].str.contains("####").all()
    assert not splits["warmup"]["solution"].str.contains("<<").any()


def test_math_levels_are_one_to_five() -> None:
    levels = _real("math")["train"]["difficulty"]
    assert levels.isna().sum() == 2
    assert set(levels.dropna()) == {1.0, 2.0, 3.0, 4.0, 5.0}
