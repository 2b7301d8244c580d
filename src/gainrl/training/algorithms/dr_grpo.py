"""Dr. GRPO: GRPO without its two biases (arXiv 2503.20783)."""

from __future__ import annotations

from typing import Any

from gainrl.config.ppo import PPO
from gainrl.config.training import Training
from gainrl.training.algorithms.base import Algorithm, register


@register("dr_grpo")
class DrGRPO(Algorithm):
    """A = r - mean, without the standard deviation, by which easy and hard prompts weigh more.

    A response's loss is its tokens' sum divided by `training.max_response`, not by its own length,
    by which long wrong answers are punished less.
    """

    aggregation = "seq-mean-token-sum-norm"

    def scale(self, deviation: Any, size: Any) -> Any:
        """Nothing."""
        return 1.0

    def verl_keys(self, training: Training, ppo: PPO) -> dict[str, Any]:
        """GRPO's estimator without the division."""
        keys = super().verl_keys(training, ppo)
        return {**keys, "algorithm.norm_adv_by_std_in_grpo": False}
