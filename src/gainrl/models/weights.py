"""The weights of several snapshots of one model, tensor by tensor, without building the model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from gainrl.errors import ModelError
from gainrl.models.tensors import TensorFolder

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


def same_weights(folders: Sequence[Path]) -> list[TensorFolder]:
    """The weights of several folders.

    Raises:
        ModelError: a folder has none, or other tensors than the first.
    """
    found = [TensorFolder(folder) for folder in folders]
    for other in found[1:]:
        odd = sorted(found[0].files.keys() ^ other.files.keys())
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


def distance(
    first: TensorFolder, second: TensorFolder, trained: TensorFolder, factor: float
) -> Distance:
    """Distance of first + factor * (second - first) from `trained`, over all weights together."""
    missed = moved = ahead = along = 0.0
    for name in sorted(second.files):
        begin, end, goal = (each.tensor(name).float() for each in (first, second, trained))
        leap = torch.lerp(begin, end, factor).double() - end
        way = goal.double() - end
        missed += float((leap - way).square().sum())
        moved += float(way.square().sum())
        ahead += float(leap.square().sum())
        along += float((leap * way).sum())
    relative = math.sqrt(missed / moved) if moved else math.nan
    cosine = along / math.sqrt(ahead * moved) if ahead * moved else math.nan
    return Distance(relative, cosine)
