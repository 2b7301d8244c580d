"""Forward passes over many prompts that share a prefix: the prefix once, then only what differs.

Questions are laid end to end in one row without padding, so every linear layer sees nothing but
question tokens. Attention alone is padded: each question looks at the cached prefix and at itself.
Models whose attention is more than that (sliding windows, soft caps) take the padded path, with the
prefix in a KV cache that keeps all of it. Where neither gives the states of a plain forward pass
(linear attention, state spaces, attention classes of a model's own), each prompt is run whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, DynamicCache

from gainrl.errors import ModelError
from gainrl.signals.plain import LEAK, objection, plain_states, say
from gainrl.signals.taps import decoder_of, tapped

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

    `path` says how: "packed", "padded" or "plain", the first that the model allows and that gives
    what whole prompts give (gainrl.signals.plain).

    Args:
        model: a causal language model; only its decoder is run, without the LM head.
        prefix: token ids of the shared prefix, n > 0.
        taps: names of gainrl.signals.taps.TAPS.
        probe: a few questions that follow the whole prefix, to try it out on.

    Raises:
        ModelError: transformers cannot run the model, or it has no such tap.
    """

    def __init__(
        self,
        model: Any,
        prefix: Sequence[int],
        taps: Sequence[str],
        probe: Sequence[Sequence[int]],
    ) -> None:
        self.model, self.taps, self.tokens = model, taps, list(prefix)
        self.device = next(model.parameters()).device
        self.cache = DynamicCache()
        self.prefix: dict[str, torch.Tensor] = {}
        self.limit = rope_limit(model)
        with torch.inference_mode():
            self.path = self._choose(probe)

    def _choose(self, probe: Sequence[Sequence[int]]) -> str:
        """Try the paths out, the fastest first; `prefix` has its states afterwards."""
        size, why = len(self.tokens), None
        whole = plain_states(self.model, [[*self.tokens, *row] for row in probe], self.taps)
        for path in ("packed", "padded") if packable(self.model) else ("padded",):
            expected = [one[size:] for states in whole.values() for one in states]
            why = objection(self.model, partial(self._tried, path, probe), expected)
            if why is None:
                return path
        self.cache = DynamicCache()
        states = plain_states(self.model, [self.tokens], self.taps)
        self.prefix = {tap: found[0] for tap, found in states.items()}
        seen = [one[:size] for found in whole.values() for one in found[:1]]
        leaks = objection(self.model, lambda: list(self.prefix.values()), seen, LEAK)
        if leaks is not None:
            raise ModelError(
                f"model type '{self.model.config.model_type}': the states of a prefix depend on "
                f"what follows it ({leaks}), so they are not those of a causal language model"
            )
        say(self.model, f"each prompt is run whole, without a shared prefix ({why}): slower")
        return "plain"

    def _tried(self, path: str, probe: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        if not self.prefix:
            self._run_prefix()
        found = self._questions(path, probe, len(self.tokens))
        return [found[tap][i, : len(row)] for tap in found for i, row in enumerate(probe)]

    def _run_prefix(self) -> None:
        self.cache = DynamicCache()  # given the config, windowed layers would keep the last keys
        with tapped(self.model, self.taps) as states:
            decoder_of(self.model)(
                input_ids=torch.tensor([self.tokens], device=self.device),
                past_key_values=self.cache,
                use_cache=True,
            )
        self.prefix = {tap: states[tap][0] for tap in self.taps}

    def questions(self, rows: Sequence[Sequence[int]], n_prefix: int) -> dict[str, torch.Tensor]:
        """Hidden states of questions that follow the first n_prefix tokens of the prefix.

        Args:
            rows: B token lists, each of at least one token.

        Returns:
            (B, W, d) states by tap; what lies beyond a question's end is meaningless.

        Raises:
            ModelError: a prompt is so long that its prefix has states of its own.
        """
        longest = n_prefix + max(map(len, rows))
        if longest > self.limit:
            raise ModelError(
                f"model type '{self.model.config.model_type}': beyond {self.limit:.0f} tokens its "
                f"rotary embeddings depend on the length, and a prompt has {longest}: no prefix is "
                "shared with shorter ones"
            )
        with torch.inference_mode():
            return self._questions(self.path, rows, n_prefix)

    def _questions(
        self, path: str, rows: Sequence[Sequence[int]], n_prefix: int
    ) -> dict[str, torch.Tensor]:
        if path == "plain":
            return self._whole(rows, n_prefix)
        stored: list[Any] = self.cache.layers
        layers = [(one.keys[:, :, :n_prefix], one.values[:, :, :n_prefix]) for one in stored]
        run = self._packed if path == "packed" else self._padded
        return run(rows, n_prefix, layers)

    def _whole(self, rows: Sequence[Sequence[int]], n_prefix: int) -> dict[str, torch.Tensor]:
        whole = [[*self.tokens[:n_prefix], *row] for row in rows]
        states = plain_states(self.model, whole, self.taps)
        return {
            tap: pad_sequence([one[n_prefix:] for one in found], batch_first=True)
            for tap, found in states.items()
        }

    def _packed(
        self, rows: Sequence[Sequence[int]], n_prefix: int, layers: Any
    ) -> dict[str, torch.Tensor]:
        segments = Segments.of([len(row) for row in rows], layers, self.device)
        flat = torch.tensor([token for row in rows for token in row], device=self.device)
        places = torch.cat([torch.arange(len(row)) for row in rows]).to(self.device) + n_prefix
        config = self.model.config.get_text_config()
        before = config._attn_implementation
        config._attn_implementation = ATTENTION
        try:
            with tapped(self.model, self.taps) as states:
                decoder_of(self.model)(
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
            decoder_of(self.model)(
                input_ids=inputs.to(self.device),
                position_ids=n_prefix + torch.arange(width, device=self.device)[None, :],
                past_key_values=shared,
                use_cache=True,
            )  # right padding comes after the question, so causality hides it
        return {tap: states[tap] for tap in self.taps}


def probe_of(rows: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """The shortest, the middle and the longest of some rows, to try a pass out on."""
    ordered = sorted(rows, key=len)
    return [ordered[i] for i in sorted({0, len(rows) // 2, len(rows) - 1})]


def packable(model: Any) -> bool:
    """Whether every layer's attention is plain and causal, so that questions can be packed."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        kinds == {"full_attention"}
        and not getattr(config, "use_sliding_window", False)
        and (
            getattr(config, "sliding_window", None) is None or hasattr(config, "use_sliding_window")
        )
        and getattr(config, "attn_logit_softcapping", None) is None
    )


WINDOWS = (
    "sliding_window",
    "attention_chunk_size",
    "attention_window_size",
    "window_size",
    "local_attention",
    "keep_window_size",
)
"""Keys of configurations for how far attention looks back, in tokens."""


def reach(model: Any) -> float:
    """Tokens up to which a sequence's attention is plain and causal in every layer."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    found = [getattr(config, key, None) for key in WINDOWS]
    if kinds == {"full_attention"} or getattr(config, "use_sliding_window", None) is False:
        found = []
    windows = [size for size in found if isinstance(size, int) and size > 0]
    return min([*windows, rope_limit(model)])


def rope_limit(model: Any) -> float:
    """Tokens beyond which rotary embeddings depend on the longest sequence of a batch."""
    config = model.config.get_text_config()
    about = getattr(config, "rope_parameters", None) or {}
    several = [about, *(each for each in about.values() if isinstance(each, dict))]
    kinds = [each for each in several if each.get("rope_type") in ("dynamic", "longrope")]
    context = getattr(config, "max_position_embeddings", math.inf)
    ends = [each.get("original_max_position_embeddings") or context for each in kinds]
    return min(ends, default=math.inf)
