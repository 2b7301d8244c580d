"""The weights of several snapshots of one model, tensor by tensor, without building the model."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from gainrl.errors import ModelError

MODULES = ("embedding", "q", "k", "v", "o", "gate", "up", "down", "norm", "lm_head", "other")
"""What a tensor can be part of, in the order of a forward pass."""
_PROJECTION = re.compile(r"\b(q|k|v|o|gate|up|down)_proj\b")
_LAYER = re.compile(r"\blayers\.(\d+)\.")


class Location(NamedTuple):
    """Where a tensor is: its block from 0 on, None outside of blocks, and one of MODULES."""

    layer: int | None
    module: str


def place_of(name: str) -> Location:
    """Where a tensor of a decoder with the usual names (Llama, Qwen, Gemma) is.

    A head that is tied to the embedding is stored once, as the embedding.
    """
    layer = _LAYER.search(name)
    projection = _PROJECTION.search(name)
    if projection:
        module = projection[1]
    elif "norm" in name:
        module = "norm"
    elif "embed_tokens" in name:
        module = "embedding"
    else:
        module = "lm_head" if "lm_head" in name else "other"
    return Location(int(layer[1]) if layer else None, module)


class Weights:
    """The tensors of a Hugging Face folder, read from its safetensors files as they are asked for.

    Raises:
        ModelError: there are no such files, or they cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
        if single.exists():
            with self._opened(single) as file:
                self._files = dict.fromkeys(file.keys(), single)
        elif index.exists():
            try:
                parts = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ModelError(f"{index}: not an index of weights: {error}") from error
            self._files = {name: folder / part for name, part in parts.items()}
        else:
            raise ModelError(f"{folder}: no weights there (model.safetensors)")

    @property
    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        return sorted(self._files)

    def read(self, name: str) -> torch.Tensor:
        """A tensor in fp32, on the CPU."""
        with self._opened(self._files[name]) as file:
            tensor: torch.Tensor = file.get_tensor(name)
        return tensor.float()

    def _opened(self, path: Path) -> safe_open:
        try:
            return safe_open(str(path), framework="pt")
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: cannot read the weights: {error}") from error


def same_weights(folders: Sequence[Path]) -> list[Weights]:
    """The weights of several folders.

    Raises:
        ModelError: a folder has none, or other tensors than the first.
    """
    found = [Weights(folder) for folder in folders]
    for other in found[1:]:
        odd = sorted(set(found[0].names) ^ set(other.names))
        if odd:
            where = f"{found[0].folder} and {other.folder}"
            raise ModelError(f"{where}: only one of them has the tensor '{odd[0]}'")
    return found


class Distance(NamedTuple):
    """How far extrapolated weights are from those that were trained; NaN if training stood still.

    relative: |W_ex - W'| / |W' - W1|, where standing still at W1 is 1; cosine: of the angle between
    W_ex - W1 and W' - W1.
    """

    relative: float
    cosine: float


def distance(first: Weights, second: Weights, trained: Weights, factor: float) -> Distance:
    """Distance of first + factor * (second - first) from `trained`, over all weights together."""
    missed = moved = ahead = along = 0.0
    for name in second.names:
        begin, end, goal = (each.read(name) for each in (first, second, trained))
        leap = torch.lerp(begin, end, factor).double() - end
        way = goal.double() - end
        missed += float((leap - way).square().sum())
        moved += float(way.square().sum())
        ahead += float(leap.square().sum())
        along += float((leap * way).sum())
    relative = math.sqrt(missed / moved) if moved else math.nan
    cosine = along / math.sqrt(ahead * moved) if ahead * moved else math.nan
    return Distance(relative, cosine)
