"""Job scripts by which one training run is submitted to SLURM by hand."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, ValidationError

from gainrl.config.base import Positive, Section
from gainrl.config.errors import explain
from gainrl.config.files import read_yaml
from gainrl.errors import ConfigError


class Site(Section):
    """The block `site` of a cluster profile (slurm/config.yaml); None leaves it to the cluster.

    train_minutes: time limit. train_cpus, train_mem_mb: of a node.
    """

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    cpu_partition: str | None = None
    gpu_partition: str | None = None
    account: str | None = None
    gpu_model: str | None = None
    train_minutes: Positive
    train_cpus: Positive
    train_mem_mb: Positive


def read_profile(profile: Path) -> Any:
    """What a profile's config.yaml says.

    Raises:
        ConfigError: there is no such file, it is no YAML, or it has a key twice.
    """
    path = profile / "config.yaml"
    try:
        return read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot read the cluster profile: {reason}") from error


def read_site(profile: Path) -> Site:
    """The block `site` of a profile's config.yaml.

    Raises:
        ConfigError: there is no such file or block, or a value that is none.
    """
    path, found = profile / "config.yaml", read_profile(profile)
    if not isinstance(found, dict) or not isinstance(found.get("site"), dict):
        raise ConfigError(f"{path}: the cluster profile has no block 'site'")
    try:
        return Site(**found["site"])
    except ValidationError as error:
        raise ConfigError(f"{path}: site: {explain(error, Site)}") from error


@dataclass(frozen=True)
class Job:
    """What one job asks for; cpus and memory_mb are of a node, gpus too."""

    name: str
    nodes: int
    gpus: int
    cpus: int
    memory_mb: int


def script(
    job: Job, site: Site, folder: Path, log: Path, comment: list[str], command: list[str]
) -> str:
    """A bash script for sbatch that runs `command` in `folder`.

    Args:
        folder, log: absolute. %j in the log's name is the job's number.
        comment: lines that a reader sees first.
    """
    gpu = f"{site.gpu_model}:{job.gpus}" if site.gpu_model else str(job.gpus)
    options: dict[str, str | None] = {
        "job-name": job.name,
        "nodes": str(job.nodes),
        "ntasks-per-node": "1",
        "gpus-per-node": gpu if job.gpus else None,
        "cpus-per-task": str(job.cpus),
        "mem": f"{job.memory_mb}M",
        "time": str(site.train_minutes),
        "partition": site.gpu_partition if job.gpus else site.cpu_partition,
        "account": site.account,
        "output": str(log),
    }
    given = {key: value for key, value in options.items() if value is not None}
    lines = [f"#SBATCH --{key}={shlex.quote(value)}" for key, value in given.items()]
    return "\n".join(
        [
            "#!/bin/bash",
            *lines,
            "#SBATCH --requeue",
            *(f"# {line}" for line in comment),
            "set -euo pipefail",
            f"cd {shlex.quote(str(folder))}",
            shlex.join(command),
            "",
        ]
    )
