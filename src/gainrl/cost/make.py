"""What a preset's runs cost and how each is started, before anything is fetched or paid for.

Needs neither data nor weights nor a GPU. Only runs of distributed backends are estimated: the
estimate knows vLLM and data parallel training.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gainrl import plan
from gainrl.config.models import Nano
from gainrl.config.preset import Preset
from gainrl.cost.estimate import RunCost, Shape, Work, bill, listing, render, run_cost
from gainrl.models.shapes import architecture
from gainrl.plan import Layout, RunKey
from gainrl.plan.backends import Backend
from gainrl.records import write_text
from gainrl.stages.common import Context
from gainrl.training import algorithms
from gainrl.training.slurm import Job, Site, read_site, script


@dataclass(frozen=True)
class Row:
    """Runs that differ by their seed alone; no cost if their backend is not distributed."""

    keys: tuple[RunKey, ...]
    cost: RunCost | None

    @property
    def name(self) -> str:
        """Model, data set and method."""
        return self.keys[0].parent


def make_plan(context: Context, source: str, out: Path, profile: Path) -> None:
    """Write the estimate and each run's job script and command line, and print the sums.

    Args:
        source: the preset's path, as the job scripts are to name it.
        out: gets <preset>.md, <preset>.csv and a folder <preset>; scripts of runs that the preset
            no longer has are removed from it.
        profile: folder of the cluster profile; its block `site` fills in the job scripts.

    Raises:
        ConfigError: the profile cannot be used.
        ModelError: the size of a model cannot be known.
    """
    preset, site = context.preset, read_site(profile)
    rows = plan_rows(preset)
    home = out / preset.preset
    written: set[Path] = set()
    for row in rows:
        for key in row.keys:
            written |= _write_run(context, key, row.cost, source, home, site)
    for kind in ("sh", "txt"):
        for path in set(home.glob(f"*/*/*/seed*.{kind}")) - written:
            path.unlink()
    summary = _summary(preset, context.layout, rows, site)
    write_text(home.with_name(f"{home.name}.md"), _page(preset, rows, summary))
    write_text(home.with_name(f"{home.name}.csv"), _frame(preset, rows).to_csv(index=False))
    print(f"{summary}\nDetails and assumptions: {home}.md; job scripts: {home}/")


# --- the matrix ----------------------------------------------------------------------------------


def plan_rows(preset: Preset) -> list[Row]:
    """The preset's runs, those of equal model, data set and method together, with their costs."""
    groups: dict[str, list[RunKey]] = {}
    for key in plan.runs(preset):
        groups.setdefault(key.parent, []).append(key)
    paid = [keys[0].model for keys in groups.values() if _backend(preset, keys[0]).distributed]
    shapes = {model: _shape(preset, model) for model in dict.fromkeys(paid)}
    rows = []
    for keys in groups.values():
        cost = None
        if _backend(preset, keys[0]).distributed:
            shape, work = shapes[keys[0].model], _work(preset, keys[0])
            cost = run_cost(shape, work, preset.cost, runs=len(keys))
        rows.append(Row(tuple(keys), cost))
    return rows


def _shape(preset: Preset, model: str) -> Shape:
    found = architecture(preset.models[model], model)
    return Shape(
        parameters=found.parameters,
        layers=found.layers,
        hidden=found.hidden,
        kv_width=found.kv_width,
        vocabulary=found.vocabulary,
    )


def _work(preset: Preset, key: RunKey) -> Work:
    training = preset.training_for(key.dataset, key.model, key.method)
    evaluation = preset.evaluation_for(key.dataset, key.model)
    problems = sum(_problems(preset, name) or 0 for name in _benchmarks(preset, key))
    return Work(
        steps=training.steps,
        prompts=training.prompts,
        rollouts=training.rollouts,
        max_response=training.max_response,
        kl=training.kl > 0,
        critic=algorithms.named(preset.methods[key.method].algorithm).critic,
        evaluation_every=evaluation.every,
        evaluation_samples=problems * evaluation.samples,
        gpus=_backend(preset, key).resources(preset).gpus,
    )


def _backend(preset: Preset, key: RunKey) -> Backend:
    return plan.backend_of(preset, key.dataset, key.model)


def _benchmarks(preset: Preset, key: RunKey) -> list[str]:
    return plan.benchmarks_of(preset, key.model, key.dataset, key.method)


def _problems(preset: Preset, benchmark: str) -> int | None:
    return plan.known_rows(preset, benchmark, "eval")


# --- files of a run ------------------------------------------------------------------------------


def _write_run(
    context: Context, key: RunKey, cost: RunCost | None, source: str, home: Path, site: Site
) -> set[Path]:
    """Write the job script, and the command line of the trainer alone; returns their paths."""
    path = home / key.parent / f"seed{key.seed}.sh"
    write_text(path, _script(context, key, cost, source, path, site))
    backend = _backend(context.preset, key)
    text = backend.command(context.preset, context.layout, key)
    if text is None:
        return {path}
    command = path.with_suffix(f".{backend.name}.txt")
    write_text(command, text)
    return {path, command}


def _script(
    context: Context, key: RunKey, cost: RunCost | None, source: str, path: Path, site: Site
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
        hours = f"{cost.hours:,.1f} hours on {cost.work.gpus:,} GPUs"
        comment.append(f"Estimate: {cost.gpu_hours:,.0f} GPU-hours, {hours}.")
    folder = Path.cwd()
    log = folder / path.with_name(f"{path.stem}-%j.log")
    return script(_job(context.preset, key, site), site, folder, log, comment, command)


def _job(preset: Preset, key: RunKey, site: Site) -> Job:
    name = f"{preset.preset}-{key.model}-{key.dataset}-{key.method}-seed{key.seed}"
    backend = _backend(preset, key)
    if backend.distributed:
        asked = backend.resources(preset)
        return Job(name, asked.nodes, asked.gpus_per_node, site.train_cpus, site.train_mem_mb)
    nano = isinstance(preset.models[key.model], Nano)
    return Job(name, 1, 0 if nano else 1, preset.threads, 8000 if nano else 64000)


# --- words and numbers ---------------------------------------------------------------------------


def _summary(preset: Preset, layout: Layout, rows: list[Row], site: Site) -> str:
    """What is printed: the bill, what it leaves out, and the runs without an estimate."""
    paid = [(row.name, row.cost) for row in rows if row.cost]
    local = [row for row in rows if not row.cost]
    parts = []
    if paid:
        parts += [bill(paid), "\n".join(f"- {note}" for note in _notes(preset, layout, rows, site))]
    if local:
        runs = sum(len(row.keys) for row in local)
        names = dict.fromkeys(_backend(preset, row.keys[0]).name for row in local)
        where = " or ".join(names)
        parts.append(
            f"{runs:,} run{'s' if runs > 1 else ''} on the {where} backend, on one device each; "
            "GPU-hours are not estimated."
        )
        parts.append(listing([_local_line(preset, row) for row in local]))
    return "\n\n".join(parts) + "\n"


def _local_line(preset: Preset, row: Row) -> dict[str, str]:
    steps = preset.training_for(row.keys[0].dataset, row.keys[0].model).steps
    return {"Run": row.name, "Runs": f"{len(row.keys):,}", "Steps": f"{steps:,}"}


def _notes(preset: Preset, layout: Layout, rows: list[Row], site: Site) -> list[str]:
    """Sentences on what the bill does not hold."""
    notes = [
        "Estimated from FLOP and the assumptions of the preset's `cost`; not measured.",
        "Not in it: scoring, measured difficulties, tests of the start models and under protocols, "
        "warm-up, loading, saving, lost work.",
    ]
    keys = [row.keys[0] for row in rows if row.cost]
    notes += dict.fromkeys(filter(None, (_difficulty_note(preset, layout, key) for key in keys)))
    tested = dict.fromkeys(name for key in keys for name in _benchmarks(preset, key))
    unknown = [name for name in tested if _problems(preset, name) is None]
    if unknown:
        notes.append(f"Counted as 0 tests, because their size is unknown: {', '.join(unknown)}.")
    limit = site.train_minutes / 60
    longer = [row.cost for row in rows if row.cost and row.cost.hours > limit]
    if longer:
        runs = sum(cost.runs for cost in longer)
        jobs = math.ceil(max(cost.hours for cost in longer) / limit)
        notes.append(
            f"{runs:,} runs are longer than a job's {limit:g} h and go on from a checkpoint, in "
            f"up to {jobs:,} jobs: raise train_minutes, or retries to {jobs - 1:,}, in "
            "slurm/config.yaml."
        )
    return notes


def _difficulty_note(preset: Preset, layout: Layout, key: RunKey) -> str | None:
    """What measured difficulties add, in RL steps of the run that walks them."""
    prompts = plan.known_rows(preset, key.dataset, "train")
    if plan.inputs_of(preset, layout, key).difficulty is None or prompts is None:
        return None
    training = preset.training_for(key.dataset, key.model)
    answers = prompts * preset.scoring.difficulty_samples
    steps = answers / (training.prompts * training.rollouts)
    return (
        f"Measured difficulties of {key.dataset} are {answers:,} answers of each model, as many as "
        f"{steps:,.0f} steps have."
    )


def _page(preset: Preset, rows: list[Row], summary: str) -> str:
    parts = [f"# GPU-hours of preset '{preset.preset}'", summary]
    paid = [(row.name, row.cost) for row in rows if row.cost]
    if paid:
        parts += ["## Where they go, and what they rest on", render(paid, preset.cost)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _frame(preset: Preset, rows: list[Row]) -> pd.DataFrame:
    """One row a model, data set and method; hours are empty where they are not estimated."""
    lines = []
    for row in rows:
        key, cost = row.keys[0], row.cost
        training = preset.training_for(key.dataset, key.model)
        lines.append(
            {
                "model": key.model,
                "dataset": key.dataset,
                "method": key.method,
                "backend": training.backend,
                "runs": len(row.keys),
                "steps": training.steps,
                "gpus": cost.work.gpus if cost else None,
                "parameters": cost.shape.parameters if cost else None,
                "rollout_tokens": cost.rollout_tokens if cost else None,
                "seconds_step": cost.step.seconds if cost else None,
                "hours_tests": cost.test_hours if cost else None,
                "hours": cost.hours if cost else None,
                "gpu_hours_run": cost.gpu_hours if cost else None,
                "gpu_hours": cost.total if cost else None,
            }
        )
    return pd.DataFrame(lines)
