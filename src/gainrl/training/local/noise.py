"""The moments of a mini-batch's gradient, from its two halves (gainrl.curricula.noise_scale)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from gainrl.curricula.base import Moments
from gainrl.curricula.noise_scale import moments_of_halves
from gainrl.training.packing import PackedRow


def halves(rows: Sequence[PackedRow]) -> list[list[PackedRow]]:
    """Packed rows by their group's place in the batch, even and odd; one part of a single group."""
    parts = [[row for row in rows if row.index % 2 == odd] for odd in (0, 1)]
    return [part for part in parts if part]


class HalfGradient:
    """The gradient as it is after the first half of a mini-batch: as much memory as one more.

    The halves' gradients are both divided by the tokens of all, as the update has it, and so their
    sum is the gradient of the update; a half of b of B groups has B / b times its part as its mean.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], rows: Sequence[PackedRow]) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.groups = _groups(rows)
        self.first = [None if p.grad is None else p.grad.clone() for p in self.parameters]

    def moments(self, rows: Sequence[PackedRow]) -> Moments:
        """Of the whole mini-batch, once the second half, `rows`, is accumulated too."""
        squares = torch.zeros(3, dtype=torch.float64)
        for parameter, first in zip(self.parameters, self.first, strict=True):
            if parameter.grad is None:
                continue
            whole = parameter.grad
            first = torch.zeros_like(whole) if first is None else first
            for place, part in enumerate((first, whole - first, whole)):
                squares[place] += part.square().sum().double().cpu()
        one, other = self.groups, _groups(rows)
        shares = [(one + other) / one, (one + other) / other]
        parts = [float(square) * share**2 for square, share in zip(squares, shares, strict=False)]
        return moments_of_halves(one, other, (parts[0], parts[1]), float(squares[2]))


def _groups(rows: Sequence[PackedRow]) -> int:
    return len({row.index for row in rows})
