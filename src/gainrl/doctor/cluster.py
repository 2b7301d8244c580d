"""A SLURM cluster against the profile: partitions, account, accounting, and a node itself."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Any

from gainrl.doctor.check import Check, failed, ok, warning
from gainrl.doctor.machine import output_of
from gainrl.doctor.needs import Needs
from gainrl.errors import nearest
from gainrl.training.slurm import Site, read_profile, read_site

NODE_MINUTES = 5
"""Time limit of the job that looks at a node."""
NODE_WAIT = 120
"""Seconds that it may wait for a node."""
DISABLED = re.compile("accounting.storage|not enabled|disabled", re.IGNORECASE)


@dataclass(frozen=True)
class Nodes:
    """Equal nodes of a partition, as sinfo lists them; minutes: of a job, None without a limit."""

    partition: str
    default: bool
    up: bool
    count: int
    cpus: int
    memory_mb: int
    gres: str
    minutes: float | None

    def gpus(self, model: str | None) -> int:
        """GPUs of a node, of one model if any is named."""
        found = re.findall(r"gpu(?::([^:(,]+))?:(\d+)", self.gres)
        return sum(int(count) for name, count in found if model is None or name == model)


def partitions() -> list[Nodes]:
    """What the cluster has (OSError: it cannot be asked)."""
    lines = output_of("sinfo", "--noheader", "--format=%P|%a|%D|%c|%m|%G|%l").splitlines()
    found = []
    for line in lines:
        name, state, nodes, cpus, memory, gres, limit = line.split("|")
        plain = name.rstrip("*")
        found.append(
            Nodes(
                partition=plain,
                default=name != plain,
                up=state == "up",
                count=_whole(nodes),
                cpus=_whole(cpus),
                memory_mb=_whole(memory),
                gres=gres,
                minutes=minutes(limit),
            )
        )
    return found


def _whole(text: str) -> int:
    """A number that may end with a plus: the least of several nodes."""
    return int(text.rstrip("+"))


def minutes(limit: str) -> float | None:
    """A time limit of SLURM, [days-][hours:]minutes:seconds, in minutes; None if it is none."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if not found:
        return None
    days, hours, whole, seconds = (int(part or 0) for part in found.groups())
    return (24 * days + hours) * 60 + whole + seconds / 60


def check_cluster(profile: Path, needs: Needs | None) -> Iterator[Check]:
    """The profile's partitions, account and resources, and how Snakemake asks for states.

    Raises:
        ConfigError: the profile cannot be used.
    """
    site = read_site(profile)
    path = profile / "config.yaml"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        do = "pip install 'gainrl[slurm]'"
        yield failed("executor", "snakemake-executor-plugin-slurm is not installed", do)
    try:
        found = partitions()
    except OSError as error:
        yield failed("SLURM", str(error), "start this on a login node of the cluster")
        return
    yield _partition("CPU partition", site.cpu_partition, "cpu_partition", found, path)
    gpu = _partition("GPU partition", site.gpu_partition, "gpu_partition", found, path)
    yield gpu
    if gpu.status == "ok" and needs and needs.distributed:
        yield _fits(_rows(site.gpu_partition, found), site, needs, path)
    yield _account(site, path)
    yield _accounting(path, read_profile(profile))


def _rows(name: str | None, found: list[Nodes]) -> list[Nodes]:
    return [each for each in found if (each.partition == name if name else each.default)]


def _partition(what: str, name: str | None, key: str, found: list[Nodes], path: Path) -> Check:
    rows = _rows(name, found)
    if not rows:
        known = {each.partition for each in found}
        saw = f"no partition '{name}'{nearest(name, known)}" if name else "there is no default one"
        return failed(what, saw, f"set site.{key} in {path}")
    shown = rows[0].partition + ("" if name else " (the cluster's default)")
    if not any(each.up for each in rows):
        return failed(what, f"{shown} is down", f"name another: site.{key} in {path}")
    return ok(what, f"{shown}, {sum(each.count for each in rows)} nodes")


def _fits(rows: list[Nodes], site: Site, needs: Needs, path: Path) -> Check:
    """Whether a training job fits into nodes of the GPU partition: the kind that lacks least."""
    name = "training job"
    best = min(rows, key=lambda row: len(_lacks(row, site, needs)))
    if lacks := _lacks(best, site, needs):
        return failed(name, f"{best.partition}: {'; '.join(lacks)}", f"change it in {path}")
    asked = f"{needs.nodes} x {needs.gpus} GPUs, {site.train_cpus} cores, "
    asked += f"{site.train_mem_mb:,} MB, {site.train_minutes:,} minutes"
    return ok(name, f"{asked}: fits into {best.partition}")


def _lacks(row: Nodes, site: Site, needs: Needs) -> list[str]:
    """What a training job asks for and nodes of a kind do not have."""
    have = row.gpus(site.gpu_model)
    wanted = {
        f"site.gpu_model is {site.gpu_model}, nodes have {row.gres}": row.gpus(None) and not have,
        f"a run takes {needs.gpus} GPUs a node, nodes have {have}": have < needs.gpus,
        f"a run takes {needs.nodes} nodes of {row.count}": row.count < needs.nodes,
        f"train_cpus {site.train_cpus} of {row.cpus}": row.cpus < site.train_cpus,
        f"train_mem_mb {site.train_mem_mb:,} of {row.memory_mb:,}": row.memory_mb
        < site.train_mem_mb,
        f"train_minutes {site.train_minutes:,} of {row.minutes or 0:,.0f}": row.minutes is not None
        and row.minutes < site.train_minutes,
    }
    return [text for text, lacking in wanted.items() if lacking]


def _account(site: Site, path: Path) -> Check:
    name, user = "account", getuser()
    asked = ("sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={user}")
    try:
        known = set(output_of(*asked, "format=account").split())
    except OSError as error:
        saw = f"{site.account or 'none named'}; it cannot be looked up: {error}"
        if site.account is None or DISABLED.search(str(error)):
            return ok(name, saw)
        return warning(name, saw, "ask with `sbatch --test-only --account=...`")
    if site.account is None:
        return ok(name, f"the default one of {', '.join(sorted(known)) or 'none'}")
    if site.account in known:
        return ok(name, f"{site.account}, of {user}")
    saw = f"{user} has no account '{site.account}'{nearest(site.account, known)}"
    return failed(name, saw, f"set site.account in {path}")


def _accounting(path: Path, settings: Mapping[str, Any]) -> Check:
    """Snakemake reads the states of jobs from sacct unless it is told to ask squeue."""
    name = "job states"
    if settings.get("slurm-status-command") == "squeue":
        return ok(name, "asked of squeue")
    try:
        output_of("sacct", "--noheader", "--allocations", "--jobs=1")
    except OSError as error:
        do = f"add `slurm-status-command: squeue` to {path}, or Snakemake waits for ever"
        return failed(name, f"sacct does not tell: {error}", do)
    return ok(name, "asked of sacct")


# --- a node itself -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Container:
    """The image that Snakemake puts jobs into, and Apptainer's arguments (docs/cluster.md)."""

    image: Path
    arguments: tuple[str, ...]


def container_of(profile: Path) -> Container | None:
    """The container of a profile's jobs, if they have one."""
    settings = read_profile(profile)
    method = settings.get("software-deployment-method") or settings.get("sdm") or ()
    if "apptainer" not in ([method] if isinstance(method, str) else method):
        return None
    given = shlex.split(settings.get("apptainer-args") or "")
    return Container(profile / "gainrl.sif", tuple(given))


def check_container(container: Container | None) -> Iterator[Check]:
    """Whether the image is there, and the program that starts it."""
    if container is None:
        return
    name, image = "container", container.image
    if not image.is_file():
        do = "build it, or make it a link (docs/cluster.md)"
        yield failed(name, f"there is no {image}", do)
    elif not (shutil.which("apptainer") or shutil.which("singularity")):
        do = "load its module here, too: Snakemake asks for its version"
        yield failed(name, "apptainer is not on PATH", do)
    else:
        yield ok(name, str(image))


def check_node(profile: Path, preset: str | None, root: Path) -> Iterator[Check]:
    """What a job on a GPU node sees: this program, started there by srun with one GPU.

    Raises:
        ConfigError: the profile cannot be used.
    """
    site, container = read_site(profile), container_of(profile)
    gpu = f"{site.gpu_model}:1" if site.gpu_model else "1"
    command = ["srun", "--quiet", "--job-name=gainrl-doctor", "--nodes=1", "--ntasks=1"]
    command += [f"--gpus-per-node={gpu}", "--cpus-per-task=1", "--mem=4G"]
    command += [f"--time={NODE_MINUTES}", f"--immediate={NODE_WAIT}"]
    command += [f"--partition={site.gpu_partition}"] if site.gpu_partition else []
    command += [f"--account={site.account}"] if site.account else []
    if container:
        command += ["apptainer", "exec", "--home", os.getcwd(), *container.arguments]
        command += [str(container.image), "gainrl"]
    else:
        command += [sys.executable, "-m", "gainrl.cli"]
    command += ["doctor", "--json", f"--root={root}"]
    command += [f"--preset={preset}"] if preset else []
    try:
        text = output_of("sh", "-c", '"$@" || test $? = 1', "sh", *command, seconds=NODE_WAIT + 300)
        found = [Check(**each) for each in json.loads(text)]
    except (OSError, ValueError, TypeError) as error:
        do = f"try it by hand: {shlex.join(command)}"
        yield failed("node", str(error), do)
        return
    yield from (Check(f"node, {each.name}", each.status, each.saw, each.do) for each in found)


def inside_a_job() -> bool:
    """Whether SLURM runs this."""
    return "SLURM_JOB_ID" in os.environ
