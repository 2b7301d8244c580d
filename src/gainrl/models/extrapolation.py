"""Weight extrapolation: a later checkpoint from two earlier ones (RLVR linearity, 2601.04537).

    W(t') = W(t0) + a (W(t1) - W(t0)),    a = (t' - t0) / (t1 - t0)

`factor` and `extrapolate` are the formula for everyone who needs it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from gainrl.errors import DataError, ModelError
from gainrl.files import alone
from gainrl.models.checkpoints import check_plain
from gainrl.models.files import EXTRAPOLATION, PROVENANCE
from gainrl.models.tensors import FILES, INDEX, WHOLE, Spec, TensorFolder, write_tensors
from gainrl.records import read_json, write_json

CHUNK = 1 << 22
"""Elements that are computed at once; 16 MiB in fp32."""
LEFT = (*FILES, EXTRAPOLATION, PROVENANCE)
"""Files of the second folder that say or hold what its weights are."""


def factor(first: float, second: float, target: float) -> float:
    """The a of two checkpoints' steps and the step that is asked for, in float64.

    Raises:
        ModelError: both checkpoints are of one step.
    """
    if first == second:
        raise ModelError(f"both checkpoints are of step {first}: no line goes through one point")
    return (target - first) / (second - first)


def extrapolate(start: torch.Tensor, end: torch.Tensor, a: float) -> torch.Tensor:
    """start + a (end - start), elementwise, in fp32 (in float64 where a tensor is that)."""
    wide = torch.float64 in (start.dtype, end.dtype)
    kind = torch.float64 if wide else torch.float32
    begin = start.to(kind)
    return begin + a * (end.to(kind) - begin)


def extrapolate_checkpoint(
    first: Path,
    second: Path,
    steps: tuple[float, float, float],
    out: Path,
    dtype: str | None = None,
) -> float:
    """Write the folder of a model extrapolated from two; returns a.

    It has the second folder's files, tokenizer and sharding, and a note of its origin. At any time
    a tensor of each folder is mapped and a piece of it computed: memory holds no model. `out`
    appears complete or not at all.

    Args:
        first, second: Hugging Face folders of the same model at two steps.
        steps: of the first, of the second, and the one to extrapolate to.
        dtype: of the floating-point weights; None: as in `second`.

    Raises:
        ModelError: a folder has no (readable) weights or an adapter, tensors differ in name, shape
            or kind, whole numbers differ, both steps are equal, a value is not finite in the
            dtype, or `out` is there already or cannot be written.
    """
    a = factor(*steps)
    for folder in (first, second):
        check_plain(folder)
    begin, end = TensorFolder(first), TensorFolder(second)
    _check_alike(begin, end)
    kind = None if dtype is None else getattr(torch, dtype)
    try:
        with alone(out), _whole(out) as partial:
            _write_weights(begin, end, a, kind, partial)
            _copy_rest(second, partial, dtype)
            folders = [{"folder": str(w.folder), "files": _digests(w)} for w in (begin, end)]
            note = {"a": a, "steps": list(steps), "from": folders[0], "to": folders[1]}
            write_json(partial / EXTRAPOLATION, note)
    except (OSError, DataError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{out}: cannot write the model: {reason}") from error
    return a


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A folder that gets the name `out` when the block succeeds (ModelError: it is there)."""
    if out.exists():
        raise ModelError(f"{out}: exists already")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_alike(begin: TensorFolder, end: TensorFolder) -> None:
    """Refuse two folders that are not the same model."""
    for weights, other in ((begin, end), (end, begin)):
        for name in weights.specs:
            if name not in other.specs:
                raise ModelError(f"{other.folder}: no tensor '{name}', which {weights.folder} has")
    for name, spec in begin.specs.items():
        theirs = end.specs[name]
        if spec.shape != theirs.shape:
            shapes = f"{list(theirs.shape)}, and in {begin.folder} {list(spec.shape)}"
            raise ModelError(f"{end.folder}: tensor '{name}' is of shape {shapes}")
        if spec.dtype.is_floating_point != theirs.dtype.is_floating_point:
            raise ModelError(f"{end.folder}: tensor '{name}' is of another kind than in the other")


def _write_weights(
    begin: TensorFolder, end: TensorFolder, a: float, kind: torch.dtype | None, folder: Path
) -> None:
    """The extrapolated tensors, in the same files as `end`'s."""
    specs = {
        name: Spec(kind if kind and spec.dtype.is_floating_point else spec.dtype, spec.shape)
        for name, spec in end.specs.items()
    }
    for file in dict.fromkeys(end.files.values()):
        own = {name: specs[name] for name, at in end.files.items() if at == file}
        parts = {name: _parts(begin, end, a, name, spec.dtype) for name, spec in own.items()}
        write_tensors(folder / file, own, parts)
    if WHOLE not in end.files.values():
        index = read_json(end.folder / INDEX)
        total = sum(spec.size for spec in specs.values())
        index["metadata"] = {**index.get("metadata", {}), "total_size": total}
        write_json(folder / INDEX, index)


def _parts(
    begin: TensorFolder, end: TensorFolder, a: float, name: str, kind: torch.dtype
) -> Iterator[torch.Tensor]:
    """A tensor's extrapolated elements, piece by piece; whole numbers as they are."""
    first, second = begin.tensor(name).flatten(), end.tensor(name).flatten()
    for early, late in zip(first.split(CHUNK), second.split(CHUNK), strict=True):
        if not kind.is_floating_point:
            if not torch.equal(early, late):
                raise ModelError(
                    f"{end.folder}: tensor '{name}' is of whole numbers, and they differ from "
                    f"those in {begin.folder}"
                )
            yield late
            continue
        value = extrapolate(early, late, a).to(kind)
        if not torch.isfinite(value).all():
            raise ModelError(f"{end.folder}: tensor '{name}' is not finite once extrapolated")
        yield value


def _copy_rest(source: Path, folder: Path, dtype: str | None) -> None:
    """Configuration, tokenizer and the like; the configuration names the weights' dtype."""
    for path in sorted(source.iterdir()):
        if path.is_file() and not any(path.match(pattern) for pattern in LEFT):
            shutil.copyfile(path, folder / path.name)
    config = folder / "config.json"
    if dtype and config.exists():
        found: dict[str, Any] = read_json(config)
        keys = [key for key in ("dtype", "torch_dtype") if key in found] or ["dtype"]
        write_json(config, {**found, **dict.fromkeys(keys, dtype)})


def _digests(weights: TensorFolder) -> Mapping[str, str]:
    """SHA-256 of each file with weights."""
    found = {}
    for name in sorted(set(weights.files.values())):
        with open(weights.folder / name, "rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
