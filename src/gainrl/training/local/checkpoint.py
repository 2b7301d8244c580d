"""Checkpoints that a SIGKILL cannot tear: write, fsync, rename."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from gainrl.errors import CheckpointError

FILE = "state.pt"


def save(folder: Path, step: int, state: dict[str, Any], keep: int = 2) -> Path:
    """Write `folder/step-000123`, complete or not at all; drop all but the newest `keep`.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written.
    """
    target, partial = folder / f"step-{step:06d}", folder / f".partial-{step:06d}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with open(partial / FILE, "wb") as file:
            torch.save({**state, "step": step}, file)
            file.flush()
            os.fsync(file.fileno())
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        _sync_folder(folder)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"{target}: cannot write the checkpoint: {error}") from error
    for old in complete(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def complete(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / FILE).exists())


def load_latest(folder: Path, config_hash: str) -> dict[str, Any] | None:
    """The newest checkpoint's state, or None if there is none.

    Raises:
        CheckpointError: it is damaged, or was written under another configuration.
    """
    found = complete(folder)
    if not found:
        return None
    try:
        state = torch.load(found[-1] / FILE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{found[-1]}: damaged checkpoint; delete it to go on") from error
    if state["config_hash"] != config_hash:
        raise CheckpointError(
            f"{found[-1]}: written under another configuration ({state['config_hash']}, now "
            f"{config_hash}); delete {folder} to start this run anew"
        )
    return state


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
