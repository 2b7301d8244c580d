"""Tables and figures over finished runs, and the check of the tracking store."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gainrl import plan
from gainrl.curricula.selection import select
from gainrl.errors import DataError, TrackingError
from gainrl.plan import RunKey
from gainrl.plan import benchmarks as benchmark_plan
from gainrl.plan.layout import TRACKED
from gainrl.records import ORDER, SCORES, read_json, read_table
from gainrl.results.runs import Run, collect
from gainrl.stages.common import PREPARATION, Context
from gainrl.tables.facts import table_facts
from gainrl.tables.scores import TestRows, read_scored
from gainrl.tables.scores_table import agreement_rows, benchmark_rows, write_benchmarks
from gainrl.tables.table import COLUMNS, table1, write_table
from gainrl.tracking.record import initialise, missing, store_uri
from gainrl.training import files


def _runs(context: Context, experiment: str) -> list[Run]:
    keys = plan.runs(context.preset, [experiment])
    return collect([context.layout.run(key) for key in keys])


def make_table(context: Context, experiment: str, path: Path) -> None:
    """Write an experiment's table as CSV with Markdown and LaTeX beside it, and record it."""
    chosen = context.preset.experiments[experiment]
    facts = table_facts(context, experiment)
    frame = table1(_runs(context, experiment), context.preset.statistics, chosen.baseline, facts)
    title = chosen.caption or f"{experiment}, preset {context.preset.preset}"
    write_table(frame, path, title, _final(context, experiment), chosen.columns)
    slice_ = plan.table_slice(context.preset, experiment)
    note = context.layout.tracked(experiment)
    run = context.track("table", f"{experiment} table", note, slice_, experiment=experiment)
    for suffix in (".csv", ".md", ".tex"):
        run.artifact(path.with_suffix(suffix))
    final = frame[frame["metric"] == "final_accuracy"].to_dict("records")
    for row in final:
        name = "/".join(str(row[key]) for key in ("model", "dataset", "method", "benchmark"))
        run.metrics([{"step": 0, f"final/{name}": float(row["mean"])}])
    run.finish()
    print(path.with_suffix(".md").read_text(encoding="utf-8"))


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
    print(path.with_suffix(".md").read_text(encoding="utf-8"))


def make_figures(context: Context, experiment: str, curves: Path, walk: Path) -> None:
    """Draw the learning curves and what the curricula did, as PNG with PDF beside it."""
    from gainrl.tables.curves import figure7, figure_curriculum  # tables start without matplotlib

    runs, statistics = _runs(context, experiment), context.preset.statistics
    baseline = context.preset.experiments[experiment].baseline
    methods = list(context.preset.methods)
    figure7(runs, statistics, curves, curves.with_suffix(".pdf"), baseline, methods)
    figure_curriculum(runs, statistics, walk, walk.with_suffix(".pdf"), methods)
    slice_ = {"figures": [curves.stem, walk.stem]}
    note = context.layout.tracked(f"{experiment}.figures")
    run = context.track("figures", f"{experiment} figures", note, slice_, experiment=experiment)
    for path in (curves, walk):
        run.artifact(path)
        run.artifact(path.with_suffix(".pdf"))
    run.finish()


def make_cost_figure(context: Context, experiment: str, path: Path) -> None:
    """Draw accuracy over what runs had spent, as PNG with PDF beside it."""
    from gainrl.tables.curves import figure_cost

    preset, pdf = context.preset, path.with_suffix(".pdf")
    runs, methods = _runs(context, experiment), list(preset.methods)
    figure_cost(runs, preset.statistics, path, pdf, methods)
    note = context.layout.tracked(path.stem)
    run = context.track("figures", path.stem, note, {"figure": path.stem}, experiment=experiment)
    for file in (path, pdf):
        run.artifact(file)
    run.finish()


def make_speed_figure(context: Context, experiment: str, path: Path) -> None:
    """Draw all methods of an experiment, from its table, as PNG with PDF beside it.

    Raises:
        DataError: the table is missing.
    """
    from gainrl.compare.style import looks_of
    from gainrl.tables.speed_figure import figure_speed

    preset, table = context.preset, context.root / f"{experiment}.csv"
    chosen = preset.experiments[experiment]
    if not table.exists():
        raise DataError(f"{table}: no such table; `snakemake {table}` makes it")
    labels = {name: preset.methods[name].label or name for name in chosen.methods}
    looks = looks_of(preset.methods)
    paths = (path, path.with_suffix(".pdf"))
    figure_speed(pd.read_csv(table), str(chosen.speed), chosen.baseline, labels, looks, *paths)
    note = context.layout.tracked(path.stem)
    run = context.track("figures", path.stem, note, {"figure": path.stem}, experiment=experiment)
    for file in paths:
        run.artifact(file)
    run.finish()


def make_selection_figure(context: Context, experiment: str, path: Path) -> None:
    """Draw which prompts the selections of an experiment's methods take, by C, for one seed."""
    from gainrl.compare.style import looks_of
    from gainrl.tables.selection_figure import Selected, figure_selection

    preset, layout, panels = context.preset, context.layout, []
    chosen = preset.experiments[experiment]
    names = plan.selecting(preset, experiment)
    for model, dataset in chosen.places:
        scores = read_table(layout.signal(model, dataset, "scores"), SCORES)
        signal = scores.set_index("id")["c"]
        for name in names:
            part, key = preset.methods[name].selection, preset.methods[name].order_key
            assert part is not None
            assert key is not None
            order = read_table(layout.order(model, dataset, key), ORDER)
            ranks = select(len(order), part.share, part.slope, preset.seeds[0])
            where = f"{model}, {dataset}: " if len(chosen.places) > 1 else ""
            title = f"{where}{preset.methods[name].label or name}"
            taken = signal.loc[order["id"].iloc[ranks]].to_numpy()
            panels.append(Selected(title, name, signal.to_numpy(), taken))
    looks = looks_of(preset.methods)
    figure_selection(panels, looks, path, path.with_suffix(".pdf"))
    note = context.layout.tracked(path.stem)
    run = context.track("figures", path.stem, note, {"figure": path.stem}, experiment=experiment)
    for file in (path, path.with_suffix(".pdf")):
        run.artifact(file)
    run.finish()


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
