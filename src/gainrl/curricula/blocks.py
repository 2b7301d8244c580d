"""The few best of very many prompts, without arrays of the size of the table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gainrl.curricula.base import FloatArray, IntArray

BLOCK = 2**16
"""Prompts that are looked at together: half a megabyte an array."""


def smallest(values: Callable[[int, int], FloatArray], size: int, count: int) -> IntArray:
    """Positions of the smallest values, smallest first; equal ones in the order of positions.

    The same as the first `count` of a stable argsort of all values, in O(BLOCK + count) memory.

    Args:
        values: from (start, stop) to the values of that range, (stop - start,); it is asked for
            ranges of at most BLOCK, one after another, each once.
        size: number of values.
        count: at most `size`.

    Returns:
        (count,) positions.
    """
    rows, best, limit = np.empty(0, dtype=np.int64), np.empty(0), np.inf
    for start in range(0, size, BLOCK):
        block = values(start, min(start + BLOCK, size))
        # Later positions lose a tie, so only what is below the limit can still come in.
        near = np.flatnonzero(block < limit) if len(rows) == count else np.arange(len(block))
        rows, best = np.concatenate([rows, near + start]), np.concatenate([best, block[near]])
        if len(rows) > count:
            kept = _lowest(best, count)
            rows, best = rows[kept], best[kept]
        if len(rows) == count:
            limit = float(best.max())
    return rows[np.argsort(best, kind="stable")]


def _lowest(values: FloatArray, count: int) -> IntArray:
    """Positions of the `count` smallest values, ascending; of equal ones the first."""
    edge = np.partition(values, count - 1)[count - 1]
    chosen = values < edge
    ties = np.flatnonzero(values == edge)[: count - int(chosen.sum())]
    chosen[ties] = True
    return np.flatnonzero(chosen)
