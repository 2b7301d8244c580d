"""Checkpoints that a SIGKILL cannot tear: write, fsync, rename; read only if the hash fits."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from pathlib import Path
from typing import IO, Any

import torch

from gainrl.errors import CheckpointError

FILE, HASH = "state.pt", "state.sha256"


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
            _sync(file)
        with open(partial / HASH, "w", encoding="ascii") as file:
            file.write(_digest(partial))
            _sync(file)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        _sync_folder(folder)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"{target}: cannot write the checkpoint: {_reason(error)}") from error
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
        if (found[-1] / HASH).read_text(encoding="ascii") != _digest(found[-1]):
            raise OSError("the hash differs")
        state = torch.load(found[-1] / FILE, map_location="cpu", weights_only=True)
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
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


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _digest(folder: Path) -> str:
    with open(folder / FILE, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: BaseException) -> str:
    """The system's reason: torch hides a full disk behind an error of its own."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
