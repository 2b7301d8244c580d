"""A grader of one's own by import path, and answers where an expression says."""

import json

import numpy as np
import pandas as pd
import pytest

from gainrl import plan
from gainrl.errors import ConfigError, GradingError
from gainrl.grading.graders import find
from gainrl.training.verl.launch import write_prompts
from gainrl.training.verl.reward import compute_score

REWARD = """
def same_length(completion, answer):
    return len(completion) == len(answer)

def half(completion, answer):
    return 0.5

def broken(completion, answer):
    return 1 / len(completion)

def alone(completion):
    return True
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with rewards.py, which is where the user works."""
    (tmp_path / "rewards.py").write_text(REWARD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", ["rewards.py:same_length", "{}/rewards.py:same_length"])
def test_a_function_of_ones_own_says_right_or_wrong(place, path):
    grader = find(path.format(place))
    found = grader(["abc", "ab"], ["xyz", "xyz"])
    assert [each.correct for each in found] == [True, False]
    assert {each.extracted for each in found} == {None}


def test_a_module_is_found_in_the_working_folder(place):
    (place / "my_rewards_module.py").write_text(REWARD)
    assert find("my_rewards_module:same_length")(["a"], ["b"])[0].correct


def test_its_version_changes_with_its_source(place):
    before = find("rewards.py:same_length").version
    (place / "others.py").write_text(REWARD.replace("==", ">="))
    after = find("others.py:same_length").version
    assert before.split()[1] != after.split()[1]


@pytest.mark.parametrize("value", [True, 1, 0.0, np.float32(1.0), np.bool_(False)])
def test_what_counts_as_right_or_wrong(place, monkeypatch, value):
    grader = find("rewards.py:half")
    monkeypatch.setattr(type(grader), "__call__", type(grader).__call__)
    object.__setattr__(grader, "function", lambda completion, answer: value)
    assert grader(["a"], ["b"])[0].correct == bool(value)


def test_anything_else_and_any_error_end_the_run_by_name(place):
    with pytest.raises(GradingError, match=r"rewards\.py:half returned 0\.5 .*right or wrong"):
        find("rewards.py:half")(["a"], ["b"])
    with pytest.raises(GradingError, match=r"rewards\.py:broken raised ZeroDivisionError: "):
        find("rewards.py:broken")(["a", ""], ["b", "b"])


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("rewards.py:same_lenght", "'rewards.py' has no 'same_lenght'; did you mean 'same_length'"),
        ("nowhere.py:reward", "cannot import 'nowhere.py'"),
        ("rewards.py:alone", "no function of a completion and an answer"),
        ("maths-tolerent", "is no grader: maths, maths-tolerant, code, or a function of your own"),
    ],
)
def test_a_mistake_in_the_preset_is_one_line(place, path, line):
    with pytest.raises(ConfigError) as refused:
        plan.load(preset({"grader": path}))
    assert "datasets.mine.grader" in str(refused.value)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def preset(data):
    return {
        "preset": "own",
        "seeds": [0],
        "models": {"nano": {"source": "nano"}},
        "datasets": {"mine": {"source": "generate", "task": "chain", **data}},
        "training": {"steps": 2, "prompts": 4, "rollouts": 2, "max_response": 8},
        "methods": {"grpo": {"curriculum": "uniform"}},
        "experiments": {"table1": {"models": ["nano"], "datasets": ["mine"], "methods": ["grpo"]}},
    }


# --- answers where an expression says ------------------------------------------------------------

TAGS = "(?s)<answer>(.*?)</answer>"


@pytest.mark.parametrize(
    ("response", "correct"),
    [
        ("<think>8</think><answer>7</answer>", True),
        ("<answer>8</answer> no, <answer> 7 </answer>", True),
        ("<answer>7</answer> no, <answer>8</answer>", False),
        ("<answer>14/2</answer>", True),
        (r"\boxed{7}", False),  # not where the preset says
        ("<answer>7", False),
        ("", False),
    ],
)
def test_the_last_match_is_the_answer(response, correct):
    grader = find("maths", answer_in=TAGS)
    (found,) = grader([response], ["7"])
    assert found.correct == correct
    assert found.rule == (None if "</answer>" not in response else "answer_in")


def test_without_a_group_the_whole_match_counts_and_order_is_kept():
    grader = find("maths", answer_in=r"-?\d+(?=\.?$)")
    found = grader(["it is 3", "none", "4 or -5."], ["3", "3", "-5"])
    assert [each.correct for each in found] == [True, False, True]
    assert TAGS in find("maths", answer_in=TAGS).version


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"answer_in": "("}, "is no regular expression"),
        ({"answer_in": "(a)(b)"}, "has 2 groups"),
        ({"answer_in": TAGS, "task": "code"}, "datasets.mine.answer_in: the grader 'code' finds"),
    ],
)
def test_expressions_are_checked_when_the_preset_is_read(data, line):
    with pytest.raises(ConfigError, match=line.replace("(", r"\(")):
        plan.load(preset(data))


def test_a_changed_expression_makes_tests_anew():
    asked = plan.load(preset({}))
    other = plan.load(preset({"answer_in": TAGS}))
    assert plan.dataset_slice(asked, "mine") != plan.dataset_slice(other, "mine")
    assert "answer_in" not in json.dumps(plan.dataset_slice(asked, "mine"))


# --- on verl -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "right"),
    [
        ({"name": "{}/rewards.py:same_length"}, "a"),
        ({"name": "maths", "answer_in": TAGS}, "<answer>7</answer>"),
    ],
)
def test_verls_reward_function_asks_the_same_grader(place, how, right):
    grader = {**how, "name": how["name"].format(place), "sandbox": {}}
    write_prompts(place / "d.parquet", "d", ["d/0"], ["?"], ["7"], ["{question}"], None, grader)
    (row,) = pd.read_parquet(place / "d.parquet").to_dict("records")
    for response, score in ((right, 1.0), ("wrong", 0.0)):
        gold = row["reward_model"]["ground_truth"]
        assert compute_score("d", response, gold, row["extra_info"])["score"] == score
