"""The angle signal (Eq. 5 and 7) in O(m d), from sums of unit vectors. No torch.

With unit vectors u_i of a prompt's hidden states, a question of q tokens and a shared prefix of n
tokens,

    C_intra = |sum_q u|^2 / q^2        C_inter = <sum_q u, sum_n u> / (q n)

which equals the mean of the cosine matrix's blocks exactly. The same lines serve arrays of numpy
and tensors of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pandas as pd
    import torch

FloatArray = NDArray[np.float64]
Values = TypeVar("Values", "torch.Tensor", "pd.Series", FloatArray)
"""Arrays, tensors or columns of numbers."""
TINY = 1e-12
"""Norm below which a vector counts as zero, as in torch's `normalize`."""


def concentration(intra: Values, inter: Values, weight: float = 1.0) -> Values:
    """C = C_intra + weight * C_inter (Eq. 7; Table 4 sweeps the weight)."""
    return intra + weight * inter


@dataclass(frozen=True)
class Angles:
    """(B,) C_intra, C_inter, and C_intra without the diagonal (i = j), all dimensionless."""

    intra: Any
    inter: Any
    intra_offdiagonal: Any

    def combined(self, weight: float = 1.0, offdiagonal: bool = False) -> Any:
        """(B,) C, with or without the diagonal."""
        intra = self.intra_offdiagonal if offdiagonal else self.intra
        return concentration(intra, self.inter, weight)


def angles(question_sum: Any, prefix_sum: Any, n_question: Any, n_prefix: Any) -> Angles:
    """The signal from sums of unit vectors: (B, d), (B, d) or (d,), and segment lengths (B,).

    Args:
        question_sum, prefix_sum: arrays or tensors; n_question: of their kind; n_prefix: or a
            number.
    """
    square = (question_sum * question_sum).sum(-1)
    dots = (question_sum * prefix_sum).sum(-1)
    return _of_products(square, dots, n_question, n_prefix)


def _of_products(square: Any, dots: Any, size: Any, n_prefix: Any) -> Angles:
    """From |sum_q u|^2, <sum_q u, sum_n u> and the lengths, each (B,)."""
    pairs = size * (size - 1)
    pairs = pairs + (pairs == 0)  # one token has no pairs
    return Angles(square / size**2, dots / (size * n_prefix), (square - size) / pairs)


def angles_of_states(states: Sequence[ArrayLike], n_prefix: int, n_suffix: int = 0) -> Angles:
    """The signal of prompts from their hidden states, one (m, d) array a prompt, in float64.

    Args:
        states: of a prompt's m tokens, at one layer: the shared prefix, then the question, then
            the suffix.
        n_prefix: tokens that all prompts begin with (system prompt, head of the template), at
            least 1; n_suffix: of the template's end, which is left out.

    Raises:
        ValueError: no prefix, or a prompt without a question.
    """
    if n_prefix < 1:
        raise ValueError("C_inter needs a prefix of at least one token")
    questions, prefixes, sizes = [], [], []
    for row, tokens in enumerate(states):
        units = np.asarray(tokens, dtype=np.float64)
        size = units.shape[0] - n_prefix - n_suffix
        if units.ndim != 2 or size < 1:
            raise ValueError(
                f"prompt {row}: states of shape {units.shape} hold no question after {n_prefix} "
                f"tokens of prefix and before {n_suffix} of suffix"
            )
        units = units / np.maximum(np.linalg.norm(units, axis=1, keepdims=True), TINY)
        questions.append(units[n_prefix : n_prefix + size].sum(0))
        prefixes.append(units[:n_prefix].sum(0))
        sizes.append(size)
    return angles(np.stack(questions), np.stack(prefixes), np.array(sizes), n_prefix)


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


def from_products(products: Products, gram: FloatArray, n_prefix: int) -> Angles:
    """The signal for a prefix of n <= p tokens (float64).

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
    inner = dots[:, :n_prefix].sum(1) + gram[moved, :n_prefix].sum()
    return _of_products(square, inner, products.size + p - n_prefix, n_prefix)
