"""Columns of an experiment's table for people: which there are, and how their cells are printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from gainrl.compare.ratios import ratio_text
from gainrl.compare.render import with_interval
from gainrl.config.experiments import Column
from gainrl.plan.results import AVERAGE
from gainrl.results.speed import median_text
from gainrl.tables.rows import WHOLE_RUN

_WHOLE: dict[str, tuple[str, str]] = {
    "tokens": ("Rollout tokens", "rollout_tokens"),
    "flops": ("FLOP", "flops"),
    "seconds": ("Training (s)", "seconds"),
    "preparation": ("Preparation (s)", "preparation_seconds"),
    "zero_variance": ("Zero-variance groups (%)", "zero_variance_share"),
    "overhead": ("Curriculum (% of training)", "overhead_share"),
}
_OF_MAIN: dict[str, tuple[str, str]] = {
    "at_tokens": ("At equal tokens (%)", "accuracy_at_equal_tokens"),
    "area": ("Area over log tokens (%)", "area_over_log_tokens"),
    "area_difference": ("Area (points)", "difference_in_area"),
    "difference": ("Difference (points)", "difference_to_baseline"),
    "steps": ("Steps to baseline", "steps_to_baseline"),
    "speedup": ("Speed-up", "speedup"),
    "speedup_tokens": ("Speed-up in tokens", "speedup_tokens"),
    "speedup_seconds": ("Speed-up in seconds", "speedup_seconds"),
    "speedup_flops": ("Speed-up in FLOP", "speedup_flops"),
    "equal_tokens": ("At equal tokens (points)", "difference_at_equal_tokens"),
    "equal_seconds": ("At equal seconds (points)", "difference_at_equal_seconds"),
    "equal_flops": ("At equal FLOP (points)", "difference_at_equal_flops"),
    "equal_accuracy_steps": ("Fewer steps at equal accuracy", "equal_accuracy_steps"),
    "equal_accuracy_tokens": ("Fewer tokens at equal accuracy", "equal_accuracy_tokens"),
    "equal_accuracy_seconds": ("Fewer seconds at equal accuracy", "equal_accuracy_seconds"),
    "equal_accuracy_flops": ("Fewer FLOP at equal accuracy", "equal_accuracy_flops"),
}
"""By name of the preset's `columns`: what stands above a column, and the metric below."""
_ACCURACIES = ("final_accuracy", "accuracy_at_equal_tokens")
"""Of which the start model has its own."""
SURVIVES = "†"
"""What marks a difference that survives the control of false discoveries."""


def all_tasks(group: pd.DataFrame, labels: dict[str, str], baseline: str) -> list[list[str]]:
    """Header and one line a method of the rows about all tasks; `baseline` is a label."""
    cells = {(row["method"], row["metric"]): row for row in _records(group)}
    improved = f"Probability of improvement over {baseline} (%)"
    lines = [["Method", "Interquartile mean (%)", improved]]
    for method in dict.fromkeys(group["method"]):
        found = [
            shown(cells.get((method, metric)))
            for metric in ("interquartile_mean", "probability_of_improvement")
        ]
        lines.append([labels.get(method, method), *found])
    return lines


def by_method(
    group: pd.DataFrame, columns: Sequence[Column], labels: dict[str, str]
) -> list[list[str]]:
    """Header and one line a method of one model and data set.

    Accuracies are in percent, differences in points; the first line is the start model's.
    """
    cells = {(row["method"], row["benchmark"], row["metric"]): row for row in _records(group)}
    heads = [head for name in columns for head in _heads(name, group)]
    starts = group[group["metric"] == "start_accuracy"].drop_duplicates("benchmark")
    start = dict(zip(starts["benchmark"], starts["mean"], strict=True))
    first = [
        f"{100 * start[name]:.1f}" if metric in _ACCURACIES else "–" for _, name, metric in heads
    ]
    lines = [["Method", *(head for head, _, _ in heads)], ["Start model", *first]]
    for method in dict.fromkeys(group["method"]):
        found = [(cells.get((method, name, metric)), metric) for _, name, metric in heads]
        texts = [shown(row) for row, _ in found]
        for place, (row, metric) in enumerate(found):
            if row and metric == "preparation_seconds":
                share = cells[method, WHOLE_RUN, "preparation_share"]["mean"]
                texts[place] += f" ({100 * share:.1f}% of training)"
        lines.append([labels.get(method, method), *texts])
    return lines


def _records(group: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in group.to_dict("records")]


def main_benchmark(group: pd.DataFrame) -> str:
    """What methods of one model and data set are compared on: the average of several benchmarks."""
    tested = [name for name in dict.fromkeys(group["benchmark"]) if name != WHOLE_RUN]
    return AVERAGE if AVERAGE in tested else str(tested[0])


def _heads(column: Column, group: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(head, benchmark, metric) of each column that a name of the preset stands for."""
    tested = [name for name in dict.fromkeys(group["benchmark"]) if name != WHOLE_RUN]
    if column == "final":
        return [(f"{name} (%)", name, "final_accuracy") for name in tested]
    if column in _OF_MAIN:
        head, metric = _OF_MAIN[column]
        return [(head, main_benchmark(group), metric)]
    if column in _WHOLE:
        head, metric = _WHOLE[column]
        return [(head, WHOLE_RUN, metric)]
    found = []
    for metric, unit in (("published_accuracy", "%"), ("published_steps", "steps")):
        for name in tested:
            rows = group[(group["benchmark"] == name) & (group["metric"] == metric)]
            if len(rows):
                differing = rows["differences"].map(len).any()
                said = f"{unit}, not comparable" if differing else unit
                found.append((f"Paper: {name} ({said})", name, metric))
    return found


_SPECS = {"rollout_tokens": ",.0f", "flops": ".2e", "published_steps": ".0f"}
"""How the numbers of a metric are printed; of another one in percent."""


def shown(row: dict[str, Any] | None) -> str:
    """A number as a table prints it, with its interval if it has one."""
    if row is None:
        return "–"
    metric, mean, low, high = (row[name] for name in ("metric", "mean", "low", "high"))
    if metric.startswith("difference_"):
        mark = SURVIVES if row.get("survives") == "yes" else ""
        return with_interval(mean, low, high, "+.1f", 100) + mark
    if metric.endswith("_to_baseline"):
        return median_text(row)
    if metric.startswith("speedup"):
        return median_text(row)
    if metric.startswith("equal_accuracy"):
        return "undefined" if math.isnan(mean) else ratio_text(mean, low, high)
    if metric in _SPECS:
        return with_interval(mean, low, high, _SPECS[metric], 1)
    if metric in ("seconds", "preparation_seconds"):
        return with_interval(mean, low, high, ",.0f" if mean >= 100 else ".1f", 1)
    if metric == "overhead_share":
        return with_interval(mean, low, high, ".2g", 100)
    return with_interval(mean, low, high, ".1f", 100)
