"""The angle signal (Eq. 5 and 7) in O(m d), from sums of unit vectors.

With unit vectors u_i of the final hidden states after the norm, a question of q tokens and a
shared prefix of n tokens,

    C_intra = |sum_q u|^2 / q^2        C_inter = <sum_q u, sum_n u> / (q n)

which equals the mean of the cosine matrix's blocks exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Angles:
    """(B,) C_intra, C_inter, and C_intra without the diagonal (i = j), all dimensionless."""

    intra: torch.Tensor
    inter: torch.Tensor
    intra_offdiagonal: torch.Tensor

    def combined(self, weight: float = 1.0) -> torch.Tensor:
        """C = C_intra + weight * C_inter (Eq. 7; Table 4 sweeps the weight)."""
        return self.intra + weight * self.inter


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
