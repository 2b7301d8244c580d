"""The table of a simulation: what each method reaches in each regime, how fast, at what cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gainrl.compare.pairs import speed
from gainrl.compare.render import (
    Block,
    Caption,
    Heading,
    Paragraph,
    Table,
    Title,
    with_interval,
    write_views,
)
from gainrl.compare.statistics import mean_interval, paired_difference, smooth
from gainrl.config.preset import Statistics
from gainrl.records import write_text
from gainrl.results.runs import Group, Run
from gainrl.results.speed import BOUNDS, STEPS, TOKENS, Currency, Row, speed_rows_of
from gainrl.tables import columns
from gainrl.tables.rows import interval_row, single_row

COLUMNS = ["regime", "method", "metric", "mean", "low", "high", "n", "note", *BOUNDS]
HEADS = {
    "final_accuracy": "Final accuracy (%)",
    "difference_to_baseline": "Difference (points)",
    "steps_to_baseline": "Steps to baseline",
    "speedup": "Speed-up",
    "speedup_tokens": "Speed-up in tokens",
    "zero_variance_share": "Zero-variance groups (%)",
    "rollout_tokens": "Rollout tokens",
    "preparation_tokens": "Before RL (tokens)",
    "overhead_ms": "Overhead (ms a step)",
}
"""What stands above the columns of the table for people."""


@dataclass(frozen=True)
class RegimeRuns:
    """The runs of a regime. about: its line for people; preparation: rollout tokens by method."""

    group: Group
    about: str
    preparation: Mapping[str, int]


def simulation_table(
    regimes: Mapping[str, RegimeRuns], baseline: str, config: Statistics
) -> pd.DataFrame:
    """Summarise simulated runs in tidy form: a row for each regime, method and metric.

    Metrics, with [low, high] over n seeds: start_accuracy, final_accuracy (the simulation's test
    is exact, in [0, 1]), difference_to_baseline (paired by seed), steps_to_baseline,
    tokens_to_baseline, speedup and speedup_tokens as in an experiment's table but for the target,
    the baseline's final level of the same seed; rollout_tokens and zero_variance_share of the whole
    run, preparation_tokens (rollouts that measured difficulties, counted in no other metric) and
    overhead_ms (median milliseconds a step in the policy, on this machine).

    Args:
        regimes: name -> runs whose only benchmark is that name.

    Returns:
        The columns COLUMNS.
    """
    rows = []
    for name, cell in regimes.items():
        for method in cell.group:
            for row in _rows(cell, method, baseline, name, config):
                rows.append({"regime": name, "method": method, **row})
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(
    cell: RegimeRuns, method: str, baseline: str, name: str, config: Statistics
) -> Iterator[Row]:
    runs = cell.group[method]
    curves, base = ([run.curve(name) for run in cell.group[each]] for each in (method, baseline))

    def mean(metric: str, values: Sequence[float]) -> Row:
        return interval_row(metric, mean_interval(values, config.confidence), "")

    yield mean("start_accuracy", [curve[0] for curve in curves])
    yield mean("final_accuracy", [curve[-1] for curve in curves])
    if method != baseline:
        one, other = ([curve[-1] for curve in each] for each in (curves, base))
        found = paired_difference(one, other, config.confidence)
        yield interval_row("difference_to_baseline", found, "paired by seed")
    for currency in (STEPS, TOKENS):
        yield from _speed(cell.group, method, baseline, name, currency, config)
    yield mean("rollout_tokens", [float(run.steps["rollout_tokens"].sum()) for run in runs])
    yield mean("zero_variance_share", [float(run.steps["zero_variance"].mean()) for run in runs])
    yield single_row("preparation_tokens", cell.preparation[method], "rollouts before RL")
    yield mean("overhead_ms", [_overhead(run) for run in runs])


def _speed(
    group: Group, method: str, baseline: str, name: str, currency: Currency, config: Statistics
) -> Iterator[Row]:
    """Cost to the baseline's final level and, but for the baseline, the speed-up.

    The target is that of the same seed, whose pool is the same: a simulated test has no noise that
    a mean over seeds would have to take out, and half of the baseline's seeds would end below it.
    """
    targets = [float(smooth(run.curve(name), config.smoothing)[-1]) for run in group[baseline]]
    ours, theirs = currency.both(group, method, baseline, name, None)
    yield from speed_rows_of(speed(ours, theirs, config, targets), currency, method == baseline)


def _overhead(run: Run) -> float:
    return 1000 * float(run.timing["seconds_step"].median())


def write_simulation(
    frame: pd.DataFrame,
    regimes: Mapping[str, RegimeRuns],
    labels: Mapping[str, str],
    baseline: str,
    config: Statistics,
    path: Path,
    title: str,
) -> None:
    """Write the tidy CSV and, beside it as .md and .tex, a table of each regime; each atomically.

    Raises:
        DataError: a file cannot be written.
    """
    write_text(path, frame.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
    blocks: list[Block] = [Title(title)]
    for name, group in frame.groupby("regime", sort=False):
        seeds = len(next(iter(regimes[str(name)].group.values())))
        blocks += [Heading(f"{name} ({seeds} seeds)"), Paragraph(regimes[str(name)].about)]
        blocks.append(Table(_lines(group, labels)))
    blocks.append(Caption(_caption(labels.get(baseline, baseline), config)))
    write_views(path, blocks)


def _lines(group: pd.DataFrame, labels: Mapping[str, str]) -> list[list[str]]:
    records: list[dict[str, Any]] = [
        {str(key): value for key, value in row.items()} for row in group.to_dict("records")
    ]
    cells = {(row["method"], row["metric"]): row for row in records}
    lines = [["Method", *HEADS.values()]]
    for method in dict.fromkeys(group["method"]):
        found = [cells.get((method, metric)) for metric in HEADS]
        lines.append([labels.get(method, method), *map(shown, found)])
    return lines


def shown(row: dict[str, Any] | None) -> str:
    """A metric as a table prints it."""
    if row is not None and row["metric"] == "overhead_ms":
        return with_interval(row["mean"], math.nan, math.nan, ".2f", 1)
    if row is not None and row["metric"] == "preparation_tokens":
        return format(row["mean"], ",.0f")
    return columns.shown(row)


def _caption(baseline: str, config: Statistics) -> str:
    return (
        f"Simulated: no model was trained. [low, high] is the {config.confidence:.0%} interval "
        "over seeds (docs/statistics.md); of a parametric learner each seed has a pool of its own, "
        "the same for every method. Accuracy is expected, without the noise of a test. Steps: from "
        "which "
        f"the mean of the last {config.smoothing} steps' tests stays at or above {baseline}'s "
        "final level of the same seed, median over seeds; speed-ups are paired by seed, and a "
        "censored seed did not get there and is never dropped. Overhead: time in the policy alone, "
        "on the machine that simulated."
    )
