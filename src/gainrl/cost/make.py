"""What a preset's runs cost and how each is started, before anything is fetched or paid for.

Needs neither data nor weights nor a GPU. Only runs of distributed backends are estimated: the
estimate knows vLLM and data parallel training.
"""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import get_args

import pandas as pd

from gainrl import plan
from gainrl.config.models import Nano
from gainrl.config.preset import Preset
from gainrl.cost.estimate import Estimate, Other, RunCost
from gainrl.cost.local import local_part
from gainrl.cost.others import others
from gainrl.cost.responses import Kind, Mean
from gainrl.cost.rows import Costs, Row
from gainrl.cost.words import between, bill, in_turn, listing, render
from gainrl.plan import RunKey
from gainrl.records import write_text
from gainrl.stages.common import Context
from gainrl.training.slurm import Job, Site, read_site, script

USED = ("weight sync", "tests of a step", "save", "start")
"""Seconds of a rehearsal that the bill goes by; its rates are of batches too small to say much."""


def make_plan(context: Context, source: str, out: Path, profile: Path) -> None:
    """Write the estimate and each run's job script and command line, and print the sums.

    Args:
        source: the preset's path, as the job scripts are to name it.
        out: folder that gets plan.md, plan.csv, and a folder for each model; scripts of runs that
            the preset no longer has are removed from it.
        profile: folder of the cluster profile; its block `site` fills in the job scripts.

    Raises:
        ConfigError: the profile cannot be used.
        ModelError: the size of a model cannot be known.
        DataError: a file that has measurements is damaged.
    """
    preset, site = context.preset, read_site(profile)
    costs = Costs(preset, context.layout, site.train_minutes / 60)
    rows = costs.rows()
    written: set[Path] = set()
    for row in rows:
        for key in row.keys:
            written |= _write_run(context, key, row.cost, source, out, site)
    for kind in ("sh", "txt"):
        for path in set(out.glob(f"*/*/*/seed*.{kind}")) - written:
            path.unlink()
    beside = others(costs, rows)
    summary = _summary(costs, rows, beside)
    write_text(out / "plan.md", _page(costs, rows, beside, summary))
    write_text(out / "plan.csv", _frame(costs, rows).to_csv(index=False))
    print(f"{summary}\nDetails and assumptions: {out}/plan.md; job scripts: {out}/")


# --- files of a run ------------------------------------------------------------------------------


def _write_run(
    context: Context, key: RunKey, cost: Estimate | None, source: str, home: Path, site: Site
) -> set[Path]:
    """Write the job script, and the command line of the trainer alone; returns their paths."""
    path = home / key.parent / f"seed{key.seed}.sh"
    write_text(path, _script(context, key, cost, source, path, site))
    backend = plan.backend_of(context.preset, key.dataset, key.model)
    text = backend.command(context.preset, context.layout, key)
    if text is None:
        return {path}
    command = path.with_suffix(f".{backend.name}.txt")
    write_text(command, text)
    return {path, command}


def _script(
    context: Context, key: RunKey, cost: Estimate | None, source: str, path: Path, site: Site
) -> str:
    command = ["gainrl", "train", "--preset", source, "--model", key.model]
    command += ["--dataset", key.dataset, "--method", key.method, "--seed", str(key.seed)]
    if context.root != Path("results"):
        command += ["--root", str(context.root)]
    inputs = f"snakemake --profile slurm --configfile {shlex.quote(source)} --omit-from train"
    comment = [
        f"One run of preset '{context.preset.preset}' by hand: sbatch {path}",
        f"What it reads is made by: {inputs}",
    ]
    if cost:
        low, high = cost.ends
        hours = f"{between(low.hours, high.hours, ',.1f')} hours on {low.work.gpus:,} GPUs"
        comment.append(f"Estimate: {between(low.gpu_hours, high.gpu_hours)} GPU-hours, {hours}.")
    folder = Path.cwd()
    log = folder / path.with_name(f"{path.stem}-%j.log")
    return script(_job(context.preset, key, site), site, folder, log, comment, command)


def _job(preset: Preset, key: RunKey, site: Site) -> Job:
    name = f"{preset.preset}-{key.model}-{key.dataset}-{key.method}-seed{key.seed}"
    backend = plan.backend_of(preset, key.dataset, key.model)
    if backend.distributed:
        asked = backend.resources(preset)
        return Job(name, asked.nodes, asked.gpus_per_node, site.train_cpus, site.train_mem_mb)
    nano = isinstance(preset.models[key.model], Nano)
    return Job(name, 1, 0 if nano else 1, preset.threads, 8000 if nano else 64000)


# --- words and numbers ---------------------------------------------------------------------------


def _summary(costs: Costs, rows: list[Row], beside: list[Other]) -> str:
    """What is printed: the bill, what it rests on and leaves out, and runs without an estimate."""
    paid = [(row.name, row.cost) for row in rows if row.cost]
    local = [row for row in rows if not row.cost]
    parts = []
    if paid:
        notes = [*_sources(costs), *_notes(costs, rows)]
        parts += [bill(paid, beside), "\n".join(f"- {note}" for note in [*notes, in_turn(paid)])]
    if local:
        parts.append(local_part(costs, local))
    return "\n\n".join(parts) + "\n"


def _sources(costs: Costs) -> list[str]:
    """Sentences on what was measured, published or assumed."""
    cost = costs.preset.cost
    notes = [
        f"GPU: {cost.peak_tflops:,g} TFLOP/s in bf16, {cost.memory_gb_per_s:,g} GB/s (keys "
        "cost.peak_tflops, cost.memory_gb_per_s; their defaults are an A100's of 80 GB).",
        "Low: short responses at the highest published speeds; high: long ones at the lowest.",
    ]
    for kind in get_args(Kind):
        found: dict[str, list[Mean]] = {}
        for (model, _), mean in costs.lengths.items():
            if mean.kind == kind:
                found.setdefault(model, []).append(mean)
        if found:
            means = "; ".join(_means(model, each) for model, each in found.items())
            notes.append(f"Response tokens, {kind}: {means}.")
    seconds = [row for row in costs.responses.rehearsed if row.unit == "s"]
    used = [quantity for quantity in USED if any(row.quantity == quantity for row in seconds)]
    if used:
        notes.append(f"Seconds, measured by the rehearsal: {', '.join(used)}.")
    rest = ", ".join(quantity for quantity in USED if quantity not in used)
    notes.append(f"Assumed (the preset's `cost`): {'rates' + (f'; {rest}' if rest else '')}.")
    return notes


def _means(model: str, found: list[Mean]) -> str:
    low, high = min(each.low for each in found), max(each.high for each in found)
    return f"{model} {between(low, high)}"


def _notes(costs: Costs, rows: list[Row]) -> list[str]:
    """Sentences on what the bill does not hold, and what it means for jobs."""
    preset = costs.preset
    notes = ["Not in it: studies, warm-up, lost work, time in a queue."]
    keys = [row.keys[0] for row in rows if row.cost]
    tested = dict.fromkeys(
        name
        for key in keys
        for name in plan.benchmarks_of(preset, key.model, key.dataset, key.method)
    )
    unknown = [name for name in tested if plan.known_rows(preset, name, "eval") is None]
    if unknown:
        notes.append(f"Counted as 0 tests, because their size is unknown: {', '.join(unknown)}.")
    limit = costs.job_hours
    longer = [row.cost.high for row in rows if row.cost and row.cost.high.hours > limit]
    if longer:
        runs = sum(cost.runs for cost in longer)
        jobs = max(math.ceil(cost.hours / limit) for cost in longer)
        notes.append(
            f"{runs:,} runs may be longer than a job's {limit:g} h and go on from a checkpoint, in "
            f"up to {jobs:,} jobs: raise train_minutes, or retries to {jobs - 1:,}, in "
            "slurm/config.yaml."
        )
    return notes


def _page(costs: Costs, rows: list[Row], beside: list[Other], summary: str) -> str:
    parts = [f"# GPU-hours of preset '{costs.preset.preset}'", summary]
    paid = [(row.name, row.cost) for row in rows if row.cost]
    if paid:
        parts += ["## Where they go, and what they rest on", render(paid, beside)]
        parts += ["## Mean responses", listing([_mean_line(*each) for each in _means_of(costs)])]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _means_of(costs: Costs) -> list[tuple[str, str, Mean]]:
    return [(model, dataset, mean) for (model, dataset), mean in costs.lengths.items()]


def _mean_line(model: str, dataset: str, mean: Mean) -> dict[str, str]:
    return {
        "Of": f"{model}, {dataset}",
        "Tokens": between(mean.low, mean.high),
        "Known": mean.kind,
        "From": mean.source,
    }


def _frame(costs: Costs, rows: list[Row]) -> pd.DataFrame:
    """One row a model, data set and method; hours are empty where they are not estimated."""
    lines = []
    for row in rows:
        key = row.keys[0]
        training = costs.training(row)
        line = {
            "model": key.model,
            "dataset": key.dataset,
            "method": key.method,
            "backend": training.backend,
            "runs": len(row.keys),
            "steps": training.steps,
            "gpus": row.cost.low.work.gpus if row.cost else None,
            "parameters": row.cost.low.shape.parameters if row.cost else None,
        }
        for end in ("low", "high"):
            cost: RunCost | None = getattr(row.cost, end) if row.cost else None
            line |= {
                f"response_tokens_{end}": cost.work.response if cost else None,
                f"seconds_step_{end}": cost.step.seconds if cost else None,
                f"hours_tests_{end}": cost.test_hours if cost else None,
                f"hours_{end}": cost.hours if cost else None,
                f"gpu_hours_run_{end}": cost.gpu_hours if cost else None,
                f"gpu_hours_{end}": cost.total if cost else None,
            }
        lines.append(line)
    return pd.DataFrame(lines)
