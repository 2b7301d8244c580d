r"""The graders as reward functions of other people's trainers: 1 for a right answer, else 0.

verl: reward.custom_reward_function.path=pkg://gainrl.grading.rewards
      reward.custom_reward_function.name=compute_score
TRL: GRPOTrainer(reward_funcs=trl_reward, ...), with a column answer, solution or ground_truth
verifiers, and so prime-rl: Rubric(funcs=[verifiers_reward])

Gold answers may be worked solutions with '####' or \boxed; responses may be lists of messages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from gainrl.config.base import GRADERS
from gainrl.errors import DataError, nearest
from gainrl.grading.graders import Grader, find
from gainrl.grading.grades import Grade
from gainrl.grading.maths import ALTERNATIVES, extract

GOLDS = ("answer", "solution", "ground_truth", "gold", "target")
"""Columns in which TRL's data sets have the gold answer, the first that is there."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Any = None,
    grader: str = "maths",
    **_: Any,
) -> dict[str, Any]:
    """verl's custom reward function: the score, what was taken for the answer, and why.

    Args:
        data_source, extra_info: not looked at.
        solution_str: the response; ground_truth: the gold answer (`gold_text`).
        grader: maths, maths-tolerant (numbers may be 1e-4 apart) or code, by `reward_kwargs`.

    Raises:
        DataError: a gold answer that is none, or an unknown grader.
    """
    (found,) = grader_of(grader)([solution_str], [gold_text(ground_truth, grader)])
    return scored(found)


def scored(found: Grade) -> dict[str, Any]:
    """A grade as verl's reward loop takes it: no null, and the same keys for every response."""
    right = float(found.correct)
    shown = {"extracted": found.extracted or "", "reason": found.reason, "rule": found.rule or ""}
    return {"score": right, "acc": right, **shown}


def reward_of(column: str = "", grader: str = "maths") -> Callable[..., list[float]]:
    """A reward function for TRL's trainers, which give it lists.

    Args:
        column: of the data set, with gold answers; else the first of GOLDS that is there.
        grader: as for `compute_score`.

    Raises:
        DataError: when it is called: no such column, or as `compute_score`.
    """

    def reward(completions: Sequence[Any], **columns: Any) -> list[float]:
        golds = columns[_column(column, columns)]
        texts = [response_text(each) for each in completions]
        graded = grader_of(grader)(texts, [gold_text(gold, grader) for gold in golds])
        return [float(each.correct) for each in graded]

    reward.__name__ = f"{grader}_reward"
    return reward


def trl_reward(completions: Sequence[Any], **columns: Any) -> list[float]:
    """`reward_of` without arguments: a reward function for TRL's trainers."""
    return reward_of()(completions, **columns)


def verifiers_reward(completion: Any, answer: Any, **_: Any) -> float:
    """A reward function for a Rubric of verifiers, and so for prime-rl.

    Args:
        completion: the response, as text or messages; answer: the gold answer (`gold_text`).
    """
    (found,) = grader_of("maths")([response_text(completion)], [gold_text(answer)])
    return float(found.correct)


def response_text(response: Any) -> str:
    """The text of a response: itself, or what the last of its messages says.

    Raises:
        DataError: it is neither.
    """
    if isinstance(response, str):
        return response
    last = response[-1] if isinstance(response, Sequence) and response else None
    content = last.get("content") if isinstance(last, Mapping) else None
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):  # parts, of which texts count
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    raise DataError(f"a response is neither text nor a list of messages: {_short(response)}")


def gold_text(gold: Any, grader: str = "maths") -> str:
    r"""The gold answer as the grader takes it.

    Args:
        gold: a text or number; a list of them, any of which is right; a worked solution, of which
            what stands after '####' or in \boxed{} is taken. Of programs: tests (`encode`).
            A grader of one's own gets texts as they stand.

    Raises:
        DataError: it is none of these.
    """
    if hasattr(gold, "tolist"):  # an array or a number of numpy
        gold = gold.tolist()
    if isinstance(gold, list | tuple) and len(gold) > 1 and ":" in grader:
        raise DataError(
            f"a grader of one's own is given one text, and the gold answer is a list of "
            f"{len(gold)}: {_short(gold)}; write it as one text, which the function takes apart"
        )
    if isinstance(gold, list | tuple) and gold:
        if any(isinstance(each, list | tuple) for each in gold):
            raise DataError("a gold answer is a list in a list; a list has answers, any one right")
        return ALTERNATIVES.join(gold_text(each, grader) for each in gold)
    if isinstance(gold, int | float) and not isinstance(gold, bool) and math.isfinite(gold):
        return str(gold)
    if not isinstance(gold, str) or not gold.strip():
        raise DataError(f"a gold answer is neither text nor a number: {_short(gold)}")
    worked = grader.startswith("maths") and ("####" in gold or "\\boxed" in gold)
    return (extract(gold) if worked else None) or gold


@lru_cache(maxsize=len(GRADERS))
def grader_of(name: str) -> Grader:
    """The grader of a name.

    Raises:
        DataError: there is none.
    """
    if name not in GRADERS:
        raise DataError(f"no grader '{name}'{nearest(name, GRADERS)}")
    return find(name)


def _column(column: str, columns: Mapping[str, Any]) -> str:
    found = next((name for name in ([column] if column else GOLDS) if name in columns), None)
    if found is None:
        wanted = f"'{column}'" if column else " or ".join(f"'{name}'" for name in GOLDS)
        raise DataError(
            f"the data set has no column {wanted} with gold answers; it has "
            f"{', '.join(map(str, columns)) or 'none'}: reward_of('COLUMN') names one"
        )
    return found


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
