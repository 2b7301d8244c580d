"""All methods of an experiment at a glance: how far each ends from the baseline, and how fast."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from gainrl.analysis.figures import STYLE, WIDTH, Look, PathLike, _save
from gainrl.analysis.intervals import MOST, bar, even_line, ratio_axis
from gainrl.analysis.speed import CURRENCIES
from gainrl.errors import DataError

DIFFERENCE = "difference_to_baseline"
SPENT = {"steps": "RL steps", "tokens": "Rollout tokens", "seconds": "Seconds", "flops": "FLOP"}
LINE = 0.17
"""Inches a method."""

Place = tuple[str, str, str]
Rows = Mapping[tuple[str, ...], pd.Series]


def figure_speed(
    frame: pd.DataFrame,
    currency: str,
    baseline: str,
    labels: Mapping[str, str],
    looks: Mapping[str, Look],
    path_png: PathLike,
    path_pdf: PathLike,
) -> Figure:
    """Draw a line a method: above its final accuracy less the baseline's, below its speed-up.

    A column for each model, data set and benchmark. Bars are the table's intervals. A speed-up that
    censored seeds leave open has no marker: its bar is what is known of it, and ends in an arrow
    where it is open. Where nothing is known, or the start model is already at the baseline's
    level, there is none.

    Args:
        frame: an experiment's table (analysis.tables.COLUMNS) with a method beside the baseline.
        currency: what the speed-up counts, a key of CURRENCIES.
        labels: names of methods for people; looks: as in the learning curves.

    Returns:
        The figure: its axes are first the differences, then the speed-ups, column by column.

    Raises:
        DataError: nothing to compare, or an unwritable path.
    """
    methods = [name for name in dict.fromkeys(frame["method"]) if name != baseline]
    if not methods:
        raise DataError("no methods to draw beside the baseline")
    ratio, spent = CURRENCIES[currency].ratio, SPENT[currency]
    keys = ["model", "dataset", "benchmark"]
    shown = frame[frame["metric"] == DIFFERENCE]
    places: list[Place] = list(dict.fromkeys(shown[keys].itertuples(index=False, name=None)))
    rows = {metric: _rows(frame, metric, [*keys, "method"]) for metric in (DIFFERENCE, ratio)}
    most = _limit(rows[ratio])
    named = labels.get(baseline, baseline)
    with mpl.rc_context(STYLE):
        height = 2 * (LINE * len(methods) + 0.55)
        figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(wspace=0.04))
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, len(places), sharey=True, sharex="row", squeeze=False)
        for column, place in enumerate(places):
            upper, lower = axes[0][column], axes[1][column]
            upper.set_title(_title(place, places), loc="left")
            _lines(upper, rows[DIFFERENCE], place, methods, looks, 0.0, 100.0)
            _lines(lower, rows[ratio], place, methods, looks, 1.0, 1.0, (1 / most, most))
            ratio_axis(lower, most, 7 if len(places) < 3 else 5)
        axes[0][0].set_yticks(range(len(methods)), [labels.get(name, name) for name in methods])
        axes[0][0].set_ylim(len(methods) - 0.5, -0.5)
        for line, text in zip(
            axes,
            (f"Final accuracy: points above {named}", f"{spent} to {named}'s level: speed-up"),
            strict=True,
        ):
            line[(len(places) - 1) // 2].set_xlabel(text)
        _save(figure, path_png, path_pdf)
    return figure


def _rows(frame: pd.DataFrame, metric: str, keys: list[str]) -> Rows:
    """The rows of a metric by the values of `keys`."""
    found = frame[frame["metric"] == metric]
    return {tuple(row[key] for key in keys): row for _, row in found.iterrows()}


def _lines(
    axis: Axes,
    rows: Rows,
    place: Place,
    methods: Sequence[str],
    looks: Mapping[str, Look],
    even: float,
    scale: float,
    limits: tuple[float, float] | None = None,
) -> None:
    """One panel; `even` is where a method does as well as the baseline."""
    even_line(axis, even)
    for y, method in enumerate(methods):
        if (*place, method) in rows:
            bar(axis, y, rows[(*place, method)], looks[method], scale, limits)


def _limit(ratios: Rows) -> float:
    """The least power of two, 2 to MOST, that no finite end of an interval lies beyond."""
    ends = [float(row[name]) for row in ratios.values() for name in ("low", "mean", "high")]
    powers = [abs(math.log2(end)) for end in ends if math.isfinite(end) and end > 0]
    return min(MOST, 2.0 ** max(1, math.ceil(max(powers, default=1))))


def _title(place: Place, places: Sequence[Place]) -> str:
    model, dataset, benchmark = place
    parts = [model] if len({each[0] for each in places}) > 1 else []
    parts += [dataset] if len({each[1] for each in places}) > 1 else []
    parts += [benchmark] if benchmark != dataset or not parts else []
    return ", ".join(parts)
