"""The table and the figures of the section `linearity`, from the traces of its runs."""

from __future__ import annotations

from pathlib import Path

from gainrl import plan
from gainrl.linearity import figures as linearity_figures
from gainrl.linearity import plan as linearity_plan
from gainrl.linearity.table import Traced, linearity_table, write_linearity
from gainrl.plan import RunKey
from gainrl.records import LINEARITY, read_json, read_table
from gainrl.stages.common import Context


def read_traces(context: Context) -> list[Traced]:
    """Every traced run of the preset.

    Raises:
        ConfigError: the preset has no section `linearity`.
        DataError: a run has not been traced.
    """
    linearity_plan.need(context.preset)
    return [_traced(context, key) for key in plan.traced(context.preset)]


def _traced(context: Context, key: RunKey) -> Traced:
    label = context.preset.methods[key.method].label or key.method
    frame = read_table(context.layout.linearity(key), LINEARITY)
    facts = read_json(context.layout.extrapolated(key))
    return Traced(key.model, key.dataset, key.method, key.seed, label, frame, facts)


def make_linearity_table(context: Context, path: Path) -> None:
    """Write the table `linearity`, with its other forms beside it."""
    traced, config = read_traces(context), context.preset.statistics
    labels = {one.method: one.label for one in traced}
    title = f"How straight runs move, preset {context.preset.preset}"
    write_linearity(linearity_table(traced, config), labels, path, title, config)


def make_linearity_figure(context: Context, name: str, path: Path) -> None:
    """Draw one of linearity_plan.FIGURES as PNG with PDF beside it."""
    draw = getattr(linearity_figures, f"figure_{name.removeprefix('linearity_')}")
    draw(read_traces(context), path, path.with_suffix(".pdf"), context.preset.statistics)
