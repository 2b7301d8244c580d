"""`gainrl power`: from pilot runs to the sizes of the study that decides."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gainrl.compare.curves import RUNS, Curve
from gainrl.compare.reading import read_curves
from gainrl.compare.render import VIEWS, markdown, write_views
from gainrl.compare.units import PERCENT, unit_of
from gainrl.comparing import pair
from gainrl.errors import DataError, nearest
from gainrl.files import keep_inputs, write_text
from gainrl.power.page import blocks
from gainrl.power.pilot import Pilot, from_curves
from gainrl.power.sizes import COLUMNS, Wanted, rows_of

POINTS = 2.0
"""The difference to decide where none is named."""


def power(
    sources: Sequence[Path],
    preset: str | None,
    experiment: str | None,
    root: Path,
    baseline: str | None,
    starts: bool,
    difference: float | None,
    speedup: float,
    wanted_power: float,
    alpha: float,
    seeds: Sequence[int],
    problems: Sequence[int],
    samples: Sequence[int],
    smoothing: int,
    out: Path | None,
    columns: Sequence[str],
    metric: str,
    runs: str | None,
    any_value: bool,
) -> None:
    """Print what pilots say of a study's sizes as Markdown and, if `out`, write it.

    Args:
        sources: curves, as `gainrl compare` reads them; or preset: its finished runs.
        starts: tasks (models, in a preset) are start models of one task.
        wanted_power, alpha, speedup, seeds, problems, samples: `Wanted`.
        difference: in points, 2 if None; of accuracies that are no shares in their unit, required.
        smoothing: tests in a level; by problem only the last test is known.
        out: .csv, .md, .tex and .json beside each other, whatever its suffix.

    Raises:
        DataError: no pilots, pilots that cannot be compared, or sizes that make no sense.
    """
    sizes = tuple(seeds), tuple(problems), tuple(samples)
    wanted = Wanted(
        POINTS if difference is None else difference, speedup, wanted_power, alpha, *sizes
    )
    if smoothing < 1:
        raise DataError(f"--smoothing {smoothing}: it is a number of tests, from 1")
    if bool(sources) == (preset is not None):
        raise DataError("name the files with the pilots' curves, or --preset with finished runs")
    if out is not None:
        keep_inputs(map(out.with_suffix, (".csv", *VIEWS)), sources)
    if preset is not None:
        pilots, base = _of_preset(preset, experiment, root, baseline, smoothing)
    else:
        named = dict(pair(each) for each in columns)
        curves = read_curves(
            sources, columns=named, metric=metric, runs=runs or RUNS, any_value=any_value
        )
        wanted = replace(wanted, points=_in_points(curves, difference is not None))
        base = baseline or curves[0].method
        pilots = from_curves(curves, base, smoothing)
    rows = list(rows_of(pilots, wanted, starts))
    document = blocks(rows, pilots, wanted, base, starts)
    if out is not None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(out.with_suffix(".csv"), text.getvalue())
        write_views(out, document)
    print(markdown(document), end="")


def _in_points(curves: Sequence[Curve], named: bool) -> bool:
    """Whether the curves' differences are points (DataError: no, and no difference is named)."""
    if unit_of(curves) != "own":
        return True
    if named:
        return False
    every = np.concatenate([curve.accuracies for curve in curves])
    raise DataError(
        f"{curves[0].where}: values from {every.min():g} to {every.max():g} are neither shares "
        f"(0 to 1) nor percent (0 to 100, some above {PERCENT:g}); name the difference to decide "
        "in their own unit: --difference NUMBER"
    )


def _of_preset(
    source: str, experiment: str | None, root: Path, baseline: str | None, smoothing: int
) -> tuple[list[Pilot], str]:
    from gainrl import plan
    from gainrl.power.finished import from_runs
    from gainrl.results.runs import of_experiment

    preset = plan.load(source)
    name = experiment or next(iter(preset.experiments))
    if name not in preset.experiments:
        raise DataError(f"--experiment {name}: unknown name{nearest(name, preset.experiments)}")
    layout = plan.Layout(preset.preset, root)
    runs = of_experiment(preset, layout, name)
    base = baseline or preset.experiments[name].baseline
    return from_runs(runs, base, smoothing), base
