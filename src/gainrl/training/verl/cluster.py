"""Ray over the nodes of a SLURM allocation: a head on this node, a worker on each other one."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from gainrl.errors import BackendError

START_SECONDS = 300
PER_STEP = ("SLURM_CPU_BIND", "SLURM_STEP", "SLURM_NTASKS", "SLURM_MEM_PER", "SLURM_TRES_PER_TASK")
"""Variables of the job step that we are in; a step inside it must not inherit them."""


def start(python: Path, nodes: int, gpus: int, environment: Mapping[str, str], log: IO[Any]) -> str:
    """Start Ray on all nodes of the allocation; returns the head's address for RAY_ADDRESS.

    Each node offers `gpus` and the processors that SLURM gave to the job there. The processes carry
    the variables of `environment`, by which the launcher ends them.

    Raises:
        BackendError: this is no SLURM allocation of `nodes` nodes, or Ray did not start.
    """
    given = os.environ.get("SLURM_JOB_NUM_NODES")
    if given != str(nodes):
        where = f"has {given}" if given else "is none (not in a SLURM job)"
        raise BackendError(f"verl.nodes is {nodes}, but the allocation {where}")
    ray = str(python.parent / "ray")
    here = os.environ["SLURMD_NODENAME"]
    address = f"{socket.gethostbyname(socket.gethostname())}:{_free_port()}"
    variables = {k: v for k, v in environment.items() if not k.startswith(PER_STEP)}
    ip, _, port = address.partition(":")
    cpus = os.environ.get("SLURM_CPUS_ON_NODE", str(os.cpu_count()))
    offer = [f"--num-cpus={cpus}", f"--num-gpus={gpus}", "--block"]
    head = [ray, "start", "--head", f"--node-ip-address={ip}", f"--port={port}", *offer]
    worker = [ray, "start", f"--address={address}", *offer]
    step = ["srun", "--overlap", f"--nodes={nodes - 1}", f"--ntasks={nodes - 1}"]
    step += ["--ntasks-per-node=1", f"--cpus-per-task={cpus}", f"--exclude={here}", "--mem=0"]
    processes = [
        _launch(head, variables, log),
        _launch([*step, *worker], variables, log),
    ]
    _wait(str(python), address, nodes, variables, processes)
    return address


def _launch(
    command: list[str], variables: Mapping[str, str], log: IO[Any]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )


def _wait(
    python: str,
    address: str,
    nodes: int,
    variables: Mapping[str, str],
    processes: list[subprocess.Popen[bytes]],
) -> None:
    """Until every node has joined; a worker tries until the head listens."""
    code = (
        f"import ray; ray.init('{address}', log_to_driver=False); "
        f"raise SystemExit(sum(node['Alive'] for node in ray.nodes()) != {nodes})"
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = [process.returncode for process in processes if process.poll() is not None]
        if ended:
            raise BackendError(f"Ray ended with code {ended[0]} while it started on {nodes} nodes")
        done = subprocess.run(
            [python, "-c", code], env=dict(variables), capture_output=True, check=False
        )
        if done.returncode == 0:
            return
        time.sleep(2)
    raise BackendError(f"Ray has not started on {nodes} nodes within {START_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])
