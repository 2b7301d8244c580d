"""SHIFT: how far one greedy response moves the hidden states, and a choice by that (2605.28631)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gainrl.errors import DataError
from gainrl.signals.concentration import FloatArray
from gainrl.signals.plain import equal_lengths


@torch.inference_mode()
def anchor_states(
    model: Any,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    batch_tokens: int = 8192,
) -> tuple[FloatArray, FloatArray]:
    """States at the first and at the last token of each response, averaged over all layers.

    The source takes them of a greedy response to a reasoning prompt, and leaves the embedding out;
    the end token, where a response has one, is its last token.

    Args:
        model: a causal language model.
        prompts, responses: N token lists each; one response a prompt.
        batch_tokens: tokens a batch (at least one sequence); sequences of one length go together.

    Returns:
        (N, d) starts and (N, d) ends.

    Raises:
        DataError: a response without a token, by its position.
    """
    for at, response in enumerate(responses):
        if not len(response):
            raise DataError(f"response {at} is empty: its states move nowhere")
    rows = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
    firsts = [len(prompt) for prompt in prompts]
    starts, ends = (np.empty((len(rows), model.config.hidden_size)) for _ in range(2))
    for alike in equal_lengths(rows):
        size = max(batch_tokens // len(rows[alike[0]]), 1)
        for some in (alike[i : i + size] for i in range(0, len(alike), size)):
            inputs = torch.tensor([rows[i] for i in some], device=model.device)
            found = model(input_ids=inputs, use_cache=False, output_hidden_states=True)
            each, places = torch.arange(len(some)), torch.tensor([firsts[i] for i in some])
            layers = found.hidden_states[1:]
            first = [layer[each.to(layer.device), places.to(layer.device)] for layer in layers]
            for target, picked in ((starts, first), (ends, [layer[:, -1] for layer in layers])):
                target[some] = np.mean([each.double().cpu().numpy() for each in picked], axis=0)
    return starts, ends


def quality(starts: FloatArray, ends: FloatArray) -> FloatArray:
    """(N,) q = log(1 + |end - start|): the utility proxy of a prompt."""
    moved: FloatArray = np.log1p(np.linalg.norm(ends - starts, axis=1))
    return moved


def coreset(starts: FloatArray, ends: FloatArray, count: int) -> npt.NDArray[np.int64]:
    """The quality-weighted farthest-first choice: prompts that move far, unlike each other.

    With f = [start; end - start] / |[start; end - start]|, the first is the prompt of the largest
    q, and each next one that of the largest q(x) |f(x) - f(c)|, c being the nearest one chosen so
    far. Equal ones go by their position.

    Args:
        starts, ends: (N, d), of `anchor_states`.
        count: at most N.

    Returns:
        (count,) positions in the order of the choice: its first k are the choice of k.
    """
    weight, both = quality(starts, ends), np.concatenate([starts, ends - starts], axis=1)
    places = both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), np.finfo(float).tiny)
    chosen, nearest = np.empty(count, dtype=np.int64), np.full(len(places), np.inf)
    score = weight.copy()
    for k in range(count):
        chosen[k] = score.argmax()
        distance = np.linalg.norm(places - places[chosen[k]], axis=1)
        nearest = np.minimum(nearest, distance)
        score = weight * nearest
        score[chosen[: k + 1]] = -np.inf
    return chosen
