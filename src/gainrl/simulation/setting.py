"""What a method's policy is built for, on a simulated pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gainrl import curricula
from gainrl.config.methods import Method
from gainrl.config.simulation import Regime
from gainrl.curricula import Curriculum, Setting
from gainrl.curricula.base import FloatArray, IntArray
from gainrl.simulation.learner import ParametricLearner
from gainrl.simulation.recorded import read_recorded
from gainrl.simulation.world import PromptPool, World


def build_world(regime: Regime, seed: int) -> World:
    """The pool and learner of a regime; a parametric one is drawn anew for each seed.

    Raises:
        DataError: a recorded regime's table cannot be used.
    """
    if regime.recorded is None:
        return ParametricLearner(regime, seed)
    return read_recorded(
        regime.recorded.probe,
        regime.recorded.scores,
        rollouts=regime.rollouts,
        tokens=regime.tokens,
        prompt_tokens=regime.prompt_tokens,
    )


@dataclass(frozen=True)
class Prepared:
    """A method's policy; preparation: rollout tokens that it took to know the difficulties."""

    policy: Curriculum
    preparation: int


def prepare(method: Method, regime: Regime, world: World, seed: int, samples: int) -> Prepared:
    """Build a method's policy for a world at its start.

    Args:
        samples: rollouts a prompt that measure difficulties, as `scoring.difficulty_samples`.

    Raises:
        ConfigError: as `curricula.build`.
    """
    pool, tokens = world.pool, 0
    difficulty = pool.difficulty if method.difficulty == "column" else None
    if method.difficulty in ("measured", "published"):  # a simulated pool has no published ones
        rng = np.random.default_rng([seed, 43])
        right = rng.binomial(samples, world.rates(np.arange(pool.size)))
        difficulty = 100 * (1 - right / samples)
        tokens = round(samples * float(pool.tokens.sum()))
    setting = Setting(
        size=pool.size,
        batch=method.training.prompts or regime.batch,
        seed=seed,
        order=order_of(method.order, pool, seed) if method.order else None,
        difficulty=difficulty,
        rollouts=method.training.rollouts or regime.rollouts,
        categories=pool.categories,
        features=pool.features,
    )
    return Prepared(curricula.build(method.curriculum.model_dump(), setting), tokens)


def order_of(name: str, pool: PromptPool, seed: int) -> IntArray:
    """(N,) rows from rank 0 on, as the orders of that name sort prompts; ties by row."""
    if name == "shuffled":
        return np.random.default_rng([seed, 44]).permutation(pool.size)
    keys = {
        "angle": lambda: -pool.signal,
        "reversed": lambda: pool.signal,
        "length": lambda: pool.prompt_tokens,
        "residual": lambda: -_residual(pool.signal, pool.prompt_tokens),
    }
    return np.argsort(keys[name](), kind="stable").astype(np.int64)


def _residual(signal: FloatArray, lengths: IntArray) -> FloatArray:
    """Rank of C less its linear regression on the rank of the length."""
    ranks, given = (pd.Series(each).rank().to_numpy() for each in (signal, lengths))
    ranks, given = ranks - ranks.mean(), given - given.mean()
    spread = float(given @ given)
    return ranks - (float(ranks @ given) / spread if spread else 0.0) * given
