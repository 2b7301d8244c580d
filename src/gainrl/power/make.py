"""`gainrl power`: from pilot runs to the sizes of the study that decides."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gainrl.compare.curves import RUNS, Curve
from gainrl.compare.reading import read_curves
from gainrl.compare.render import Block, markdown, views_of, write_views
from gainrl.compare.units import PERCENT, unit_of
from gainrl.comparing import notes, pair
from gainrl.errors import DataError, nearest
from gainrl.files import keep_inputs, write_text
from gainrl.power.page import blocks
from gainrl.power.pilot import Pilot, from_curves
from gainrl.power.sizes import COLUMNS, Row, Wanted, rows_of

RESULTS = Path("results")
POINTS = 2.0
"""The difference to decide where none is named."""


def power(
    sources: Sequence[Path],
    preset: str | None,
    experiment: str | None,
    root: Path | None,
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
    wandb: bool,
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
    of_files: dict[str, object] = {"--columns": columns, "--metric": metric, "--runs": runs}
    of_files |= {"--wandb-csv": wandb, "--any-value": any_value}
    _check_source(sources, preset, {"--experiment": experiment, "--root": root}, of_files)
    if out is not None:
        keep_inputs(views_of(out, ".csv"), sources)
    curves: list[Curve] = []
    if preset is not None:
        pilots, base = _of_preset(preset, experiment, root or RESULTS, baseline, smoothing)
    else:
        curves = read_curves(
            sources,
            columns=dict(pair(each) for each in columns),
            metric=metric,
            runs=runs or RUNS,
            wandb=wandb,
            any_value=any_value,
        )
        wanted = replace(wanted, points=_in_points(curves, difference is not None))
        base = baseline or curves[0].method
        pilots = from_curves(curves, base, smoothing)
    rows = list(rows_of(pilots, wanted, starts))
    document = blocks(rows, pilots, wanted, base, starts)
    if out is not None:
        _write(out, rows, document)
    print(markdown(document), end="")
    if curves:
        notes(curves, baseline, smoothing)


def _write(out: Path, rows: Sequence[Row], document: Sequence[Block]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out.with_suffix(".csv"), text.getvalue())
    write_views(out, document)


def _check_source(
    sources: Sequence[Path],
    preset: str | None,
    of_preset: Mapping[str, object],
    of_files: Mapping[str, object],
) -> None:
    """Refuse files beside a preset, none of both, and options that go with the other."""
    if sources and preset is not None:
        raise DataError("name the files, or --preset, not both")
    if not sources and preset is None:
        raise DataError("name the files with the pilots' curves, or --preset with finished runs")
    idle, other = (of_preset, "--preset") if sources else (of_files, "files")
    if flag := next((flag for flag, value in idle.items() if value), None):
        raise DataError(f"{flag} goes with {other}")


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
    from gainrl.training import files

    preset = plan.load(source)
    name = experiment or next(iter(preset.experiments))
    if name not in preset.experiments:
        raise DataError(f"--experiment {name}: unknown name{nearest(name, preset.experiments)}")
    layout = plan.Layout(preset.preset, root)
    keys = plan.runs(preset, [name])
    waiting = [key for key in keys if not (layout.run(key) / files.DONE).exists()]
    if waiting:
        target = "run" if name == next(iter(preset.experiments)) else "all"
        raise DataError(
            f"{layout.run(waiting[0])}: the run is not finished ({len(waiting)} of {len(keys)} "
            f"runs of '{name}' are not); first train them, as by `make {target} PRESET={source}`"
        )
    runs = of_experiment(preset, layout, name)
    base = baseline or preset.experiments[name].baseline
    return from_runs(runs, base, smoothing), base
