"""Learning curves and what the curricula did, as vector PDF and PNG with equal bytes every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from gainrl.compare.statistics import FloatArray, smooth, target_accuracy
from gainrl.compare.style import (
    STYLE,
    WIDTH,
    Look,
    PathLike,
    canvas,
    line,
    looks_of,
    percent,
    save,
    within_seeds,
)
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.results.runs import Group, Run, grouped
from gainrl.results.speed import CURRENCIES, TOKENS
from gainrl.stages.common import Context
from gainrl.tables.facts import finished_runs
from gainrl.tables.table import check_baseline, seed_counts
from gainrl.training.files import STEPS


def make_figures(context: Context, experiment: str, curves: Path, walk: Path) -> None:
    """Draw the learning curves and what the curricula did, as PNG with PDF beside it."""
    runs, preset = finished_runs(context, experiment), context.preset
    baseline, methods = preset.experiments[experiment].baseline, list(preset.methods)
    figure7(runs, preset.statistics, curves, curves.with_suffix(".pdf"), baseline, methods)
    figure_steps(runs, preset.statistics, walk, walk.with_suffix(".pdf"), methods)


def make_training_figure(context: Context, experiment: str, path: Path) -> None:
    """Draw how training went: lengths, entropy and gradients, as PNG with PDF beside it."""
    runs, preset, pdf = finished_runs(context, experiment), context.preset, path.with_suffix(".pdf")
    figure_steps(runs, preset.statistics, path, pdf, list(preset.methods), HEALTH)


def make_cost_figure(context: Context, experiment: str, path: Path) -> None:
    """Draw accuracy over what runs had spent, as PNG with PDF beside it."""
    runs, preset = finished_runs(context, experiment), context.preset
    figure_cost(runs, preset.statistics, path, path.with_suffix(".pdf"), list(preset.methods))


def figure7(
    runs: Sequence[Run],
    statistics_config: Statistics,
    path_png: PathLike,
    path_pdf: PathLike,
    baseline: str = "grpo",
    methods: Sequence[str] = (),
) -> Figure:
    """Draw test accuracy over RL steps, a panel for each model, data set and benchmark.

    Lines are means over seeds of the tests as they were (not smoothed), bands the interval of that
    mean without what the runs of a seed have in common (`within_seeds`). The dashed level is the
    target of Table 1: the baseline's last `smoothing` tests, averaged.

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
    looks = looks_of([*methods, *(run.method for run in runs)])
    paired = all(map(_alike, groups.values()))
    with mpl.rc_context(STYLE):
        columns = min(len(panels), 3)
        figure, axes = canvas(len(panels), columns, 5.2 if columns == 1 else WIDTH, 2.5)
        for place, (axis, (at, group, name)) in enumerate(zip(axes, panels, strict=True)):
            level = target_accuracy(
                [run.curve(name) for run in group[baseline]], statistics_config.smoothing
            )
            axis.axhline(level, color=looks[baseline].color, linestyle=(0, (2, 2)), linewidth=1)
            for method, curves in _tests(group, name, paired).items():
                grid = _grid(group[method])
                steps = group[method][0].evaluated if grid is None else grid
                line(axis, steps, curves, looks[method], statistics_config)
            _start(axis, np.mean([run.curve(name)[0] for found in group.values() for run in found]))
            axis.set_title(_panel_title(at, name, len(groups) > 1), loc="left")
            axis.yaxis.set_major_formatter(percent())
            _over(axis, group[baseline])
            if place % columns == 0:
                axis.set_ylabel("Test accuracy (%)")
        level_key = Line2D([], [], color=looks[baseline].color, ls=(0, (2, 2)), lw=1)
        start_key = Line2D([], [], color="#222222", marker="o", mfc="white", ls="none", ms=5)
        window = statistics_config.smoothing
        tests = f"last {window} tests" if window > 1 else "last test"
        extra = {f"{_label_of(runs, baseline)}, {tests}": level_key, "Start model": start_key}
        _legend(figure, runs, looks, _bands(runs, statistics_config, paired), extra)
        save(figure, path_png, path_pdf)
    return figure


SPENT = {"tokens": "Rollout tokens", "seconds": "Seconds of training"}
"""What accuracy is drawn over, by currency."""


def figure_cost(
    runs: Sequence[Run],
    statistics_config: Statistics,
    path_png: PathLike,
    path_pdf: PathLike,
    methods: Sequence[str] = (),
) -> Figure:
    """Draw test accuracy over what a run had spent: a panel for each group and currency of SPENT.

    As `figure7`, but that a test stands where the runs of its method were in the mean over seeds;
    of several benchmarks the average is drawn.

    Args:
        runs, statistics_config, path_png, path_pdf, methods: as for `figure7`.

    Returns:
        The figure, whose axes are the panels, those of a group side by side.

    Raises:
        DataError: no runs, unequal seeds, or an unwritable path.
    """
    groups = grouped(_some(runs))
    looks = looks_of([*methods, *(run.method for run in runs)])
    paired = all(map(_alike, groups.values()))
    with mpl.rc_context(STYLE):
        figure, axes = canvas(len(groups) * len(SPENT), len(SPENT), WIDTH, 2.5)
        places = [(at, currency) for at in groups for currency in SPENT]
        for axis, (at, currency) in zip(axes, places, strict=True):
            group = groups[at]
            name = next(iter(group.values()))[0].measures[-1]
            for method, curves in _tests(group, name, paired).items():
                cost = partial(CURRENCIES[currency].at_tests, parameters=0)
                spent = np.mean(_at_tests(group[method], cost), axis=0)
                line(axis, spent, curves, looks[method], statistics_config)
            axis.set_title(_panel_title(at, name, len(groups) > 1), loc="left")
            axis.yaxis.set_major_formatter(percent())
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.set_xlabel(SPENT[currency])
            axis.set_ylabel("Test accuracy (%)" if currency == next(iter(SPENT)) else "")
        _legend(figure, runs, looks, _bands(runs, statistics_config, paired), {})
        save(figure, path_png, path_pdf)
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


HEALTH = (
    Quantity("response_length", "Length of responses", "Tokens", False, True),
    Quantity("truncated", "Truncated responses", "Share of responses (%)", True, True),
    Quantity("entropy", "Entropy of the policy", "Nats a token", False, True),
    Quantity("grad_norm", "Norm of the gradient", "Before clipping", False, True),
)


def figure_steps(
    runs: Sequence[Run],
    statistics_config: Statistics,
    path_png: PathLike,
    path_pdf: PathLike,
    methods: Sequence[str] = (),
    quantities: Sequence[Quantity] = QUANTITIES,
) -> Figure:
    """Draw what was logged of each step: what the curriculum chose, or how training went.

    A panel for each model, data set and quantity. Lines are means over seeds, bands their
    interval; what is `smoothed` are trailing means over `smoothing` steps. A method is left out of
    a panel where it logged nothing (GRPO has no mu), and a panel says so if no method did.

    Args:
        runs: what `collect` returned.
        statistics_config: resamples, confidence and seed of the bands; smoothing of the lines.
        path_png: where the 200 dpi picture goes.
        path_pdf: where the vector picture goes.
        methods: as for `figure7`.
        quantities: what is drawn, such as QUANTITIES or HEALTH.

    Returns:
        The figure, whose axes are the panels.

    Raises:
        DataError: no runs, unequal seeds, or an unwritable path.
    """
    groups = grouped(_some(runs))
    looks = looks_of([*methods, *(run.method for run in runs)])
    with mpl.rc_context(STYLE):
        figure, axes = canvas(len(groups) * len(quantities), 2, WIDTH, 2.15)
        places = [(at, quantity) for at in groups for quantity in quantities]
        for axis, (at, quantity) in zip(axes, places, strict=True):
            window = statistics_config.smoothing if quantity.smoothed else 1
            drawn = False
            for method, found in groups[at].items():
                curves = _logged(found, quantity.column, window)
                if curves is not None:
                    steps = found[0].steps["step"].to_numpy(dtype=np.float64)
                    grid = _grid(found)
                    line(
                        axis,
                        steps if grid is None else grid[1:],
                        curves,
                        looks[method],
                        statistics_config,
                    )
                    drawn = True
            if not drawn:
                axis.text(0.5, 0.5, "not logged by these methods", transform=axis.transAxes,
                          ha="center", va="center", color="#777777")  # fmt: skip
            title = quantity.title if len(groups) == 1 else f"{at[0]}, {at[1]}: {quantity.title}"
            axis.set_title(title, loc="left")
            _over(axis, next(iter(groups[at].values())))
            axis.set_ylabel(quantity.unit)
            if quantity.share:
                axis.yaxis.set_major_formatter(percent())
        trailing = f"Trailing means over {statistics_config.smoothing} steps"
        trailing += ". " if all(each.smoothed for each in quantities) else ", μ as it was. "
        _legend(figure, runs, looks, trailing + _bands(runs, statistics_config), {})
        save(figure, path_png, path_pdf)
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
            raise DataError(f"{run.folder / STEPS}: key '{column}' is missing in some rows")
    rows = [smooth(run.steps[column].to_numpy(np.float64), window) for run in runs]
    if (grid := _grid(runs)) is None:
        return np.stack(rows)
    spent = [np.cumsum(TOKENS.spent(run, 0)) for run in runs]
    return np.stack([np.interp(grid[1:], *each) for each in zip(spent, rows, strict=True)])


# --- runs by tokens, whose steps and tests are not in the same places ----------------------------


def _grid(runs: Sequence[Run]) -> FloatArray | None:
    """(n,) tokens at which curves of runs by tokens are drawn, from 0; None of runs by steps."""
    if not runs[0].by_tokens:
        return None
    training = runs[0].config["training"]
    return np.linspace(0, training["tokens"], training["tests"] + 1)


def _at_tests(runs: Sequence[Run], values: Callable[[Run], FloatArray]) -> FloatArray:
    """(seeds, n) of what runs have at their tests; by tokens on the lines between these."""
    rows, grid = [values(run) for run in runs], _grid(runs)
    if grid is None:
        return np.stack(rows)
    spent = [TOKENS.at_tests(run, 0) for run in runs]
    return np.stack([np.interp(grid, *each) for each in zip(spent, rows, strict=True)])


def _alike(group: Group) -> bool:
    """Whether there are methods to be held against each other test by test."""
    shapes = {_at_tests(found, lambda run: run.evaluated).shape for found in group.values()}
    return len(group) > 1 and len(shapes) == 1


def _tests(group: Group, benchmark: str, paired: bool) -> dict[str, FloatArray]:
    """(seeds, n) of each method's tests; paired: without what the runs of a seed have in common."""
    tests = partial(Run.curve, benchmark=benchmark)
    curves = [_at_tests(found, tests) for found in group.values()]
    return dict(zip(group, within_seeds(curves) if paired else curves, strict=True))


def _over(axis: Axes, runs: Sequence[Run]) -> None:
    """Say what a panel's curves are drawn over."""
    if _grid(runs) is None:
        axis.set_xlabel("RL steps")
        return
    axis.set_xlabel(SPENT["tokens"])
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))


# --- parts of a figure ---------------------------------------------------------------------------


def _some(runs: Sequence[Run]) -> Sequence[Run]:
    if not runs:
        raise DataError("no runs to draw")
    return runs


def _label_of(runs: Sequence[Run], method: str) -> str:
    return next(run.label for run in runs if run.method == method)


def _start(axis: Axes, accuracy: float) -> None:
    axis.plot([0], [accuracy], "o", color="#222222", mfc="white", ms=5, zorder=5, clip_on=False)


def _panel_title(at: tuple[str, str], benchmark: str, several: bool) -> str:
    model, dataset = at
    if benchmark == dataset:
        return f"{model}, {dataset}"
    return f"{model}, {dataset}: {benchmark}" if several else benchmark


def _bands(runs: Sequence[Run], config: Statistics, paired: bool = False) -> str:
    """What bands are; paired: without what the runs of a seed have in common."""
    counts = seed_counts(runs)
    if counts[-1] == 1:
        return "One seed: no bands."
    seeds = " or ".join(map(str, counts))
    text = f"Bands: {config.confidence:.0%} interval over {seeds} seeds (t)"
    if paired:
        text += ", without what runs of a seed have in common"
    return f"{text}."


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
    # `canvas` leaves room for two rows; more would be taken from the panels.
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
