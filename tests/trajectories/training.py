"""A few steps of the local trainer on a random nano model, from fixed seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from trainers import trainer_for

from gainrl.config.data import Generated
from gainrl.config.ppo import PPO
from gainrl.curricula import Setting, build
from gainrl.data.generate import generate_splits
from gainrl.data.prompts import encode
from gainrl.models.nano import build_tokenizer

PROMPTS, SEED, STEPS = 12, 5, 4
RUNS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "grpo-kl": {"kl": 0.05, "mini_batch": 2, "weight_decay": 0.1},
    "ppo": {"ppo": PPO(gae_lambda=0.9, discount=0.95), "mini_batch": 2},
    "mopps": {"curriculum": "mopps"},
    "dapo": {"curriculum": "dapo"},
    "adaptive_uniform": {"curriculum": "adaptive_uniform"},
    "rl-extra": {"extra": {"rl": 2, "jump": 2}},
    "downsample": {"downsample": {"rollouts": (0.5, 1.0), "tokens": (0.6, 0.9)}},
}


def training() -> dict[str, Any]:
    """Run -> for each step what was drawn, its rewards and advantages, and its record."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # sums depend on how they are split
    try:
        return {name: _run(**changes) for name, changes in RUNS.items()}
    finally:
        torch.set_num_threads(before)


def _run(curriculum: str | None = None, **changes: Any) -> dict[str, Any]:
    tokenizer = build_tokenizer()
    spec = Generated(source="generate", task="chain", train=PROMPTS, eval=1)
    table = generate_splits(spec, "chain")["train"]
    prompts = encode(tokenizer, list(table["id"]), list(table["question"]))
    if curriculum is not None:
        setting = Setting(PROMPTS, 4, SEED, np.arange(PROMPTS)[::-1].copy(), rollouts=4)
        changes["curriculum"] = build(curriculum, setting)
    trainer = trainer_for(tokenizer, prompts, table, seed=SEED, **changes)
    steps: list[dict[str, Any]] = []
    learn = trainer.curriculum.observe

    def observe(outcome: Any) -> None:
        steps.append(
            {
                "rows": outcome.rows.tolist(),
                "accuracy": outcome.accuracy.tolist(),
                # NaN, of groups that are not trained on, is no JSON.
                "advantage": [None if np.isnan(a) else a for a in outcome.advantage.tolist()],
                "tokens": outcome.tokens.tolist(),
            }
        )
        learn(outcome)

    trainer.curriculum.observe = observe
    for _ in range(STEPS):
        record, _ = trainer.step()
        steps[-1]["record"] = record
    size = sum(float(weight.detach().abs().sum()) for weight in trainer.model.parameters())
    return {"steps": steps, "weights": size}
