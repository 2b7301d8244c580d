"""Imports of a large library without the optional packages that it would take along."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Let packages look as if they were not installed to what is imported in the block.

    A library that has asked within the block may remember the answer. Packages that are imported
    already stay visible; afterwards all of them can be imported as ever.
    """
    modules: dict[str, Any] = sys.modules
    absent = [name for name in packages if name not in modules]
    modules.update(dict.fromkeys(absent))  # None is Python's own mark for this
    try:
        yield
    finally:
        for name in absent:
            del modules[name]
