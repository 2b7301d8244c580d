"""Scored batches on disk: written as they come, so that a killed job goes on where it stopped."""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gainrl.errors import DataError
from gainrl.files import alone
from gainrl.records import atomic_write, read_json, write_json
from gainrl.signals.concentration import FloatArray
from gainrl.signals.prefill import Batch, Number

HEAD = "head.json"


class Parts:
    """A folder with one file a batch, all of one `head`: whatever their values depend on.

    Args:
        head: a JSON-able mapping; parts of another head are thrown away.
    """

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        self.folder, self._head = folder, head
        with alone(folder):  # shards may share it
            if folder.exists() and self._found() != head:
                shutil.rmtree(folder)

    def _found(self) -> Any:
        """The head that is there; none where a kill has stopped the removal of parts."""
        path = self.folder / HEAD
        return read_json(path) if path.exists() else None

    def _path(self, number: Number) -> Path:
        return self.folder / f"{number[0]:05d}-{number[1]:05d}.npz"

    def missing(self, number: Number) -> bool:
        """Whether this batch has not been scored yet."""
        return not self._path(number).exists()

    def save(self, batch: Batch) -> None:
        """Add a batch, atomically; the folder is made with the first one.

        Raises:
            DataError: a job with another head has taken the folder over.
        """
        with alone(self.folder):
            if (found := self._found()) is None:
                write_json(self.folder / HEAD, self._head)
            elif found != self._head:
                raise DataError(f"{self.folder}: another job scores with other settings: end one")
            save_batches(self._path(batch.number), [batch])

    def load(self) -> list[Batch]:
        """Every batch that is there, in order."""
        return [
            batch
            for path in sorted(self.folder.glob("*.npz"))
            for batch in read_shard(path).batches
        ]


@dataclass(frozen=True)
class Shard:
    """What a scoring job hands to `gather`; n_prefix: 0 in the file of a single batch.

    gram: (P, P) inner products of the prefix's unit vectors, by tap.
    """

    batches: list[Batch]
    gram: dict[str, FloatArray]
    n_prefix: int
    seconds: float
    tokens: int


def save_batches(
    path: str | os.PathLike[str],
    batches: Iterable[Batch],
    gram: Mapping[str, FloatArray] | None = None,
    n_prefix: int = 0,
    seconds: float = 0.0,
    tokens: int = 0,
) -> None:
    """Write batches, and what `gather` needs beside them, as one .npz file, atomically."""
    arrays: dict[str, Any] = {"about": np.array([n_prefix, seconds, tokens], dtype=np.float64)}
    for tap, values in (gram or {}).items():
        arrays[f"gram/{tap}"] = values
    for batch in batches:
        at = f"{batch.number[0]}-{batch.number[1]}"
        arrays[f"{at}/rows"], arrays[f"{at}/size"] = batch.rows, batch.size
        for tap in batch.square:
            arrays[f"{at}/square/{tap}"] = batch.square[tap]
            arrays[f"{at}/dots/{tap}"] = batch.dots[tap]
        if batch.released is not None:
            arrays[f"{at}/released"] = batch.released
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def read_shard(path: str | os.PathLike[str]) -> Shard:
    """Read what `save_batches` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    damage = (OSError, ValueError, EOFError, LookupError, TypeError, RuntimeError)
    try:
        with np.load(path) as stored:
            return _unpack(dict(stored))
    except (*damage, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not a shard of scores: {reason}") from error


def _unpack(arrays: Mapping[str, Any]) -> Shard:
    names = dict.fromkeys(key.split("/")[0] for key in arrays if "-" in key.split("/")[0])
    batches = []
    for at in names:
        chunk, index = at.split("-")
        head = f"{at}/square/"
        taps = [key.removeprefix(head) for key in arrays if key.startswith(head)]
        batches.append(
            Batch(
                (int(chunk), int(index)),
                arrays[f"{at}/rows"],
                arrays[f"{at}/size"],
                {tap: arrays[f"{at}/square/{tap}"] for tap in taps},
                {tap: arrays[f"{at}/dots/{tap}"] for tap in taps},
                arrays.get(f"{at}/released"),
            )
        )
    gram = {key.split("/")[1]: found for key, found in arrays.items() if key.startswith("gram/")}
    n_prefix, seconds, tokens = arrays["about"]
    return Shard(batches, gram, int(n_prefix), float(seconds), int(tokens))
