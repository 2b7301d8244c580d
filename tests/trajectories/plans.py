"""What Snakemake plans for a preset, as digests: jobs, files, commands and slices of every rule."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snakemake import api, settings

REPOSITORY = Path(__file__).resolve().parents[2]
PRESETS = [
    "config.yaml",
    *sorted(f"experiments/{p.name}" for p in REPOSITORY.glob("experiments/*")),
]
COPIED = ("workflow", "rules", "experiments", "envs", "slurm")
TARGETS = {"default", "all", "figures"}
CORES = 1024  # more than any rule asks for, so that threads are what the rule says


def digest(value: Any) -> str:
    """Ten hexadecimal digits of a value's repr, which is what Snakemake compares params by."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:10]


def plans() -> dict[str, Any]:
    """Preset -> rule -> what is planned, in a folder where nothing has been made."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in COPIED:
            shutil.copytree(REPOSITORY / part, folder / part)
        shutil.copy(REPOSITORY / "config.yaml", folder)
        os.chdir(folder)  # presets are named relative to it, and so are files in commands
        try:
            return {preset: _rules(_jobs(preset)) for preset in PRESETS}
        finally:
            os.chdir(before)


def _jobs(preset: str) -> list[Any]:
    """The jobs of a dry run of all targets together."""
    quiet = settings.types.OutputSettings(quiet={settings.enums.Quietness.ALL})
    with api.SnakemakeApi(quiet) as snakemake:
        workflow = snakemake.workflow(
            resource_settings=settings.types.ResourceSettings(cores=CORES),
            config_settings=settings.types.ConfigSettings(configfiles=[Path(preset)]),
            snakefile=Path("workflow/Snakefile"),
        )
        dag = workflow.dag(settings.types.DAGSettings(targets=TARGETS))
        dag.execute_workflow(executor="dryrun")
        return list(workflow._workflow.dag.jobs)


def _rules(jobs: Iterable[Any]) -> dict[str, Any]:
    by_rule = defaultdict(list)
    for job in jobs:
        by_rule[job.rule.name].append(job)
    return {name: _rule(by_rule[name]) for name in sorted(by_rule)}


def _rule(jobs: list[Any]) -> dict[str, Any]:
    found = {
        "jobs": len(jobs),
        "inputs": digest(sorted(str(file) for job in jobs for file in job.input)),
        "outputs": digest(sorted(str(file) for job in jobs for file in job.output)),
        "shell": digest(sorted(str(job.shellcmd) for job in jobs)),
        "resources": digest(sorted(map(_resources, jobs))),
    }
    slices = defaultdict(set)
    for job in jobs:
        if hasattr(job.params, "slice"):
            slices[_place(job)].add(digest(job.params.slice))
    if slices:
        found["slices"] = {place: " ".join(sorted(slices[place])) for place in sorted(slices)}
    return found


def _resources(job: Any) -> str:
    """Without those that Snakemake adds: the folder for temporary files, cores, nodes."""
    kept = {k: v for k, v in job.resources.items() if k[0] != "_" and k != "tmpdir"}
    return f"{job.threads} {sorted(kept.items())}"


def _place(job: Any) -> str:
    """A job's wildcards without the seed, for a slice is the same for all of them."""
    return " ".join(str(v) for k, v in sorted(job.wildcards_dict.items()) if k != "seed")


if __name__ == "__main__":
    json.dump(plans(), sys.stdout)
