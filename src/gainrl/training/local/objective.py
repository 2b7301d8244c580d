"""GRPO's advantage and loss (spec section 4; DeepSeekMath, arXiv 2402.03300)."""

from __future__ import annotations

import torch


def group_advantages(rewards: torch.Tensor) -> torch.Tensor:
    """(r - mean) / std within each group of a (P, G) tensor.

    The standard deviation is the unbiased one with 1e-6 added, as in verl; a group of equal
    rewards has advantage 0.
    """
    centred = rewards - rewards.mean(1, keepdim=True)
    advantages = centred / (rewards.std(1, keepdim=True) + 1e-6)
    equal = (rewards == rewards[:, :1]).all(1, keepdim=True)  # their mean is off by rounding
    return advantages.masked_fill(equal, 0.0)


def policy_loss(
    log_probability: torch.Tensor,
    old: torch.Tensor,
    advantage: torch.Tensor,
    *,
    clip: float,
    kl: float = 0.0,
    reference: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clipped surrogate, summed over tokens.

    Args:
        log_probability, old, advantage: (T,), nats; the advantage is its response's.
        kl: weight of the divergence to the reference policy, by the low-variance estimator
            exp(d) - d - 1 with d = reference - log_probability.

    Returns:
        The summed loss and the summed KL estimate (0 without a reference).
    """
    ratio = (log_probability - old).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    loss = -torch.minimum(ratio * advantage, clipped * advantage).sum()
    if reference is None:
        return loss, loss.new_zeros(())
    gap = reference - log_probability
    divergence = (gap.exp() - gap - 1).sum()
    return loss + kl * divergence, divergence.detach()
