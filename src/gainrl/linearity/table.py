"""How straight runs move, and what extrapolating them gives, over seeds: table and text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gainrl.compare.render import Block, Caption, Heading, Table, Title, write_views
from gainrl.compare.statistics import ANY, SHARES, Interval, mean_interval
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.plan.results import AVERAGE
from gainrl.records import write_text

COLUMNS = [
    *("model", "dataset", "method", "part", "selection", "group", "metric"),
    *("mean", "low", "high", "n", "note"),
]
PARTS = {
    "weights": "Weights",
    "tokens_start": "Tokens of the start model's responses",
    "tokens_last": "Tokens of the last model's responses",
}
SELECTIONS = {"all": "all that move", "range": "range > 1e-4", "released": "released filter"}
WAYS = {"weights": "Weights extrapolated", "logits": "Logits extrapolated", "stay": "Stayed there"}
"""Models that stand for the one really trained."""
ALL = ("all", "all")


@dataclass(frozen=True, eq=False)
class Traced:
    """What was measured of one run: linearity.parquet as `frame`, linearity.json as `facts`."""

    model: str
    dataset: str
    method: str
    seed: int
    label: str
    frame: pd.DataFrame
    facts: Mapping[str, Any]

    def row(self, part: str, selection: str, at: tuple[str, str] = ALL) -> Mapping[str, Any]:
        """A row of records.LINEARITY.

        Raises:
            DataError: there is no such row.
        """
        frame = self.frame
        here = (frame["part"] == part) & (frame["selection"] == selection)
        found = frame[here & (frame["grouping"] == at[0]) & (frame["group"] == at[1])]
        if len(found) != 1:
            where = f"{self.model}/{self.dataset}/{self.method}/seed{self.seed}"
            raise DataError(f"{where}: linearity.parquet has no row {part}, {selection}, {at[1]}")
        return {str(name): value for name, value in found.iloc[0].items()}

    def groups(self, grouping: str) -> list[str]:
        """The groups of weights of a kind, in the order of the file."""
        frame = self.frame[self.frame["grouping"] == grouping]
        return list(dict.fromkeys(frame["group"]))

    @property
    def lines(self) -> list[Mapping[str, Any]]:
        """The extrapolations."""
        return list(self.facts["extrapolations"])


def line_label(line: Mapping[str, Any]) -> str:
    """How an extrapolation is called: its two steps and its target."""
    return f"{line['from']}, {line['to']} → {line['target']}"


def accuracy(line: Mapping[str, Any], way: str, benchmark: str) -> float:
    """Accuracy in [0, 1] of a way, or of 'trained'; AVERAGE weights benchmarks alike."""
    found = line["accuracy"][way]
    return float(np.mean(list(found.values()))) if benchmark == AVERAGE else found[benchmark]


def benchmarks_in(line: Mapping[str, Any]) -> list[str]:
    """The benchmarks and, if there are several, their average."""
    names = list(line["accuracy"]["trained"])
    return [*names, AVERAGE] if len(names) > 1 else names


def by_place(traced: Iterable[Traced]) -> dict[tuple[str, str, str], list[Traced]]:
    """Runs by model, data set and method, in the order given; seeds ascending."""
    groups: dict[tuple[str, str, str], list[Traced]] = {}
    for one in traced:
        groups.setdefault((one.model, one.dataset, one.method), []).append(one)
    return {at: sorted(found, key=lambda one: one.seed) for at, found in groups.items()}


def interval(
    values: Sequence[float | None], config: Statistics, within: tuple[float, float] = ANY
) -> Interval:
    """Mean over the seeds that have a value, with its interval; NaN if none has."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return Interval(math.nan, math.nan, math.nan, 0)
    return mean_interval(known, config.confidence, within)


# --- table ---------------------------------------------------------------------------------------


def linearity_table(traced: Sequence[Traced], config: Statistics) -> pd.DataFrame:
    """One row for each model, data set, method, part, selection, group and metric, over seeds.

    Returns:
        The columns COLUMNS. R^2 and shares are in [0, 1], weight_distance is relative to standing
        still, KL is in nats a token, accuracies are in [0, 1] and differences, paired by seed, in
        points. note: seeds without a value.
    """
    rows: list[dict[str, Any]] = []
    for (model, dataset, method), runs in by_place(traced).items():
        where = {"model": model, "dataset": dataset, "method": method}
        for names, metric, values in [*_straightness(runs), *_reached(runs)]:
            found = interval(values, config, _within(metric))
            numbers = {key: getattr(found, key) for key in ("mean", "low", "high", "n")}
            lost = len(runs) - found.n
            note = f"{lost} of {len(runs)} seeds have no value" if lost else ""
            told = dict(zip(("part", "selection", "group"), names, strict=True))
            rows.append({**where, **told, "metric": metric, **numbers, "note": note})
    return pd.DataFrame(rows, columns=COLUMNS)


def _within(metric: str) -> tuple[float, float]:
    """What the mean of a metric can be."""
    if metric.startswith(("r2_", "left_out", "constant", "accuracy/")):
        return SHARES
    return (0.0, math.inf) if metric in ("kl", "weight_distance") else ANY


Measured = tuple[tuple[str, str, str], str, Sequence[float | None]]
"""Part, selection and group; metric; a value a seed."""


def _straightness(runs: Sequence[Traced]) -> Iterable[Measured]:
    first = runs[0]
    pairs = list(zip(first.frame["part"], first.frame["selection"], strict=True))
    for part, selection in dict.fromkeys(pair for pair in pairs if pair[0] in PARTS):
        rows = [run.row(part, selection) for run in runs]
        for metric in ("median", "mean", "q05", "q95", "over_0.7", "over_0.9", "null_median"):
            yield (part, selection, "all"), f"r2_{metric}", [row[metric] for row in rows]
        left = [1 - row["kept"] / row["count"] for row in rows]
        yield (part, selection, "all"), "left_out", left
        if selection == "all":
            constant = [row["constant"] / row["count"] for row in rows]
            yield (part, selection, "all"), "constant", constant
    for grouping in ("module", "layer"):
        for group in first.groups(grouping):
            rows = [run.row("weights", "all", (grouping, group)) for run in runs]
            name = f"{grouping} {group}"
            yield ("weights", "all", name), "r2_median", [row["median"] for row in rows]
    row = first.row("random_walk", "all")
    yield ("random_walk", "all", "all"), "r2_median", [row["median"]] * len(runs)


def _reached(runs: Sequence[Traced]) -> Iterable[Measured]:
    for place, line in enumerate(runs[0].lines):
        lines, label = [run.lines[place] for run in runs], line_label(line)
        for metric in ("weight_distance", "cosine"):
            yield ("extrapolation", "weights", label), metric, [each[metric] for each in lines]
        for way in WAYS:
            values = [each["kl"][way] for each in lines]
            yield ("extrapolation", way, label), "kl", values
        for name in benchmarks_in(line):
            true = [accuracy(each, "trained", name) for each in lines]
            yield ("extrapolation", "trained", label), f"accuracy/{name}", true
            for way in WAYS:
                ours = [accuracy(each, way, name) for each in lines]
                yield ("extrapolation", way, label), f"accuracy/{name}", ours
                less = [100 * (one - other) for one, other in zip(ours, true, strict=True)]
                yield ("extrapolation", way, label), f"difference/{name}", less


# --- for people ----------------------------------------------------------------------------------

Cells = Mapping[tuple[str, str, str, str], Mapping[Any, Any]]


def write_linearity(
    table: pd.DataFrame, labels: Mapping[str, str], path: Path, title: str, config: Statistics
) -> None:
    """Write the CSV and, beside it as .md and .tex, the same for people; each atomically.

    Args:
        table: what `linearity_table` returned.
        labels: of methods, for people.
    """
    write_text(path, table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
    blocks: list[Block] = [Title(title)]
    for (model, dataset, method), group in table.groupby(
        ["model", "dataset", "method"], sort=False
    ):
        cells = {
            (row["part"], row["selection"], row["group"], row["metric"]): row
            for row in group.to_dict("records")
        }
        blocks.append(Heading(f"{labels.get(str(method), method)}, {model} on {dataset}"))
        blocks += [Table(_straight(cells)), Table(_grouped(cells))]
        if reached := _extrapolated(cells):
            blocks.append(Table(reached))
    seeds = int(table["n"].max()) if len(table) else 0
    blocks.append(Caption(_caption(seeds, config)))
    write_views(path, blocks)


def _caption(seeds: int, config: Statistics) -> str:
    return (
        f"n = {seeds} seeds; [low, high]: {config.confidence:.0%} interval of the mean over seeds "
        "by Student's t. R² is the squared correlation of a weight, or of a token's "
        "log-probability, with the RL step over evenly spaced snapshots; its median over "
        "trajectories is shown. "
        "'Left out' is the share that the filter does not look at (constant ones included). The "
        "random walk has as many points and independent increments; where a filter keeps the "
        "largest moves, so do its walks. Distance: |W − W'| over |W1 − W'| for weights W in place "
        "of the trained W', W1 being the second snapshot. KL: of the trained model to the one in "
        "its place, nats a token, on the trained run's own held-out responses."
    )


def _straight(cells: Cells) -> list[list[str]]:
    lines = [["R²", "Median", "Random walk", "Over 0.7 (%)", "Over 0.9 (%)", "Left out (%)"]]
    for part, selection in dict.fromkeys(key[:2] for key in cells if key[0] in PARTS):
        at = (part, selection, "all")
        lines.append(
            [
                f"{PARTS[part]}, {SELECTIONS[selection]}",
                shown(cells[*at, "r2_median"], ".3f"),
                shown(cells[*at, "r2_null_median"], ".3f", limits=False),
                *(shown(cells[*at, f"r2_over_{level}"], ".1f", 100) for level in (0.7, 0.9)),
                shown(cells[*at, "left_out"], ".1f", 100),
            ]
        )
    return lines


def _grouped(cells: Cells) -> list[list[str]]:
    lines = [["Weights, all that move", "Median R²"]]
    for part, _, group, metric in cells:
        if part == "weights" and metric == "r2_median" and group != "all":
            lines.append([group, shown(cells[part, "all", group, metric], ".3f")])
    return lines


def _extrapolated(cells: Cells) -> list[list[str]]:
    labels = list(dict.fromkeys(key[2] for key in cells if key[0] == "extrapolation"))
    if not labels:
        return []
    names = dict.fromkeys(
        key[3].partition("/")[2] for key in cells if key[3].startswith("accuracy/")
    )
    heads = [f"{name} (%)" for name in names] + [f"{name} less trained" for name in names]
    lines = [["Extrapolation", "Distance", "KL", *heads]]
    for label in labels:
        for way, title in {**WAYS, "trained": "Trained"}.items():
            at = ("extrapolation", way, label)
            apart = {"stay": "1", "trained": "0"}.get(way, "–")
            if way == "weights":
                apart = shown(cells[*at, "weight_distance"], ".3f")
            kl = "0" if way == "trained" else shown(cells[*at, "kl"], ".2g")
            shares = [shown(cells[*at, f"accuracy/{name}"], ".1f", 100) for name in names]
            less = [
                "" if way == "trained" else shown(cells[*at, f"difference/{name}"], "+.1f")
                for name in names
            ]
            lines.append([f"{label}: {title}", apart, kl, *shares, *less])
    return lines


def shown(row: Mapping[Any, Any], spec: str, scale: float = 1, limits: bool = True) -> str:
    """Mean and interval of a row, as a table prints them."""
    mean, low, high = (scale * row[key] for key in ("mean", "low", "high"))
    if math.isnan(mean):
        return "–"
    interval_ = f" [{low:{spec}}, {high:{spec}}]" if limits and not math.isnan(low) else ""
    return f"{mean:{spec}}{interval_}"
