"""Graders of answers: mathematics by value, programs by their tests.

    grade("... so the answer is \\\\boxed{1/2}", "0.5").correct

The same graders as the pipeline's rewards and tests. What a name needs is imported when it is
first used; symbols are compared in processes of their own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gainrl.grading.graders import CodeGrader, Grader, MathsGrader
    from gainrl.grading.grades import Grade
    from gainrl.grading.maths import canonical, extract, grade, grade_many, marks_once
    from gainrl.grading.program_tests import CallTests, FunctionTests, StreamTests, encode
    from gainrl.grading.rewards import (
        compute_score,
        gold_text,
        grader_of,
        reward_of,
        trl_reward,
        verifiers_reward,
    )

__all__ = [
    "CallTests",
    "CodeGrader",
    "FunctionTests",
    "Grade",
    "Grader",
    "MathsGrader",
    "StreamTests",
    "canonical",
    "compute_score",
    "encode",
    "extract",
    "gold_text",
    "grade",
    "grade_many",
    "grader_of",
    "marks_once",
    "reward_of",
    "trl_reward",
    "verifiers_reward",
]

_HOMES = {
    "graders": ("CodeGrader", "Grader", "MathsGrader"),
    "grades": ("Grade",),
    "maths": ("canonical", "extract", "grade", "grade_many", "marks_once"),
    "program_tests": ("CallTests", "FunctionTests", "StreamTests", "encode"),
    "rewards": (
        *("compute_score", "gold_text", "grader_of", "reward_of", "trl_reward"),
        "verifiers_reward",
    ),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            found = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
