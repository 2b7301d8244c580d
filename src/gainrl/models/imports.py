"""Imports of large libraries: without optional packages, and without searches for garbage."""

from __future__ import annotations

import gc
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


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no cyclic garbage in the block, and later not among the objects made so far.

    Imports make hundreds of thousands of objects that stay; to go through them again and again
    takes a sixth of their time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
