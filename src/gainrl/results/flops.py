"""FLOP of RL steps, counted from the tokens that they had: what a run cost, on any machine.

A token costs 2 P FLOP forward and 4 P backward, with P all parameters (Kaplan et al. 2020,
arXiv:2001.08361, section 2.1), as in `gainrl.cost.estimate`; attention, padding, recomputed
activations and tests are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gainrl.compare.statistics import FloatArray
from gainrl.plan import backends
from gainrl.training import algorithms

FORWARD, BACKWARD = 2, 4
"""FLOP per token and parameter."""


def per_token(
    training: Mapping[str, Any],
    algorithm: str,
    epochs: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> FloatArray:
    """FLOP per parameter for a token of a step, over all passes that it takes part in.

    The rollout is a forward pass and each epoch of the update a forward and a backward pass.
    Further forward passes: the old log-probabilities, which some backends always compute and others
    where one batch makes several updates; the reference policy, where kl > 0. A critic (PPO) has a
    pass that gives the values, and an update. With `downsample` the old log-probabilities come from
    a pass that has tokens of its own (`step_flops`). With `lora` an update has no gradients of the
    frozen weights, half of its backward pass; the adapters' own are left out. A critic has no lora.

    Args:
        training: section `training` of run.json: backend, prompts, mini_batch, epochs (1 without),
            kl, downsample, lora.
        algorithm: its name.
        epochs: () or (steps,) that were made, where they ended by `target_kl`; None: as many as
            `training` says.
        groups: () or (steps,) that were trained on, where a curriculum chose how many; None: as
            many as `training` has prompts.

    Returns:
        As `epochs` and `groups` together.
    """
    planned, mini = training.get("epochs", 1), training["mini_batch"]
    epochs = np.asarray(planned if epochs is None else epochs, float)
    whole = epochs * (FORWARD + BACKWARD)
    update = epochs * (FORWARD + BACKWARD // 2) if training.get("lora") else whole
    passes: FloatArray = FORWARD + update
    split = (
        mini is not None and np.asarray(training["prompts"] if groups is None else groups) > mini
    )
    recomputes = backends.find(training["backend"]).recomputes
    if not training.get("downsample"):
        passes = passes + np.where((planned > 1) | recomputes | split, FORWARD, 0)
    if training["kl"] > 0:
        passes += FORWARD
    if algorithms.named(algorithm).critic:
        passes += FORWARD + whole
    return passes


def prompt_copies(training: Mapping[str, Any]) -> int:
    """How often a step runs a prompt: once where the backend shares it, else for each rollout."""
    return 1 if backends.find(training["backend"]).shares_prompts else int(training["rollouts"])


def step_flops(
    parameters: float,
    prompt_tokens: ArrayLike,
    response_tokens: ArrayLike,
    training: Mapping[str, Any],
    algorithm: str,
    idle_tokens: ArrayLike = 0,
    measured_tokens: ArrayLike = 0,
    epochs: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> FloatArray:
    """(steps,) FLOP of RL steps.

    Where the backend shares prompts, one runs once for its group of rollouts, else once for each.

    Args:
        parameters: of the policy, P; a critic is as large.
        prompt_tokens: (steps,) tokens of a step's prompts, each prompt counted once.
        response_tokens: (steps,) tokens of all rollouts of a step.
        training: as for `per_token`, with rollouts.
        algorithm: its name.
        idle_tokens: (steps,) of them, tokens that were rolled out and not trained on (a policy that
            draws several times in a step, `downsample`): they have the rollout's pass only.
        measured_tokens: (steps,) tokens of the forward pass by which `downsample` chooses, and of
            prompts that a curriculum had read. A prompt counts as often as it is run, here and in
            idle_tokens.
        epochs, groups: (steps,) as for `per_token`.
    """
    copies = prompt_copies(training)
    prompts, responses = (np.asarray(each, float) for each in (prompt_tokens, response_tokens))
    passes, idle = per_token(training, algorithm, epochs, groups), np.asarray(idle_tokens, float)
    everything = passes * (copies * prompts + responses)
    measured = FORWARD * np.asarray(measured_tokens, float)
    return parameters * (everything - (passes - FORWARD) * idle + measured)
