"""verl's reward function: the graders of every other test, as verl calls them."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from gainrl.config.evaluation import Sandbox
from gainrl.errors import DataError, GradingError
from gainrl.grading import sandbox
from gainrl.grading.code import FunctionTests, encode
from gainrl.training.verl.golds import read_gold, write_golds
from gainrl.training.verl.launch import write_prompts
from gainrl.training.verl.reward import compute_score

MANY = encode(FunctionTests("def f(x):\n", "f", "assert f(1) == 3\n" * 2000))


def rows(path, golds, name):
    """A data set as verl gets it."""
    grader = {"name": name, "sandbox": Sandbox().model_dump(mode="json")}
    ids = [f"d/{number}" for number in range(len(golds))]
    write_prompts(path, "d", ids, ["?"] * len(golds), golds, ["{question}"], None, grader)
    return pd.read_parquet(path).to_dict("records")


def score(row, response):
    gold = row["reward_model"]["ground_truth"]
    return compute_score(row["data_source"], response, gold, row["extra_info"])


def test_answers(tmp_path):
    (row,) = rows(tmp_path / "d.parquet", ["7"], "maths")
    right = score(row, r"so \boxed{7}")
    assert right == {
        "score": 1.0,
        "acc": 1.0,
        "prompt": "d/0",
        "extracted": "7",
        "reason": "same text",
        "rule": "box",
    }
    wrong = score(row, "so what")
    assert (wrong["score"], wrong["extracted"], wrong["reason"]) == (0.0, "", "no answer")
    assert json.loads(row["extra_info"]["grader"])["name"] == "maths"


def test_programs(tmp_path):
    try:
        sandbox.choose()
    except GradingError as error:
        pytest.skip(str(error))
    tests = encode(FunctionTests("def f(x):\n", "f", "assert f(1) == 3\n"))
    first, row = rows(tmp_path / "d.parquet", [MANY, tests], "code")
    assert len(first["reward_model"]["ground_truth"]) < 60  # what travels with every rollout
    assert (tmp_path / "d.golds").stat().st_size > len(MANY)
    assert score(row, "```python\ndef f(x): return x + 2\n```")["score"] == 1.0
    assert score(row, "```python\ndef f(x): return x\n```")["reason"] == "failed"


def test_golds_are_stored_once_and_recognised(tmp_path):
    golds = ["a", "ä" * 10, "a", ""]
    path = tmp_path / "x.golds"
    references = write_golds(path, golds)
    assert references[0] == references[2]
    assert path.stat().st_size == 21
    assert [read_gold(str(path), each) for each in references] == golds
    other = tmp_path / "y.golds"
    write_golds(other, ["b", "ö" * 10])
    with pytest.raises(DataError, match="not the gold answers of this run"):
        read_gold(str(other), references[0])
    with pytest.raises(DataError, match="cannot read gold answers: No such file"):
        read_gold(str(tmp_path / "none"), references[0])


def test_a_graded_response_is_a_sign_of_life(tmp_path, monkeypatch):
    (row,) = rows(tmp_path / "d.parquet", ["7"], "maths")
    beats = tmp_path / "heartbeat"
    monkeypatch.setenv("GAINRL_HEARTBEAT", str(beats))
    score(row, r"\boxed{7}")
    before = beats.stat().st_mtime_ns
    score(row, r"\boxed{8}")
    assert beats.stat().st_mtime_ns > before
