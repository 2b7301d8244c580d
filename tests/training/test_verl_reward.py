"""verl's reward function: the graders of every other test, as verl calls them."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from gainrl.config.evaluation import Sandbox
from gainrl.errors import GradingError
from gainrl.grading import sandbox
from gainrl.grading.code import FunctionTests, encode
from gainrl.training.verl.launch import write_prompts
from gainrl.training.verl.reward import compute_score


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
    (row,) = rows(tmp_path / "d.parquet", [tests], "code")
    assert score(row, "```python\ndef f(x): return x + 2\n```")["score"] == 1.0
    assert score(row, "```python\ndef f(x): return x\n```")["reason"] == "failed"
