"""All methods at a glance: how far each is from the baseline, and how much faster it gets there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from gainrl.compare.intervals import MOST, bar, even_line, ratio_axis
from gainrl.compare.style import STYLE, WIDTH, Look, PathLike, looks_of, save
from gainrl.errors import DataError
from gainrl.results.budget import equal_metric
from gainrl.results.speed import CURRENCIES, STEPS
from gainrl.stages.common import Context
from gainrl.tables.facts import made_table

DIFFERENCE = "difference_to_baseline"
SPENT = {"steps": "RL steps", "tokens": "Rollout tokens", "seconds": "Seconds", "flops": "FLOP"}
LINE = 0.17
"""Inches a method."""

Place = tuple[str, str, str]
Rows = Mapping[tuple[str, ...], pd.Series]


def make_speed_figure(context: Context, experiment: str, path: Path) -> None:
    """Draw all methods of an experiment, from its table, as PNG with PDF beside it.

    Raises:
        DataError: the table is missing.
    """
    frame, labels = made_table(context, experiment)
    chosen, looks = context.preset.experiments[experiment], looks_of(context.preset.methods)
    out = (path, path.with_suffix(".pdf"))
    figure_speed(frame, str(chosen.speed), chosen.baseline, labels, looks, *out)


def figure_speed(
    frame: pd.DataFrame,
    currency: str,
    baseline: str,
    labels: Mapping[str, str],
    looks: Mapping[str, Look],
    path_png: PathLike,
    path_pdf: PathLike,
) -> Figure:
    """Draw a line a method: its accuracy less the baseline's, and its speed-up.

    A column for each model, data set and benchmark. The difference is drawn twice: at the end, and
    at equal cost (gainrl.results.budget), unless what is counted are steps. Bars are the table's
    intervals. A speed-up that censored seeds leave open has no marker: its bar is what is known of
    it, and ends in an arrow where it is open. Where nothing is known, or the start model is already
    at the baseline's level, there is none.

    Args:
        frame: an experiment's table (`tables.table.COLUMNS`) with a method beside the baseline.
        currency: what the speed-up counts, a key of CURRENCIES.
        labels: names of methods for people; looks: as in the learning curves.

    Returns:
        The figure: its axes are the differences at the end, those at equal cost, then the
        speed-ups, each column by column.

    Raises:
        DataError: nothing to compare, or an unwritable path.
    """
    methods = [name for name in dict.fromkeys(frame["method"]) if name != baseline]
    if not methods:
        raise DataError("no methods to draw beside the baseline")
    counted, spent, named = CURRENCIES[currency], SPENT[currency], labels.get(baseline, baseline)
    panels = {DIFFERENCE: f"Final accuracy: points above {named}"}
    if counted is not STEPS:
        equal = f"Accuracy at equal {_within(spent)}: points above {named}"
        panels[equal_metric(counted)] = equal
    panels[counted.ratio] = f"{spent} to {named}'s level: speed-up"
    keys = ["model", "dataset", "benchmark"]
    shown = frame[frame["metric"] == DIFFERENCE]
    places: list[Place] = list(dict.fromkeys(shown[keys].itertuples(index=False, name=None)))
    rows = {metric: _rows(frame, metric, [*keys, "method"]) for metric in panels}
    most = _limit(rows[counted.ratio])
    with mpl.rc_context(STYLE):
        height = len(panels) * (LINE * len(methods) + 0.55)
        figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(wspace=0.04))
        FigureCanvasAgg(figure)
        shape = (len(panels), len(places))
        axes = figure.subplots(*shape, sharey=True, sharex="row", squeeze=False)
        for column, place in enumerate(places):
            *uppers, lower = axes[:, column]
            uppers[0].set_title(_title(place, places), loc="left")
            for upper, metric in zip(uppers, panels, strict=False):
                _lines(upper, rows[metric], place, methods, looks, 0.0, 100.0)
            _lines(lower, rows[counted.ratio], place, methods, looks, 1.0, 1.0, (1 / most, most))
            ratio_axis(lower, most, 7 if len(places) < 3 else 5)
        _same_limits([line[0] for line in axes[:-1]])
        axes[0][0].set_yticks(range(len(methods)), [labels.get(name, name) for name in methods])
        axes[0][0].set_ylim(len(methods) - 0.5, -0.5)
        for line, text in zip(axes, panels.values(), strict=True):
            line[(len(places) - 1) // 2].set_xlabel(text)
        save(figure, path_png, path_pdf)
    return figure


def _within(words: str) -> str:
    """Words as they stand within a sentence; an abbreviation stays as it is."""
    return words if words.isupper() else words[0].lower() + words[1:]


def _same_limits(axes: Sequence[Axes]) -> None:
    """Give panels of the same unit the same scale, so that they can be compared."""
    ends = [axis.get_xlim() for axis in axes]
    for axis in axes:
        axis.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))


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
    """What tells a column from the others; a model only where one data set has several."""
    model, dataset, benchmark = place
    pairs = {each[:2] for each in places}
    parts = [model] if len(pairs) > len({name for _, name in pairs}) else []
    parts += [dataset] if len({each[1] for each in places}) > 1 else []
    parts += [benchmark] if benchmark != dataset or not parts else []
    return ", ".join(parts)
