"""Whether a run can have learnt anything: signs with a light each, by rules that are fixed here.

A number of a run says nothing of a curriculum where the trainer had nothing to learn from. Red is
what makes a run's numbers meaningless, yellow what a reader must know of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Light = Literal["green", "yellow", "red"]
LIGHTS: tuple[Light, ...] = ("green", "yellow", "red")
Rows = Sequence[Mapping[str, Any]]

ZERO_VARIANCE = (0.7, 0.9)
"""Share of groups whose rewards are all equal, mean over steps, above which it is yellow, red."""
TRUNCATED = (0.2, 0.5)
"""Share of responses that were cut off, mean over the last quarter of the steps."""
ENTROPY = (0.25, 0.05)
"""Entropy of the last quarter over that of the first, below which it is yellow, red."""
KL = (0.5, 5.0)
"""Divergence from the reference in nats a token, mean over the last quarter."""
NOISE = 2.0
"""Standard errors of a test, between which two accuracies are not told apart."""


@dataclass(frozen=True)
class Sign:
    """One thing that was looked at, and what was seen."""

    name: str
    light: Light
    saw: str


def signs(steps: Rows, tests: Rows, planned: int | None = None) -> list[Sign]:
    """The signs of a run.

    Args:
        steps: rows of steps.jsonl (`StepRecord`), of at least one step.
        tests: rows of eval.jsonl (`TestRecord`), of the start model and of the last step.
        planned: `training.tests` of a run by tokens, which makes fewer where a step spends the
            tokens of several.

    Returns:
        In a fixed order; what was not recorded has no sign.
    """
    found = [_start(steps, tests), _learnt(tests)]
    variance = [row["zero_variance"] for row in steps]
    found.append(_above("zero-variance groups", float(np.mean(variance)), ZERO_VARIANCE, ".0%"))
    for name, key, bounds, spec in (
        ("truncated responses", "truncated", TRUNCATED, ".0%"),
        ("KL (nats a token)", "kl", KL, ".2g"),
    ):
        values = _values(steps, key)
        if values:
            found.append(_above(name, _mean(_last(values)), bounds, spec))
    if entropy := _values(steps, "entropy"):
        found.append(_entropy(entropy))
    if planned is not None:
        made = len({row["step"] for row in tests} - {0})
        found.append(Sign("tests", LIGHTS[made < planned], f"{made} of {planned}"))
    return found


def light(found: Sequence[Sign]) -> Light:
    """The worst of some signs."""
    return max((each.light for each in found), key=LIGHTS.index)


def reasons(found: Sequence[Sign]) -> str:
    """What is not green, in words; empty if all is."""
    ordered = sorted(found, key=lambda each: -LIGHTS.index(each.light))
    return "; ".join(f"{each.name}: {each.saw}" for each in ordered if each.light != "green")


def gained(before: Rows, after: Rows) -> tuple[float, float]:
    """How much more is solved after than before, and the standard error of that from the tests.

    Args:
        before, after: tests of one or more runs on the same benchmarks, each row with accuracy and
            problems. Samples of a problem count once, so the error is not too small.
    """
    pairs = [
        (float(np.mean([row["accuracy"] for row in rows])), sum(row["problems"] for row in rows))
        for rows in (before, after)
    ]
    (start, n), (end, m) = pairs
    # Agresti and Caffo (2000): a success and a failure more on either side, or 0 of n has no error.
    spread = 0.0
    for share, count in ((start, n), (end, m)):
        moved = (share * count + 1) / (count + 2)
        spread += moved * (1 - moved) / (count + 2)
    return end - start, math.sqrt(spread)


def learnt(before: Rows, after: Rows) -> bool:
    """Whether more is solved after than before, by more than NOISE standard errors."""
    gain, error = gained(before, after)
    return gain > NOISE * error


def _ends(tests: Rows) -> tuple[Rows, Rows]:
    """The rows of the start model, and of the last test."""
    last = max(row["step"] for row in tests)
    return [row for row in tests if row["step"] == 0], [row for row in tests if row["step"] == last]


def _start(steps: Rows, tests: Rows) -> Sign:
    before, _ = _ends(tests)
    solved = float(np.mean([row["accuracy"] for row in before]))
    rewarded = _mean(_first([row["accuracy"] for row in steps]))
    saw = f"{solved:.1%} solved by the start model, {rewarded:.1%} of the first rollouts"
    if solved == 0 and rewarded < 0.01:
        return Sign("start", "red", saw)
    return Sign("start", "yellow" if solved < 0.02 and rewarded < 0.02 else "green", saw)


def _learnt(tests: Rows) -> Sign:
    before, after = _ends(tests)
    gain, error = gained(before, after)
    saw = f"{100 * gain:+.1f} points from the start, standard error {100 * error:.1f}"
    if gain > NOISE * error:
        return Sign("learnt", "green", saw)
    return Sign("learnt", "red" if gain < -NOISE * error else "yellow", saw)


def _above(name: str, value: float, bounds: tuple[float, float], spec: str) -> Sign:
    over = sum(value > bound for bound in bounds)
    return Sign(name, LIGHTS[over], format(value, spec))


def _entropy(values: Sequence[float]) -> Sign:
    first, last = _mean(_first(values)), _mean(_last(values))
    if first <= 0:
        return Sign("entropy", "yellow", "0 from the first steps on")
    share = last / first
    return Sign(
        "entropy", LIGHTS[sum(share < bound for bound in ENTROPY)], f"{share:.0%} of the first"
    )


def _values(rows: Rows, key: str) -> list[float]:
    return [float(row[key]) for row in rows if row.get(key) is not None]


def _first(values: Sequence[float]) -> Sequence[float]:
    return values[: math.ceil(len(values) / 4)]


def _last(values: Sequence[float]) -> Sequence[float]:
    return values[-math.ceil(len(values) / 4) :]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
