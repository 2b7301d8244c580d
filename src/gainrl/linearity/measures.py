"""How straight trajectories are: squared correlation with the RL step, filters, and a random walk.

A trajectory is one weight, or the log-probability of one token, at a run's K evenly spaced
snapshots. R^2 is Pearson's correlation with the step, squared. Published for RLVR
(arXiv:2601.04537) is R^2 of the trajectories that a filter on the size of their change keeps; here
it is of all that move at all, and of those that the filters keep, with the share that each leaves
out. A random walk, whose steps have no direction, has a high R^2 too; `Walks` says how high.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gainrl.compare.statistics import FloatArray

BINS = 100
"""Of a histogram of R^2, from 0 to 1."""
SMALLEST = 50
"""Weights of a tensor that are looked at, whatever the share."""
LEAST_RANGE, LEAST_DISTINCT = 1e-4, 4
"""Of a weight, in the published measurement: its largest value less its smallest; how many of its
values differ (the latter in the released code alone)."""
LEAST_CHANGE = 0.2
"""Of a log-probability from the first snapshot to the last, in nats, in the released code."""
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
OVER = (0.7, 0.9)
STRENGTH = {
    ("weights", "all"): None,
    ("weights", "range"): "range",
    ("weights", "released"): "range",
    ("tokens", "all"): None,
    ("tokens", "released"): "change",
}
"""What a selection goes by: nothing, the range of the values, or last value less first."""
_SAMPLE, _WALK = 41, 42  # whose draws

Selected = Mapping[str, FloatArray]
"""Selection -> (n,) R^2, NaN where the trajectory is constant or left out."""


def r_squared(steps: ArrayLike, values: ArrayLike) -> FloatArray:
    """Squared Pearson correlation of each trajectory with the step.

    Args:
        steps: (K,) RL steps, K > 1, not all the same.
        values: (K, n), a column a trajectory, in any unit.

    Returns:
        (n,) in [0, 1]; NaN where all K values are equal, which have no correlation.

    Raises:
        ValueError: the shapes do not fit.
    """
    at, table = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if at.ndim != 1 or table.ndim != 2 or len(at) != len(table) or len(at) < 2:
        raise ValueError(f"shapes do not fit: steps {at.shape}, values {table.shape}")
    x = at - at.mean()
    y = table - table[0]  # first, so that a small move of a large value keeps its digits
    constant = ~y.any(0)
    y -= y.mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (x @ y) ** 2 / ((x @ x) * np.einsum("kn,kn->n", y, y))
    return np.where(constant, np.nan, np.clip(found, 0, 1))


def distinct(values: FloatArray) -> NDArray[np.int64]:
    """How many different values each column of (K, n) has: (n,)."""
    return 1 + (np.diff(np.sort(values, axis=0), axis=0) != 0).sum(0)


def weight_r_squared(steps: ArrayLike, values: FloatArray, rounded: FloatArray) -> Selected:
    """R^2 of weights: of all that move, and of those that the published filters keep.

    Args:
        steps: (K,) RL steps.
        values: (K, n) weights as they were trained (fp32).
        rounded: the same in bf16, which the released code reads them in.

    Returns:
        'all': every weight that is not constant. 'range': whose range is over LEAST_RANGE.
        'released': R^2 of the rounded values, by their range and LEAST_DISTINCT.
    """
    every = r_squared(steps, values)
    moved, seen = np.ptp(values, axis=0), np.ptp(rounded, axis=0)
    released = (seen > LEAST_RANGE) & (distinct(rounded) >= LEAST_DISTINCT)
    return {
        "all": every,
        "range": np.where(moved > LEAST_RANGE, every, np.nan),
        "released": np.where(released, r_squared(steps, rounded), np.nan),
    }


def token_r_squared(steps: ArrayLike, values: FloatArray) -> Selected:
    """R^2 of log-probabilities, (K, n) in nats: of all, and of those that the released code keeps.

    'released': the last value is more than LEAST_CHANGE from the first. A trajectory that ends
    where it began has no trend, so this filter chooses by the result.
    """
    every = r_squared(steps, values)
    changed = np.abs(values[-1] - values[0]) > LEAST_CHANGE
    return {"all": every, "released": np.where(changed, every, np.nan)}


def sampled(size: int, share: float, seed: int, number: int) -> NDArray[np.int64]:
    """Which of a tensor's `size` weights are looked at: a share, but at least SMALLEST of them.

    number: of the tensor, so that each has draws of its own; the places are sorted.
    """
    count = min(size, max(SMALLEST, int(size * share)))
    if count == size:
        return np.arange(size)
    rng = np.random.default_rng([seed, _SAMPLE, number])
    return np.sort(rng.choice(size, count, replace=False))


# --- random walks --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Walks:
    """Random walks seen at as many points as a run has snapshots.

    r_squared: (n,) of each; range, change: (n,) largest value less smallest, and |last - first|, in
    standard deviations of an increment.
    """

    r_squared: FloatArray
    range: FloatArray
    change: FloatArray

    def median(self, strength: str | None, share: float) -> float:
        """Median R^2 of the `share` of the walks that are strongest ('range' or 'change').

        A filter that keeps what has moved most keeps straighter walks too: this is what it would
        give if all trajectories were walks with increments of one size.
        """
        if strength is None or share >= 1:
            return float(np.median(self.r_squared))
        measure = getattr(self, strength)
        return float(np.median(self.r_squared[measure >= np.quantile(measure, 1 - share)]))


def random_walks(points: int, count: int, seed: int) -> Walks:
    """`count` walks of points - 1 independent normal increments, beginning at 0.

    Their R^2 with time does not depend on the size of the increments, nor (but for few points) on
    their distribution, and does not fall to 0 with more points (Phillips 1986).
    """
    increments = np.random.default_rng([seed, _WALK]).normal(size=(points - 1, count))
    values = np.concatenate([np.zeros((1, count)), increments.cumsum(0)])
    change = np.abs(values[-1] - values[0])
    return Walks(r_squared(np.arange(points), values), np.ptp(values, axis=0), change)


# --- summaries -----------------------------------------------------------------------------------


def summary(
    r2: FloatArray, every: FloatArray, walks: Walks, strength: str | None
) -> dict[str, Any]:
    """The numbers of a row of records.LINEARITY.

    Args:
        r2: (n,) R^2 under a selection, NaN where left out.
        every: (n,) R^2 of the same trajectories without a selection, NaN where constant.
    """
    kept, moving = r2[~np.isnan(r2)], int((~np.isnan(every)).sum())
    row: dict[str, Any] = {
        "count": r2.size,
        "constant": r2.size - moving,
        "kept": kept.size,
        "histogram": np.histogram(kept, bins=BINS, range=(0, 1))[0].tolist(),
    }
    if not kept.size:
        return row | dict.fromkeys(
            ("mean", *QUANTILES, *(f"over_{level}" for level in OVER), "null_median"), np.nan
        )
    row |= dict(zip(QUANTILES, np.quantile(kept, list(QUANTILES.values())).tolist(), strict=True))
    row |= {f"over_{level}": float((kept > level).mean()) for level in OVER}
    row["mean"] = float(kept.mean())
    row["null_median"] = walks.median(strength, kept.size / moving)
    return row


def rows(
    part: str, groups: Mapping[tuple[str, str], Selected], walks: Walks
) -> list[dict[str, Any]]:
    """Rows of records.LINEARITY.

    Args:
        part: weights, tokens_start or tokens_last.
        groups: (grouping, group) -> R^2 of its trajectories by selection.
    """
    kind = part.partition("_")[0]
    return [
        {"part": part, "selection": selection, "grouping": grouping, "group": group}
        | summary(r2, selected["all"], walks, STRENGTH[kind, selection])
        for (grouping, group), selected in groups.items()
        for selection, r2 in selected.items()
    ]


def walk_row(walks: Walks) -> dict[str, Any]:
    """The row of the random walk."""
    names = {"part": "random_walk", "selection": "all", "grouping": "all", "group": "all"}
    return names | summary(walks.r_squared, walks.r_squared, walks, None)
