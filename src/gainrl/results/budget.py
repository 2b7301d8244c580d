"""What a method is worth at equal cost: its accuracy less the baseline's once both spent as much.

A speed-up is open wherever a run never reaches the baseline's level; this difference never is. The
budget of a seed is what both of its runs spent, so a method that spends less a step is held
against an earlier baseline, and one that spends more is held against it at an earlier step.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from gainrl.config.preset import Statistics
from gainrl.results.runs import Group
from gainrl.results.speed import FLOPS, SECONDS, TOKENS, Currency
from gainrl.results.statistics import Interval, paired_difference, smooth


def equal_metric(currency: Currency) -> str:
    """Name of the metric, `difference_at_equal_tokens` of tokens."""
    return f"difference_at_equal_{currency.cost}"


def equal_differences(
    group: Group,
    method: str,
    baseline: str,
    benchmark: str,
    parameters: int | None,
    config: Statistics,
) -> Iterator[tuple[str, Interval, str]]:
    """Metric, difference in shares, paired by seed, and note, in each currency.

    Without `parameters` there is none in FLOP.
    """
    for currency in (TOKENS, SECONDS, *([FLOPS] if parameters else [])):
        pairs = []
        for one, other in zip(group[method], group[baseline], strict=True):
            first, second = (
                (currency.at_tests(run, parameters or 0), run.curve(benchmark))
                for run in (one, other)
            )
            pairs.append(levels_at_equal_cost(first, second, config.smoothing))
        levels, base, budgets = np.transpose(pairs)
        rng = np.random.default_rng(config.seed)
        found = paired_difference(levels, base, rng, config.resamples, config.confidence)
        spent = format(budgets.mean(), currency.spec)
        note = f"paired by seed, at {spent} {currency.cost} in the mean"
        yield equal_metric(currency), found, note


def levels_at_equal_cost(
    one: tuple[ArrayLike, ArrayLike], other: tuple[ArrayLike, ArrayLike], window: int
) -> tuple[float, float, float]:
    """Levels of two runs at the most that both had spent, on the line between two tests.

    Costs are smoothed as accuracies are: a level is a mean over the tests in a window, and what it
    cost is the mean over the same tests. So the window delays neither run, however much faster than
    the other it spends.

    Args:
        one, other: (costs, accuracies) of a run's tests, each (n,): costs increase from 0, the
            start model; accuracies are in [0, 1].
        window: tests in the trailing mean (statistics.smooth).

    Returns:
        Level of the one, level of the other, and the budget in the unit of the costs.

    Raises:
        ValueError: as for `statistics.smooth`.
    """
    curves = [(smooth(costs, window), smooth(accuracy, window)) for costs, accuracy in (one, other)]
    budget = min(float(costs[-1]) for costs, _ in curves)
    first, second = (float(np.interp(budget, *curve)) for curve in curves)
    return first, second, budget
