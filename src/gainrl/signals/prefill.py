"""Prefill scoring: one forward pass a prompt, the shared prefix once for the whole data set.

No LM head is run. Prompts are sorted by length and batched to a token budget; each batch sees the
prefix through its KV cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import DynamicCache

from gainrl.data.prompts import Prompts
from gainrl.signals.angle import angles, unit


@torch.inference_mode()
def score(model: Any, prompts: Prompts, batch_tokens: int) -> pd.DataFrame:
    """C_intra and C_inter of every prompt (Eq. 5).

    Args:
        model: a causal language model; only its decoder is run.
        batch_tokens: question tokens a batch, padding included.

    Returns:
        A score table (gainrl.records.SCORES), in the prompts' order.
    """
    decoder, device = model.get_decoder(), next(model.parameters()).device
    prefix = torch.tensor([prompts.tokens[0][: prompts.n_prefix]], device=device)
    cache = DynamicCache(config=model.config)
    states = decoder(input_ids=prefix, past_key_values=cache, use_cache=True).last_hidden_state
    prefix_sum = unit(states[0]).sum(0)
    shared_layers: list[Any] = cache.layers
    count = len(prompts.ids)
    intra, inter, offdiagonal = np.empty(count), np.empty(count), np.empty(count)
    for rows in _batches(prompts.n_question, batch_tokens):
        lengths = torch.tensor(prompts.n_question[rows], device=device)
        width = int(lengths.max())
        inputs = torch.zeros((len(rows), width), dtype=torch.long)
        for i, row in enumerate(rows):
            begin = prompts.n_prefix
            size = int(prompts.n_question[row])
            inputs[i, :size] = torch.tensor(prompts.tokens[row][begin : begin + size])
        inside = torch.arange(width, device=device)[None, :] < lengths[:, None]
        shared = DynamicCache(config=model.config)
        for layer, part in enumerate(shared_layers):
            shared.update(
                part.keys.expand(len(rows), -1, -1, -1),
                part.values.expand(len(rows), -1, -1, -1),
                layer,
            )
        states = decoder(
            input_ids=inputs.to(device),
            position_ids=prompts.n_prefix + torch.arange(width, device=device)[None, :],
            past_key_values=shared,
            use_cache=True,
        ).last_hidden_state  # right padding comes after the question, so causality hides it
        total = (unit(states) * inside[..., None]).sum(1)
        result = angles(total, prefix_sum, lengths, prompts.n_prefix)
        intra[rows] = result.intra.cpu().numpy()
        inter[rows] = result.inter.cpu().numpy()
        offdiagonal[rows] = result.intra_offdiagonal.cpu().numpy()
    return pd.DataFrame(
        {
            "id": prompts.ids,
            "n_prefix": np.full(count, prompts.n_prefix),
            "n_question": prompts.n_question,
            "c_intra": intra,
            "c_inter": inter,
            "c_intra_offdiagonal": offdiagonal,
        }
    )


def _batches(lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Indices by length, in batches of at most `tokens` padded tokens (at least one prompt)."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        full = end == len(order) or int(lengths[order[end]]) * (end - start + 1) > tokens
        if full:
            yield order[start:end]
            start = end
