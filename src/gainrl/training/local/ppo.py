"""PPO: the GRPO loop with a critic's advantage for each token."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch

from gainrl.training.local.critic import Critic
from gainrl.training.local.loop import LocalTrainer
from gainrl.training.local.rollouts import Rollouts, by_group
from gainrl.training.packing import Packed


class TokenRollouts(Rollouts):
    """Rollouts whose advantages are (R, N), one a token, 0 after a response's last token."""

    @property
    def spread(self) -> torch.Tensor:
        """(P,) mean over a prompt's responses of the mean absolute advantage of their tokens."""
        means = self.advantages.abs().sum(1) / torch.from_numpy(self.lengths)
        return by_group(means, self.sizes, lambda group: group.mean(1))

    def advantages_of(self, packed: Packed) -> torch.Tensor:
        """(T,) advantages of a micro-batch's target tokens."""
        return self.advantages[packed.branch, packed.places]


class PPOTrainer(LocalTrainer):
    """PPO on one device, driven by a curriculum; arguments and steps are LocalTrainer's.

    Every response has a gradient, those of groups of equal rewards too. A KL term is part of the
    loss, as GRPO's, and not of the reward. The record has `value_loss` and `explained_variance`
    besides.
    """

    def __init__(self, *arguments: Any, critic: Critic, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.critic = critic

    def _credit(self, rollouts: Rollouts) -> tuple[Rollouts, dict[str, float]]:
        parts, lengths = self._mini_batches(rollouts), torch.from_numpy(rollouts.lengths)
        advantages, learned = self.critic.learn(parts, rollouts.rewards, lengths)
        known = {field.name: getattr(rollouts, field.name) for field in fields(rollouts)}
        return TokenRollouts(**{**known, "advantages": advantages.cpu()}), learned

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {**super().state_dict(), "critic": self.critic.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        super().load_state_dict(state)
        self.critic.load_state_dict(state["critic"])
