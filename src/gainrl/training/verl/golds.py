"""Gold answers that are too long to travel with every rollout: tests of programs, up to 100 MB.

verl copies a prompt's row for each of its rollouts, through Ray. So the row has a reference, and
the texts lie in a file that the reward processes read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from gainrl.errors import DataError
from gainrl.records import atomic_write


def write_golds(path: Path, golds: Sequence[str]) -> list[str]:
    """Write texts one after another, equal ones once; returns the reference to each."""
    known: dict[str, str] = {}
    start = 0
    with atomic_write(path) as file:
        for gold in golds:
            if gold not in known:
                content = gold.encode()
                file.write(content)
                known[gold] = f"{start}:{len(content)}:{_digest(content)}"
                start += len(content)
    return [known[gold] for gold in golds]


@lru_cache(maxsize=2)
def read_gold(path: str, reference: str) -> str:
    """The text of a reference; rollouts of one prompt come one after another.

    Raises:
        DataError: the file is not the one that the reference is to.
    """
    start, length, digest = reference.split(":")
    try:
        with open(path, "rb") as file:
            file.seek(int(start))
            content = file.read(int(length))
    except OSError as error:
        raise DataError(f"{path}: cannot read gold answers: {error.strerror}") from error
    if _digest(content) != digest:
        raise DataError(f"{path}: not the gold answers of this run: start the run again")
    return content.decode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
