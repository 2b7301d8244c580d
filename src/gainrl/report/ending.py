"""The last lines of a call of Snakemake: what was found, or what failed and why. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gainrl.config.preset import Preset
from gainrl.plan import Layout
from gainrl.processes import last_error
from gainrl.records.health import Light
from gainrl.results.health import fared
from gainrl.results.runs import of_experiment
from gainrl.tables.answer import answers as answers_of

Jobs = Sequence[Mapping[str, Any]]
"""As `gainrl.plan.rehearsal.left` gives them."""


def answers(preset: Preset, layout: Layout, jobs: Jobs) -> list[str]:
    """What the tables of experiments say, and the page's path, if the call was to make them."""
    wanted = {Path(path) for job in jobs for path in job["outputs"]}
    lines = []
    for name, chosen in preset.experiments.items():
        table = layout.table(name)
        if table in wanted:
            labels = {each: preset.methods[each].label or each for each in chosen.methods}
            lines += answers_of(pd.read_csv(table), chosen.baseline, labels, name)
            lines += _health(preset, layout, name)
    pages = [layout.home / name for name in ("report.html", "report_all.html")]
    return [*lines, *(f"more: {page}" for page in pages if page in wanted)]


def _health(preset: Preset, layout: Layout, experiment: str) -> list[str]:
    """A line for each method of an experiment with runs that are not green; reddest first."""
    found = fared(of_experiment(preset, layout, experiment))
    unwell = [each for each in found if each[3]["yellow"] or each[3]["red"]]
    return [
        f"health of {label} ({model} on {dataset}): {_counted(lights)}; {'; '.join(reasons)}"
        for model, dataset, label, lights, reasons in sorted(unwell, key=lambda run: -run[3]["red"])
    ]


def _counted(lights: Mapping[Light, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in lights.items() if count)


def failures(jobs: Jobs) -> list[str]:
    """A line for each job that has failed, with its log, and how many were left."""
    failed = [job for job in jobs if job["state"] == "failed"]
    lines = [f"failed: {_title(job)}: {_why(job)}" for job in failed]
    waiting = sum(job["state"] == "skipped" for job in jobs)
    if waiting:
        word = "started" if failed else "finished"  # of a call that was interrupted
        lines.append(f"not {word}: {waiting} jobs; the same call goes on from here")
    return lines


def _title(job: Mapping[str, Any]) -> str:
    return " ".join([job["rule"], *job["of"].values()])


def _why(job: Mapping[str, Any]) -> str:
    for path in map(Path, job["log"]):
        if path.exists() and path.stat().st_size:
            _, line = last_error(path)
            return f"{line.removeprefix('gainrl: ')} (log: {path})"
    return "it left no log: see Snakemake's own above"
