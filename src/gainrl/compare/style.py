"""How every figure looks: colours, canvas, lines with bands, and pictures with equal bytes."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gainrl.compare.statistics import FloatArray, mean_interval
from gainrl.config.statistics import Statistics
from gainrl.files import atomic_write

PathLike = str | os.PathLike[str]


class Look(NamedTuple):
    """How a method is drawn: colour (Okabe and Ito's colour-blind-safe set), dashes, marker."""

    color: str
    dashes: Any  # what matplotlib takes as a line style
    marker: str


LOOKS = {
    "grpo": Look("#4d4d4d", "-", "o"),
    "gain": Look("#0072B2", "-", "s"),
    "adarft": Look("#D55E00", (0, (5, 1.5)), "^"),
    "gain-length": Look("#009E73", (0, (3, 1, 1, 1)), "D"),
    "ppo": Look("#4d4d4d", (0, (2, 1)), "o"),
    "gain-ppo": Look("#0072B2", (0, (5, 1.5)), "s"),
}
"""Methods that look the same in every figure."""

SPARE_LOOKS = (
    Look("#CC79A7", (0, (1, 1)), "v"),
    Look("#E69F00", (0, (4, 1, 1, 1, 1, 1)), "P"),
    Look("#56B4E9", (0, (7, 2)), "X"),
    Look("#8C6D1F", (0, (2, 1)), "<"),
    Look("#5B3A8C", (0, (6, 1, 2, 1)), ">"),
)
"""For all other methods: colours in turn, with other dashes and markers when they come again."""

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "axes.labelcolor": "#222222",
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.size": 0,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}
WIDTH = 6.9
"""Inches: a full page's text width, and about a README's column at 200 dpi."""


def looks_of(methods: Iterable[str]) -> dict[str, Look]:
    """How each method is drawn: the same in all figures that are given the same methods first."""
    every = dict.fromkeys(methods)
    others, count = [name for name in every if name not in LOOKS], len(SPARE_LOOKS)
    looks = dict(LOOKS)
    for place, name in enumerate(others):
        turn = place // count
        parts = [SPARE_LOOKS[(place + k * turn) % count] for k in (0, 1, 2)]
        looks[name] = Look(parts[0].color, parts[1].dashes, parts[2].marker)
    return looks


def canvas(panels: int, columns: int, width: float, row: float) -> tuple[Figure, list[Axes]]:
    """A figure with room for the legend below, and its axes row by row."""
    rows = -(-panels // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.04)
    figure = Figure(figsize=(width, rows * row + 0.6), layout=layout)
    FigureCanvasAgg(figure)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in grid[panels:]:
        axis.remove()
    return figure, grid[:panels]


def within_seeds(curves: Sequence[FloatArray]) -> list[FloatArray]:
    """Curves of methods without what the runs of a seed have in common, for bands around them.

    Runs of a seed share the start model, so the levels of all methods move together, and bands with
    that in them say nothing of differences. At each test the seed's mean over methods is taken out,
    and what is left stretched by sqrt(m / (m - 1)) for m methods (Cousineau 2005,
    doi:10.20982/tqmp.01.1.p042; Morey 2008, doi:10.20982/tqmp.04.2.p061). Means over seeds stay.

    Args:
        curves: (seeds, tests) of each method, seeds in the same order.

    Returns:
        The same; of one method as they were.

    Raises:
        ValueError: methods have other numbers of seeds or tests.
    """
    if len(curves) < 2:
        return list(curves)
    stack = np.stack(curves)
    means = stack.mean(axis=1, keepdims=True)
    apart = stack - means
    left = apart - apart.mean(axis=0, keepdims=True)
    return list(means + math.sqrt(len(curves) / (len(curves) - 1)) * left)


def line(
    axis: Axes,
    steps: FloatArray,
    curves: FloatArray,
    look: Look,
    config: Statistics,
) -> None:
    """Mean of (seeds, steps) curves with its band; no band for one seed."""
    bands = [mean_interval(column, config.confidence) for column in curves.T]
    if len(curves) > 1:
        low, high = [band.low for band in bands], [band.high for band in bands]
        axis.fill_between(steps, low, high, color=look.color, alpha=0.14, linewidth=0)
    axis.plot(
        steps,
        [band.mean for band in bands],
        color=look.color,
        linestyle=look.dashes,
        marker=look.marker,
        markevery=max(1, len(steps) // 9),
        markersize=4.2,
        markeredgecolor="white",
        markeredgewidth=0.6,
    )
    axis.margins(x=0.015)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))


def percent() -> FuncFormatter:
    """Ticks of shares, in percent with as many digits as they need; the axis names the unit."""
    return FuncFormatter(lambda share, _: f"{100 * share:.4g}")


def save(figure: Figure, path_png: PathLike, path_pdf: PathLike) -> None:
    """Write both pictures atomically, without dates or versions in them."""
    plain = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
    for path, kind in ((path_png, "png"), (path_pdf, "pdf")):
        picture = io.BytesIO()
        figure.savefig(picture, format=kind, metadata=plain[kind])
        with atomic_write(path) as file:
            file.write(picture.getvalue())
