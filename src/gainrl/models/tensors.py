"""Weights of a Hugging Face folder, read and written one tensor at a time (safetensors)."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from gainrl.errors import DataError, ModelError
from gainrl.records import read_json

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Which file holds which tensor, where a model is in several."""
FILES = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf", "*.index.json")
"""Files that hold weights, or say which file does."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""The format's names; quantised floats are not among them: they mean nothing by themselves."""
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Spec:
    """What a tensor is, without its values."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class TensorFolder:
    """The tensors of a folder: model.safetensors, else the files that its index names.

    files: tensor name to file name, in the folder's order. specs: tensor name to `Spec`.

    Raises:
        ModelError: no weights there, a file is missing or damaged, or a dtype that is not computed
            with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = self._files()
        self.specs: dict[str, Spec] = {}
        for file in dict.fromkeys(self.files.values()):
            self._read_specs(file, [name for name, at in self.files.items() if at == file])

    def _files(self) -> dict[str, str]:
        if not (self.folder / WHOLE).exists():
            if not (self.folder / INDEX).exists():
                raise ModelError(f"{self.folder}: neither {WHOLE} nor {INDEX} there")
            try:
                return dict(read_json(self.folder / INDEX)["weight_map"])
            except (DataError, KeyError, TypeError, ValueError) as error:
                raise ModelError(f"{self.folder / INDEX}: not an index of weights") from error
        try:
            with safe_open(self.folder / WHOLE, framework="pt") as file:
                return dict.fromkeys(file.keys(), WHOLE)
        except (OSError, SafetensorError) as error:
            raise self._unreadable(WHOLE, error) from error

    def _read_specs(self, file: str, names: list[str]) -> None:
        try:
            with safe_open(self.folder / file, framework="pt") as opened:
                slices = {name: opened.get_slice(name) for name in names}
                found = {name: (s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}
        except (OSError, SafetensorError) as error:
            raise self._unreadable(file, error) from error
        for name, (dtype, shape) in found.items():
            if dtype not in DTYPES:
                raise ModelError(f"{self.folder / file}: tensor '{name}' is {dtype}")
            self.specs[name] = Spec(DTYPES[dtype], shape)

    def _unreadable(self, file: str, error: Exception) -> ModelError:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error
        return ModelError(f"{self.folder / file}: cannot read the weights: {reason}")

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor, mapped from its file; not to be written to.

        The file is opened anew each time: pages that were read leave memory with the tensor.
        """
        try:
            with safe_open(self.folder / self.files[name], framework="pt") as file:
                return file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise self._unreadable(self.files[name], error) from error


def write_tensors(
    path: Path, tensors: Mapping[str, Spec], parts: Mapping[str, Iterable[torch.Tensor]]
) -> None:
    """Write a safetensors file, holding no more than one part of one tensor.

    The format: header length (8 bytes, little-endian), JSON header, the tensors' bytes.

    Args:
        tensors: what will be in the file.
        parts: for each tensor its elements in order, in pieces of any length; asked for once.
    """
    # Large items first: every tensor then starts at a multiple of its item's size.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in order:
        spec, start = tensors[name], end
        end += spec.size
        about = {"dtype": NAMES[spec.dtype], "shape": list(spec.shape)}
        header[name] = {**about, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            written = 0
            for part in parts[name]:
                flat = part.detach().contiguous().flatten().view(torch.uint8)
                written += file.write(flat.numpy().data)
            if written != tensors[name].size:
                raise ValueError(f"{name}: {written} bytes, not {tensors[name].size}")
        file.flush()
        os.fsync(file.fileno())
