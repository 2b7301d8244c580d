"""Learning curves and what the curricula did, as vector PDF and PNG with equal bytes every time."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gainrl.analysis.runs import Group, Run, grouped
from gainrl.analysis.statistics import FloatArray, bootstrap_interval, smooth, target_accuracy
from gainrl.analysis.tables import check_baseline, seed_counts
from gainrl.config import Statistics
from gainrl.errors import DataError
from gainrl.records import atomic_write

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


def figure7(
    runs: Sequence[Run],
    statistics_config: Statistics,
    path_png: PathLike,
    path_pdf: PathLike,
    baseline: str = "grpo",
    methods: Sequence[str] = (),
) -> Figure:
    """Draw test accuracy over RL steps, a panel for each model, data set and benchmark.

    Lines are means over seeds of the tests as they were (not smoothed), bands the bootstrap
    interval of that mean. The dashed level is the target of Table 1: the baseline's last
    `smoothing` tests, averaged.

    Args:
        runs: what `collect` returned.
        statistics_config: resamples, confidence and seed of the bands; smoothing of the level.
        path_png: where the 200 dpi picture goes.
        path_pdf: where the vector picture goes.
        baseline: method whose final accuracy is the dashed level.
        methods: all methods of the preset, so that each has its colour in every figure.

    Returns:
        The figure, whose axes are the panels in the order of the runs.

    Raises:
        DataError: no runs, a group without the baseline, unequal seeds, or an unwritable path.
    """
    groups = grouped(_some(runs))
    panels: list[tuple[tuple[str, str], Group, str]] = []
    for at, group in groups.items():
        check_baseline(group, baseline, "/".join(at))
        panels.extend((at, group, name) for name in group[baseline][0].measures)
    looks = looks_of(runs, methods)
    with mpl.rc_context(STYLE):
        columns = min(len(panels), 3)
        figure, axes = _canvas(len(panels), columns, 5.2 if columns == 1 else WIDTH, 2.5)
        for place, (axis, (at, group, name)) in enumerate(zip(axes, panels, strict=True)):
            level = target_accuracy(
                [run.curve(name) for run in group[baseline]], statistics_config.smoothing
            )
            axis.axhline(level, color=looks[baseline].color, linestyle=(0, (2, 2)), linewidth=1)
            for method, found in group.items():
                curves = np.stack([run.curve(name) for run in found])
                steps = found[0].evaluated
                _line(axis, steps, curves, looks[method], statistics_config)
            _start(axis, np.mean([run.curve(name)[0] for found in group.values() for run in found]))
            axis.set_title(_panel_title(at, name, len(groups) > 1), loc="left")
            axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
            axis.set_xlabel("RL steps")
            if place % columns == 0:
                axis.set_ylabel("Test accuracy (%)")
        level_key = Line2D([], [], color=looks[baseline].color, ls=(0, (2, 2)), lw=1)
        start_key = Line2D([], [], color="#222222", marker="o", mfc="white", ls="none", ms=5)
        window = statistics_config.smoothing
        tests = f"last {window} tests" if window > 1 else "last test"
        extra = {f"{_label_of(runs, baseline)}, {tests}": level_key, "Start model": start_key}
        _legend(figure, runs, looks, _bands(runs, statistics_config), extra)
        _save(figure, path_png, path_pdf)
    return figure


class Quantity(NamedTuple):
    """A column of steps.jsonl and how its panel reads."""

    column: str
    title: str
    unit: str
    share: bool
    smoothed: bool


QUANTITIES = (
    Quantity("accuracy", "Accuracy on the batch", "Accuracy (%)", True, True),
    Quantity("signal", "Angle signal of the batch", "Mean C (dimensionless)", False, True),
    Quantity("zero_variance", "Zero-variance groups", "Share of groups (%)", True, True),
    Quantity("curriculum/mu", "Centre of sampling", "μ (rank)", False, False),
)


def figure_curriculum(
    runs: Sequence[Run],
    statistics_config: Statistics,
    path_png: PathLike,
    path_pdf: PathLike,
    methods: Sequence[str] = (),
) -> Figure:
    """Draw what each curriculum chose: batch accuracy, C, zero-variance share and mu over steps.

    Four panels for each model and data set, in the order of QUANTITIES. Lines are means over
    seeds, bands the bootstrap interval; all but mu are trailing means over `smoothing` steps. A
    method is left out of a panel where it logged nothing (GRPO has no mu), and a panel says so if
    no method did.

    Args:
        runs: what `collect` returned.
        statistics_config: resamples, confidence and seed of the bands; smoothing of the lines.
        path_png: where the 200 dpi picture goes.
        path_pdf: where the vector picture goes.
        methods: as for `figure7`.

    Returns:
        The figure, whose axes are the panels.

    Raises:
        DataError: no runs, unequal seeds, or an unwritable path.
    """
    groups = grouped(_some(runs))
    looks = looks_of(runs, methods)
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(len(groups) * len(QUANTITIES), 2, WIDTH, 2.15)
        places = [(at, quantity) for at in groups for quantity in QUANTITIES]
        for axis, (at, quantity) in zip(axes, places, strict=True):
            window = statistics_config.smoothing if quantity.smoothed else 1
            drawn = False
            for method, found in groups[at].items():
                curves = _logged(found, quantity.column, window)
                if curves is not None:
                    steps = found[0].steps["step"].to_numpy(dtype=np.float64)
                    _line(axis, steps, curves, looks[method], statistics_config)
                    drawn = True
            if not drawn:
                axis.text(0.5, 0.5, "not logged by these methods", transform=axis.transAxes,
                          ha="center", va="center", color="#777777")  # fmt: skip
            title = quantity.title if len(groups) == 1 else f"{at[0]}, {at[1]}: {quantity.title}"
            axis.set_title(title, loc="left")
            axis.set_xlabel("RL steps")
            axis.set_ylabel(quantity.unit)
            if quantity.share:
                axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        trailing = f"Trailing means over {statistics_config.smoothing} steps, μ as it was. "
        _legend(figure, runs, looks, trailing + _bands(runs, statistics_config), {})
        _save(figure, path_png, path_pdf)
    return figure


def _logged(runs: Sequence[Run], column: str, window: int) -> FloatArray | None:
    """(seeds, steps) of a logged column, or None if no run has it.

    Raises:
        DataError: some seeds or steps have it and others do not.
    """
    absent = [column not in run.steps or run.steps[column].isna().all() for run in runs]
    if all(absent):
        return None
    for run in runs:
        if column not in run.steps or run.steps[column].isna().any():
            raise DataError(f"{run.folder / 'steps.jsonl'}: key '{column}' is missing in some rows")
    return np.stack([smooth(run.steps[column].to_numpy(np.float64), window) for run in runs])


# --- parts of a figure ---------------------------------------------------------------------------


def _some(runs: Sequence[Run]) -> Sequence[Run]:
    if not runs:
        raise DataError("no runs to draw")
    return runs


def looks_of(runs: Sequence[Run], methods: Sequence[str]) -> dict[str, Look]:
    """How each method is drawn: the same in every figure of a preset, whose methods are given."""
    every = dict.fromkeys([*methods, *(run.method for run in runs)])
    others, count = [name for name in every if name not in LOOKS], len(SPARE_LOOKS)
    looks = dict(LOOKS)
    for place, name in enumerate(others):
        turn = place // count
        parts = [SPARE_LOOKS[(place + k * turn) % count] for k in (0, 1, 2)]
        looks[name] = Look(parts[0].color, parts[1].dashes, parts[2].marker)
    return looks


def _label_of(runs: Sequence[Run], method: str) -> str:
    return next(run.label for run in runs if run.method == method)


def _canvas(panels: int, columns: int, width: float, row: float) -> tuple[Figure, list[Axes]]:
    """A figure with room for the legend below, and its axes row by row."""
    rows = -(-panels // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.04)
    figure = Figure(figsize=(width, rows * row + 0.6), layout=layout)
    FigureCanvasAgg(figure)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in grid[panels:]:
        axis.remove()
    return figure, grid[:panels]


def _line(
    axis: Axes,
    steps: FloatArray,
    curves: FloatArray,
    look: Look,
    config: Statistics,
) -> None:
    """Mean of (seeds, steps) curves with its bootstrap band; no band for one seed."""
    seed, how = config.seed, (config.resamples, config.confidence)
    bands = [bootstrap_interval(column, np.random.default_rng(seed), *how) for column in curves.T]
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


def _start(axis: Axes, accuracy: float) -> None:
    axis.plot([0], [accuracy], "o", color="#222222", mfc="white", ms=5, zorder=5, clip_on=False)


def _panel_title(at: tuple[str, str], benchmark: str, several: bool) -> str:
    model, dataset = at
    if benchmark == dataset:
        return f"{model}, {dataset}"
    return f"{model}, {dataset}: {benchmark}" if several else benchmark


def _bands(runs: Sequence[Run], config: Statistics) -> str:
    counts = seed_counts(runs)
    if counts[-1] == 1:
        return "One seed: no bands."
    seeds = " or ".join(map(str, counts))
    return f"Bands: {config.confidence:.0%} bootstrap over {seeds} seeds."


def _legend(
    figure: Figure, runs: Sequence[Run], looks: dict[str, Look], note: str, extra: dict[str, Line2D]
) -> None:
    """One legend for all panels below them, with a note on what bands and lines are."""
    handles = {
        _label_of(runs, method): Line2D(
            [], [], color=looks[method].color, linestyle=looks[method].dashes,
            marker=looks[method].marker, ms=4.2, mec="white", mew=0.6,
        )
        for method in dict.fromkeys(run.method for run in runs)
    }  # fmt: skip
    every = {**handles, **extra}
    inches = 0.58 + 0.075 * max(len(label) for label in every)
    columns = min(len(every), max(1, int(figure.get_figwidth() / inches)))
    rows = -(-len(every) // columns)
    # `_canvas` leaves room for two rows; more would be taken from the panels.
    figure.set_figheight(figure.get_figheight() + 0.2 * max(0, rows - 2))
    figure.legend(
        list(every.values()),
        list(every),
        loc="outside lower center",
        ncols=-(-len(every) // rows),
        columnspacing=1.4,
        handlelength=2.6,
        handletextpad=0.5,
        title=note,
        title_fontproperties={"size": 7.5},
    ).get_title().set_color("#666666")


def _save(figure: Figure, path_png: PathLike, path_pdf: PathLike) -> None:
    """Write both pictures atomically, without dates or versions in them."""
    plain = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
    for path, kind in ((path_png, "png"), (path_pdf, "pdf")):
        picture = io.BytesIO()
        figure.savefig(picture, format=kind, metadata=plain[kind])
        with atomic_write(path) as file:
            file.write(picture.getvalue())
