"""What an experiment's table says, in a line for each model and data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from gainrl.compare.ratios import ratio_text
from gainrl.compare.render import with_interval
from gainrl.plan.results import AVERAGE

HELD = (
    ("difference_at_equal_tokens", "at equal tokens"),
    ("difference_to_baseline", "at the end"),
)
"""Metrics that methods are held against the baseline by, the first that the table has."""
CHEAPER = "equal_accuracy_tokens"


def answers(
    frame: pd.DataFrame, baseline: str, labels: Mapping[str, str], experiment: str
) -> list[str]:
    """The baseline's final accuracy and each method's difference to it, in words.

    A method is better or worse where its interval leaves 0 out, and not told apart where it holds
    it; a difference that does not survive the control of false discoveries says so. Then how many
    times a method's tokens the baseline takes for the same accuracy. Of several benchmarks it is
    their average.

    Args:
        frame: the experiment's table (`tables.table.COLUMNS`).
        labels: of the methods, in the order of the answer.
    """
    return [
        f"{experiment}, {model} trained on {dataset}: {_place(group, baseline, labels)}"
        for (model, dataset), group in frame.groupby(["model", "dataset"], sort=False)
        if (group["metric"] == "final_accuracy").any()  # else it is about all tasks
    ]


def _place(group: pd.DataFrame, baseline: str, labels: Mapping[str, str]) -> str:
    finals = group[group["metric"] == "final_accuracy"]
    name = AVERAGE if (finals["benchmark"] == AVERAGE).any() else finals["benchmark"].iloc[-1]
    cells = {
        (row["method"], row["metric"]): row
        for row in group[group["benchmark"] == name].to_dict("records")
    }
    start = cells[baseline, "final_accuracy"]
    seeds = int(start["n"])
    level = with_interval(start["mean"], start["low"], start["high"], ".1f", 100)
    text = f"{labels[baseline]} ends at {level}% on {name} ({seeds} seed{'s' * (seeds != 1)})"
    metric, where = next(
        (each for each in HELD if any(key[1] == each[0] for key in cells)), (None, "")
    )
    others = {
        method: cells[method, metric]
        for method in labels
        if method != baseline and (method, metric) in cells
    }
    if not others:
        return text
    parts = [f"{labels[method]} {_held(row)}" for method, row in others.items()]
    ratios = {
        labels[method]: cells[method, CHEAPER] for method in others if (method, CHEAPER) in cells
    }
    return (
        f"{text}; {where}: {', '.join(parts)}{_resolved([*others.values()])}"
        f"{_cheaper(ratios, labels[baseline])}"
    )


def _cheaper(rows: Mapping[str, Mapping[Any, Any]], baseline: str) -> str:
    """How many times a method's tokens the baseline takes, or why that is not said."""
    if not rows:
        return ""
    first = next(iter(rows.values()))
    if math.isnan(first["mean"]):  # for a reason that lies in the baseline, the same for all
        return f". Tokens for the same accuracy are {first['note']}"
    parts = [
        f"{method} {ratio_text(row['mean'], row['low'], row['high'])}"
        for method, row in rows.items()
    ]
    return (
        f". Tokens for the same accuracy, {baseline}'s over the method's (above 1 it is faster): "
        f"{', '.join(parts)}"
    )


def _resolved(rows: Sequence[Mapping[Any, Any]]) -> str:
    """How sure it is, and what would make it surer."""
    halves = [(row["high"] - row["low"]) / 2 for row in rows if math.isfinite(row["low"])]
    if not any(halves):
        return ""
    return (
        f". Intervals are up to {100 * max(halves):.1f} points to either side; of four times as "
        "many seeds, half of that or less"
    )


def _held(row: Mapping[Any, Any]) -> str:
    points = with_interval(row["mean"], row["low"], row["high"], "+.1f", 100)
    if not (row["low"] > 0 or row["high"] < 0):
        return f"{points} points (not told apart)"
    doubt = "" if row.get("survives") != "no" else ", but not among so many comparisons"
    return f"{points} points ({'better' if row['low'] > 0 else 'worse'}{doubt})"
