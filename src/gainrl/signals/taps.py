"""Where hidden states are read: after the final norm, before it, or at the last block's MLP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from gainrl.errors import ModelError

TAPS = ("post_norm", "pre_norm", "up_proj_input")
"""post_norm: what the LM head sees (Eq. 5); up_proj_input: what the released script reads."""


@contextmanager
def tapped(model: Any, taps: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Collect hidden states (B, L, d) of each forward pass of the decoder within the block.

    Args:
        taps: names among TAPS.

    Yields:
        A mapping that holds the latest pass's states, by tap.

    Raises:
        ModelError: the architecture has no such place.
    """
    decoder, states = model.get_decoder(), {}
    handles = []

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: Any, inputs: tuple[torch.Tensor, ...], *_: Any) -> None:
            states[name] = inputs[0].detach()

        return hook

    def keep_output(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        states["post_norm"] = output.detach()

    try:
        for tap in taps:
            if tap == "post_norm":
                handles.append(_part(model, decoder, "norm").register_forward_hook(keep_output))
            elif tap == "pre_norm":
                norm = _part(model, decoder, "norm")
                handles.append(norm.register_forward_pre_hook(keep(tap)))
            else:
                last = _part(model, decoder, "layers")[-1]
                place = _part(model, _part(model, last, "mlp"), "up_proj")
                handles.append(place.register_forward_pre_hook(keep(tap)))
        yield states
    finally:
        for handle in handles:
            handle.remove()


def _part(model: Any, module: Any, name: str) -> Any:
    found = getattr(module, name, None)
    if found is None:
        raise ModelError(
            f"model type '{model.config.model_type}' has no '{name}' in its "
            f"{type(module).__name__}, so this tap cannot be read"
        )
    return found
