"""How the learning rate falls over a run: the same on both backends."""

from __future__ import annotations

from typing import Any

from gainrl.config.training import RateSchedule, Training


def share_of_rate(schedule: RateSchedule, step: int, steps: int) -> float:
    """The share of `training.lr` that all optimiser steps of an RL step have, in (0, 1].

    With z = step / steps, linear is 1 - z, and REX (arXiv 2107.04197, section 4) is
    (1 - z) / (1/2 + (1 - z) / 2), which stays high for longer. The last step has z below 1, so none
    is without effect.

    Args:
        step: RL steps before it, from 0 on.
        steps: of the run; from there on it is as at the last.
    """
    left = 1 - min(step, steps - 1) / steps
    return {"constant": 1.0, "linear": left, "rex": left / (0.5 + left / 2)}[schedule]


def set_rate(optimizer: Any, settings: Training, step: int, share: float) -> None:
    """Set the rate of an RL step: `training.lr`, by its schedule and by what a curriculum says."""
    share *= share_of_rate(settings.lr_schedule, step, settings.steps)
    for group in optimizer.param_groups:
        group["lr"] = settings.lr * share
