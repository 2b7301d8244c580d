"""A parametric learner: logistic items, and skills that grow with the gradient signal.

docs/simulation.md has the equations and what they leave out.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from gainrl.config.simulation import Learner
from gainrl.curricula.base import FloatArray, IntArray
from gainrl.simulation.world import PromptPool

LIVE, IMPOSSIBLE, TRIVIAL, UNLUCKY = range(4)
TESTED = 64
"""Held-out problems of each skill."""
FAR = 2.0
"""Standard deviations that impossible and trivial prompts seem harder and easier than the rest."""
LENGTH_SPREAD = 0.5
"""Standard deviation of the logarithm of lengths."""
SIGNAL_MEAN, SIGNAL_SPREAD = 1.0, 0.25
"""Of C over the pool: dimensionless."""


class ParametricLearner:
    """Prompt i of skill k is right with probability low + (high - low) sigmoid(a (theta_k - b_i)).

    low and high are 0 and 1, equal for impossible (0), trivial (1) and unlucky prompts (luck). A
    step with trained groups j of G_j rollouts and accuracy p_j moves the abilities by

        theta_k += rate K / (1 + (K - 1) tau) sum_j T_k,k(j) w_j s_j + rate noise e_k / sqrt(M)

    with w_j = G_j / M, M = sum G_j, s_j = p_j (1 - p_j) (0 for an unlucky prompt), T = 1 within a
    skill and tau across, and e_k standard normal. Everything random comes from the seed.
    """

    def __init__(self, config: Learner, seed: int) -> None:
        """Draw a pool; `config.pool` is set."""
        assert config.pool is not None
        self.config = config
        rng = np.random.default_rng([seed, 41])
        self.noise = np.random.default_rng([seed, 42])
        size = config.pool
        self.kind = _kinds(config, size, rng)
        self.low = np.array([0.0, 0.0, 1.0, config.luck])
        self.span = np.array([1.0, 0.0, 0.0, 0.0])
        self.skill = rng.integers(config.skills, size=size)
        self.centres, self.within = _skills(config)
        self.difficulty = self.centres[self.skill] + self.within * rng.standard_normal(size)
        self.theta = np.full(config.skills, float(config.ability))
        tested = self.within * _quantiles(TESTED)
        self.tested = self.centres[:, None] + tested  # (K, TESTED)
        self.pool = self._seen(rng)

    def _seen(self, rng: np.random.Generator) -> PromptPool:
        """What can be known of the prompts: lengths, C and a difficulty of the data set's own."""
        config, size = self.config, len(self.kind)
        hard = self.difficulty / config.spread
        hard[self.kind == IMPOSSIBLE] = FAR
        hard[self.kind == TRIVIAL] = -FAR
        hard = _standardised(hard)
        shared, own = config.length, (1 - config.length**2) ** 0.5
        asked = shared * hard + own * rng.standard_normal(size)
        answered = shared * hard + own * rng.standard_normal(size)
        weights = config.weights
        signal = weights[0] * hard + weights[1] * asked + weights[2] * rng.standard_normal(size)
        signal = SIGNAL_MEAN + SIGNAL_SPREAD * signal
        split = SIGNAL_SPREAD / 2 * rng.standard_normal(size)
        questions = _lengths(asked, config.prompt_tokens)
        spread = float(np.ptp(hard)) or 1.0
        return PromptPool(
            tokens=_lengths(answered, config.tokens),
            prompt_tokens=questions.astype(np.int64),
            signal=signal,
            difficulty=100 * (hard - hard.min()) / spread,
            categories=self.skill,
            features={
                "tokens": questions,
                "c_intra": signal / 2 + split,
                "c_inter": signal / 2 - split,
            },
        )

    @property
    def ability(self) -> float:
        """Mean over skills, on the scale of the difficulties."""
        return float(self.theta.mean())

    def rates(self, rows: IntArray) -> FloatArray:
        """(P,) probabilities that a response is right."""
        kind = self.kind[rows]
        distance = self.theta[self.skill[rows]] - self.difficulty[rows]
        return self.low[kind] + self.span[kind] * self._logistic(distance)

    def signals(self, rows: IntArray) -> FloatArray:
        """(P,) C, which stays what it was."""
        return self.pool.signal[rows]

    def learn(self, rows: IntArray, accuracy: FloatArray, rollouts: IntArray) -> float:
        """One update; returns sum_j w_j s_j."""
        config, skills, total = self.config, self.config.skills, float(rollouts.sum())
        teaches = self.kind[rows] != UNLUCKY
        weighted = rollouts / total * accuracy * (1 - accuracy) * teaches
        direct = np.bincount(self.skill[rows], weights=weighted, minlength=skills)
        growth = (1 - config.transfer) * direct + config.transfer * direct.sum()
        scale = skills / (1 + (skills - 1) * config.transfer)
        drift = config.noise / total**0.5 * self.noise.standard_normal(skills)
        self.theta += config.rate * (scale * growth + drift)
        return float(direct.sum())

    def test_accuracy(self) -> float:
        """Mean over held-out logistic items: TESTED a skill, at its difficulties' quantiles."""
        return float(self._logistic(self.theta[:, None] - self.tested).mean())

    def _logistic(self, distance: FloatArray) -> FloatArray:
        # tanh does not overflow, whatever the distance.
        return 0.5 * (1 + np.tanh(0.5 * self.config.discrimination * distance))


def _kinds(config: Learner, size: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) kinds in a random order; shares are rounded down to whole prompts."""
    shares = {IMPOSSIBLE: config.impossible, TRIVIAL: config.trivial, UNLUCKY: config.unlucky}
    kinds = np.full(size, LIVE, dtype=np.int8)
    at = 0
    for kind, share in shares.items():
        count = int(share * size + 1e-9)
        kinds[at : at + count] = kind
        at += count
    rng.shuffle(kinds)
    return kinds


def _skills(config: Learner) -> tuple[FloatArray, float]:
    """(K,) mean difficulties of the skills, and the standard deviation within one."""
    if config.skills == 1:
        return np.zeros(1), config.spread
    centres = _standardised(_quantiles(config.skills))
    return config.spread * config.between**0.5 * centres, config.spread * (
        1 - config.between
    ) ** 0.5


def _quantiles(count: int) -> FloatArray:
    """(count,) quantiles of the standard normal distribution at (k + 1/2) / count."""
    return np.array([NormalDist().inv_cdf((k + 0.5) / count) for k in range(count)])


def _standardised(values: FloatArray) -> FloatArray:
    return (values - values.mean()) / (values.std() or 1.0)


def _lengths(latent: FloatArray, mean: int) -> FloatArray:
    """(N,) whole tokens, at least 1: log-normal around a mean."""
    return np.maximum(np.rint(mean * np.exp(LENGTH_SPREAD * latent - LENGTH_SPREAD**2 / 2)), 1.0)
