"""In which regimes which curriculum pays: differences and speed-ups of simulated methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from gainrl.analysis.figures import STYLE, WIDTH, Look, PathLike, _save
from gainrl.errors import DataError

PANELS = (
    ("difference_to_baseline", "Final accuracy", "Points above {}", 100.0),
    ("speedup_tokens", "Rollout tokens to {}'s final level", "Speed-up over {}", 1.0),
)
"""Metric, title, axis, scale."""
LEAST, MOST = 1 / 16, 16.0
"""Limits of the axis of speed-ups; what lies beyond is drawn as an arrow."""
TICKS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16)


def figure_simulation(
    frame: pd.DataFrame,
    baseline: str,
    labels: Mapping[str, str],
    looks: Mapping[str, Look],
    path_png: PathLike,
    path_pdf: PathLike,
) -> Figure:
    """Draw a line a regime: each method's difference to the baseline and speed-up in tokens.

    Bars are the table's intervals. A speed-up that censored seeds leave open has no marker; its bar
    is what is known of it, and ends in an arrow where it is open.

    Args:
        frame: what `simulation_table` returned, with at least one method beside the baseline.
        labels: names of methods for people; looks: as in the learning curves.

    Raises:
        DataError: nothing to compare, or an unwritable path.
    """
    methods = [name for name in dict.fromkeys(frame["method"]) if name != baseline]
    regimes = list(dict.fromkeys(frame["regime"]))
    if not methods:
        raise DataError("no methods to draw beside the baseline")
    named = labels.get(baseline, baseline)
    with mpl.rc_context(STYLE):
        height = 1.2 + len(regimes) * (0.1 * len(methods) + 0.1)
        figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(wspace=0.04))
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (metric, title, unit, scale) in zip(axes, PANELS, strict=True):
            axis.axvline(0 if scale > 1 else 1, color="#999999", linewidth=0.8)
            rows = frame[frame["metric"] == metric].set_index(["regime", "method"])
            for place, regime in enumerate(regimes):
                for turn, method in enumerate(methods):
                    y = place + (turn - (len(methods) - 1) / 2) * 0.8 / len(methods)
                    if (regime, method) in rows.index:
                        _bar(axis, y, rows.loc[(regime, method)], looks[method], scale)
            axis.set_title(title.format(named), loc="left")
            axis.set_xlabel(unit.format(named))
            axis.grid(visible=False, axis="y")
            axis.grid(visible=True, axis="x")
        _ratios(axes[1])
        axes[0].set_yticks(range(len(regimes)), regimes)
        axes[0].set_ylim(len(regimes) - 0.5, -0.5)
        _legend(figure, methods, labels, looks)
        _save(figure, path_png, path_pdf)
    return figure


def _bar(axis: Axes, y: float, row: pd.Series, look: Look, scale: float) -> None:
    """One interval, its value if it has one, and arrows where it goes on."""
    low, value, high = (scale * float(row[name]) for name in ("low", "mean", "high"))
    clipped = scale == 1.0
    if not math.isnan(low):
        ends = [max(low, LEAST), min(high, MOST)] if clipped else [low, high]
        axis.plot(ends, [y, y], color=look.color, linewidth=1.2, solid_capstyle="butt")
        if clipped and low < LEAST:
            axis.plot([LEAST], [y], marker="<", color=look.color, markersize=4, clip_on=False)
        if clipped and high > MOST:
            axis.plot([MOST], [y], marker=">", color=look.color, markersize=4, clip_on=False)
    if not math.isnan(value) and (not clipped or LEAST <= value <= MOST):
        axis.plot([value], [y], marker=look.marker, color=look.color, markersize=4.4,
                  markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip


def _ratios(axis: Axes) -> None:
    axis.set_xscale("log")
    axis.set_xlim(LEAST, MOST)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_formatter(NullFormatter())
    shown = [f"{tick:g}×" if tick >= 1 else f"1/{1 / tick:g}" for tick in TICKS]
    axis.set_xticks(TICKS, shown)


def _legend(
    figure: Figure, methods: Sequence[str], labels: Mapping[str, str], looks: Mapping[str, Look]
) -> None:
    handles = [
        Line2D([], [], color=looks[name].color, marker=looks[name].marker, ms=4.6, mec="white")
        for name in methods
    ]
    named = [labels.get(name, name) for name in methods]
    figure.legend(handles, named, loc="outside lower center", ncols=min(len(methods), 5))
