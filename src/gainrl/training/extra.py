"""RL-Extra: after every m RL steps the policy jumps n steps ahead along their line.

    theta <- theta_s + (m + n) / m (theta_{s+m} - theta_s)    (arXiv 2601.04537, Eq. 3)

It works on what an optimiser holds, elementwise: whole parameters on one device, or each rank's own
shards under FSDP, so that nothing is gathered.
"""

from __future__ import annotations

from typing import Any

import torch

from gainrl.config.extra import Extra
from gainrl.models.extrapolation import extrapolate, factor


class Jumps:
    """The jumps of one policy.

    theta_s, in fp32 on the CPU, is the policy as it is when this is built, and after every jump as
    the jump left it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, extra: Extra) -> None:
        self.optimizer, self.extra = optimizer, extra
        self.start = self._copies()

    def after(self, step: int) -> bool:
        """Jump if `step` RL steps (from 1) complete a cycle of m; returns whether it was done.

        Moments that are reset are dropped: PyTorch's optimisers make them anew at their next step,
        count of steps included, as in an optimiser that has just been built.
        """
        if step % self.extra.rl:
            return False
        a = factor(0, self.extra.rl, self.extra.rl + self.extra.jump)
        with torch.no_grad():
            for weight, start in zip(self._weights(), self.start, strict=True):
                weight.copy_(extrapolate(start.to(weight.device), weight, a))
        if self.extra.moments == "reset":
            self.optimizer.state.clear()
        self.start = self._copies()
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint between two jumps has to keep."""
        return {"start": self.start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.start = state["start"]

    def _weights(self) -> list[torch.Tensor]:
        """The trainable parameters; of sharded ones (DTensor) what lies on this rank."""
        held = (weight for group in self.optimizer.param_groups for weight in group["params"])
        return [
            (weight.to_local() if hasattr(weight, "to_local") else weight).detach()
            for weight in held
            if weight.requires_grad
        ]

    def _copies(self) -> list[torch.Tensor]:
        return [weight.to("cpu", torch.float32, copy=True) for weight in self._weights()]
