"""The entropy of prompts under the current policy, for curricula that read it before they draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gainrl.curricula.base import FloatArray
from gainrl.training.packing import PackedRow, Suffix, log_probabilities, micro_batches, pack


def prompt_entropies(
    model: Any, prompts: list[list[int]], budget: int, pad: int, alone: bool
) -> FloatArray:
    """(P,) means over a prompt's tokens but the first of the entropy in their place, in nats, at
    temperature 1.

    One forward pass without a graph; a prompt of a single token has 0.

    Args:
        prompts: token ids of P prompts.
        budget: tokens of a micro-batch.
        alone: whether each is run by the model's own forward pass (gainrl.training.layout).
    """
    rows = [
        PackedRow(tokens[:1], (Suffix(i, tokens[1:]),), i, alone)
        for i, tokens in enumerate(prompts)
    ]
    sums: FloatArray = np.zeros(len(prompts))
    for batch in micro_batches(rows, budget):
        packed = pack(batch, pad)
        with torch.no_grad():
            entropy = log_probabilities(model, packed)[1]
        np.add.at(sums, packed.suffix.numpy(), entropy.double().cpu().numpy())
    return sums / np.array([max(len(tokens) - 1, 1) for tokens in prompts])
