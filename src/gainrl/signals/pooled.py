"""Mean hidden states of questions, and their principal components."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gainrl.data.prompts import Prompts
from gainrl.signals.concentration import FloatArray
from gainrl.signals.prefill import batches
from gainrl.signals.shared_prefix import PrefixForward, probe_of

TAP = "post_norm"


def mean_states(model: Any, prompts: Prompts, batch_tokens: int) -> FloatArray:
    """Mean of the final hidden states (after the last norm) over each question's tokens.

    The prefix that the data set shares is run once; prefix and suffix are not in the mean.

    Args:
        model: a causal language model; only its decoder is run.
        batch_tokens: question tokens a batch (at least one prompt).

    Returns:
        (N, d).
    """
    start, sizes = prompts.n_prefix, prompts.n_question
    probe = probe_of([row[start:] for row in prompts.tokens])
    forward = PrefixForward(model, prompts.tokens[0][:start], [TAP], probe)
    found = np.empty((len(sizes), forward.prefix[TAP].shape[-1]))
    for members in batches(sizes, batch_tokens):
        rows = [prompts.tokens[i][start : start + sizes[i]] for i in members]
        states = forward.questions(rows, start)[TAP]
        with torch.inference_mode():
            length = torch.tensor(sizes[members], device=states.device)
            inside = torch.arange(states.shape[1], device=states.device) < length[:, None]
            total = (states.float() * inside[..., None]).sum(1)
            found[members] = (total / length[:, None]).double().cpu().numpy()
    return found


def principal_components(values: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Project onto the directions of largest variance.

    A direction's sign is that of its largest entry. Where there are fewer directions with any
    variance than asked for, the rest of the columns are 0.

    Args:
        values: (N, d).
        count: K.

    Returns:
        (N, K) projections of the centred values, and (K,) shares of the variance.
    """
    centred = values - values.mean(0)
    # the triangle of a QR decomposition has the same singular values and axes, and is small
    triangle = np.linalg.qr(centred, mode="r")
    _, sizes, axes = np.linalg.svd(triangle, full_matrices=False)
    rounding = sizes[0] * max(centred.shape) * np.finfo(np.float64).eps
    axes = axes[:count][sizes[:count] > rounding]
    largest = np.abs(axes).argmax(1)
    axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
    found, shares = np.zeros((len(values), count)), np.zeros(count)
    found[:, : len(axes)] = centred @ axes.T
    shares[: len(axes)] = (sizes**2 / max(float(sizes @ sizes), np.finfo(float).tiny))[: len(axes)]
    return found, shares
