"""How straight runs move and what extrapolation gives, drawn as the other figures are.

Each `figure_` function writes a 200 dpi PNG and a PDF with equal bytes every time and returns the
figure. It raises DataError if there is nothing to draw or a path cannot be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gainrl.compare.statistics import FloatArray
from gainrl.compare.style import LOOKS, SPARE_LOOKS, STYLE, WIDTH, Look, PathLike, canvas, percent
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.linearity.table import (
    ALL,
    WAYS,
    Traced,
    accuracy,
    benchmarks_in,
    by_place,
    interval,
    line_label,
)
from gainrl.study.figures import finish, panel_rows

WALK = Look("#888888", (0, (2, 2)), "")
"""The random walk."""
WHOLE = Look("#222222", "-", "")
_MANY = (*(LOOKS[name] for name in ("gain", "adarft", "gain-length")), *SPARE_LOOKS)
WAY_LOOKS = {"weights": LOOKS["gain"], "logits": LOOKS["adarft"], "stay": LOOKS["grpo"]}
TRAINED = LOOKS["gain-length"]


class Curve(NamedTuple):
    """A line of cumulated shares: rows of linearity.parquet, its look and its name."""

    part: str
    selection: str
    at: tuple[str, str]
    look: Look
    name: str


def _looks(count: int) -> list[Look]:
    """Looks that can be told apart: colours in turn, with other dashes when they come again."""
    size = len(_MANY)
    return [
        Look(_MANY[k % size].color, _MANY[(k + k // size) % size].dashes, "") for k in range(count)
    ]


@mpl.rc_context(STYLE)
def figure_weights(
    traced: Sequence[Traced], path_png: PathLike, path_pdf: PathLike, config: Statistics
) -> Figure:
    """Draw which share of the weights lies below each R^2: all, by module, and a random walk's.

    A panel for each model, data set and method; constant weights have no R^2 and are not in it.
    """
    panels = _panels(traced)
    modules = list(dict.fromkeys(m for runs in panels.values() for m in runs[0].groups("module")))
    looks = dict(zip(modules, _looks(len(modules)), strict=True))
    return _shares(
        panels,
        lambda runs: [
            *(
                Curve("weights", "all", ("module", name), looks[name], name)
                for name in runs[0].groups("module")
            ),
            Curve("weights", "all", ALL, WHOLE, "all weights"),
        ],
        "Weights below (%)",
        (path_png, path_pdf),
        config,
    )


@mpl.rc_context(STYLE)
def figure_tokens(
    traced: Sequence[Traced], path_png: PathLike, path_pdf: PathLike, config: Statistics
) -> Figure:
    """Draw which share of the tokens lies below each R^2, with and without the released filter."""
    curves = [
        Curve("tokens_start", "all", ALL, LOOKS["gain"], "start model's responses"),
        Curve("tokens_last", "all", ALL, LOOKS["adarft"], "last model's responses"),
        Curve("tokens_start", "released", ALL, _dashed("gain"), "start model's, filtered"),
        Curve("tokens_last", "released", ALL, _dashed("adarft"), "last model's, filtered"),
    ]
    solid = [curve._replace(look=curve.look._replace(dashes="-")) for curve in curves[:2]]
    return _shares(
        _panels(traced),
        lambda _: [*solid, *curves[2:]],
        "Tokens below (%)",
        (path_png, path_pdf),
        config,
    )


@mpl.rc_context(STYLE)
def figure_distance(
    traced: Sequence[Traced], path_png: PathLike, path_pdf: PathLike, config: Statistics
) -> Figure:
    """Draw distance of the weights, KL and accuracy of each extrapolation, a row a run's group.

    Markers are means over seeds, bars their interval. The distance is relative to that
    of standing still at the second snapshot.
    """
    panels = {at: runs for at, runs in _panels(traced).items() if runs[0].lines}
    if not panels:
        raise DataError("nothing to draw: no extrapolations")
    labels = [_title(runs) for runs in panels.values()]
    figure, rows = panel_rows(labels, [3] * len(panels), 1.9)
    for axes, runs in zip(rows, panels.values(), strict=True):
        lines = list(zip(*(run.lines for run in runs), strict=True))
        names = [line_label(line[0]) for line in lines]
        benchmark = benchmarks_in(lines[0][0])[-1]
        apart = [[each["weight_distance"] for each in line] for line in lines]
        _bars(axes[0], apart, WAY_LOOKS["weights"], WAYS["weights"], 0, config)
        axes[0].axhline(1, color=WAY_LOOKS["stay"].color, ls=WAY_LOOKS["stay"].dashes, lw=1)
        for place, way in enumerate(WAYS):
            offset = 0.16 * (place - 1)
            kl = [[each["kl"][way] for each in line] for line in lines]
            _bars(axes[1], kl, WAY_LOOKS[way], WAYS[way], offset, config)
            shares = [[accuracy(each, way, benchmark) for each in line] for line in lines]
            _bars(axes[2], shares, WAY_LOOKS[way], WAYS[way], offset, config)
        trained = [[accuracy(each, "trained", benchmark) for each in line] for line in lines]
        _bars(axes[2], trained, TRAINED, "Trained", 0.32, config)
        axes[0].set(title="Weights", ylabel="Distance (staying = 1)")
        axes[1].set(title="Held-out responses", ylabel="KL to trained (nats a token)")
        axes[2].set(title=benchmark, ylabel="Accuracy (%)")
        axes[2].yaxis.set_major_formatter(percent())
        axes[2].yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        for axis in axes:
            axis.set_xticks(range(len(names)), names, fontsize=7)
            axis.set_xlim(-0.6, len(names) - 0.4)
            axis.set_xlabel("Steps of the line, and target")
        for axis in axes[:2]:
            axis.set_ylim(bottom=0)
    return finish(figure, path_png, path_pdf, f"Markers: means over {_seeds(panels)}. Bars: "
                   f"{config.confidence:.0%} over seeds (t).")  # fmt: skip


# --- parts ---------------------------------------------------------------------------------------

Panels = dict[tuple[str, str, str], list[Traced]]


def _panels(traced: Sequence[Traced]) -> Panels:
    if not traced:
        raise DataError("nothing to draw: no traced runs")
    return by_place(traced)


def _title(runs: Sequence[Traced]) -> str:
    return f"{runs[0].model}, {runs[0].dataset}: {runs[0].label}"


def _seeds(panels: Panels) -> str:
    counts = sorted({len(runs) for runs in panels.values()})
    return f"{' or '.join(map(str, counts))} seed{'' if counts == [1] else 's'}"


def _dashed(name: str) -> Look:
    return LOOKS[name]._replace(dashes=(0, (4, 1.5)))


def _shares(panels: Panels, curves_of, unit: str, paths: tuple[PathLike, PathLike],
            config: Statistics) -> Figure:  # fmt: skip
    """A panel a group: cumulated shares over R^2, means over seeds, bands for those of all."""
    columns = min(len(panels), 2)
    figure, axes = canvas(len(panels), columns, 5.2 if columns == 1 else WIDTH, 2.6)
    walk = Curve("random_walk", "all", ALL, WALK, "random walk")
    for axis, runs in zip(axes, panels.values(), strict=True):
        for curve in [walk, *curves_of(runs)]:
            _curve(axis, runs, curve, config)
        axis.set_title(_title(runs), loc="left")
        axis.set(xlabel="R² against the RL step", xlim=(0, 1), ylim=(0, 1.01))
        axis.yaxis.set_major_formatter(percent())
    axes[0].set_ylabel(unit)
    return finish(figure, *paths, f"Lines: means over {_seeds(panels)}. Bands (not by module): "
                   f"{config.confidence:.0%} over seeds (t). Random walk: as many points, "
                   "independent increments.")  # fmt: skip


def _curve(axis: Axes, runs: Sequence[Traced], curve: Curve, config: Statistics) -> None:
    """One line of cumulated shares; nothing where no seed keeps a trajectory."""
    rows = [run.row(curve.part, curve.selection, curve.at) for run in runs]
    counted = [np.asarray(row["histogram"], dtype=np.float64) for row in rows if row["kept"]]
    if not counted:
        return
    shares: FloatArray = np.stack([np.append(0, each.cumsum() / each.sum()) for each in counted])
    places = np.linspace(0, 1, shares.shape[1])
    look = curve.look
    if curve.at == ALL and len(shares) > 1 and look is not WALK:
        found = [interval(column, config) for column in shares.T.tolist()]
        low, high = [each.low for each in found], [each.high for each in found]
        axis.fill_between(places, low, high, color=look.color, alpha=0.16, lw=0)
    heavy = 2.0 if curve.at == ALL else 1.0
    axis.plot(places, shares.mean(0), color=look.color, ls=look.dashes, lw=heavy, label=curve.name)


def _bars(axis: Axes, values: Sequence[Sequence[float | None]], look: Look, name: str,
          offset: float, config: Statistics) -> None:  # fmt: skip
    """A marker with an error bar at each place; none where no seed has a value."""
    found = [interval(each, config) for each in values]
    x = np.arange(len(values)) + offset
    mean = np.array([each.mean for each in found])
    ends = np.array([[each.mean - each.low, each.high - each.mean] for each in found]).T
    ends = np.clip(np.nan_to_num(ends), 0, None)
    axis.errorbar(x, mean, yerr=ends, color=look.color, marker=look.marker, ls="none", ms=4.5,
                  elinewidth=1, capsize=2, mec="white", mew=0.5, label=name)  # fmt: skip
