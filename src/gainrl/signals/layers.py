"""What the angles look like inside: by layer, as cosine maps, and by neuron (Figures 3 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gainrl.data.prompts import Prompts
from gainrl.errors import ModelError
from gainrl.signals.angle import from_states, unit
from gainrl.signals.plain import refusing
from gainrl.signals.taps import decoder_of, last_mlp

ACTIVE_SHARE = 0.2
"""Share of a layer's neurons that count as a prompt's core (Figure 6)."""


@torch.inference_mode()
def layer_profile(model: Any, prompts: Prompts) -> pd.DataFrame:
    """C_intra and C_inter of every prompt at every layer.

    Returns:
        id, layer, c_intra, c_inter; layer 0 is the embeddings, the last is after the final norm.
    """
    rows = []
    for name, tokens, size in zip(prompts.ids, prompts.tokens, prompts.n_question, strict=True):
        for layer, states in enumerate(_all_states(model, tokens)):
            found = from_states(
                states, prompts.n_prefix, torch.tensor([size], device=states.device)
            )
            rows.append((name, layer, found.intra.item(), found.inter.item()))
    return pd.DataFrame(rows, columns=["id", "layer", "c_intra", "c_inter"])


@torch.inference_mode()
def cosine_maps(model: Any, tokens: Sequence[int]) -> NDArray[np.float16]:
    """(layers + 1, m, m) cosines of one prompt's m hidden states, template suffix included."""
    units = [unit(states[0]) for states in _all_states(model, tokens)]
    return torch.stack([one @ one.T for one in units]).half().cpu().numpy()


def _all_states(model: Any, tokens: Sequence[int]) -> tuple[torch.Tensor, ...]:
    inputs = torch.tensor([list(tokens)], device=next(model.parameters()).device)
    with refusing(model):
        found = decoder_of(model)(input_ids=inputs, use_cache=False, output_hidden_states=True)
    if getattr(found, "hidden_states", None) is None:
        kind = model.config.model_type
        raise ModelError(f"model type '{kind}' does not give the hidden states of its layers")
    return found.hidden_states


@torch.inference_mode()
def core_neurons(model: Any, prompts: Prompts, batch: int = 32) -> NDArray[np.bool_]:
    """(N, F) which of the last block's F neurons are among each question's most often active 20%.

    A neuron is active at a token where its gate is above 0 before SiLU (Eq. 6: elsewhere it passes
    next to no gradient). Counted over the question's tokens: those of the prefix are the same for
    every prompt. Ties go to the lower index.

    Raises:
        ModelError: the last block has no gated MLP.
    """
    gate = getattr(last_mlp(model), "gate_proj", None)
    if gate is None:
        raise ModelError(f"model type '{model.config.model_type}' has no 'gate_proj' in its MLP")
    kept: dict[str, torch.Tensor] = {}
    handle = gate.register_forward_hook(lambda _m, _i, output: kept.update(gate=output.detach()))
    found = []
    try:
        for start in range(0, len(prompts.tokens), batch):
            rows = prompts.tokens[start : start + batch]
            width = max(map(len, rows))
            inputs = torch.zeros((len(rows), width), dtype=torch.long)
            for i, row in enumerate(rows):
                inputs[i, : len(row)] = torch.tensor(row)
            decoder_of(model)(input_ids=inputs.to(gate.weight.device), use_cache=False)
            ends = torch.tensor(prompts.n_prefix + prompts.n_question[start : start + batch])
            place = torch.arange(width)[None, :]
            inside = (place >= prompts.n_prefix) & (place < ends[:, None])
            active = (kept["gate"] > 0) & inside.to(gate.weight.device)[..., None]
            found.append(active.sum(1).cpu().numpy())
    finally:
        handle.remove()
    counts = np.concatenate(found)
    first = np.argsort(-counts, axis=1, kind="stable")[:, : round(ACTIVE_SHARE * counts.shape[1])]
    core = np.zeros(counts.shape, dtype=bool)
    np.put_along_axis(core, first, True, axis=1)
    return core
