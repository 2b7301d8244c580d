"""The table and the page of a rehearsal, whatever has failed in it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined

from gainrl.records import write_text
from gainrl.records.measured import Measured, write_measured
from gainrl.rehearsal import jobs as rehearsed
from gainrl.rehearsal import measured
from gainrl.stages.common import Context

MEASURED = "measured.csv"


def make_rehearsal(context: Context, jobs: Path, out: Path) -> None:
    """Write a row a job to `out`, what was measured beside the results, and a page of both.

    Raises:
        DataError: `jobs` is no list of jobs, or a finished run has left a damaged record.
    """
    found = rehearsed.read_jobs(jobs)
    table, numbers = rehearsed.table(found), measured.measure(context, found)
    write_measured(context.root / MEASURED, numbers)
    write_text(out, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    write_text(out.with_suffix(".html"), _page(context, found, table, numbers))
    print(f"{out}: {rehearsed.summary(found)}")
    for row in table[table["state"] == "failed"].itertuples():
        print(f"failed: {row.stage} {row.of}: {row.why}")


def _page(
    context: Context,
    jobs: list[rehearsed.Job],
    table: pd.DataFrame,
    numbers: list[Measured],
) -> str:
    source = files("gainrl.rehearsal").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(source).render(
        preset=context.preset.preset,
        summary=rehearsed.summary(jobs),
        rows=list(zip(jobs, table.to_dict("records"), strict=True)),
        numbers=numbers,
    )
