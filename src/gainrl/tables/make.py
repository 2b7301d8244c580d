"""Tables over finished runs, and the check of the tracking store."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gainrl import plan
from gainrl.errors import TrackingError
from gainrl.plan import RunKey
from gainrl.plan import benchmarks as benchmark_plan
from gainrl.plan.layout import TRACKED
from gainrl.records import read_json
from gainrl.stages.common import PREPARATION, Context
from gainrl.tables.facts import finished_runs, table_facts
from gainrl.tables.scores import TestRows, read_scored
from gainrl.tables.scores_table import agreement_rows, benchmark_rows, write_benchmarks
from gainrl.tables.table import COLUMNS, table1, write_table
from gainrl.tracking.journal import sync
from gainrl.tracking.record import initialise, missing, store_uri
from gainrl.training import files


def make_table(context: Context, experiment: str, path: Path) -> dict[str, float]:
    """Write an experiment's table as CSV with its other forms beside it; final accuracies."""
    chosen = context.preset.experiments[experiment]
    facts = table_facts(context, experiment)
    frame = table1(
        finished_runs(context, experiment), context.preset.statistics, chosen.baseline, facts
    )
    title = chosen.caption or f"{experiment}, preset {context.preset.preset}"
    write_table(frame, path, title, _final(context, experiment), chosen.columns)
    names = ("model", "dataset", "method", "benchmark")
    final = frame[frame["metric"] == "final_accuracy"].to_dict("records")
    return {
        "final/" + "/".join(str(row[key]) for key in names): float(row["mean"]) for row in final
    }


def _final(context: Context, experiment: str) -> pd.DataFrame | None:
    """Rows about the final models under the experiment's protocols, if it has any."""
    preset, layout = context.preset, context.layout
    tests = benchmark_plan.final_tests(preset, [experiment])
    if not tests:
        return None
    summary = TestRows(preset.statistics, preset.experiments[experiment].baseline)
    rows: list[dict[str, object]] = []
    for model, dataset in preset.experiments[experiment].places:
        benchmarks = preset.tested_on(experiment, dataset)
        # The start model belongs to every data set that it is trained on.
        chosen = [
            test
            for test in tests
            if test.model == model
            and test.benchmark in benchmarks
            and (test.run is None or test.run.dataset == dataset)
        ]
        read = [
            read_scored(
                test.folder(layout),
                model=model,
                dataset=dataset,
                method=test.run.method if test.run else None,
                seed=test.run.seed if test.run else None,
            )
            for test in chosen
        ]
        rows += summary.rows(read)
    return pd.DataFrame(rows, columns=COLUMNS)


def make_benchmarks(context: Context, path: Path) -> None:
    """Write the table of models as they are, and how far engines agree."""
    preset = context.preset
    tests = benchmark_plan.start_tests(preset)
    folders = [test.folder(context.layout) for test in tests]
    read = [
        (read_scored(folder, model=test.model, dataset="", method=None, seed=None), test.engine)
        for test, folder in zip(tests, folders, strict=True)
    ]
    write_benchmarks(benchmark_rows(read, preset.statistics), agreement_rows(read, folders), path)


def initialise_tracking(context: Context) -> None:
    """Create the store, its experiments and the parent runs, before anything writes."""
    preset = context.preset
    parents: dict[str, tuple[str, dict[str, str]]] = {}
    for key in plan.runs(preset):
        home = plan.experiments_of(preset, key.model, key.dataset, key.method)[0]
        tags = {
            "gainrl.stage": "train",
            "gainrl.preset": preset.preset,
            "gainrl.model": key.model,
            "gainrl.dataset": key.dataset,
            "gainrl.method": key.method,
        }
        parents[key.parent] = (context.experiment(home), tags)
    names = [context.experiment(name) for name in (PREPARATION, *preset.experiments)]
    uri = store_uri(preset.tracking.uri, context.root)
    context.root.mkdir(parents=True, exist_ok=True)
    initialise(uri, context.root, context.layout.tracking, names, parents)
    print(f"tracking store: {uri}")


def sync_tracking(context: Context) -> None:
    """Put into the store what jobs on a cluster's nodes have written into journals.

    Raises:
        TrackingError: the store cannot be reached or has refused something.
    """
    count = sync(context.layout.tracking, context.layout.home)
    print(f"tracking: {count} journals had something new")


def check_tracking(context: Context) -> None:
    """Compare finished work with the store.

    Raises:
        TrackingError: something finished is missing in the store; each line names one thing.
    """
    uri = read_json(context.layout.tracking)["uri"]
    notes: list[tuple[str, Path, int | None]] = []
    unfinished = 0
    for key in plan.runs(context.preset):
        folder = context.layout.run(key)
        if not (folder / files.DONE).exists():
            unfinished += 1
            continue
        notes.append((_title(key), folder / files.TRACKING, _steps(context, key)))
    for note in sorted(context.layout.home.glob(f"*/**/*{TRACKED}")):
        notes.append((str(note.relative_to(context.layout.home)), note, None))
    problems = missing(uri, notes)
    print(f"{len(notes)} finished pieces of work, {unfinished} unfinished runs, store {uri}")
    if problems:
        raise TrackingError("; ".join(problems))


def _title(key: RunKey) -> str:
    return f"{key.parent}/seed{key.seed}"


def _steps(context: Context, key: RunKey) -> int:
    return context.preset.training_for(key.dataset, key.model).steps
