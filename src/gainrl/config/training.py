"""The preset's `training`: the RL loop, and the options that the local trainer has besides."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from gainrl.config.base import Absent, Positive, Rate, Section, Share, Template
from gainrl.config.extra import Extra

Part = Annotated[float, Field(gt=0, le=1)]


class Downsample(Section):
    """Train on a part of a step's rollouts and of their tokens (D3S, arXiv 2509.22115).

    Each key is the share at the first RL step and at the last; between, it is linear in the step.
    rollouts: of the step's rollouts, those of greatest absolute advantage. tokens: of the tokens of
    these rollouts, those of greatest |advantage| * entropy. A share that stays is written twice.
    """

    rollouts: tuple[Part, Part]
    tokens: tuple[Part, Part]

    def at(self, progress: float) -> tuple[float, float]:
        """The two shares at a progress from 0 (first step) to 1 (last step)."""
        (first, last), (begin, end) = self.rollouts, self.tokens
        rest = 1 - progress
        return rest * first + progress * last, rest * begin + progress * end


class Training(Section):
    """The RL loop; names are the field's, defaults the paper's (spec section 4) unless noted.

    backend: a registered one (gainrl.plan.backends), `module:Class`, or an entry point of another
    package (docs/backends.md).

    Options that not every backend has. extra: RL-Extra. downsample: train on a part of the rollouts
    and tokens, no critic. templates: every step draws one for each prompt, in place of the data
    set's `prompt` (prompt augmentation, arXiv 2602.03190); tests and scores have the data set's.
    format_weight: added to the reward of a response that marks exactly one answer
    (gainrl.grading.maths.marks_once).
    """

    backend: str = "local"
    steps: Positive = 200
    prompts: Positive = 1024
    rollouts: Annotated[int, Field(ge=2)] = 8
    mini_batch: Positive | None = None
    lr: Rate = 1e-6
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[Share, Share] = (0.9, 0.999)
    max_grad_norm: float = Field(default=1.0, gt=0)
    clip: float = Field(default=0.2, gt=0)
    kl: float = Field(default=0.0, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_prompt: Positive = 1024
    max_response: Positive = 3000
    micro_batch_tokens: Positive = 16384
    row_tokens: Positive = 512
    save_every: Positive = 20
    keep_model: bool = True
    extra: Annotated[Extra | None, Absent()] = None
    downsample: Annotated[Downsample | None, Absent()] = None
    templates: Annotated[tuple[Template, ...], Absent()] = ()
    format_weight: Annotated[Share, Absent()] = 0.0

    @model_validator(mode="after")
    def _divides(self) -> Training:
        if self.mini_batch is not None and self.prompts % self.mini_batch:
            raise ValueError(f"mini_batch {self.mini_batch} does not divide prompts {self.prompts}")
        return self
