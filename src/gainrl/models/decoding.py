"""What makes decoding one token at a time fast on a CPU: keys and values that are not copied.

With transformers' own cache and attention every step copies the whole cache twice: once to append a
token, and, where several query heads share a key head, once more to repeat the keys for each. Both
ways give the same numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import (
    DynamicLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionLayer,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION = "gainrl_decoding"
ROOM = 64
"""Tokens for which a cache makes room at a time."""


class RoomyLayer(DynamicLayer):
    """Keys and values as views of buffers with room for further tokens."""

    buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (B, heads, n, d) keys and values; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        old = self.get_seq_length()
        new = old + key_states.shape[-2]
        if self.buffers is None or self.buffers[0].shape[-2] < new:
            grown = (self._grown(key_states, new), self._grown(value_states, new))
            if self.keys is not None and self.values is not None and old:
                grown[0][..., :old, :], grown[1][..., :old, :] = self.keys, self.values
            self.buffers = grown
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[..., old:new, :] = states
        self.keys, self.values = (buffer[..., :new, :] for buffer in self.buffers)
        return self.keys, self.values

    def _grown(self, states: torch.Tensor, length: int) -> torch.Tensor:
        batch, heads, _, width = states.shape
        return states.new_empty(batch, heads, length + ROOM, width)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        self._replace(lambda buffer: buffer.repeat_interleave(repeats, 0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows."""
        self._replace(lambda buffer: buffer.index_select(0, indices))

    def _replace(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Change the rows, room included: a second copy, to make room again, would cost more."""
        if self.buffers is None:
            return
        length = self.get_seq_length()
        self.buffers = (change(self.buffers[0]), change(self.buffers[1]))
        self.keys, self.values = (buffer[..., :length, :] for buffer in self.buffers)


class StateLayer(LinearAttentionLayer):
    """The state of linear attention or of a convolution, whose rows can be repeated and kept."""

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        _change_state(self, lambda state: state.repeat_interleave(repeats, 0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows."""
        _change_state(self, lambda state: state.index_select(0, indices))


class StateAndKeysLayer(LinearAttentionAndFullAttentionLayer):
    """Such a state beside keys and values."""

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        super().batch_repeat_interleave(repeats)
        _change_state(self, lambda state: state.repeat_interleave(repeats, 0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows."""
        super().batch_select_indices(indices)
        _change_state(self, lambda state: state.index_select(0, indices))


def _change_state(layer: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for name in ("conv_states", "recurrent_states"):
        setattr(layer, name, _changed(getattr(layer, name), change))


def _changed(state: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A layer's state; later versions of transformers let it have several, by their number."""
    if isinstance(state, dict):
        return {key: _changed(each, change) for key, each in state.items()}
    return state if state is None else change(state)


OURS: dict[type, Any] = {
    DynamicLayer: RoomyLayer,
    LinearAttentionLayer: StateLayer,
    LinearAttentionAndFullAttentionLayer: StateAndKeysLayer,
}


def roomy_cache(config: Any) -> DynamicCache:
    """An empty cache; layers that attend to all tokens get room, windows stay transformers' own."""
    cache = DynamicCache(config=config)
    for layer in cache.layers:  # what they are made from differs between versions of transformers
        layer.__class__ = OURS.get(type(layer), type(layer))
    return cache


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' sdpa, but a single query's heads share their keys instead of repeating them."""
    if query.shape[2] > 1:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **rest
        )
    out = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def with_cache(
    model: Any, cache: DynamicCache, input_ids: torch.Tensor, mask: torch.Tensor, **options: Any
) -> Any:
    """A forward pass that extends a cache; state spaces know it by another name.

    Args:
        input_ids: (B, n) further tokens; mask: (B, m), 0 where one of all m tokens is padding.
    """
    if "cache_params" not in inspect.signature(model.forward).parameters:
        options |= {"past_key_values": cache, "attention_mask": mask}
    elif input_ids.shape == mask.shape:
        options |= {"cache_params": cache, "attention_mask": mask}
    else:
        options |= {"cache_params": cache}  # padding is behind them, in the state
    return model(input_ids=input_ids, use_cache=True, **options)


@contextmanager
def fast_decoding(model: Any) -> Iterator[None]:
    """Attend as above within the block, on a CPU and where transformers would use sdpa."""
    config = model.config.get_text_config()
    before = config._attn_implementation
    if before != "sdpa" or next(model.parameters()).device.type != "cpu":
        yield
        return
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = before
