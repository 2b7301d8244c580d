"""The preset's `ppo`: what algorithms with a critic have besides. The same for both backends."""

from __future__ import annotations

from pydantic import Field

from gainrl.config.base import Rate, Section, Share


class PPO(Section):
    """PPO with a critic of the policy's size (`methods.*.algorithm: ppo`); defaults are verl's."""

    critic_lr: Rate = 1e-5
    """Of the critic; its other optimiser settings are the policy's."""
    gae_lambda: Share = 1.0
    """lambda of GAE (arXiv 1506.02438, Eq. 16)."""
    discount: Share = 1.0
    """gamma of GAE."""
    clip_value: float = Field(default=0.5, gt=0)
    """How far a value may move from the one before the step until its loss has no gradient."""
