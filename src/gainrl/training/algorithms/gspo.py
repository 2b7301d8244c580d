"""GSPO: the importance ratio of a whole response, not of its tokens (arXiv 2507.18071)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gainrl.config.ppo import PPO
from gainrl.config.training import Training
from gainrl.training.algorithms.base import register
from gainrl.training.algorithms.grpo import GRPO

if TYPE_CHECKING:
    from torch import Tensor


@register("gspo")
class GSPO(GRPO):
    """s = (pi(y|x) / pi_old(y|x))^(1/|y|) is clipped; advantages are GRPO's.

    The loss is the mean over responses. s moves far less than a token's ratio: the paper clips it
    at 3e-4 below 1 and 4e-4 above (`training.clip`, also for a single method).
    """

    aggregation = "seq-mean-token-mean"
    dual_clip = False  # neither the paper's loss nor verl's

    def log_ratio(self, log_probability: Tensor, old: Tensor, response: Tensor) -> Tensor:
        """The value is log s for all tokens of a response; the gradient is the token's own.

        That is the paper's Eq. 13 (GSPO-token), whose value and gradient equal Eq. 5's where all
        tokens of a response have one advantage, and what verl computes.
        """
        length = response.bincount()
        gap = (log_probability - old).detach()
        summed = gap.new_zeros(len(length)).index_add_(0, response, gap)
        return log_probability - log_probability.detach() + (summed / length)[response]

    def verl_keys(self, training: Training, ppo: PPO) -> dict[str, Any]:
        """GRPO's estimator, another loss."""
        keys = super().verl_keys(training, ppo)
        return {**keys, "actor_rollout_ref.actor.policy_loss.loss_mode": "gspo"}
