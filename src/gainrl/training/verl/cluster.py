"""Ray over the nodes of a SLURM allocation: a head on this node, a worker on each other one."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from gainrl.errors import BackendError
from gainrl.processes import allocation

START_SECONDS = 300
OF_THE_JOB = (
    "SLURM_CPU_BIND",
    "SLURM_GPUS",
    "SLURM_GRES",
    "SLURM_MEM_PER",
    "SLURM_NTASKS",
    "SLURM_STEP",
    "SLURM_TRES_PER_TASK",
)
"""Variables that srun would take for wishes; the step below asks for what one node has."""


def start(
    python: Path, nodes: int, gpus: int, environment: Mapping[str, str], log: IO[Any]
) -> dict[str, str]:
    """Start Ray on all nodes of the allocation; returns the variables by which verl joins it.

    Each node offers `gpus` and the processors that SLURM gave to the job there. The processes carry
    the variables of `environment`, by which the launcher ends them.

    Raises:
        BackendError: this is no SLURM allocation of `nodes` nodes, or Ray did not start.
    """
    slurm = allocation()
    given = slurm.get("SLURM_JOB_NUM_NODES")
    if given != str(nodes):
        where = f"has {given}" if given else "is none (not in a SLURM job)"
        raise BackendError(f"verl.nodes is {nodes}, but the allocation {where}")
    ray = str(python.parent / "ray")
    here = slurm["SLURMD_NODENAME"]
    address = f"{own_address()}:{_free_port()}"
    # Without a secret, whoever reaches the port could run code; Ray refuses to serve it.
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    variables = {**slurm, **environment, **secret}
    variables = {k: v for k, v in variables.items() if not k.startswith(OF_THE_JOB)}
    ip, _, port = address.partition(":")
    cpus = slurm.get("SLURM_CPUS_ON_NODE", str(os.cpu_count()))
    offer = [f"--num-cpus={cpus}", f"--num-gpus={gpus}", "--block"]
    head = [ray, "start", "--head", f"--node-ip-address={ip}", f"--port={port}", *offer]
    # SLURM sets it in the step, beside CUDA_VISIBLE_DEVICES, and verl refuses both.
    worker = ["env", "-u", "ROCR_VISIBLE_DEVICES", ray, "start", f"--address={address}", *offer]
    step = ["srun", "--overlap", f"--nodes={nodes - 1}", f"--ntasks={nodes - 1}"]
    step += ["--ntasks-per-node=1", f"--cpus-per-task={cpus}", f"--exclude={here}", "--mem=0"]
    step += [f"--gpus-per-node={gpus}"]
    started = [_launch(head, variables, log)]
    _wait(str(python), address, 1, variables, started)  # a worker does not wait for its head
    started.append(_launch([*step, *worker], variables, log))
    _wait(str(python), address, nodes, variables, started)
    return {**secret, "RAY_ADDRESS": address}


def job_ends() -> float | None:
    """When SLURM ends the job that we are in, in seconds since 1970; None if it does not say."""
    text = allocation().get("SLURM_JOB_END_TIME", "")
    return float(text) if text.isdecimal() else None


def own_address() -> str:
    """The address of this node that other nodes reach it by.

    Many systems name 127.0.1.1 for their own host name in /etc/hosts. Then it is the address that
    packets to the outside would leave by; none is sent.

    Raises:
        BackendError: there is none but the loopback.
    """
    try:
        named = socket.gethostbyname(socket.gethostname())
    except OSError:
        named = "127.0.0.1"
    if not named.startswith("127."):
        return named
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # for documentation only (RFC 5737)
        found = str(probe.getsockname()[0])
        if not found.startswith("127."):
            return found
    raise BackendError(
        f"{socket.gethostname()}: other nodes cannot reach it: its address is {named}"
    )


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
    """Until so many nodes have joined."""
    code = (
        f"import ray; ray.init('{address}', log_to_driver=False); "
        f"raise SystemExit(sum(node['Alive'] for node in ray.nodes()) != {nodes})"
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = [process.returncode for process in processes if process.poll() is not None]
        if ended:
            raise BackendError(f"Ray ended with code {ended[0]} while it started (see the log)")
        done = subprocess.run(
            [python, "-c", code], env=dict(variables), capture_output=True, check=False
        )
        if done.returncode == 0:
            return
        time.sleep(2)
    raise BackendError(f"Ray has not reached {nodes} nodes within {START_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])
