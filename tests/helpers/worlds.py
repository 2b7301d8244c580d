"""Small worlds to simulate in, for the tests of simulations and of large pools."""

import numpy as np
import pandas as pd
from outcomes import build

from gainrl.config.simulation import Learner
from gainrl.curricula import Setting
from gainrl.simulation.learner import ParametricLearner
from gainrl.simulation.recorded import RecordedLearner
from gainrl.simulation.world import PromptPool


def learner(seed=0, **keys):
    return ParametricLearner(Learner(**{"pool": 64, "skills": 2, **keys}), seed)


def probe(correct, samples=4, signal=0.5):
    """A probe table: right answers (snapshots, prompts); 10 steps between snapshots."""
    frames = [
        pd.DataFrame(
            {
                "step": step,
                "id": [f"p{i}" for i in range(len(row))],
                "c_intra": signal,
                "c_inter": 0.0,
                "c": signal,
                "correct": row,
                "samples": samples,
            }
        )
        for step, row in zip(range(0, 10 * len(correct), 10), correct, strict=True)
    ]
    return pd.concat(frames, ignore_index=True)


def recorded(rates, rollouts=8, steps=None):
    """A record of these rates (snapshots, prompts); without `steps`, 10 between snapshots."""
    rates = np.asarray(rates, dtype=float)
    size = rates.shape[1]
    lengths = np.full(size, 10, dtype=np.int64)
    pool = PromptPool(tokens=np.full(size, 50.0), prompt_tokens=lengths, signal=np.full(size, 0.5))
    steps = np.array([10 * s for s in range(len(rates))] if steps is None else steps)
    return RecordedLearner(steps, rates, np.full_like(rates, 0.5), rollouts, pool)


def policy_for(world, name, batch, seed=0, rollouts=8, **parameters):
    pool = world.pool
    order = np.argsort(-pool.signal, kind="stable")
    setting = Setting(pool.size, batch, seed, order, pool.difficulty, rollouts, pool.categories)
    return build(name, parameters, setting)
