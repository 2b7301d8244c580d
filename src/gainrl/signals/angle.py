"""The angle signal (Eq. 5) of hidden states on a device, and the released script's variant."""

from __future__ import annotations

import torch

from gainrl.signals.concentration import Angles, angles

RELEASED_PREFIX = 110
RELEASED_SUFFIX = 6
RELEASED_WEIGHT = 8.0
RELEASED_TAP = "up_proj_input"
"""What the authors' released scoring script hard-codes (spec section 3)."""


def unit(states: torch.Tensor) -> torch.Tensor:
    """Unit vectors in fp32 along the last dimension."""
    return torch.nn.functional.normalize(states.float(), dim=-1)


def from_states(states: torch.Tensor, n_prefix: int, n_question: torch.Tensor) -> Angles:
    """The signal of prompts that start at position 0 of (B, L, d) states, suffix and rest ignored.

    Args:
        n_question: (B,) question lengths; the question follows the prefix.
    """
    units = unit(states)
    place = torch.arange(states.shape[1], device=states.device)[None, :]
    inside = (place >= n_prefix) & (place < n_prefix + n_question[:, None])
    question = (units * inside[..., None]).sum(1)
    return angles(question, units[:, :n_prefix].sum(1), n_question, n_prefix)


# --- the released script's variant ----------------------------------------------------------------


def released(units: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The released script's value of whole prompts, template suffix included (spec section 3).

    It masks the cosine matrix below its first superdiagonal, cuts rows 110..-6 and, in place of
    columns, cuts the rows of that cut once more; the means run over all columns, masked ones too.
    Prompts of 232 tokens or fewer have no row left, so their value is NaN, as in the script.

    Args:
        units: (B, L, d) unit vectors, right-padded; lengths: (B,) tokens of each prompt.

    Returns:
        (B,) values, NaN where the script's are.
    """
    sums = units.cumsum(1)
    last = (lengths - 1)[:, None]
    place = torch.arange(units.shape[1], device=units.device)[None, :]
    upto = torch.minimum(place + 1, last)  # a row sees one token to its right
    rows = (units * sums.gather(1, upto[..., None].expand_as(sums))).sum(-1)
    start, cut = RELEASED_PREFIX, RELEASED_SUFFIX
    width = lengths - start - cut  # rows of the first cut
    intra = (place >= 2 * start) & (place < lengths[:, None] - 2 * cut)
    inter = (place >= start) & (place < start + width.clamp(0, start)[:, None])

    def mean(inside: torch.Tensor) -> torch.Tensor:
        return torch.where(inside, rows, 0.0).sum(1) / (inside.sum(1) * lengths)

    return mean(intra) + RELEASED_WEIGHT * mean(inter)
