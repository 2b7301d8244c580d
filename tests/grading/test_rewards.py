"""Reward functions for other people's trainers, called as those call them."""

from __future__ import annotations

import numpy as np
import pytest

from gainrl.errors import DataError
from gainrl.grading import compute_score, gold_text, reward_of, trl_reward, verifiers_reward
from gainrl.grading.program_tests import FunctionTests, encode
from gainrl.grading.rewards import response_text

RIGHT, WRONG = "so \\boxed{72}", "so \\boxed{71}"
CHAT = [{"role": "assistant", "content": RIGHT}]


def test_verl_gets_a_score_and_what_it_was_given_for():
    said = {"data_source": "mine", "ground_truth": "72", "extra_info": {"num_turns": None}}
    assert compute_score(solution_str=RIGHT, **said) == {
        "score": 1.0,
        "acc": 1.0,
        "extracted": "72",
        "reason": "same text",
        "rule": "box",
    }
    wrong = compute_score(solution_str=WRONG, reward_router_address=None, **said)
    assert (wrong["score"], wrong["acc"], wrong["reason"]) == (0.0, 0.0, "different number")
    near = {**said, "ground_truth": "72.001", "solution_str": RIGHT}
    assert compute_score(**near)["score"] == 0.0
    assert compute_score(**near, grader="maths-tolerant")["score"] == 1.0


@pytest.mark.parametrize("column", ["answer", "solution", "ground_truth"])
def test_trl_gives_lists_of_completions_and_of_columns(column):
    columns = {"prompts": ["p", "p"], "completion_ids": [[1], [2]], "trainer_state": None}
    golds = {column: ["#### 72", "72"]}
    assert trl_reward(completions=[RIGHT, WRONG], **columns, **golds) == [1.0, 0.0]
    assert trl_reward(completions=[CHAT, CHAT], **columns, **golds) == [1.0, 1.0]


def test_trl_may_name_the_column_and_the_grader():
    reward = reward_of("result", "maths-tolerant")
    assert reward.__name__ == "maths-tolerant_reward"
    assert reward(prompts=[], completions=[RIGHT], answer=["1"], result=[72.001]) == [1.0]
    with pytest.raises(
        DataError, match=r"no column 'result' with gold answers; it has prompts, an"
    ):
        reward(prompts=[], completions=[RIGHT], answer=["1"])
    with pytest.raises(DataError, match="no grader 'math'; did you mean 'maths'"):
        reward_of("a", "math")(completions=[RIGHT], a=["1"])


def test_programs_are_run_on_their_tests():
    tests = encode(FunctionTests("def twice(x):\n", "twice", "assert twice(2) == 4"))
    right, wrong = (f"```python\ndef twice(x):\n    return x * {by}\n```" for by in (2, 3))
    assert reward_of("tests", "code")(completions=[right, wrong], tests=[tests] * 2) == [1.0, 0.0]


def test_a_rubric_gives_one_completion_and_its_answer():
    state = {"prompt": "p", "state": {}, "task": "t", "info": {}}
    assert verifiers_reward(completion=CHAT, answer="72", **state) == 1.0
    assert verifiers_reward(WRONG, "72") == 0.0


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("3/4", "3/4"),
        (7, "7"),
        (0.5, "0.5"),
        (np.float64(0.5), "0.5"),
        (["1", 2], "1 || 2"),
        (np.array(["a", "b"]), "a || b"),
        ("First.\n#### 1,234", "1,234"),
        ("So \\boxed{\\frac12}.", "\\frac12"),
        ("\\boxed{", "\\boxed{"),
    ],
)
def test_gold_answers_are_taken_as_data_sets_have_them(gold, text):
    assert gold_text(gold) == text


@pytest.mark.parametrize("gold", [None, "", " ", True, {}, [], [None]])
def test_what_is_no_gold_answer_is_refused(gold):
    with pytest.raises(DataError, match="a gold answer is neither text nor a number"):
        gold_text(gold)


def test_a_response_is_text_or_what_the_last_message_says():
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert response_text([{"role": "user", "content": "x"}, {"content": parts}]) == "ab"
    for none in (None, [], [{}], 3):
        with pytest.raises(DataError, match="a response is neither text nor a list of messages"):
            response_text(none)
