"""D3S: train on the rollouts and the tokens of a step that say most (arXiv 2509.22115).

Rollouts first: of all groups together, the largest positive and the smallest negative advantages,
as many of each as give the advantages that are kept the greatest variance, which is the paper's
aim. An advantage of 0 has no gradient and is never kept. Then tokens: of those rollouts, the ones
with the greatest |advantage| * entropy. They are compared over the whole step, since |advantage|
says nothing within a response.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from gainrl.config.training import Downsample
from gainrl.curricula.base import BoolArray, FloatArray, IntArray
from gainrl.training.rollouts import OldPolicy, Rollouts


def down_sample(
    rollouts: Rollouts,
    section: Downsample,
    progress: float,
    measure: Callable[[Rollouts], OldPolicy],
) -> tuple[Rollouts, dict[str, float]]:
    """Mark the tokens of a step that are trained on; there may be none.

    Args:
        progress: of the run, from 0 at the first step to 1 at the last.
        measure: a pass over the responses of the rollouts that are kept, before the first update.

    Returns:
        The rollouts with `mask` and `old`; for the record, `kept_rollouts` (share of the
        rollouts), `kept_tokens` (share of their tokens) and `measured_rollout_tokens` (tokens of
        the responses of that pass).
    """
    share, token_share = section.at(progress)
    lengths, count = torch.from_numpy(rollouts.lengths), len(rollouts.responses)
    place = np.concatenate([np.arange(size) for size in rollouts.sizes])
    # Groups with the same rewards in another order differ in the last bits.
    advantages = rollouts.advantages.double().numpy().round(5)
    kept = torch.from_numpy(extreme(advantages, place, counted(share, count)))
    whole = kept[:, None] & (torch.arange(int(lengths.max())) < lengths[:, None])
    old = measure(replace(rollouts, mask=whole))
    mask = highest(rollouts.advantages.abs()[:, None] * old.entropy.cpu(), whole, token_share)
    return replace(rollouts, mask=mask, old=old), {
        "kept_rollouts": float(kept.double().mean()),
        "kept_tokens": int(mask.sum()) / int(lengths.sum()),
        "measured_rollout_tokens": int(whole.sum()),
    }


def counted(share: float, whole: int) -> int:
    """A share as a number: the nearest one (a half is rounded up), at least 1."""
    return max(int(share * whole + 0.5), 1)


def extreme(advantages: FloatArray, place: IntArray, count: int) -> BoolArray:
    """Which advantages are kept: at most `count`, and none that are 0.

    The p largest positive and the n smallest negative ones, p + n = `count`, or all there are. Of
    the p with equal variance the one nearest to n, then the larger one. Of equal advantages the one
    that comes earlier in its group, then the one of the earlier group: groups take turns.

    Args:
        advantages: (R,).
        place: (R,) of a response in its group, from 0 on.

    Returns:
        (R,) bool.
    """
    order = np.lexsort((place, -advantages))  # stable: equal keys keep the order of the groups
    high = order[advantages[order] > 0]
    order = np.lexsort((place, advantages))
    low = order[advantages[order] < 0]
    count = min(count, len(high) + len(low))
    kept = np.zeros(len(advantages), dtype=bool)
    if count == 0:
        return kept
    p = np.arange(max(count - len(low), 0), min(count, len(high)) + 1)
    above, below = (_sums(advantages[part]) for part in (high, low))
    total, squares = above[:, p] + below[:, count - p]
    variance = squares / count - (total / count) ** 2
    best = p[np.isclose(variance, variance.max(), rtol=1e-9, atol=1e-12)]  # equal but for rounding
    uneven = np.abs(2 * best - count)
    chosen = int(best[uneven == uneven.min()].max())
    kept[high[:chosen]] = True
    kept[low[: count - chosen]] = True
    return kept


def _sums(values: FloatArray) -> FloatArray:
    """(2, n + 1) sums of the first 0 to n values, and of their squares."""
    return np.pad(np.cumsum([values, values**2], axis=1), ((0, 0), (1, 0)))


def highest(scores: torch.Tensor, mask: torch.Tensor, share: float) -> torch.Tensor:
    """Which tokens are kept: a share of those of `mask`, by score; of equal ones the earlier.

    Args:
        scores, mask: (R, N).

    Returns:
        (R, N) bool.
    """
    if not mask.any():
        return mask
    count = counted(share, int(mask.sum()))
    order = torch.argsort(scores[mask], descending=True, stable=True)
    chosen = torch.zeros(len(order), dtype=torch.bool)
    chosen[order[:count]] = True
    found = torch.zeros_like(mask)
    found[mask] = chosen
    return found
