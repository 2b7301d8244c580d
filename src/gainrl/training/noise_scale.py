"""The gradient's noise scale: the batch at which noise equals signal (arXiv 1812.06162).

With G the gradient of the whole distribution of prompts and S the covariance of one group's, the
gradient of a batch of B groups has the expected squared norm |G|^2 + tr S / B, and the simple noise
scale is B_simple = tr S / |G|^2 (Eq. 2.9). A batch of B groups makes 1 / (1 + B_simple / B) of the
progress that the best step of an endless batch makes, at a rate that is smaller by the same factor
(Eqs. 2.6 and 2.7): far below B_simple twice the batch is worth two steps, far above it nothing.

Here a group is a prompt with its rollouts, so B_simple is in prompts. A group of equal rewards has
no gradient and counts in B; the more there are, the larger is B_simple. These are numbers of norms
alone: no tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from gainrl.curricula.base import FloatArray
from gainrl.curricula.parts import Stateful


@dataclass(frozen=True)
class Moments:
    """Unbiased estimates of one step; either may be below 0.

    signal: |G|^2; noise: tr S, the trace of one group's covariance.
    """

    signal: float
    noise: float


def moments(few: int, many: int, square_few: float, square_many: float) -> Moments:
    """From the gradients of two batches, one of which may be a part of the other.

    Appendix A.1: |G|^2 = (B |g_B|^2 - b |g_b|^2) / (B - b) and
    tr S = (|g_b|^2 - |g_B|^2) / (1 / b - 1 / B).

    Args:
        few, many: groups of the two batches, b < B.
        square_few, square_many: squared norms of their mean gradients; of several batches of b
            groups the mean of these.

    Raises:
        ValueError: the batches are no two sizes.
    """
    if not 0 < few < many:
        raise ValueError(f"a noise scale is of two batches, not of {few} and {many} groups")
    signal = (many * square_many - few * square_few) / (many - few)
    noise = (square_few - square_many) / (1 / few - 1 / many)
    return Moments(signal, noise)


def moments_of_groups(squares: FloatArray, square_mean: float) -> Moments:
    """From every group by itself: the least noisy estimate of a step.

    Args:
        squares: (B,) squared norms of the groups' gradients, 0 for groups of equal rewards; B >= 2.
        square_mean: squared norm of the mean of these gradients.
    """
    return moments(1, len(squares), float(squares.mean()), square_mean)


class NoiseScale(Stateful):
    """B_simple over a run: signal and noise are averaged over steps, and then divided.

    A ratio of single steps would be biased, and wild where the signal is small (appendix A.1).

    Args:
        decay: weight of the past in [0, 1), corrected for the start of the averages.
    """

    state = ("signal", "noise", "weight")

    def __init__(self, decay: float = 0.9) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}, not at least 0 and below 1")
        self.decay = decay
        self.signal = self.noise = self.weight = 0.0

    def observe(self, found: Moments) -> None:
        """Add a step."""
        rest = 1 - self.decay
        self.signal = self.decay * self.signal + rest * found.signal
        self.noise = self.decay * self.noise + rest * found.noise
        self.weight = self.decay * self.weight + rest

    @property
    def groups(self) -> float | None:
        """B_simple; None while the averages say nothing: no step yet, or one is not above 0."""
        return self.noise / self.signal if min(self.signal, self.noise) > 0 else None

    def progress(self, batch: int) -> float | None:
        """Of a step of `batch` groups, as a share of an endless batch's; also of its best rate."""
        return None if self.groups is None else 1 / (1 + self.groups / batch)
