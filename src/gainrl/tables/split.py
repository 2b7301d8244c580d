"""Where an experiment's cost goes: what a step of each method costs, and how much of it teaches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gainrl.compare.render import Block, Caption, Heading, Table, Title, with_interval, write_views
from gainrl.compare.statistics import FloatArray, mean_interval
from gainrl.config.preset import Statistics
from gainrl.records import write_text
from gainrl.results.runs import Run, grouped
from gainrl.stages.common import Context
from gainrl.tables.facts import finished_runs

COLUMNS = ["model", "dataset", "method", "metric", "mean", "low", "high", "n"]
HEADS: dict[str, tuple[str, str, float]] = {
    "tokens_per_step": ("Rollout tokens a step", ",.0f", 1),
    "taught_share": ("Groups that teach (%)", ".1f", 100),
    "tokens_per_taught": ("Tokens a group that teaches", ",.0f", 1),
    "seconds_per_step": ("Seconds a step", ".3g", 1),
    "rollout_share": ("Rollouts (%)", ".1f", 100),
    "update_share": ("Update (%)", ".1f", 100),
    "curriculum_share": ("Curriculum (%)", ".2g", 100),
}
"""By metric: what stands above its column, how it is printed, and times what."""
CAPTION = (
    "Of whole runs: mean over seeds, with the {:.0%} interval by Student's t. A group teaches if "
    "its rollouts differ in reward; without variance its advantages are 0. Tokens a group that "
    "teaches: all rollout tokens over the number of such groups; “–” where a seed has none. "
    "Rollouts and update are shares of a step's seconds, and choosing prompts is part of them."
)


def make_split(context: Context, experiment: str, path: Path) -> None:
    """Write where an experiment's cost goes, as CSV with the views beside it."""
    preset = context.preset
    runs = finished_runs(context, experiment)
    frame = split_table(runs, preset.statistics)
    labels = {run.method: run.label for run in runs}
    write_split(frame, labels, preset.statistics, f"Where the cost goes: {experiment}", path)


def split_table(runs: Sequence[Run], config: Statistics) -> pd.DataFrame:
    """One row for each model, data set, method and metric of HEADS, over seeds.

    Returns:
        The columns COLUMNS; shares in [0, 1].

    Raises:
        DataError: methods with different seeds.
    """
    rows = [
        {"model": model, "dataset": dataset, "method": method, "metric": metric, **numbers}
        for (model, dataset), group in grouped(runs).items()
        for method, found in group.items()
        for metric, numbers in _metrics(found, config)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _metrics(runs: Sequence[Run], config: Statistics) -> Iterator[tuple[str, dict[str, Any]]]:
    per_run = [_of_run(run) for run in runs]
    for metric in HEADS:
        values = [found[metric] for found in per_run if metric in found]
        if len(values) == len(runs):
            most = 1.0 if metric.endswith("_share") else math.inf
            found = mean_interval(values, config.confidence, (0, most))
            yield metric, {name: getattr(found, name) for name in COLUMNS[-4:]}


def _of_run(run: Run) -> dict[str, float]:
    """What a run has of the metrics: not all have groups that teach, or time the curriculum."""
    steps, timing = run.steps, run.timing
    groups = _groups(run)
    taught = float((groups * (1 - steps["zero_variance"].to_numpy(float))).sum())
    tokens, seconds = float(steps["rollout_tokens"].sum()), float(timing["seconds_step"].sum())
    found = {
        "tokens_per_step": tokens / len(steps),
        "taught_share": taught / float(groups.sum()),
        "seconds_per_step": seconds / len(steps),
        "rollout_share": float(timing["seconds_rollout"].sum()) / seconds,
        "update_share": float(timing["seconds_train"].sum()) / seconds,
    }
    if taught > 0:
        found["tokens_per_taught"] = tokens / taught
    if "seconds_curriculum" in timing:
        found["curriculum_share"] = float(timing["seconds_curriculum"].sum()) / seconds
    return found


def _groups(run: Run) -> FloatArray:
    """(steps,) groups of a step; a policy that draws several times records how many."""
    if "groups" in run.steps:
        return run.steps["groups"].to_numpy(float)
    return np.full(len(run.steps), float(run.config["training"]["prompts"]))


def write_split(
    frame: pd.DataFrame, labels: Mapping[str, str], config: Statistics, title: str, path: Path
) -> None:
    """Write the tidy CSV and, beside it, a table for people; each atomically."""
    write_text(path, frame.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
    blocks: list[Block] = [Title(title)]
    for (model, dataset), group in frame.groupby(["model", "dataset"], sort=False):
        cells = {(row["method"], row["metric"]): row for row in group.to_dict("records")}
        lines = [["Method", *(head for head, _, _ in HEADS.values())]]
        for method in dict.fromkeys(group["method"]):
            shown = [
                with_interval(row["mean"], row["low"], row["high"], spec, scale) if row else "–"
                for metric, (_, spec, scale) in HEADS.items()
                for row in [cells.get((method, metric))]
            ]
            lines.append([labels.get(method, method), *shown])
        blocks += [Heading(f"{model}, trained on {dataset}"), Table(lines)]
    write_views(path, [*blocks, Caption(CAPTION.format(config.confidence))])
