"""Mean lengths of responses that others have published, for models that nobody has measured here.

Only what can be cited. `level` orders data sets by how long their answers are: 0 for GSM8K, 1 for
MATH, 2 for competition problems and what is unknown; a model's answers to harder data are taken to
be no shorter.
"""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = {"gsm8k": 0, "math": 1, "math500": 1}
HARDEST = 2


@dataclass(frozen=True)
class Published:
    """Responses of a model of the hub before RL; low, high: tokens."""

    model: str
    level: int
    low: float
    high: float
    source: str


_TRL = "trl issue 6263 (median, GSM8K)"
PUBLISHED = (
    Published("Qwen/Qwen2.5-0.5B-Instruct", 0, 274, 274, _TRL),
    Published("Qwen/Qwen2.5-0.5B-Instruct", 2, 600, 700, "trl issue 5697 (DeepMath-103K)"),
    Published("Qwen/Qwen2.5-Math-1.5B-Instruct", 0, 315, 315, _TRL),
    Published(
        "Qwen/Qwen2.5-Math-7B-Instruct",
        1,
        385,
        385,
        "README of hiyouga/MathUtils (MATH-500: 5,299.80 tokens and 13.75 answers a second)",
    ),
    Published("Qwen/Qwen3-0.6B", 0, 248, 248, _TRL),
    Published(
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
        2,
        3500,
        5500,
        "report on DeepScaleR (8,192 allowed: 5,500 at first, 3,500 later)",
    ),
)

SHORTEST = (248.0, "trl issue 6263 (Qwen3-0.6B, GSM8K)")
"""Of instruction-tuned models that do not reason at length."""
LONGEST = (1267.0, "verl issue 7412 (Qwen3-4B-Instruct, DAPO-Math-17k)")
"""Of the same."""
PROGRAMS = (2.0, "rllm issue 77")
"""Answers with programs against mathematics, times."""
REASONING = (5500 / 8192, "report on DeepScaleR")
"""Mean over the limit, of a model that reasons at length; no higher share is published."""
CHANGE = (3500 / 5500, "report on DeepScaleR")
"""By how much RL changed a model's mean length, down; it is taken to be possible upwards too."""

LONGEST_OVER_MEAN = (963 / 288.698, "verl issue 2060 (GSM8K)")
"""Of the responses of a step; the least that is published where none was cut off."""


def published(model: str, level: int) -> tuple[float, float, str] | None:
    """Ends for a model of the hub on data of a level, and where they are from; None if unknown.

    Answers are no shorter than those to easier data, and no longer than those to harder.
    """
    rows = [each for each in PUBLISHED if each.model == model]
    if not rows:
        return None
    easier = [(each.low, each.source) for each in rows if each.level <= level]
    harder = [(each.high, each.source) for each in rows if each.level >= level]
    low, first = max(easier, default=SHORTEST)
    high, last = min(harder, default=LONGEST)
    return low, high, " and ".join(dict.fromkeys((first, last)))
