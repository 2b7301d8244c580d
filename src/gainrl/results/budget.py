"""What a method is worth at equal cost: its accuracy less the baseline's once both spent as much.

A speed-up is open wherever a run never reaches the baseline's level; this difference never is. The
budget of a seed is what both of its runs spent, so a method that spends less a step is held
against an earlier baseline, and one that spends more is held against it at an earlier step.
"""

from __future__ import annotations

from collections.abc import Iterator

from gainrl.compare.pairs import equal_difference
from gainrl.compare.statistics import Interval
from gainrl.config.preset import Statistics
from gainrl.results.runs import Group
from gainrl.results.speed import FLOPS, SECONDS, TOKENS, Currency


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
        found, budget = equal_difference(ours, theirs, config)
        note = f"paired by seed, at {format(budget, currency.spec)} {currency.cost} in the mean"
        yield equal_metric(currency), found, note
