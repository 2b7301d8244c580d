"""All methods in one figure: curves over what was spent, differences and speed-ups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, PercentFormatter

from gainrl.compare.curves import Curve
from gainrl.compare.intervals import MOST, bar, even_line, ratio_axis
from gainrl.compare.style import STYLE, WIDTH, Look, line, looks_of, save
from gainrl.compare.summary import Against, Line, Summary

CURVES, LINE = 2.1, 0.17
"""Inches of a panel of curves; of a method in a panel of intervals."""
SPENT = {"steps": "steps", "tokens": "tokens"}


def draw(summary: Summary, path_png: Path) -> Figure:
    """Draw a comparison to a PNG and, beside it, a PDF.

    A column for each task. For steps and, where they were counted, tokens: the mean curves with
    their intervals, as they were (not smoothed); each method's difference to the baseline at
    equal cost; and its speed-up, which ends in an arrow where censored seeds leave it open.

    Returns:
        The figure: its axes are those kinds of panels, each task by task.

    Raises:
        DataError: a file cannot be written.
    """
    currencies = ["steps", *(["tokens"] if summary.has_tokens else [])]
    tasks = list(summary.tasks)
    methods = [line.method for line in summary.lines if line.task == tasks[0]]
    others = [method for method in methods if method != summary.baseline]
    looks = looks_of(methods)
    heights = [CURVES] * len(currencies) + [LINE * len(others) + 0.5] * 2 * len(currencies)
    with mpl.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(wspace=0.04)
        figure = Figure(figsize=(WIDTH, sum(heights) + 0.4), layout=layout)
        FigureCanvasAgg(figure)
        shape = (len(heights), len(tasks))
        axes = figure.subplots(*shape, squeeze=False, height_ratios=heights)
        for column, task in enumerate(tasks):
            panels = iter(axes[:, column])
            for currency in currencies:
                _curves(next(panels), summary, task, currency, looks)
            rows = [line for line in summary.lines if line.task == task and line.method in others]
            for currency in currencies:
                _differences(next(panels), summary, rows, currency, looks)
            for currency in currencies:
                _ratios(next(panels), summary, rows, currency, looks)
            axes[0][column].set_title(task, loc="left")
        for axis in axes[: len(currencies), 0]:
            axis.set_ylabel("Accuracy (%)" if summary.shares else "Accuracy")
        for axis in axes[len(currencies) :, 1:].flat:
            axis.set_yticklabels([])
        handles, names = axes[0][0].get_legend_handles_labels()
        columns = min(len(names), 5)
        figure.legend(handles, names, loc="outside lower center", ncols=columns, handlelength=2.6)
        save(figure, path_png, path_png.with_suffix(".pdf"))
    return figure


def _curves(
    axis: Axes, summary: Summary, task: str, currency: str, looks: Mapping[str, Look]
) -> None:
    for method, curves in summary.tasks[task].items():
        costs, accuracies = _on_one_grid(curves, currency)
        line(axis, costs, accuracies, looks[method], summary.how)
        axis.lines[-1].set_label(method)
    axis.set_xlabel(SPENT[currency].capitalize())
    if currency == "tokens":
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    if summary.shares:
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))


def _on_one_grid(curves: Sequence[Curve], currency: str) -> tuple[np.ndarray, np.ndarray]:
    """(n,) costs and (seeds, n) accuracies: where the first seed was tested, as far as all came."""
    tracks = [curve.track(currency) for curve in curves]
    first = max(track.costs[0] for track in tracks)
    last = min(track.costs[-1] for track in tracks)
    within = [cost for cost in tracks[0].costs if first < cost < last]
    grid = np.array(sorted({first, *within, last}))
    return grid, np.stack([np.interp(grid, *track) for track in tracks])


def _differences(
    axis: Axes, summary: Summary, rows: Sequence[Line], currency: str, looks: Mapping[str, Look]
) -> None:
    even_line(axis, 0.0)
    for y, row in enumerate(rows):
        found = _of(row, currency).difference
        assert found is not None
        numbers = {"low": found.low, "mean": found.mean, "high": found.high}
        bar(axis, y, numbers, looks[row.method], 100 if summary.shares else 1)
    _named(axis, rows)
    points = "points above" if summary.shares else "above"
    axis.set_xlabel(f"At equal {SPENT[currency]}: {points} {summary.baseline}")


def _ratios(
    axis: Axes, summary: Summary, rows: Sequence[Line], currency: str, looks: Mapping[str, Look]
) -> None:
    even_line(axis, 1.0)
    ratios = [(y, row.method, _of(row, currency).speed.ratio) for y, row in enumerate(rows)]
    ends = [end for _, _, ratio in ratios if ratio for end in (ratio.low, ratio.value, ratio.high)]
    powers = [abs(math.log2(end)) for end in ends if math.isfinite(end) and end > 0]
    most = min(MOST, 2.0 ** max(1, math.ceil(max(powers, default=1))))
    for y, method, ratio in ratios:
        if ratio:
            numbers = {"low": ratio.low, "mean": ratio.value, "high": ratio.high}
            bar(axis, y, numbers, looks[method], 1.0, (1 / most, most))
        else:
            axis.annotate("undefined", (1, y), (4, 0), textcoords="offset points", va="center")
    ratio_axis(axis, most)
    _named(axis, rows)
    axis.set_xlabel(f"Speed-up over {summary.baseline} in {SPENT[currency]}")


def _named(axis: Axes, rows: Sequence[Line]) -> None:
    axis.set_yticks(range(len(rows)), [row.method for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)


def _of(row: Line, currency: str) -> Against:
    found = row.tokens if currency == "tokens" else row.steps
    assert found is not None
    return found
