"""verl's custom reward function: the grader of evaluation and of the local trainer."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from gainrl.config.evaluation import Sandbox
from gainrl.grading.graders import Grader, find
from gainrl.grading.maths import marks_once
from gainrl.grading.rewards import scored
from gainrl.training.verl.golds import read_gold


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Any = None,
    format_weight: float = 0.0,
    **_: Any,
) -> dict[str, Any]:
    """1 for a right answer, else 0, and the bonus for its format (`reward.custom_reward_function`).

    The prompt's id, what was taken for its answer and why it is right or wrong come back with a
    test's results; `acc` is without the bonus.

    Args:
        format_weight: `training.format_weight`, by verl's `reward_kwargs`.
    """
    if beside := extra_info.get("golds"):
        ground_truth = read_gold(beside, ground_truth)
    (found,) = _grader(extra_info["grader"])([solution_str], [ground_truth])
    _beat()
    given = scored(found)
    score = given["score"] + format_weight * marks_once(solution_str)
    return {**given, "score": score, "prompt": str(extra_info["id"])}


def _beat() -> None:
    """Tell the launcher's watchdog that a response is finished (`launch.BEATS`)."""
    if path := os.environ.get("GAINRL_HEARTBEAT"):
        Path(path).touch()


@lru_cache(maxsize=64)
def _grader(how: str) -> Grader:
    """One grader for each data set, in each of verl's reward workers."""
    wanted = json.loads(how)
    return find(wanted["name"], Sandbox(**wanted["sandbox"]), wanted.get("answer_in"))
