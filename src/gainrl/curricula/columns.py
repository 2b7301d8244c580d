"""Columns of a training table as the caller of `make` gives them, checked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from gainrl.curricula.base import FloatArray, IntArray
from gainrl.errors import ConfigError

SPREAD = 1e-9
"""A feature that varies by less than this share of its size is constant but for rounding."""


def standardised(values: npt.ArrayLike) -> FloatArray:
    """(N,) of mean 0 and standard deviation 1; of a constant all 0."""
    given = np.asarray(values, dtype=np.float64)
    spread = given.std()
    if spread <= SPREAD * np.abs(given).max():
        return np.zeros_like(given)
    moved: FloatArray = (given - given.mean()) / spread
    return moved


def orders(values: npt.ArrayLike, size: int) -> IntArray:
    """(N,) rows by rank (ConfigError: no permutation)."""
    found = categories(values, size, "order")
    if not np.array_equal(np.sort(found), np.arange(size)):
        raise ConfigError(f"order is no permutation of the rows 0 to {size - 1}")
    return found


def difficulties(values: npt.ArrayLike, size: int) -> FloatArray:
    """(N,) in [0, 100] (ConfigError: another shape, a value outside, or shares)."""
    found = _reals("difficulty", values, size)
    outside = ~((found >= 0) & (found <= 100))
    if outside.any():
        row = int(outside.argmax())
        raise ConfigError(f"difficulty of row {row} is {found[row]}, not in [0, 100]")
    if 0 < found.max() <= 1:
        raise ConfigError(
            f"difficulties are at most {found.max()}: they are in [0, 100], 100 for a prompt that "
            "is never solved; of pass rates p give 100 * (1 - p)"
        )
    return found


def categories(values: npt.ArrayLike, size: int, what: str = "categories") -> IntArray:
    """(N,) whole numbers (ConfigError: another shape or kind)."""
    found = np.asarray(values)
    if found.shape != (size,) or found.dtype.kind not in "iu":
        raise ConfigError(
            f"{what} are {found.dtype} of shape {found.shape}, not ({size},) integers"
        )
    return found.astype(np.int64)


def features(values: Mapping[str, npt.ArrayLike], size: int) -> dict[str, FloatArray]:
    """(N,) by name (ConfigError: another shape)."""
    return {name: _reals(f"features['{name}']", each, size) for name, each in values.items()}


def _reals(what: str, values: npt.ArrayLike, size: int) -> FloatArray:
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (size,):
        raise ConfigError(f"{what} has shape {found.shape}, not ({size},)")
    return found
