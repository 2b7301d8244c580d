"""The angle signal (Eq. 5 and 7) in O(m d), from sums of unit vectors.

With unit vectors u_i of a prompt's hidden states, a question of q tokens and a shared prefix of n
tokens,

    C_intra = |sum_q u|^2 / q^2        C_inter = <sum_q u, sum_n u> / (q n)

which equals the mean of the cosine matrix's blocks exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gainrl.signals.concentration import concentration

FloatArray = NDArray[np.float64]

RELEASED_PREFIX = 110
RELEASED_SUFFIX = 6
RELEASED_WEIGHT = 8.0
RELEASED_TAP = "up_proj_input"
"""What the authors' released scoring script hard-codes (spec section 3)."""


@dataclass(frozen=True)
class Angles:
    """(B,) C_intra, C_inter, and C_intra without the diagonal (i = j), all dimensionless."""

    intra: torch.Tensor
    inter: torch.Tensor
    intra_offdiagonal: torch.Tensor

    def combined(self, weight: float = 1.0, offdiagonal: bool = False) -> torch.Tensor:
        """(B,) C, with or without the diagonal."""
        intra = self.intra_offdiagonal if offdiagonal else self.intra
        return concentration(intra, self.inter, weight)


def unit(states: torch.Tensor) -> torch.Tensor:
    """Unit vectors in fp32 along the last dimension."""
    return torch.nn.functional.normalize(states.float(), dim=-1)


def angles(
    question_sum: torch.Tensor,
    prefix_sum: torch.Tensor,
    n_question: torch.Tensor,
    n_prefix: torch.Tensor | int,
) -> Angles:
    """The signal from sums of unit vectors: (B, d), (B, d) or (d,), and segment lengths (B,)."""
    square = (question_sum * question_sum).sum(-1)
    inter = (question_sum * prefix_sum).sum(-1) / (n_question * n_prefix)
    pairs = (n_question * (n_question - 1)).clamp(min=1)
    return Angles(square / n_question**2, inter, (square - n_question) / pairs)


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


# --- from inner products, for a prefix that is only known at the end ------------------------------


@dataclass(frozen=True)
class Products:
    """What the signal of B prompts needs, when the tokens after position p count as the question.

    square: (B,) |sum u|^2 over those tokens; dots: (B, p) that sum's inner product with the unit
    vector of each prefix position; size: (B,) how many tokens they are.
    """

    square: NDArray[Any]
    dots: NDArray[Any]
    size: NDArray[Any]


def from_products(
    products: Products, gram: FloatArray, n_prefix: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(B,) C_intra, C_inter, C_intra without the diagonal, for a prefix of n <= p tokens (float64).

    Positions n..p-1 are the same tokens for every prompt, so moving them from the prefix to the
    question needs no states: |q + t|^2 = |q|^2 + 2 <q, t> + |t|^2 with t the sum of their units.

    Args:
        gram: (P, P) inner products of the prefix's unit vectors, P >= p.

    Raises:
        ValueError: the prefix is longer than the one that the products were taken with.
    """
    dots = products.dots.astype(np.float64)
    p = dots.shape[1]
    if not 0 < n_prefix <= p:
        raise ValueError(f"prefix of {n_prefix} tokens, products for 1 to {p}")
    moved = slice(n_prefix, p)
    square = products.square + 2 * dots[:, moved].sum(1) + gram[moved, moved].sum()
    size = products.size + p - n_prefix
    inner = dots[:, :n_prefix].sum(1) + gram[moved, :n_prefix].sum()
    pairs = np.maximum(size * (size - 1), 1)
    return square / size**2, inner / (size * n_prefix), (square - size) / pairs


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
