"""What accuracies are counted in, and the cells that fit no unit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from gainrl.compare.curves import Curve, Point
from gainrl.errors import DataError

Unit = Literal["share", "percent", "own"]
FEW = 0.05
"""So many of all cells outside a range (or one) are taken for mistakes."""
PERCENT = 10.0
"""Values from 0 to 100 are percent if one is above this; else they may be rewards."""
APART = 20.0
"""Medians that differ by this factor are of runs in shares and of runs in percent."""
INSIST = "--any-value takes it as it is"


def unit_of(curves: Iterable[Curve]) -> Unit:
    """Whether all accuracies are shares in [0, 1], or percent, or neither."""
    every = np.concatenate([curve.accuracies for curve in curves])
    if every.min() >= 0 and every.max() <= 1:
        return "share"
    return "percent" if every.min() >= 0 and PERCENT < every.max() <= 100 else "own"


def check_units(points: Sequence[Point]) -> None:
    """Refuse accuracies of which some runs are shares and some percent, or a few of no range.

    Raises:
        DataError: naming the methods, or file and row.
    """
    _check_runs(points)
    for high in (1, 100):
        inside = [point.accuracy for point in points if 0 <= point.accuracy <= high]
        outside = [point for point in points if not 0 <= point.accuracy <= high]
        if not outside:
            return
        first, few = outside[0], len(outside) <= max(1, FEW * len(points))
        if high == 1:  # nothing between shares and percent: no reward jumps so
            apart = all(PERCENT < point.accuracy <= 100 for point in outside)
            few |= apart and 2 * len(outside) < len(points)
        if inside and few and (high == 1 or max(inside) > PERCENT):
            raise DataError(
                f"{first.where}: accuracy {first.accuracy:g} is outside [0, {high}], where "
                f"{len(inside)} of {len(points)} are; mend it, or {INSIST}"
            )


def _check_runs(points: Sequence[Point]) -> None:
    runs: dict[tuple[str, int, str], list[Point]] = {}
    for point in points:
        runs.setdefault((point.method, point.seed, point.task), []).append(point)
    shares, percent = [], []
    middles: tuple[list[float], list[float]] = [], []
    for run in runs.values():
        values = [point.accuracy for point in run]
        middle = float(np.median(values))
        if min(values) >= 0 and max(values) <= 1 and middle > 0:
            shares += run
            middles[0].append(middle)
        elif min(values) >= 0 and middle > 1 and max(values) <= 100:
            percent += run
            middles[1].append(middle)
    if not (shares and percent) or np.median(middles[1]) < APART * np.median(middles[0]):
        return
    few, unit, many, other = percent, "percent", shares, "shares"
    if len(few) > len(many):
        few, unit, many, other = many, other, few, unit
    raise DataError(
        f"{few[0].where}: the accuracies of {_named(few, many)} are {unit} {_ends(few)}, those of "
        f"{_named(many, few)} {other} {_ends(many)}; give all as shares or all in percent; {INSIST}"
    )


def _named(points: Sequence[Point], others: Sequence[Point]) -> str:
    """Their methods; the first run's, or 'the other runs', where a method is on both sides."""
    names = dict.fromkeys(point.method for point in points)
    if not names.keys() & {point.method for point in others}:
        return ", ".join(f"'{name}'" for name in names)
    first = points[0]
    few = len(points) <= len(others)
    return f"method '{first.method}', seed {first.seed}" if few else "the other runs"


def _ends(points: Sequence[Point]) -> str:
    values = [point.accuracy for point in points]
    return f"({min(values):.3g} to {max(values):.3g})"
