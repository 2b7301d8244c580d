"""The preset's `ppo`: what algorithms with a critic have besides. The same for both backends."""

from __future__ import annotations

from pydantic import Field

from gainrl.config.base import Rate, Section, Share


class PPO(Section):
    """PPO with a critic of the policy's size (`methods.*.algorithm: ppo`); defaults are verl's.

    critic_lr: of the critic; its other optimiser settings are the policy's. gae_lambda, discount:
    lambda and gamma of GAE (arXiv 1506.02438, Eq. 16). clip_value: how far a value may move from
    the one before the step until its loss has no gradient.
    """

    critic_lr: Rate = 1e-5
    gae_lambda: Share = 1.0
    discount: Share = 1.0
    clip_value: float = Field(default=0.5, gt=0)
