"""Arrays made fit to be drawn: clipped to percentiles, projected on principal components."""

from __future__ import annotations

import numpy as np

from gainrl.errors import DataError


def clip_percentiles(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Clip values of any shape to their own low-th and high-th percentile (figure 3's caption).

    Raises DataError if there are no values, some are not finite, or not 0 <= low <= high <= 100.
    """
    array = np.asarray(values, dtype=np.float64)
    if not (array.size and np.isfinite(array).all() and 0 <= low <= high <= 100):
        raise DataError(f"no finite values to clip to percentiles {low} to {high}")
    return np.clip(array, *np.percentile(array, [low, high]))


def principal_components(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Project (n, d) rows, numbers or bool, on their first k principal components (figure 6).

    Returns (n, k) coordinates in the rows' unit and (k,) shares of the variance, 0 if all rows are
    equal. The sign of a component is free: here the first of its loadings of the largest magnitude
    is positive. An exact SVD of the centred rows, in O(n d min(n, d)). Raises DataError if the rows
    are not two-dimensional or not finite, or if k is not within 1 and min(n, d).
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or not 1 <= k <= min(rows.shape) or not np.isfinite(rows).all():
        raise DataError(f"no {k} principal components of finite rows in shape {rows.shape}")
    centred = rows - rows.mean(axis=0)
    _, scale, loadings = np.linalg.svd(centred, full_matrices=False)
    size = np.abs(loadings[:k])
    # Loadings of equal size differ in the last bits only: the tolerance makes the choice stable.
    largest = (size >= size.max(axis=1, keepdims=True) * (1 - 1e-9)).argmax(axis=1)
    signs = np.where(loadings[np.arange(k), largest] < 0, -1.0, 1.0)
    shares = scale[:k] ** 2 / max((scale**2).sum(), np.finfo(np.float64).tiny)
    return centred @ (loadings[:k] * signs[:, None]).T, shares
