"""DPS: each prompt's solving progress as a hidden Markov model (arXiv:2603.10887)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import FloatArray, IntArray, Outcome
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register

UNSOLVED, PARTLY, SOLVED = range(3)
"""A prompt's state: all of its group wrong, some of it right, all of it right."""


@register("dps")
@dataclass
class Dps(Sampler):
    """Of a random pool, the B prompts that are most probably partly solved by now.

    A prompt has one of three states, which a group shows exactly. alpha are the Dirichlet counts of
    its transitions, P[i, j] = alpha[i, j] / sum_i alpha[i, j] the probability of i after j, mu the
    belief before a step. At the start alpha = alpha0 and mu = 1/3. With l the decay, a step makes
    of a prompt that showed the state y, e_y being 1 there and 0 elsewhere and nu the belief that
    the step before ended with,

        xi[i, j] = e_y[i] P[i, j] nu[j] / sum,    alpha <- l alpha + (1 - l) alpha0 + xi,
        nu <- e_y,                                mu <- P e_y with the new P,

    and of any other prompt alpha <- l alpha + (1 - l) alpha0, nu <- mu, mu <- P mu. All as in the
    public code, but that its pools come in turn from a shuffled epoch; here each is drawn anew.

    Parameters:
        pool: candidates as a multiple of what is drawn (the whole table if that is smaller); the
            public scripts take 32 for MATH and 8 for Countdown.
        decay: weight of the past in [0, 1]; 0.7 and 0.5 in these scripts; 1 forgets nothing.
        prior: alpha0, the same for every transition; above 0.
    """

    pool: int = 32
    decay: float = 0.7
    prior: float = 1.0
    state = ("alpha", "before", "belief")

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ValueError(f"pool is {self.pool}, not at least 1")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay is {self.decay}, not in [0, 1]")
        if self.prior <= 0:
            raise ValueError(f"prior is {self.prior}, not above 0")

    def start(self) -> None:
        """Every state and every transition is as likely as any other."""
        self.alpha = np.full((self.setting.size, 3, 3), self.prior)
        self.before = np.full((self.setting.size, 3), 1 / 3)  # nu
        self.belief = np.full((self.setting.size, 3), 1 / 3)  # mu

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows, the most probable first; equal ones by chance."""
        size = min(self.pool * count, self.setting.size)
        pool = self.rng.choice(self.setting.size, size, replace=False)
        return pool[np.argsort(-self.belief[pool, PARTLY], kind="stable")[:count]]

    def observe(self, outcome: Outcome) -> None:
        """Filter what was rolled out, learn its transitions, and predict every prompt's state."""
        rows, right = outcome.rows, outcome.accuracy
        shown = np.where(right >= 1, SOLVED, np.where(right <= 0, UNSOLVED, PARTLY))
        moved = _transitions(self.alpha[rows])[np.arange(len(rows)), shown] * self.before[rows]
        moved /= moved.sum(axis=1, keepdims=True)  # the row y of xi; the others are 0
        self.alpha *= self.decay
        self.alpha += (1 - self.decay) * self.prior
        self.alpha[rows, shown] += moved
        self.belief[rows] = np.eye(3)[shown]
        self.before = self.belief
        self.belief = np.einsum("nij,nj->ni", _transitions(self.alpha), self.before)

    def metrics(self) -> dict[str, float]:
        """Mean beliefs over the table."""
        unsolved, partly, solved = self.belief.mean(axis=0).tolist()
        return {"unsolved": unsolved, "partly_solved": partly, "solved": solved}


def _transitions(alpha: FloatArray) -> FloatArray:
    """(..., 3, 3) expected probabilities of the state in the row after that in the column."""
    expected: FloatArray = alpha / alpha.sum(axis=-2, keepdims=True)
    return expected
