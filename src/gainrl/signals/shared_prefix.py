"""Forward passes over many prompts that share a prefix: the prefix once, then only what differs.

Questions are laid end to end in one row without padding, so every linear layer sees nothing but
question tokens. Attention alone is padded: each question looks at the cached prefix and at itself.
Models whose attention is more than that (sliding windows, soft caps) take the padded path, with the
prefix in a KV cache that keeps all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache

from gainrl.signals.taps import tapped

ATTENTION = "gainrl_shared_prefix"


@dataclass(frozen=True)
class Segments:
    """Where B questions lie in a packed row of T tokens, and the prefix that all of them see.

    index: (B, W) positions in the row, W the longest question; places after a question's end repeat
    its last token, which nobody looks at: they come after every query that is kept.
    back: (T,) the row's tokens as positions in (B, W).
    layers: each layer's prefix keys and values, (1, H, n, head) each.
    mask: (n + W) wide, true where one of W queries may look.
    """

    index: torch.Tensor
    back: torch.Tensor
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]]
    mask: torch.Tensor

    @staticmethod
    def of(
        lengths: Sequence[int],
        layers: Sequence[tuple[torch.Tensor, torch.Tensor]],
        device: torch.device,
    ) -> Segments:
        """Lay questions of the given lengths end to end."""
        sizes = torch.tensor(lengths, device=device)
        width, n_prefix = max(lengths), layers[0][0].shape[2]
        inside = torch.arange(width, device=device)[None, :].expand(len(lengths), width)
        starts = sizes.cumsum(0) - sizes
        index = starts[:, None] + torch.minimum(inside, sizes[:, None] - 1)
        back = (inside < sizes[:, None]).flatten().nonzero().squeeze(1)
        full = torch.ones(width, n_prefix + width, dtype=torch.bool, device=device)
        return Segments(index, back, layers, full.tril(n_prefix))

    def spread(self, packed: torch.Tensor) -> torch.Tensor:
        """(T, ...) to (B, W, ...)."""
        return packed[self.index]

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float | None,
    ) -> torch.Tensor:
        """Attention of packed (1, heads, T, head) queries; returns (1, T, heads, head)."""
        prefix_key, prefix_value = self.layers[layer]
        count, width = self.index.shape
        heads, kv_heads, size = query.shape[1], key.shape[1], query.shape[3]
        # (B, kv, group * W, head): a group's queries share keys, so no key is repeated for them
        queries = query[0].transpose(0, 1)[self.index]
        queries = queries.view(count, width, kv_heads, heads // kv_heads, size)
        queries = queries.permute(0, 2, 3, 1, 4).reshape(count, kv_heads, -1, size)

        def extended(own: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
            spread = own[0].transpose(0, 1)[self.index].transpose(1, 2)
            return torch.cat([shared.expand(count, -1, -1, -1), spread], 2)

        keys, values = extended(key, prefix_key), extended(value, prefix_value)
        mask = self.mask.repeat(heads // kv_heads, 1)
        scale = size**-0.5 if scaling is None else scaling
        found = _attention_of(queries, keys, values, mask, scale)
        found = found.view(count, kv_heads, heads // kv_heads, width, -1).permute(0, 3, 1, 2, 4)
        return found.reshape(count * width, heads, -1)[self.back][None]


def _attention_of(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention of (B, kv, Q, head) queries under a mask that all of them share."""
    if query.device.type != "cpu":
        return scaled_dot_product_attention(query, key, value, mask, scale=scale)
    # on a CPU two batched products are up to 1.7 times as fast as the fused kernel at these sizes
    bias = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, float("-inf"))
    count, kv_heads = query.shape[:2]
    query, key, value = query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1)
    scores = torch.baddbmm(bias.expand(len(query), -1, -1), query, key.mT, alpha=scale)
    return torch.bmm(scores.softmax(-1), value).unflatten(0, (count, kv_heads))


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers calls; `segments` came in with the forward call."""
    segments: Segments = options["segments"]
    return segments.attend(module.layer_idx, query, key, value, scaling), None


AttentionInterface.register(ATTENTION, _attention)


class PrefixForward:
    """Runs the shared prefix once and then batches of questions, reading hidden states at taps.

    Args:
        model: a causal language model; only its decoder is run, without the LM head.
        prefix: token ids of the shared prefix, n > 0.
        taps: names of gainrl.signals.taps.TAPS.
    """

    def __init__(self, model: Any, prefix: Sequence[int], taps: Sequence[str]) -> None:
        self.model, self.taps = model, taps
        self.device = next(model.parameters()).device
        self.cache = DynamicCache()  # given the config, windowed layers would keep the last keys
        with torch.inference_mode(), tapped(model, taps) as states:
            model.get_decoder()(
                input_ids=torch.tensor([list(prefix)], device=self.device),
                past_key_values=self.cache,
                use_cache=True,
            )
        self.prefix = {tap: states[tap][0] for tap in taps}
        self.packs = packable(model)

    def questions(self, rows: Sequence[Sequence[int]], n_prefix: int) -> dict[str, torch.Tensor]:
        """Hidden states of questions that follow the first n_prefix tokens of the prefix.

        Args:
            rows: B token lists, each of at least one token.

        Returns:
            (B, W, d) states by tap; what lies beyond a question's end is meaningless.
        """
        stored: list[Any] = self.cache.layers
        layers = [(one.keys[:, :, :n_prefix], one.values[:, :, :n_prefix]) for one in stored]
        run = self._packed if self.packs else self._padded
        with torch.inference_mode():
            return run(rows, n_prefix, layers)

    def _packed(
        self, rows: Sequence[Sequence[int]], n_prefix: int, layers: Any
    ) -> dict[str, torch.Tensor]:
        segments = Segments.of([len(row) for row in rows], layers, self.device)
        flat = torch.tensor([token for row in rows for token in row], device=self.device)
        places = torch.cat([torch.arange(len(row)) for row in rows]).to(self.device) + n_prefix
        config = self.model.config
        before = config._attn_implementation
        config._attn_implementation = ATTENTION
        try:
            with tapped(self.model, self.taps) as states:
                self.model.get_decoder()(
                    input_ids=flat[None], position_ids=places[None], use_cache=False,
                    segments=segments,
                )  # fmt: skip
        finally:
            config._attn_implementation = before
        return {tap: segments.spread(states[tap][0]) for tap in self.taps}

    def _padded(
        self, rows: Sequence[Sequence[int]], n_prefix: int, layers: Any
    ) -> dict[str, torch.Tensor]:
        width = max(map(len, rows))
        inputs = torch.zeros((len(rows), width), dtype=torch.long)
        for i, row in enumerate(rows):
            inputs[i, : len(row)] = torch.tensor(row)
        shared = DynamicCache()
        for number, (keys, values) in enumerate(layers):
            sizes = (len(rows), -1, -1, -1)
            shared.update(keys.expand(sizes), values.expand(sizes), number)
        with tapped(self.model, self.taps) as states:
            self.model.get_decoder()(
                input_ids=inputs.to(self.device),
                position_ids=n_prefix + torch.arange(width, device=self.device)[None, :],
                past_key_values=shared,
                use_cache=True,
            )  # right padding comes after the question, so causality hides it
        return {tap: states[tap] for tap in self.taps}


def packable(model: Any) -> bool:
    """Whether every layer's attention is plain and causal, so that questions can be packed."""
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        kinds == {"full_attention"}
        and not getattr(config, "use_sliding_window", False)
        and (
            getattr(config, "sliding_window", None) is None or hasattr(config, "use_sliding_window")
        )
        and getattr(config, "attn_logit_softcapping", None) is None
    )
