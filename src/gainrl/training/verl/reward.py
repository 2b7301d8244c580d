"""verl's custom reward function: the grader of evaluation and of the local trainer."""

from __future__ import annotations

from typing import Any

from gainrl.grading.maths import grade


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **_: Any
) -> dict[str, Any]:
    """1 for a right answer, else 0 (`reward.custom_reward_function`).

    The prompt's id and what was taken for its answer come back with a test's results.
    """
    found = grade(solution_str, ground_truth)
    right = float(found.correct)
    shown = {"prompt": str(extra_info["id"]), "extracted": found.extracted or ""}
    return {"score": right, "acc": right, **shown}
