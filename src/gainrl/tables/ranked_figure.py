"""Methods in the order of what they are worth at equal tokens: a dot and its interval each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from gainrl.compare.intervals import bar, even_line
from gainrl.compare.style import STYLE, WIDTH, Look, PathLike, canvas, save
from gainrl.errors import DataError
from gainrl.plan.results import AVERAGE
from gainrl.results.budget import equal_metric
from gainrl.results.speed import TOKENS
from gainrl.stages.common import Context
from gainrl.tables.facts import made_table

APART = Look("#0072B2", "-", "o")
"""Of a method whose difference survives the control of false discoveries."""
ALIKE = Look("#999999", "-", "o")
"""Of one that is not told apart from the baseline."""


def make_ranked_figure(context: Context, experiment: str, path: Path) -> None:
    """Draw the ranks of an experiment's methods, from its table, as PNG with PDF beside it.

    Raises:
        DataError: the table is missing.
    """
    frame, labels = made_table(context, experiment)
    baseline = context.preset.experiments[experiment].baseline
    figure_ranked(frame, baseline, labels, path, path.with_suffix(".pdf"))


def ranked(frame: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Rows of the difference at equal tokens by model and data set, the best method first.

    Of several benchmarks it is that of their average.
    """
    found = frame[frame["metric"] == equal_metric(TOKENS)]
    places = {}
    for (model, dataset), rows in found.groupby(["model", "dataset"], sort=False):
        several = (rows["benchmark"] == AVERAGE).any()
        shown = rows[rows["benchmark"] == (AVERAGE if several else rows["benchmark"].iloc[-1])]
        places[str(model), str(dataset)] = shown.sort_values("mean", ascending=False, kind="stable")
    return places


def figure_ranked(
    frame: pd.DataFrame,
    baseline: str,
    labels: Mapping[str, str],
    path_png: PathLike,
    path_pdf: PathLike,
) -> Figure:
    """Draw a panel for each model and data set: points above the baseline at equal tokens.

    Args:
        frame: an experiment's table (`tables.table.COLUMNS`) with a method beside the baseline.
        labels: names of methods for people.

    Returns:
        The figure, whose axes are the panels.

    Raises:
        DataError: nothing to compare, or an unwritable path.
    """
    places = ranked(frame)
    if not places:
        raise DataError("no methods to draw beside the baseline")
    several = len({model for model, _ in places}) > 1
    with mpl.rc_context(STYLE):
        most = max(map(len, places.values()))
        columns = min(len(places), 3)
        figure, axes = canvas(len(places), columns, WIDTH, 0.17 * most + 0.7)
        for axis, ((model, dataset), rows) in zip(axes, places.items(), strict=True):
            even_line(axis, 0.0)
            names = []
            for y, row in enumerate(rows.to_dict("records")):
                bar(axis, y, row, APART if row["survives"] == "yes" else ALIKE, 100.0)
                names.append(labels.get(row["method"], row["method"]))
            axis.set_yticks(range(len(names)), names)
            axis.set_ylim(len(names) - 0.5, -0.5)
            axis.set_title(f"{model}, {dataset}" if several else dataset, loc="left")
            axis.set_xlabel(f"Points above {labels.get(baseline, baseline)}")
        save(figure, path_png, path_pdf)
    return figure
