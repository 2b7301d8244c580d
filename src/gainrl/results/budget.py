"""What a method is worth at equal cost: its accuracy less the baseline's once both spent as much.

A speed-up is open wherever a run never reaches the baseline's level; this difference never is. The
budget of a seed is what both of its runs spent, so a method that spends less a step is held
against an earlier baseline, and one that spends more is held against it at an earlier step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gainrl.compare.pairs import equal_difference
from gainrl.compare.statistics import Interval, mean_over_log, smooth
from gainrl.config.preset import Statistics
from gainrl.results.runs import Group, Run
from gainrl.results.speed import FLOPS, SECONDS, TOKENS, Currency

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
        ours, theirs = (
            currency.tracks(group[name], benchmark, parameters) for name in (method, baseline)
        )
        found, budget = equal_difference(ours, theirs, config, from_start=True)
        note = f"paired by seed, at {format(budget, currency.spec)} {currency.cost} in the mean"
        yield equal_metric(currency), found, note
