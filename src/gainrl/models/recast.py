"""Weights kept in the dtype that the model came in: half the size of what they are trained in."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from gainrl.errors import ModelError
from gainrl.models.tensors import Spec, TensorFolder, write_tensors
from gainrl.records import read_json, write_json

CONFIG = "config.json"
KEYS = ("dtype", "torch_dtype")
"""Where transformers says it, from 4.56 on and before."""


def recast(folder: Path, like: Path) -> None:
    """Round a folder's floating-point weights to the dtype that another folder's config names.

    One tensor is in memory at a time. A file is replaced when it is whole; called again after it
    was cut off, it does the rest.

    Args:
        like: the start model. Where its config names no dtype, nothing is done.

    Raises:
        ModelError: weights that cannot be read, or a disk that is full.
    """
    try:
        _recast(folder, like)
    except OSError as error:
        raise ModelError(f"{folder}: cannot write the model: {error.strerror or error}") from error


def _recast(folder: Path, like: Path) -> None:
    config, source = read_json(folder / CONFIG), read_json(like / CONFIG)
    said = {key: source[key] for key in KEYS if source.get(key)}
    if not said:
        return
    dtype = getattr(torch, next(iter(said.values())))
    found = TensorFolder(folder)
    wanted = {
        name: Spec(dtype, spec.shape) if spec.dtype.is_floating_point else spec
        for name, spec in found.specs.items()
    }
    for file in sorted(set(found.files.values())):
        names = [name for name in found.specs if found.files[name] == file]
        if all(found.specs[name] == wanted[name] for name in names):
            continue
        partial = folder / f".{file}.partial"
        specs = {name: wanted[name] for name in names}
        parts = {name: (found.tensor(n).to(specs[n].dtype) for n in [name]) for name in names}
        try:
            write_tensors(partial, specs, parts)
            os.replace(partial, folder / file)
        finally:
            partial.unlink(missing_ok=True)
    kept = {key: value for key, value in config.items() if key not in KEYS}
    write_json(folder / CONFIG, {**kept, **said})
