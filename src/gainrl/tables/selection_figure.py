"""Which part of the data a selection takes, by the angle signal (the paper's Figure 8, left)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gainrl import plan
from gainrl.compare.statistics import FloatArray
from gainrl.compare.style import STYLE, WIDTH, Look, PathLike, canvas, looks_of, save
from gainrl.curricula.selection import select
from gainrl.errors import DataError
from gainrl.records import ORDER, SCORES, read_table
from gainrl.stages.common import Context

BINS = 24


@dataclass(frozen=True)
class Selected:
    """A method's training prompts on one data set: C of all prompts and of the chosen ones."""

    title: str
    method: str
    everything: FloatArray
    chosen: FloatArray


def make_selection_figure(context: Context, experiment: str, path: Path) -> None:
    """Draw which prompts the selections of an experiment's methods take, by C, for one seed."""
    preset, layout, panels = context.preset, context.layout, []
    chosen = preset.experiments[experiment]
    names = plan.selecting(preset, experiment)
    for model, dataset in chosen.places:
        place = (preset.starts(model)[0], dataset)
        scores = read_table(layout.signal(*place, "scores"), SCORES)
        signal = scores.set_index("id")["c"]
        for name in names:
            part, key = preset.methods[name].selection, preset.methods[name].order_key
            assert part is not None
            assert key is not None
            order = read_table(layout.order(*place, key), ORDER)
            ranks = select(len(order), part.share, part.slope, preset.seeds[0])
            where = f"{model}, {dataset}: " if len(chosen.places) > 1 else ""
            title = f"{where}{preset.methods[name].label or name}"
            taken = signal.loc[order["id"].iloc[ranks]].to_numpy()
            panels.append(Selected(title, name, signal.to_numpy(), taken))
    looks = looks_of(preset.methods)
    figure_selection(panels, looks, path, path.with_suffix(".pdf"))


def figure_selection(
    panels: Sequence[Selected], looks: Mapping[str, Look], path_png: PathLike, path_pdf: PathLike
) -> Figure:
    """Histograms of C (dimensionless) over the prompts, a panel for each method and data set.

    Args:
        panels: at least one; C before RL, of one seed's draw.
        looks: colours by method, as in the learning curves.

    Raises:
        DataError: no panels, or an unwritable path.
    """
    if not panels:
        raise DataError("no selections to draw")
    with mpl.rc_context(STYLE):
        figure, axes = canvas(len(panels), min(len(panels), 3), WIDTH, 2.1)
        for axis, panel in zip(axes, panels, strict=True):
            edges = np.histogram_bin_edges(panel.everything, bins=BINS).tolist()
            axis.hist(panel.everything, edges, color="#d9d9d9")
            axis.hist(panel.chosen, edges, color=looks[panel.method].color)
            axis.set_title(panel.title, loc="left")
            axis.set_xlabel("C before RL")
        axes[0].set_ylabel("Prompts")
        grey = Line2D([], [], color="#d9d9d9", lw=6)
        coloured = Line2D([], [], color="#555555", lw=6)
        labels = ["all prompts", "chosen (in the method's colour), first seed"]
        figure.legend([grey, coloured], labels, loc="outside lower center", ncols=2)
        save(figure, path_png, path_pdf)
    return figure
