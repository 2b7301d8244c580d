"""The preset's `scoring`: how prompts are scored, and how hard they are found. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gainrl.config.base import Absent, Positive, Section

Tap = Literal["post_norm", "pre_norm", "up_proj_input"]


class Scoring(Section):
    """Prefill scoring (Eq. 5) and the rollouts that measure difficulty."""

    variant: Literal["paper", "offdiagonal", "released"] = "paper"
    """What the order `angle` sorts by: C of Eq. 5 and 7; C without its diagonal (i = j); or the
    released script's value, which has its own tap and weight."""
    tap: Tap = "post_norm"
    """Where states are read: after or before the final norm, or at the input of the last block's
    up-projection."""
    inter_weight: float = Field(default=1.0, ge=0)
    """c in C = C_intra + c * C_inter; 1 is the paper's."""
    also: tuple[Literal["released", "post_norm", "pre_norm", "up_proj_input"], ...] = ()
    """Further columns of the score table."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """'auto' is the fastest whose order agrees with fp32's."""
    batch_tokens: Positive | Literal["auto"] = "auto"
    """Tokens of a forward pass; 'auto' goes by the device's memory."""
    shards: Positive = 1
    """Jobs (or GPUs) that share the prompts."""
    difficulty_samples: Positive = 8
    """Rollouts of the start model to each prompt, for `difficulty: measured`."""
    difficulty_shards: Annotated[Positive, Absent()] = 1
    """Jobs (or GPUs) that share the prompts of these rollouts."""

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Every tap that is read, the one of C first."""
        return tuple(dict.fromkeys([self.tap, *(name for name in self.also if name != "released")]))

    @property
    def with_released(self) -> bool:
        """Whether the released script's value is measured."""
        return self.variant == "released" or "released" in self.also
