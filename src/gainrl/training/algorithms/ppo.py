"""Advantages and losses: GRPO (spec section 4; arXiv 2402.03300), PPO (arXiv 1707.06347)."""

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


# --- PPO -----------------------------------------------------------------------------------------


def gae(
    values: torch.Tensor, rewards: torch.Tensor, *, discount: float, gae_lambda: float
) -> torch.Tensor:
    """Generalised advantage estimates (arXiv 1506.02438, Eq. 16), not yet whitened.

    A_t = delta_t + discount * gae_lambda * A_t+1 with delta_t = r_t + discount * V_t+1 - V_t; a
    response ends in a state of value 0.

    Args:
        values, rewards: (K, N), 0 after a response's last token.

    Returns:
        (K, N), 0 after a response's last token. With the values added it is the return.
    """
    advantages = torch.zeros_like(values)
    later, value = values.new_zeros(len(values)), values.new_zeros(len(values))
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + discount * value - values[:, t]
        later = delta + discount * gae_lambda * later
        advantages[:, t], value = later, values[:, t]
    return advantages


def whiten(advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean 0 and variance 1 over the tokens of `mask`, (K, N) bool; 0 elsewhere.

    The variance is the unbiased one with 1e-8 added, as in verl.
    """
    chosen = advantages[mask]
    scale = torch.rsqrt(chosen.var() + 1e-8)
    return ((advantages - chosen.mean()) * scale).masked_fill(~mask, 0.0)


def value_loss(
    values: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, clip: float
) -> torch.Tensor:
    """Half the squared error of (T,) values, summed over tokens.

    The larger one of two: that of the value, and that of the value kept within `clip` of `old`.
    """
    clipped = torch.clamp(values, old - clip, old + clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (clipped - returns) ** 2).sum()


def explained_variance(values: torch.Tensor, returns: torch.Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over (T,) tokens, with 1e-5 added below, as verl's.

    1 for a perfect critic, 0 for one that says the same everywhere, less for a worse one.
    """
    return float(1 - (returns - values).var() / (returns.var() + 1e-5))
