"""InSight: prompts by weighted mutual information (arXiv:2603.01907, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import FloatArray, IntArray, Outcome
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register


@register("insight")
@dataclass
class Insight(Sampler):
    """Of a random pool, the B prompts of the greatest w I.

    A prompt's pass rate is Beta(a, b), a = b = 1 at first. I is the mutual information between it
    and the number s of right responses among n (Eqs. 11 to 13), H the entropy of a Beta:

        I = H(a, b) - sum_s P(s) H(a + s, b + n - s),
        P(s) = binomial(n, s) B(a + s, b + n - s) / B(a, b),

    and w = m (1 - m) exp(-eta (m - mu)^2) with m = a / (a + b) prefers prompts that are neither
    easy nor hopeless (Eq. 15). A prompt that was rolled out moves, with l the decay, to
    a <- l a + (1 - l) + right, and b likewise with wrong (Eq. 6); the others stay.

    Appendix D.2 says mu = 3.0, which is no pass rate; 0.3 is section 7.3's best.

    Parameters:
        pool: candidates as a multiple of what is drawn (the whole table if that is smaller).
        eta: at least 0; 0 prefers no difficulty.
        mu: in [0, 1].
        decay: weight of the past in [0, 1]; 1 forgets nothing.
    """

    pool: int = 16
    eta: float = 3.0
    mu: float = 0.3
    decay: float = 1.0
    state = ("a", "b", "told")

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ValueError(f"pool is {self.pool}, not at least 1")
        if self.eta < 0:
            raise ValueError(f"eta is {self.eta}, below 0")
        for key in ("mu", "decay"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} is {getattr(self, key)}, not in [0, 1]")

    def start(self) -> None:
        """Every pass rate is as likely as any other."""
        self.a, self.b = np.ones(self.setting.size), np.ones(self.setting.size)
        self.told: dict[str, float] = {}

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows, the most informative first; equal ones by chance."""
        size = min(self.pool * count, self.setting.size)
        pool = self.rng.choice(self.setting.size, size, replace=False)
        # Many prompts share a belief, such as that of the unseen: each is computed once.
        beliefs, of = np.unique(self.a[pool] + 1j * self.b[pool], return_inverse=True)
        mean = (beliefs.real / (beliefs.real + beliefs.imag))[of]
        weight = mean * (1 - mean) * np.exp(-self.eta * (mean - self.mu) ** 2)
        information = mutual_information(beliefs.real, beliefs.imag, self.setting.rollouts)[of]
        chosen = np.argsort(-weight * information, kind="stable")[:count]
        self.told["information"] = float(information[chosen].mean())
        return pool[chosen]

    def observe(self, outcome: Outcome) -> None:
        """Update the beliefs about the prompts that were rolled out."""
        rows, right = outcome.rows, outcome.accuracy * outcome.rollouts
        self.a[rows] = self.decay * self.a[rows] + (1 - self.decay) + right
        self.b[rows] = self.decay * self.b[rows] + (1 - self.decay) + outcome.rollouts - right

    def metrics(self) -> dict[str, float]:
        """Mean of the beliefs' means; mean mutual information in nats of the last draw."""
        return {"expected_accuracy": float((self.a / (self.a + self.b)).mean()), **self.told}


def mutual_information(a: FloatArray, b: FloatArray, rollouts: int) -> FloatArray:
    """(P,) nats that the rewards of `rollouts` responses tell about pass rates Beta(a, b)."""
    right: FloatArray = np.arange(rollouts + 1, dtype=np.float64)
    wrong = rollouts - right
    after_a, after_b = a[:, None] + right, b[:, None] + wrong
    ways = -np.log(rollouts + 1.0) - _log_beta(right + 1, wrong + 1)  # log of binomial(n, s)
    chance = np.exp(ways + _log_beta(after_a, after_b) - _log_beta(a, b)[:, None])
    told: FloatArray = _entropy(a, b) - (chance * _entropy(after_a, after_b)).sum(axis=1)
    return told


def _entropy(a: FloatArray, b: FloatArray) -> FloatArray:
    """Differential entropy of Beta(a, b) in nats (Eq. 11)."""
    both = (a + b - 2) * _digamma(a + b)
    return _log_beta(a, b) + both - (a - 1) * _digamma(a) - (b - 1) * _digamma(b)


def _log_beta(a: FloatArray, b: FloatArray) -> FloatArray:
    return _log_gamma(a) + _log_gamma(b) - _log_gamma(a + b)


# Stirling's series (DLMF 5.11.1 and 5.11.2) after shifting x by 8 with the recurrences: exact to
# about 1e-13 for x above 0. These are in scipy, which the curricula do without.
SHIFT = 8


def _log_gamma(x: FloatArray) -> FloatArray:
    steps, far = _shifted(x)
    inverse = 1 / far
    series = inverse / 12 - inverse**3 / 360 + inverse**5 / 1260 - inverse**7 / 1680
    series += inverse**9 / 1188
    stirling = (far - 0.5) * np.log(far) - far + 0.5 * np.log(2 * np.pi) + series
    value: FloatArray = stirling - np.log(steps).sum(axis=-1)
    return value


def _digamma(x: FloatArray) -> FloatArray:
    steps, far = _shifted(x)
    inverse = 1 / far**2
    series = (
        inverse / 12 - inverse**2 / 120 + inverse**3 / 252 - inverse**4 / 240 + inverse**5 / 132
    )
    value: FloatArray = np.log(far) - 0.5 / far - series - (1 / steps).sum(axis=-1)
    return value


def _shifted(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(..., 8) numbers x to x + 7, and (...) x + 8."""
    return x[..., None] + np.arange(SHIFT), x + SHIFT
