"""`gainrl compare`: curves of anybody's runs to a table, a verdict and a figure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from gainrl import extras
from gainrl.compare.curves import RUNS, Curve, Log
from gainrl.compare.page import blocks
from gainrl.compare.reading import read_curves
from gainrl.compare.render import markdown, views_of, write_views
from gainrl.compare.summary import summarise
from gainrl.config.statistics import Statistics
from gainrl.errors import DataError
from gainrl.files import keep_inputs

MOST = 3
"""Tests in a level, if nobody says how many."""


def compare_files(
    files: Sequence[Path],
    mlflow: str | None,
    baseline: str | None,
    rule: str,
    out: Path | None,
    figure: Path | None,
    columns: Sequence[str],
    wandb: bool,
    metric: str,
    tokens: str,
    each_step: bool,
    runs: str | None,
    seeds: Sequence[int] | None,
    smoothing: int | None,
    any_value: bool,
) -> None:
    """Print a comparison as Markdown, and write what else is asked for.

    Args:
        baseline: the first method of the files if None.
        out: Markdown, LaTeX and JSON beside each other, whatever its suffix; figure: a PNG, and
            a PDF beside it.
        columns: NAME=COLUMN, for columns of a CSV that are called otherwise.
        mlflow: an experiment, whose runs are read too (`tracking.curves.read_logs`).
        wandb, metric, tokens, each_step, runs, any_value: as `read_curves` takes them.

    Raises:
        DataError: nothing to read, or as `read_curves` and `summarise`.
        ExtraError: a figure is asked for without matplotlib, or an experiment without MLflow.
    """
    if not files and mlflow is None:
        raise DataError("name the files with the curves, or --mlflow EXPERIMENT")
    if smoothing is not None and smoothing < 1:
        raise DataError(f"--smoothing {smoothing}: it is a number of tests, from 1")
    if figure is not None and figure.suffix != ".png":
        raise DataError(f"--figure {figure}: name a .png; a .pdf is written beside it")
    if out is not None:
        keep_inputs(views_of(out), files)
    logged: list[Log] = []
    if mlflow is not None:
        with extras.wanted("pipeline"):
            from gainrl.tracking.curves import read_logs
        logged = read_logs(mlflow)
    curves = read_curves(
        files,
        columns=dict(pair(each) for each in columns),
        metric=metric,
        tokens=tokens,
        each_step=each_step,
        runs=runs or RUNS,
        wandb=wandb,
        logged=logged,
        any_value=any_value,
    )
    chosen = [each for each in curves if seeds is None or each.seed in seeds]
    how = Statistics(smoothing=smoothing or window_for(chosen))
    summary = summarise(curves, baseline or curves[0].method, rule, how, seeds)
    if figure is not None:  # first, for its library may be missing
        with extras.wanted("plot"):
            from gainrl.compare.figure import draw
        draw(summary, figure)
    document = blocks(summary)
    if out is not None:
        write_views(out, document)
    print(markdown(document), end="")
    notes(chosen, baseline, how.smoothing)


def window_for(curves: Sequence[Curve]) -> int:
    """Tests in a level where nobody says how many: a third of the shortest run's, at most MOST."""
    return max(1, min(MOST, min((curve.steps.size for curve in curves), default=0) // 3))


def notes(curves: Sequence[Curve], baseline: str | None, window: int) -> None:
    """Say on stderr which baseline was taken, and that tests are few for the smoothing."""
    said = []
    if baseline is None:
        first = curves[0].method
        said.append(
            f"the baseline is '{first}', the first method of the files; --baseline names another"
        )
    fewest = min(curve.steps.size for curve in curves)
    if window > 1 and fewest < 3 * window:
        said.append(
            f"a run has {fewest} tests, few for --smoothing {window}, which hides speed-ups then; "
            f"pass --smoothing {max(1, fewest // 3)}"
        )
    for each in said:
        print(f"gainrl: note: {each}", file=sys.stderr)


def pair(text: str) -> tuple[str, str]:
    """A name and a column of --columns (DataError: it is no NAME=COLUMN)."""
    name, equals, column = text.partition("=")
    if not (name and equals and column):
        raise DataError(f"--columns {text}: write it as NAME=COLUMN, such as accuracy=eval/acc")
    return name, column
