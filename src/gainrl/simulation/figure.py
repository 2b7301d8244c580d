"""In which regimes which curriculum pays: differences and speed-ups of simulated methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from gainrl.compare.intervals import MOST, bar, even_line, ratio_axis
from gainrl.compare.style import STYLE, WIDTH, Look, PathLike, save
from gainrl.errors import DataError

RATIO = "speedup_tokens"
PANELS = (
    ("difference_to_baseline", "Final accuracy", "Points above {}", 100.0),
    (RATIO, "Rollout tokens to {}'s final level", "Speed-up over {}", 1.0),
)
"""Metric, title, axis, scale."""


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
            even_line(axis, 1 if metric == RATIO else 0)
            rows = frame[frame["metric"] == metric].set_index(["regime", "method"])
            for place, regime in enumerate(regimes):
                for turn, method in enumerate(methods):
                    y = place + (turn - (len(methods) - 1) / 2) * 0.8 / len(methods)
                    if (regime, method) in rows.index:
                        limits = (1 / MOST, MOST) if metric == RATIO else None
                        bar(axis, y, rows.loc[(regime, method)], looks[method], scale, limits)
            axis.set_title(title.format(named), loc="left")
            axis.set_xlabel(unit.format(named))
        ratio_axis(axes[1], MOST)
        axes[0].set_yticks(range(len(regimes)), regimes)
        axes[0].set_ylim(len(regimes) - 0.5, -0.5)
        _legend(figure, methods, labels, looks)
        save(figure, path_png, path_pdf)
    return figure


def _legend(
    figure: Figure, methods: Sequence[str], labels: Mapping[str, str], looks: Mapping[str, Look]
) -> None:
    handles = [
        Line2D([], [], color=looks[name].color, marker=looks[name].marker, ms=4.6, mec="white")
        for name in methods
    ]
    named = [labels.get(name, name) for name in methods]
    figure.legend(handles, named, loc="outside lower center", ncols=min(len(methods), 5))
