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

from gainrl.curricula.base import FloatArray, Moments
from gainrl.curricula.parts import Stateful

__all__ = ["Moments", "NoiseScale", "moments", "moments_of_groups", "moments_of_halves"]


def moments(few: float, many: float, square_few: float, square_many: float) -> Moments:
    """From the gradients of two batches, one of which may be a part of the other.

    Appendix A.1: |G|^2 = (B |g_B|^2 - b |g_b|^2) / (B - b) and
    tr S = (|g_b|^2 - |g_B|^2) / (1 / b - 1 / B).

    Args:
        few, many: groups of the two batches, b < B; of several smaller batches that differ in
            size the harmonic mean, since 1 / b is what counts.
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


def moments_of_halves(
    first: int, second: int, squares: tuple[float, float], square_mean: float
) -> Moments:
    """From the two parts that a batch falls into.

    Args:
        first, second: groups of each, at least 1.
        squares: squared norms of their mean gradients.
        square_mean: squared norm of the mean gradient of all groups.
    """
    few = 2 / (1 / first + 1 / second)
    return moments(few, first + second, sum(squares) / 2, square_mean)


class NoiseScale(Stateful):
    """B_simple over a run: signal and noise are averaged over steps, and then divided.

    A ratio of single steps would be biased, and wild where the signal is small (appendix A.1).

    Args:
        decay: of the past, by an observation of weight 1, in [0, 1); corrected for the start of the
            averages.
    """

    state = ("signal", "noise", "weight")

    def __init__(self, decay: float = 0.9) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}, not at least 0 and below 1")
        self.decay = decay
        self.signal = self.noise = self.weight = 0.0

    def observe(self, found: Moments, weight: float = 1.0) -> None:
        """Add a step; its weight is 1, or what it knows, such as its number of groups."""
        past = self.decay**weight
        self.signal = past * self.signal + (1 - past) * found.signal
        self.noise = past * self.noise + (1 - past) * found.noise
        self.weight = past * self.weight + 1 - past

    @property
    def groups(self) -> float | None:
        """B_simple; None while the averages say nothing: no step yet, or one is not above 0."""
        return self.noise / self.signal if min(self.signal, self.noise) > 0 else None

    def progress(self, batch: int) -> float | None:
        """Of a step of `batch` groups, as a share of an endless batch's; also of its best rate."""
        return None if self.groups is None else 1 / (1 + self.groups / batch)
