"""The first step of a run on verl, made once more by the local trainer, of the same rollouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import place as places
import torch

from gainrl.config.preset import Training
from gainrl.curricula import Groups, Setting, build
from gainrl.data.prompts import encode
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.training import algorithms
from gainrl.training.local.loop import LocalTrainer, Rollouts


def replayed(place: places.Place, name: str = "grpo") -> dict[str, Any]:
    """The local trainer's record of the step; the advantages are checked to be verl's."""
    batch = torch.load(place.folder / "probe" / "batch.pt", weights_only=True)
    settings = Training(**{**place.content["training"], "backend": "local"})
    table = pd.read_parquet(place.home / "data/sevens/train.parquet")
    folder, algorithm = place.home / "models/nano", algorithms.named(name)
    tokenizer = load_tokenizer(folder)
    prompts = encode(tokenizer, list(table["id"]), list(table["question"]))
    rows = list(dict.fromkeys(batch["rows"]))
    order = sorted(range(len(batch["rows"])), key=lambda i: rows.index(batch["rows"][i]))
    rewards = torch.stack([batch["rm_scores"][i].sum() for i in order]).view(len(rows), -1)
    theirs = torch.stack([batch["advantages"][i][0] for i in order]).view(len(rows), -1)
    advantages = algorithm.advantages(rewards)
    torch.testing.assert_close(advantages, theirs, atol=1e-5, rtol=0)

    responses = [batch["responses"][i].tolist() for i in order]
    curriculum = build("uniform", Setting(len(table), len(rows), 0))
    curriculum.draw(Groups.none(), None)
    trainer = LocalTrainer(
        load_model(folder, trained=True), tokenizer, prompts, list(table["answer"]), curriculum,
        settings, 0, lambda *_: 0.0, algorithm=algorithm,
    )  # fmt: skip
    sizes = np.full(len(rows), rewards.shape[1])
    recorded = Rollouts(np.array(rows), sizes, responses, rewards.flatten(), advantages.flatten())
    trainer._roll_out = lambda: recorded
    return trainer.step()[0]
