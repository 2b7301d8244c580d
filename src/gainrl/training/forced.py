"""Teacher forcing: what models give to the tokens of responses that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gainrl.models.extrapolated import Extrapolated
from gainrl.training.packing import Packed, Suffix, micro_batches, pack, split_rows, target_logits

LOGITS = 1 << 26
"""Logits that are held at a time for one model: 256 MB in fp32."""


def packed_responses(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    pad: int,
    row_tokens: int,
    vocabulary: int,
) -> list[Packed]:
    """Micro-batches of responses behind their prompts, the same for every model.

    Args:
        prompts: P token lists.
        responses: P * G token lists, those of one prompt next to each other.
        row_tokens: as in training; ALONE where the models cannot be packed.
        vocabulary: tokens that a model can give; micro-batches are small where it is large.
    """
    group = len(responses) // len(prompts)
    rows = []
    for i, prefix in enumerate(prompts):
        suffixes = [Suffix(k, responses[k]) for k in range(i * group, (i + 1) * group)]
        rows += split_rows(prefix, suffixes, row_tokens, i)
    return [pack(batch, pad) for batch in micro_batches(rows, max(1, LOGITS // vocabulary))]


def mixed_logits(model: Any, packed: Packed) -> torch.Tensor:
    """The (T, V) logits in fp32 that predict a micro-batch's targets; also of two models as one."""
    if isinstance(model, Extrapolated):
        return model.mix(*(mixed_logits(each, packed) for each in (model.first, model.second)))
    return target_logits(model, packed)


@torch.inference_mode()
def forced_log_probabilities(model: Any, packs: Sequence[Packed]) -> np.ndarray:
    """Log-probabilities of all targets at temperature 1: (N,) in nats, pack by pack."""
    found = []
    for packed in packs:
        everything = torch.log_softmax(mixed_logits(model, packed), -1)
        targets = packed.targets.to(everything.device)
        found.append(everything.gather(1, targets[:, None]).squeeze(1).double().cpu())
    return torch.cat(found).numpy()


@torch.inference_mode()
def divergences(
    trained: Any, candidates: Mapping[str, Any], packs: Sequence[Packed]
) -> dict[str, float]:
    """KL(trained || candidate) at temperature 1, exact over the vocabulary.

    Returns:
        For each candidate the mean over all target tokens, in nats.
    """
    sums, tokens = dict.fromkeys(candidates, 0.0), 0
    for packed in packs:
        true = torch.log_softmax(mixed_logits(trained, packed), -1)
        tokens += len(true)
        for name, model in candidates.items():
            other = torch.log_softmax(mixed_logits(model, packed), -1)
            sums[name] += float((true.exp() * (true - other)).sum(-1).double().sum())
    return {name: total / tokens for name, total in sums.items()}
