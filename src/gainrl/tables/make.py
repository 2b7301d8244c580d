"""Tables over finished runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gainrl.config.models import parse_start
from gainrl.plan import benchmarks as benchmark_plan
from gainrl.stages.common import Context
from gainrl.tables.facts import finished_runs, table_facts
from gainrl.tables.scores import TestRows, read_scored
from gainrl.tables.scores_table import agreement_rows, benchmark_rows, write_benchmarks
from gainrl.tables.table import COLUMNS, table1, write_table


def make_table(context: Context, experiment: str, path: Path) -> None:
    """Write an experiment's table as CSV with its other forms beside it."""
    chosen = context.preset.experiments[experiment]
    facts = table_facts(context, experiment)
    frame = table1(
        finished_runs(context, experiment), context.preset.statistics, chosen.baseline, facts
    )
    title = chosen.caption or f"{experiment}, preset {context.preset.preset}"
    write_table(frame, path, title, _final(context, experiment), chosen.columns)


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
        # A start model belongs to every data set that it is trained on.
        chosen = [
            test
            for test in tests
            if preset.family(test.model) == model
            and test.benchmark in benchmarks
            and (test.run is None or test.run.dataset == dataset)
        ]
        read = [
            read_scored(
                test.folder(layout),
                model=model,
                dataset=dataset,
                method=test.run.method if test.run else None,
                seed=test.run.seed if test.run else parse_start(test.model, preset.models)[1],
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
