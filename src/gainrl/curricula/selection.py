"""Training on a part of the data, drawn once by rank (the paper's Figure 8)."""

from __future__ import annotations

import numpy as np

from gainrl.curricula.base import IntArray


def select(size: int, share: float, slope: float, seed: int) -> IntArray:
    """Draw ranks without replacement with a probability that is linear in the rank.

    The weight of rank i of N is 1 + slope (1 - (2 i + 1) / N): with slope 1 it falls from 2 to 0,
    with 0 all are alike, with -1 it rises. The paper (section 4.2) gives the slopes 1, 0 and -1,
    neither the intercept nor the draw; with one draw a seed its chance is part of the spread.

    Args:
        size: N, ranks from 0 on.
        share: of the ranks that are drawn, in (0, 1]; rounded to whole prompts.
        slope: in [-1, 1].
        seed: of the run.

    Returns:
        (round(share * N),) ranks, ascending.
    """
    weights = 1 + slope * (1 - (2 * np.arange(size) + 1) / size)
    rng = np.random.default_rng([seed, 13])
    # Efraimidis and Spirakis (2006): the largest log(u) / w are a weighted draw, one by one.
    keys = np.log(rng.random(size)) / weights
    return np.sort(np.argsort(-keys, kind="stable")[: round(share * size)])
