"""Runs worker_steps.py: verl's training worker on a tiny model, in a process of verl's Python."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import place as places
import torch

from gainrl.config.models import Nano
from gainrl.models.nano import build_model, build_tokenizer

States = dict[int, dict[str, Any]]


def worker_in(folder: Path) -> Callable[..., States]:
    """Write a model below a folder; returns what makes steps of it, and gives them by number."""
    tokenizer = build_tokenizer()
    spec = Nano(source="nano", hidden=32, layers=2, heads=2, feed_forward=64)
    build_model(spec, len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")

    def steps(
        name: str, first: int, last: int, checkpoint: Path | None = None, **variables: str
    ) -> States:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {**os.environ, **places.preset(folder)["verl"]["variables"], **variables}
        environment |= {"GAINRL_PROBE": str(folder / name / "probe"), "MASTER_PORT": str(port)}
        environment |= {"WORLD_SIZE": "1", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}
        (folder / name).mkdir(exist_ok=True)
        command = [places.PYTHON, places.SHIMS / "worker_steps.py", folder / "model"]
        command += [folder / name, str(first), str(last), *([checkpoint] if checkpoint else [])]
        with open(folder / f"{name}.log", "wb") as log:
            said = {"stdout": log, "stderr": subprocess.STDOUT}
            subprocess.run(command, check=True, env=environment, timeout=600, **said)
        return {
            step: torch.load(folder / name / f"step-{step}" / "weights.pt", weights_only=True)
            for step in range(first, last + 1)
        }

    return steps
