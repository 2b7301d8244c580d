"""What a run uses beside the machine: verl's environment, the tracking store, the controller."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import urlsplit

from gainrl.config.preset import Preset
from gainrl.doctor.check import Check, failed, ok, warning
from gainrl.doctor.machine import NETWORK, existing, filesystem
from gainrl.doctor.needs import Needs
from gainrl.plan.backends.verl import environment_file

WATCHED = ("verl", "vllm", "torch", "ray", "transformers")
"""Packages whose versions go together."""
SECONDS = 5


def check_environment(needs: Needs | None) -> Iterator[Check]:
    """verl's environment: whether it is built, and whether it has the versions of its list."""
    if needs is None or not needs.distributed:
        return
    name = "verl"
    python = needs.preset.verl.python
    if python:
        there = Path(python).is_file()
        yield (
            ok(name, f"an environment of yours: {python}; its versions are not looked at")
            if there
            else failed(name, f"there is no {python}", "change verl.python")
        )
        return
    ready = environment_file(needs.preset)
    if not ready.exists():
        yield _unbuilt(name, needs, ready.parent)
        return
    if not needs.list.is_file():
        yield warning(name, f"there is no {needs.list}", "start this in the root of the repository")
        return
    pinned = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", needs.list.read_text(encoding="utf-8")))
    folders = [str(each) for each in ready.parent.glob("lib/python3*/site-packages")]
    have = {each.name.lower(): each.version for each in distributions(path=folders)}
    others = []
    for package in WATCHED:
        wanted = pinned.get(package) or pinned.get(f"{package}-cpu")
        found = have.get(package) or have.get(f"{package}-cpu")
        if wanted and (found or "").partition("+")[0] != wanted.partition("+")[0]:
            others.append(f"{package} is {found or 'missing'}, not {wanted}")
    if others:
        do = f"remove {ready}, and Snakemake builds it again"
        yield failed(name, f"{ready.parent}: {', '.join(others)}", do)
    else:
        versions = ", ".join(f"{each} {pinned[each]}" for each in WATCHED if each in pinned)
        yield ok(name, f"{ready.parent}: {versions}")


def _unbuilt(name: str, needs: Needs, folder: Path) -> Check:
    """What building it will ask for (envs/build-verl.sh)."""
    saw = f"{folder} is not built"
    if needs.preset.verl.environment == "auto" and not shutil.which("nvidia-smi"):
        do = "say verl.environment: cuda or cu129, by the driver of the nodes (docs/cluster.md)"
        return failed(name, f"{saw}, and without nvidia-smi here 'auto' cannot choose one", do)
    if needs.cuda and not os.environ.get("FLASH_ATTN"):
        do = "set FLASH_ATTN to a wheel, source or none (docs/cluster.md)"
        return failed(name, f"{saw}, and it is not said where flash-attn comes from", do)
    return warning(name, saw, "Snakemake builds it before the first run, minutes with network")


def check_tracking(preset: Preset | None, root: Path, nodes: bool) -> Iterator[Check]:
    """The store of runs: SQLite has no locks on network file systems; a server has to answer.

    Args:
        nodes: whether other machines than this one write to it.
    """
    from gainrl.tracking.names import store_uri

    name = "tracking"
    uri = store_uri(preset.tracking.uri if preset else None, root)
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        yield _server(name, uri, parts.hostname or "")
        return
    if not parts.scheme.startswith("sqlite"):
        yield ok(name, f"{parts.scheme or 'a folder'}: not looked at")
        return
    path = Path(uri.split("///", 1)[-1])
    kind = filesystem(existing(path.parent))
    saw = f"SQLite, {path} on {kind}"
    do = "run `mlflow server` on a local disk, and set MLFLOW_TRACKING_URI"
    if nodes:
        yield ok(name, f"{saw}, which one process fills from the journals of jobs")
    elif kind in NETWORK:
        yield warning(name, f"{saw}, where its locks do not hold", do)
    else:
        yield ok(name, saw)


def _server(name: str, uri: str, host: str) -> Check:
    import httpx

    try:
        answer = httpx.get(f"{uri.rstrip('/')}/health", timeout=SECONDS)
    except httpx.HTTPError as error:
        reason = str(error).strip() or type(error).__name__
        return failed(name, f"{host} gives no answer: {reason}", "start `mlflow server` there")
    if answer.status_code != httpx.codes.OK:
        return warning(name, f"{host}/health says {answer.status_code}", "look at the server's log")
    return ok(name, f"the server on {host} answers")


def check_controller() -> Check:
    """Whether what is started here outlives the connection: it waits for jobs, for days."""
    name = "controller"
    for variable, program in (("TMUX", "tmux"), ("STY", "screen"), ("SLURM_JOB_ID", "a job")):
        if os.environ.get(variable):
            return ok(name, f"inside {program}")
    if not (sys.stdin and sys.stdin.isatty()):
        return ok(name, "no terminal that could be closed")
    do = "start Snakemake in tmux or screen, for it waits for jobs for days"
    return warning(name, "ends with this terminal", do)
