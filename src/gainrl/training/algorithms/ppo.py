"""PPO: a critic's advantage for every token (arXiv 1707.06347), and the critic's formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gainrl.config.ppo import PPO
from gainrl.config.training import Training
from gainrl.training.algorithms.base import Algorithm, register

if TYPE_CHECKING:
    from torch import Tensor


@register("ppo")
class ActorCritic(Algorithm):
    """GAE by a critic, whitened over the batch's tokens; the keys are the preset's `ppo`.

    Every response has a gradient, those of groups of equal rewards too. A KL term is part of the
    loss, as GRPO's, and not of the reward.
    """

    critic = True
    estimator = "gae"

    def verl_keys(self, training: Training, ppo: PPO) -> dict[str, Any]:
        """verl's critic, which is there for this estimator only."""
        return {
            **super().verl_keys(training, ppo),
            "algorithm.gamma": ppo.discount,
            "algorithm.lam": ppo.gae_lambda,
            "critic.cliprange_value": ppo.clip_value,
            "critic.optim.lr": ppo.critic_lr,
        }


def gae(values: Tensor, rewards: Tensor, *, discount: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimates (arXiv 1506.02438, Eq. 16), not yet whitened.

    A_t = delta_t + discount * gae_lambda * A_t+1 with delta_t = r_t + discount * V_t+1 - V_t; a
    response ends in a state of value 0.

    Args:
        values, rewards: (K, N), 0 after a response's last token.

    Returns:
        (K, N), 0 after a response's last token. With the values added it is the return.
    """
    advantages = values.new_zeros(values.shape)
    later, value = values.new_zeros(len(values)), values.new_zeros(len(values))
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + discount * value - values[:, t]
        later = delta + discount * gae_lambda * later
        advantages[:, t], value = later, values[:, t]
    return advantages


def whiten(advantages: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the tokens of `mask`, (K, N) bool; 0 elsewhere.

    The variance is the unbiased one with 1e-8 added, as in verl.
    """
    chosen = advantages[mask]
    scale = (chosen.var() + 1e-8).rsqrt()
    return ((advantages - chosen.mean()) * scale).masked_fill(~mask, 0.0)


def value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error of (T,) values, summed over tokens.

    The larger one of two: that of the value, and that of the value kept within `clip` of `old`.
    """
    clipped = values.clamp(old - clip, old + clip)
    return 0.5 * ((values - returns) ** 2).maximum((clipped - returns) ** 2).sum()


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over (T,) tokens, with 1e-5 added below, as verl's.

    1 for a perfect critic, 0 for one that says the same everywhere, less for a worse one.
    """
    return float(1 - (returns - values).var() / (returns.var() + 1e-5))
