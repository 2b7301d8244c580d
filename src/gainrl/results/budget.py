"""What a method is worth at equal cost, its accuracy less the baseline's, and at equal accuracy.

A speed-up is open wherever a run never reaches the baseline's level; this difference never is. The
budget of a seed is what both of its runs spent, so a method that spends less a step is held
against an earlier baseline, and one that spends more is held against it at an earlier step. At
equal accuracy it is the ratio of what the two spend (`gainrl.compare.ratios`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gainrl.compare.pairs import equal_difference
from gainrl.compare.ratios import Ratio, equal_accuracy
from gainrl.compare.statistics import FloatArray, Interval, smooth
from gainrl.config.preset import Statistics
from gainrl.results.runs import Group, Run
from gainrl.results.speed import FLOPS, SECONDS, STEPS, TOKENS, Currency, no_target

ON_THE_WAY = {"quarter": 0.25, "half": 0.5}
"""Shares of the tokens at which methods are held against the baseline too."""
DECADE = 10.0
"""How many times its lower end the upper end of an area over log tokens is."""


@dataclass(frozen=True)
class Budget:
    """What every run of a model and data set has spent, by all methods and seeds.

    level: the least last cost of a curve of levels, which are means over tests and so are their
    costs; area: the least last cost of a run's tests.
    """

    level: float
    area: float

    @classmethod
    def of(cls, group: Group, config: Statistics) -> Budget:
        """That of a group's runs, in tokens."""
        costs = [TOKENS.at_tests(run, 0) for runs in group.values() for run in runs]
        return cls(
            min(float(smooth(each, config.smoothing)[-1]) for each in costs),
            min(float(each[-1]) for each in costs),
        )

    def levels(self, runs: Sequence[Run], benchmark: str, config: Statistics) -> list[float]:
        """Of each run, its level once it has spent that; on the line between two levels."""
        window = config.smoothing
        return [
            float(np.interp(self.level, smooth(costs, window), smooth(accuracies, window)))
            for costs, accuracies in TOKENS.tracks(runs, benchmark, None)
        ]

    def areas(self, runs: Sequence[Run], benchmark: str) -> list[float]:
        """Of each run, its mean accuracy over the logarithm of tokens, from a tenth of that on."""
        return [
            mean_over_log(costs, accuracies, self.area / DECADE, self.area)
            for costs, accuracies in TOKENS.tracks(runs, benchmark, None)
        ]


def mean_over_log(costs: FloatArray, accuracies: FloatArray, low: float, high: float) -> float:
    """Mean accuracy over the logarithm of cost: the area under that curve, over its width.

    The curve is on the line between two tests, in cost, and level before the first and after the
    last; the integral of a + b c over log c is a log c + b c.

    Args:
        costs, accuracies: (n,) what was spent before each test, increasing, and what it found.
        low, high: ends in the unit of the costs, 0 < low < high.

    Raises:
        ValueError: lengths differ, or low and high are not so.
    """
    if not 0 < low < high:
        raise ValueError(f"0 < low < high, not {low:g} and {high:g}")
    inside = costs[(costs > low) & (costs < high)]
    knots = np.concatenate([[low], inside, [high]])
    levels = np.interp(knots, costs, accuracies)
    slopes = np.diff(levels) / np.diff(knots)
    offsets = levels[:-1] - slopes * knots[:-1]
    area = (offsets * np.diff(np.log(knots)) + np.diff(levels)).sum()
    return float(area / math.log(high / low))


def equal_metric(currency: Currency) -> str:
    """Name of the metric, `difference_at_equal_tokens` of tokens."""
    return f"difference_at_equal_{currency.cost}"


def _read_at(budget: float, currency: Currency) -> str:
    """Where a difference at equal cost was read, in words."""
    return f"paired by seed, at {format(budget, currency.spec)} {currency.cost} in the mean"


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
        ours, theirs = currency.both(group, method, baseline, benchmark, parameters)
        found, budget = equal_difference(ours, theirs, config, from_start=True)
        yield equal_metric(currency), found, _read_at(budget, currency)
        if currency is TOKENS:
            for name, share in ON_THE_WAY.items():
                found, budget = equal_difference(ours, theirs, config, True, share)
                yield f"difference_at_{name}_tokens", found, _read_at(budget, currency)


def equal_accuracies(
    group: Group,
    method: str,
    baseline: str,
    benchmark: str,
    parameters: int | None,
    config: Statistics,
) -> Iterator[tuple[str, Ratio | None, str]]:
    """Metric, how many times as much the baseline spends, and note, in each currency.

    None where there is nothing to be cheaper at, and the note says why (`no_target`). Without
    `parameters` there is none in FLOP.
    """
    why = no_target(group[baseline], benchmark, config.smoothing)
    for currency in (STEPS, TOKENS, SECONDS, *([FLOPS] if parameters else [])):
        metric = f"equal_accuracy_{currency.cost}"
        if why is not None:
            yield metric, None, why
            continue
        ours, theirs = currency.both(group, method, baseline, benchmark, parameters)
        found = equal_accuracy(ours, theirs, config, from_start=True)
        yield metric, found, "times as much as the method spends; paired by seed"
