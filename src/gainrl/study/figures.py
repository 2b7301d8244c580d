"""What the angle signal looks like: figures 2 to 6 and 16 to 19 of 'Angles Don't Lie'.

Each `figure_` function draws stored data, writes a 200 dpi PNG and a PDF with equal bytes every
time, and returns the figure. It raises DataError, in one line, if there is nothing to draw, if a
column or value is missing, impossible or not finite, or if a path cannot be written. Titles
say how many prompts are seen, a note below the panels which interval.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from gainrl.compare.style import LOOKS, STYLE, WIDTH, PathLike, canvas, line, percent, save
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.study.projection import clip_percentiles, principal_components

Frames = Mapping[str, pd.DataFrame]  # panel title -> table

MOST_LAYERS, MOST_STEPS = 6, 5  # columns of figure_maps and of figure_neurons
HEAT: Any = STYLE | {"axes.grid": False, "image.cmap": "cividis"}
FEWEST = 3  # prompts without which a cell of figure_bins shows no mean
FEW: Any = {"facecolor": "#dddddd", "edgecolor": "#999999", "hatch": "////", "linewidth": 0}
SEGMENTS = {"Prefix": "#0072B2", "Question": "#D55E00", "Suffix": "#009E73"}
NAMES = {"c_intra": r"$C_{\mathrm{intra}}$", "c_inter": r"$C_{\mathrm{inter}}$", "c": "$C$"}
MODEL_LOOKS = [LOOKS[name] for name in ("gain", "adarft", "gain-length", "grpo")]


@dataclass(frozen=True)
class AngleMap:
    """Cosines between all pairs of a prompt's m tokens, layer by layer (figure 3).

    cosines: (layers, m, m), in [-1, 1]; layers: which layer each is, 0 = embeddings; n_*: tokens of
    the segments, m in all; correct: right answers of samples, if known; caption: ends the label.
    """

    prompt: str
    cosines: np.ndarray
    layers: Sequence[int]
    n_prefix: int
    n_question: int
    n_suffix: int
    correct: int | None
    samples: int | None
    caption: str


@dataclass(frozen=True)
class NeuronPanel:
    """Core neurons of the same prompts at several RL steps (figure 6).

    steps: RL steps; vectors: (steps, prompts, neurons) bool, True = among the 20% most often
    active; accuracy: (steps, prompts), share of right answers in [0, 1].
    """

    steps: Sequence[int]
    vectors: np.ndarray
    accuracy: np.ndarray


@mpl.rc_context(HEAT | {"axes.labelsize": 7.5})
def figure_maps(maps: Sequence[AngleMap], path_png: PathLike, path_pdf: PathLike) -> Figure:
    """Draw cosines token by token, a row a prompt and a column a layer (figures 3, 16, 17, 18).

    A map is clipped to its own 3rd to 97th percentile, which stand below it. Of more than
    MOST_LAYERS layers evenly spaced ones are drawn, the first and last included. The figure's axes
    are the maps row by row, then the colour bar. Raises DataError as said at the top of this file.
    """
    labels = [_map_label(one) for one in maps]
    kept = [_spread(len(one.layers), MOST_LAYERS) for one in maps]
    height = min(2, 6 / max(map(len, kept), default=1))
    figure, rows = panel_rows(labels, [len(layers) for layers in kept], height)
    for one, layers, axes in zip(maps, kept, rows, strict=True):
        for axis, layer in zip(axes, layers, strict=True):
            pixels = clip_percentiles(one.cosines[layer], 3, 97)
            axis.imshow(pixels, vmin=pixels.min(), vmax=pixels.max())
            _segments(axis, one, 0.06 / height)
            axis.set_title(f"Layer {one.layers[layer]}", pad=9)
            axis.set(xlabel=f"{pixels.min():.2f} to {pixels.max():.2f}", xticks=[], yticks=[])
    bar = _bar(figure, ScalarMappable(), figure.axes, "Cosine")
    bar.set_yticks([0, 1], ["3rd\npct.", "97th\npct."])
    return finish(figure, path_png, path_pdf, "Row i, column j: cosine between the hidden states "
                   "of tokens i and j; layer 0: embeddings. A map is one prompt, no mean; its "
                   "colours run from its 3rd to its 97th percentile, given below.")  # fmt: skip


@mpl.rc_context(STYLE)
def figure_layers(profiles: Frames, path_png: PathLike, path_pdf: PathLike,
                  confidence: float) -> Figure:  # fmt: skip
    """Draw mean C_intra and C_inter over the layers, a panel a key (figure 3 in two numbers).

    Frames: id, layer (0 = embeddings, the largest = after the final norm), c_intra, c_inter
    (dimensionless), every layer once for every prompt. The band holds the central `confidence`
    share, in (0, 1), of the prompts. Raises DataError as said at the top of this file.
    """
    labels = _labels(profiles, "id", "layer", "c_intra", "c_inter")
    tail, columns = (1 - confidence) / 2, min(len(profiles), 3)
    figure, axes = canvas(len(profiles), columns, 4.6 if columns == 1 else WIDTH, 2.3)
    for axis, label, (key, frame) in zip(axes, labels, profiles.items(), strict=True):
        for name, look in (("c_intra", LOOKS["gain"]), ("c_inter", LOOKS["adarft"])):
            wide = _wide(key, frame, "layer", name)
            low, high = np.quantile(wide, [tail, 1 - tail], axis=0)
            axis.fill_between(wide.columns, low, high, color=look.color, alpha=0.18, lw=0)
            axis.plot(wide.columns, wide.mean(), color=look.color, ls=look.dashes, ms=4,
                      marker=look.marker, markevery=max(1, wide.shape[1] // 10), mec="white",
                      mew=0.5, label=NAMES[name])  # fmt: skip
        axis.set_title(textwrap.fill(label, 28), loc="left")
        axis.set_xlabel("Layer")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    figure.supylabel("Mean cosine (dimensionless)", fontsize=8.5, color="#222222")
    return finish(figure, path_png, path_pdf, f"Lines: mean over prompts. Bands: central "
                   f"{confidence:.0%} of the prompts (quantiles), no interval of the mean. Layer "
                   "0: embeddings; last layer: after the final norm.")  # fmt: skip


@mpl.rc_context(STYLE)
def figure_answers(panels: Frames, path_png: PathLike, path_pdf: PathLike) -> Figure:
    """Draw how many of its samples each model gets right, question by question (figure 2).

    Frames: id, model, correct, samples (one number for all), every question once for every model.
    All models share one order of the questions: by the count of the model that comes first in the
    frame, falling, then by the second's, then by id. The title gives Spearman's correlation of
    these two. Raises DataError as said at the top of this file.
    """
    _labels(panels, "id", "model", "correct", "samples")
    models = list(dict.fromkeys(name for frame in panels.values() for name in frame["model"]))
    if len(models) > len(MODEL_LOOKS):
        raise DataError(f"a figure tells at most {len(MODEL_LOOKS)} models apart, not {models}")
    figure, axes = canvas(len(panels), 1, WIDTH, 1.9)
    for axis, (key, frame) in zip(axes, panels.items(), strict=True):
        samples = frame["samples"].iloc[0]
        if (frame["samples"] != samples).any():
            raise DataError(f"{key}: 'samples' must be the same in all rows")
        wide = _wide(key, frame, "model", "correct")[frame["model"].unique()]
        wide = wide.iloc[np.lexsort([-wide[name] for name in wide.columns[1::-1]])]
        for name in wide:  # hollow ones are larger: markers that fall together stay visible
            look, filled = MODEL_LOOKS[models.index(name)], name == models[0]
            axis.plot(np.arange(1, len(wide) + 1), wide[name], ls="none", marker=look.marker,
                      color=look.color, mfc=look.color if filled else "none",
                      ms=3 if filled else 5, mew=0.8, label=name)  # fmt: skip
        title = f"{key}, {len(wide)} questions"
        if wide.shape[1] > 1:
            rho = f"{wide.corr(method='spearman').to_numpy()[0, 1]:.2f}".replace("nan", "undefined")
            title += f"; Spearman's ρ of {wide.columns[0]} and {wide.columns[1]}: {rho}"
        axis.set_title(textwrap.fill(title, 95), loc="left")
        axis.set_xlabel(f"Question (rank by the correct answers of {wide.columns[0]})")
        axis.set_ylabel(f"Correct (of {samples:g})")
        axis.set(xlim=(0, len(wide) + 1), ylim=(-0.06 * samples, 1.06 * samples))
        axis.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    note = "A marker for each question and model; counts as they are, no intervals."
    return finish(figure, path_png, path_pdf, note)


@mpl.rc_context(STYLE)
def figure_epochs(
    panels: Frames, path_png: PathLike, path_pdf: PathLike, confidence: float
) -> Figure:
    """Draw mean C_intra, C_inter and C over RL steps, three panels a key (figure 4).

    Frames: step, id, c_intra, c_inter, c (dimensionless), every step once for every prompt. Bands:
    interval over prompts (Student's t) with nominal coverage `confidence`. Raises DataError as said
    at the top of this file.
    """
    labels = _labels(panels, "id", "step", *NAMES)
    config = Statistics(confidence=confidence)
    figure, rows = panel_rows(labels, [len(NAMES)] * len(panels), 1.7)
    for axes, (key, frame) in zip(rows, panels.items(), strict=True):
        for axis, (name, title) in zip(axes, NAMES.items(), strict=True):
            wide = _wide(key, frame, "step", name).astype(np.float64)
            line(axis, np.asarray(wide.columns, float), wide.to_numpy(), LOOKS["gain"], config)
            axis.set(title=title, xlabel="RL steps")
        axes[0].set_ylabel("Mean (dimensionless)")
    return finish(figure, path_png, path_pdf, f"Lines: mean over prompts. Bands: {confidence:.0%} "
                   "interval over prompts.")  # fmt: skip


@mpl.rc_context(HEAT)
def figure_bins(panels: Frames, path_png: PathLike, path_pdf: PathLike, bins: int = 8) -> Figure:
    """Draw which prompts are solved when, by their C at step 0 (figures 5 and 19).

    Frames: step, id, correct, samples, start_c (C of the prompt at step 0, dimensionless, the same
    at all steps); a prompt may be absent at a step. Below, the number of prompts in each of `bins`
    equal-width bins from the smallest to the largest start_c (the last one is closed); above, the
    mean share of right answers of these prompts at each step, hatched where fewer than FEWEST
    prompts have answers. The figure's axes are the heat maps, the histograms, the colour bar.
    Raises DataError as said at the top of this file.
    """
    labels = _labels(panels, "id", "step", "correct", "samples", "start_c")
    cells, count = [_binned(key, frame, bins) for key, frame in panels.items()], len(panels)
    means = np.concatenate([mean[~np.isnan(mean)] for *_, mean in cells])
    if not means.size:
        raise DataError(f"no bin of start_c holds {FEWEST} prompts at any step")
    figure, axes = canvas(2 * count, count, max(WIDTH, 2.2 * count) if count > 1 else 4.6, 1.6)
    few = f"Fewer than {FEWEST} prompts: no mean"
    for heat, below, label, cell in zip(axes[:count], axes[count:], labels, cells, strict=True):
        edges, sizes, steps, mean = cell
        rows = np.arange(len(steps) + 1)
        drawn = heat.pcolormesh(edges, rows, mean, vmin=means.min(), vmax=means.max())
        for row, at in np.argwhere(np.isnan(mean)):
            heat.add_patch(Rectangle((edges[at], row), edges[1] - edges[0], 1, label=few, **FEW))
        ticks = rows[: -1 : -(-len(steps) // 7)]
        heat.set_yticks(ticks + 0.5, [f"{step:g}" for step in steps[ticks]])
        heat.set_title(textwrap.fill(label, 28), loc="left")
        below.bar(edges[:-1], sizes, np.diff(edges), align="edge", color="#0072B2", ec="white")
        below.set(xlim=heat.get_xlim(), xlabel="$C$ at step 0 (dimensionless)")
        below.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes[0].set_ylabel("RL step")
    axes[count].set_ylabel("Prompts")
    _bar(figure, drawn, axes[:count], "Right answers (%)")
    return finish(figure, path_png, path_pdf, "Above: mean share of right answers over prompts in "
                   f"the bin, no intervals. Below: prompts in {bins} equal bins.")  # fmt: skip


@mpl.rc_context(HEAT | {"image.cmap": "viridis"})
def figure_neurons(panels: Mapping[str, NeuronPanel], path_png: PathLike,
                   path_pdf: PathLike) -> Figure:  # fmt: skip
    """Draw the core-neuron vectors of the prompts in two dimensions, step by step (figure 6).

    One PCA a key over all its steps, so the panels of a row share their axes. Of more than
    MOST_STEPS steps evenly spaced ones are drawn, the first and last included. The figure's axes
    are the panels row by row, then the colour bar. Raises DataError as said at the file's top.
    """
    labels = [_neuron_label(key, panel) for key, panel in panels.items()]
    kept = [_spread(len(panel.steps), MOST_STEPS) for panel in panels.values()]
    figure, rows = panel_rows(labels, [len(steps) for steps in kept], 1.5)
    for axes, steps, panel in zip(rows, kept, panels.values(), strict=True):
        flat, shares = principal_components(np.concatenate(panel.vectors), 2)
        x, y = flat.T.reshape(2, *panel.accuracy.shape)
        pad = 0.07 * np.ptp(flat, axis=0) + 1e-6
        xlim, ylim = zip(flat.min(axis=0) - pad, flat.max(axis=0) + pad, strict=True)
        for axis, step in zip(axes, steps, strict=True):
            right = panel.accuracy[step]
            drawn = axis.scatter(x[step], y[step], 7, right, vmin=0, vmax=1, linewidths=0)
            axis.set(title=f"Step {panel.steps[step]}", xlabel=f"PC 1 ({shares[0]:.1%})")
            axis.set(xlim=xlim, ylim=ylim, xticks=[], yticks=[])
        axes[0].set_ylabel(f"PC 2 ({shares[1]:.1%})")
    _bar(figure, drawn, figure.axes, "Right answers (%)")
    return finish(figure, path_png, path_pdf, "A dot a prompt, no intervals. One PCA a row, over "
                   "all its steps, of which neurons are among the 20% most often active; no unit; "
                   "in brackets the share of the variance.")  # fmt: skip


def _labels(panels: Frames, *columns: str) -> list[str]:
    """Key and prompts; raises unless numbers are possible and columns 1 and 2 tell rows apart."""
    if not panels:
        raise DataError("nothing to draw: no panels")
    for key, frame in panels.items():
        if absent := [name for name in columns if name not in frame]:
            raise DataError(f"{key}: missing columns: {', '.join(absent)}")
        if frame.empty:
            raise DataError(f"{key}: no rows")
        for name in (name for name in columns if name not in ("id", "model")):
            number = pd.api.types.is_numeric_dtype(frame[name])
            if not (number and frame[name].abs().lt(np.inf).fillna(False).all()):
                raise DataError(f"{key}: '{name}' must be a finite number in every row")
        n = frame["samples"] if "samples" in columns else None
        if n is not None and not (frame["correct"].between(0, n) & (n > 0)).all():
            raise DataError(f"{key}: 'correct' must lie within 0 and 'samples', above 0")
        if (twice := frame.duplicated(list(columns[:2]))).any():
            raise DataError(f"{key}: id '{frame['id'][twice].iloc[0]}' twice at one {columns[1]}")
    return [f"{key}, {frame['id'].nunique()} prompts" for key, frame in panels.items()]


def _wide(key: str, frame: pd.DataFrame, across: str, value: str) -> pd.DataFrame:
    """A row an id and a column each value of `across`, both sorted; no cell may be empty."""
    wide = frame.pivot(index="id", columns=across, values=value)
    if (holes := wide.isna().any(axis=1)).any():
        raise DataError(f"{key}: id '{wide.index[holes][0]}' is missing at some {across}")
    return wide


def _binned(key: str, frame: pd.DataFrame, bins: int) -> tuple[np.ndarray, ...]:
    """(bins + 1,) edges, (bins,) prompts, (steps,) and (steps, bins) mean shares, NaN where few."""
    starts = frame.groupby("id")["start_c"].agg(["min", "max"])
    if (moved := starts["min"] != starts["max"]).any():
        raise DataError(f"{key}: 'start_c' of id '{starts.index[moved][0]}' changes")
    edges = np.histogram_bin_edges(starts["min"], bins)
    bin_of = (np.searchsorted(edges, starts["min"], "right") - 1).clip(0, bins - 1)
    cell = [frame["step"], frame["id"].map(dict(zip(starts.index, bin_of, strict=True)))]
    shares = (frame["correct"] / frame["samples"]).groupby(cell)
    means = shares.mean().where(shares.count() >= FEWEST).unstack().reindex(columns=range(bins))
    return edges, np.bincount(bin_of, minlength=bins), means.index.to_numpy(), means.to_numpy()


def _map_label(one: AngleMap) -> str:
    tokens = one.n_prefix + one.n_question + one.n_suffix
    shape = (len(one.layers), tokens, tokens)
    if np.shape(one.cosines) != shape or 0 in shape or not np.isfinite(one.cosines).all():
        raise DataError(f"{one.prompt}: cosines must be finite, of shape {shape} by its segments")
    unknown = None in (one.correct, one.samples)
    solved = "" if unknown else f"{one.correct} of {one.samples} correct"
    return ", ".join(filter(None, (one.prompt, solved, f"{tokens} tokens", one.caption)))


def _neuron_label(key: str, panel: NeuronPanel) -> str:
    shape = np.shape(panel.accuracy)
    agree = np.shape(panel.vectors)[:2] == shape and len(panel.steps) == shape[0] > 0
    if not (agree and (np.abs(panel.accuracy - 0.5) <= 0.5).all()):
        raise DataError(f"{key}: steps, vectors and accuracy must agree, accuracy lie in [0, 1]")
    return f"{key}, {shape[1]} prompts"


def _spread(count: int, most: int) -> np.ndarray:
    """At most `most` evenly spaced places out of `count`, the first and the last among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def _segments(axis: Axes, one: AngleMap, thick: float) -> None:
    """Bars along the top edge for the segments, thin lines where one ends and another begins."""
    begin, halo = 0, [withStroke(linewidth=1.1, foreground="white")]
    lengths = (one.n_prefix, one.n_question, one.n_suffix)
    for (name, color), tokens in zip(SEGMENTS.items(), lengths, strict=True):
        if tokens and begin:
            axis.axvline(begin - 0.5, color="black", lw=0.4, path_effects=halo)
            axis.axhline(begin - 0.5, color="black", lw=0.4, path_effects=halo)
        if tokens:
            axis.add_patch(Rectangle((begin - 0.5, 1 + thick / 2), tokens, thick, color=color, lw=0,
                                     transform=axis.get_xaxis_transform(), clip_on=False,
                                     label=name))  # fmt: skip
        begin += tokens


def panel_rows(
    labels: list[str], counts: list[int], height: float
) -> tuple[Figure, list[list[Axes]]]:
    """A row of equal axes for each count; the row's label is a line above the first one's title."""
    if not labels:
        raise DataError("nothing to draw: no panels")
    columns = max(counts)
    figure, axes = canvas(len(counts) * columns, columns, WIDTH, height + 0.55)
    rows = [axes[columns * row :][:count] for row, count in enumerate(counts)]
    for spare in set(axes).difference(*rows):
        spare.remove()
    for label, (first, *_) in zip(labels, rows, strict=True):
        first.set_title(" \n ", loc="right")  # holds the label's place, which is outside the layout
        first.annotate(textwrap.shorten(label, 90, placeholder="…"), (0, 1), (0, 4), fontsize=9,
                       xycoords=("axes fraction", first.title), textcoords="offset points",
                       in_layout=False)  # fmt: skip
    return figure, rows


def _bar(figure: Figure, drawn: ScalarMappable, axes: list[Axes], unit: str) -> Axes:
    slim = 10 * figure.get_figheight()  # as wide in a tall figure as in a low one
    return figure.colorbar(drawn, ax=axes, aspect=slim, pad=0.015, label=unit, format=percent()).ax


def finish(figure: Figure, path_png: PathLike, path_pdf: PathLike, note: str) -> Figure:
    """Put one legend of all that is labelled, and the note, below the panels; write both files."""
    found: dict[str, Any] = {}
    for axis in figure.axes:
        found |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    note = textwrap.fill(note, int(17 * figure.get_figwidth()))
    figure.set_figheight(figure.get_figheight() + 0.13 * note.count("\n"))
    figure.legend(
        list(found.values()), list(found), loc="outside lower center", title=note,
        ncols=4 if sum(map(len, found)) < 60 else 2, title_fontproperties={"size": 7.5},
    ).get_title().set_color("#666666")  # fmt: skip
    save(figure, path_png, path_pdf)
    return figure
