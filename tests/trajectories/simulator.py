"""What every curriculum draws in the simulator, from fixed seeds."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from gainrl import curricula
from gainrl.config.methods import Method
from gainrl.config.simulation import Regime
from gainrl.simulation.run import simulate
from gainrl.simulation.setting import build_world, prepare

REGIME = {"methods": ["any"], "pool": 96, "skills": 3, "batch": 8, "rollouts": 4, "steps": 20}
SEED, STEPS, SHOWN = 11, 15, 4


UNSIMULATED = {"vip_uniform", "hive"}
"""Curricula of prompts' hidden states or entropy, which simulated prompts have none of."""


def simulator() -> dict[str, Any]:
    """Curriculum -> rows, rollouts and trained rows of each step, and how the run goes."""
    return {name: _simulated(name) for name in sorted({*curricula.REGISTRY} - UNSIMULATED)}


def _simulated(name: str) -> dict[str, Any]:
    needs = curricula.REGISTRY[name]().needs
    method = Method(
        curriculum=name,
        order="angle" if "order" in needs else None,
        difficulty="column" if "difficulty" in needs else None,
    )
    regime = Regime(**REGIME)
    world = build_world(regime, SEED)
    policy = prepare(method, regime, world, SEED, samples=4).policy
    drawn: list[dict[str, Any]] = []
    learn = policy.observe

    def observe(outcome: Any) -> None:
        drawn.append(
            {
                "rows": outcome.rows.tolist(),
                "rollouts": outcome.rollouts.tolist(),
                "trained": outcome.rows[outcome.trained].tolist(),
            }
        )
        learn(outcome)

    policy.observe = observe
    done = simulate(world, policy, STEPS, SEED)
    whole = json.dumps(drawn).encode()
    return {
        "rows": [step["rows"] for step in drawn[:SHOWN]],
        "draws": hashlib.sha256(whole).hexdigest()[:12],  # of all steps, and what is trained on
        "accuracy": [record["accuracy"] for record in done.steps],
        "test_accuracy": done.steps[-1]["test_accuracy"],
        "rollout_tokens": sum(record["rollout_tokens"] for record in done.steps),
    }
