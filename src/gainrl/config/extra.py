"""The key `training.extra`: RL-Extra, training that jumps ahead. The same for both backends."""

from __future__ import annotations

from typing import Literal

from gainrl.config.base import Positive, Section


class Extra(Section):
    """RL-Extra (arXiv 2601.04537, Eq. 3): after every `rl` steps the policy jumps `jump` ahead."""

    rl: Positive
    """m, the RL steps between two jumps."""
    jump: Positive
    """n, how many further steps the jump stands for."""
    moments: Literal["reset", "kept"] = "reset"
    """What becomes of Adam's moments at a jump: reset as in a new run (as released), or kept."""
