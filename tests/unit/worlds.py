"""Small worlds to simulate in, for the tests of simulations and of large pools."""

import numpy as np
import pandas as pd

from gainrl.config_simulation import Learner
from gainrl.curricula import Setting, build
from gainrl.simulation.learner import ParametricLearner
from gainrl.simulation.recorded import RecordedLearner
from gainrl.simulation.world import Pool


def learner(seed=0, **keys):
    return ParametricLearner(Learner(**{"pool": 64, "skills": 2, **keys}), seed)


def probe(rates, steps=None, signal=0.5):
    """A probe table: rates (snapshots, prompts) of 100 samples each; 10 steps between snapshots."""
    rates = np.asarray(rates, dtype=float)
    steps = [10 * s for s in range(len(rates))] if steps is None else steps
    frames = [
        pd.DataFrame(
            {
                "step": step,
                "id": [f"p{i}" for i in range(rates.shape[1])],
                "c_intra": signal,
                "c_inter": 0.0,
                "c": signal,
                "correct": np.rint(100 * row).astype(int),
                "samples": 100,
            }
        )
        for step, row in zip(steps, rates, strict=True)
    ]
    return pd.concat(frames, ignore_index=True)


def recorded(rates, rollouts=8, steps=None):
    table = probe(rates, steps)
    size = table["id"].nunique()
    lengths = np.full(size, 10, dtype=np.int64)
    pool = Pool(tokens=np.full(size, 50.0), prompt_tokens=lengths, signal=np.full(size, 0.5))
    return RecordedLearner(table, rollouts, pool)


def policy_for(world, name, batch, seed=0, rollouts=8, **parameters):
    pool = world.pool
    order = np.argsort(-pool.signal, kind="stable")
    setting = Setting(pool.size, batch, seed, order, pool.difficulty, rollouts, pool.categories)
    return build(name, parameters, setting)
