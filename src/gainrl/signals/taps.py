"""Where hidden states are read: after the final norm, before it, or at the last block's MLP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from gainrl.errors import ModelError

TAPS = ("post_norm", "pre_norm", "up_proj_input")
"""post_norm: what the LM head sees (Eq. 5); up_proj_input: what the released script reads."""

FINAL_NORMS = (
    "norm",
    "final_layernorm",
    "final_layer_norm",
    "final_norm",
    "embedding_norm",
    "ln_f",
    "norm_f",
    "ln_out",
    "out_norm",
    "layer_norm",
    "layernorm",
)
"""What the norm after the last block is called, by architecture."""


def decoder_of(model: Any) -> Any:
    """The part of a causal language model that gives the LM head its hidden states.

    Raises:
        ModelError: the architecture has no such part.
    """
    found = model.get_decoder()
    if found is not model and hasattr(found, "config"):
        return found
    for child in model.children():  # of the model types whose `get_decoder` misses it
        if hasattr(child, "config"):
            return child
    raise ModelError(f"model type '{model.config.model_type}' has no decoder below its LM head")


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
    decoder, states = decoder_of(model), {}
    handles = []

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: Any, inputs: tuple[torch.Tensor, ...], *_: Any) -> None:
            states[name] = inputs[0].detach()

        return hook

    def keep_output(_module: Any, _inputs: Any, output: Any) -> None:
        states["post_norm"] = output[0].detach()  # last_hidden_state

    try:
        for tap in taps:
            if tap == "post_norm":
                handles.append(decoder.register_forward_hook(keep_output))
            elif tap == "pre_norm":
                norm = _part(model, decoder, *FINAL_NORMS)
                handles.append(norm.register_forward_pre_hook(keep(tap)))
            else:
                place = _part(model, last_mlp(model), "up_proj")
                handles.append(place.register_forward_pre_hook(keep(tap)))
        yield states
    finally:
        for handle in handles:
            handle.remove()


def last_mlp(model: Any) -> Any:
    """The last block's MLP.

    Raises:
        ModelError: the architecture has no such place.
    """
    last = _part(model, decoder_of(model), "layers", "h", "blocks")[-1]
    return _part(model, last, "mlp", "feed_forward")


def _part(model: Any, module: Any, *names: str) -> Any:
    """The first of several parts that a module has."""
    for name in names:
        found = getattr(module, name, None)
        if found is not None:
            return found
    raise ModelError(
        f"model type '{model.config.model_type}' has no '{names[0]}' in its "
        f"{type(module).__name__}, so this tap cannot be read"
    )
