"""Architectures of models that are known without reading a file. No torch, no transformers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

from gainrl.config.models import HubModel, Model, Nano
from gainrl.models.nano_words import words


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A dense decoder with gated MLPs and grouped-query attention.

    hidden, feed_forward, head: widths. vocabulary: rows of the embedding. tied: the output head is
    the embedding. bias: queries, keys and values have one. head_norm: queries and keys are
    normalised by head, with weights.
    """

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool
    bias: bool = False
    head_norm: bool = False

    @property
    def kv_width(self) -> int:
        """Numbers of a token's key (or value) in a layer's cache."""
        return self.kv_heads * self.head

    @property
    def parameters(self) -> int:
        """Weights and biases of the whole model; a tied head counts once."""
        width = self.heads * self.head
        projected = width + 2 * self.kv_width
        attention = self.hidden * projected + width * self.hidden
        attention += projected if self.bias else 0
        attention += 2 * self.head if self.head_norm else 0
        layer = attention + 3 * self.hidden * self.feed_forward + 2 * self.hidden
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return tables + self.layers * layer + self.hidden


_QWEN = partial(Architecture, vocabulary=151_936, tied=True, bias=True)
_QWEN_05B = _QWEN(layers=24, hidden=896, feed_forward=4864, heads=14, kv_heads=2, head=64)
_QWEN_15B = _QWEN(layers=28, hidden=1536, feed_forward=8960, heads=12, kv_heads=2, head=128)
_QWEN_3B = _QWEN(layers=36, hidden=2048, feed_forward=11_008, heads=16, kv_heads=2, head=128)
_QWEN_7B = replace(
    _QWEN(layers=28, hidden=3584, feed_forward=18_944, heads=28, kv_heads=4, head=128),
    vocabulary=152_064,
    tied=False,
)
_LLAMA = partial(Architecture, vocabulary=128_256, tied=True)
_LLAMA_1B = _LLAMA(layers=16, hidden=2048, feed_forward=8192, heads=32, kv_heads=8, head=64)
_LLAMA_3B = _LLAMA(layers=28, hidden=3072, feed_forward=8192, heads=24, kv_heads=8, head=128)
SMOLLM2 = replace(
    _LLAMA(layers=30, hidden=576, feed_forward=1536, heads=9, kv_heads=3, head=64),
    vocabulary=49_152,
)

KNOWN = MappingProxyType(
    {
        "Qwen/Qwen2.5-0.5B": _QWEN_05B,
        "Qwen/Qwen2.5-0.5B-Instruct": _QWEN_05B,
        "Qwen/Qwen2.5-Math-1.5B": _QWEN_15B,
        "Qwen/Qwen2.5-Math-1.5B-Instruct": _QWEN_15B,
        "Qwen/Qwen2.5-Coder-3B-Instruct": _QWEN_3B,
        "Qwen/Qwen2.5-Math-7B": _QWEN_7B,
        "Qwen/Qwen2.5-Math-7B-Instruct": _QWEN_7B,
        "meta-llama/Llama-3.2-1B-Instruct": _LLAMA_1B,
        "meta-llama/Llama-3.2-3B-Instruct": _LLAMA_3B,
        "HuggingFaceTB/SmolLM2-135M-Instruct": SMOLLM2,
    }
)
"""By id of the hub; from the models' config.json."""


def nano_shape(spec: Nano) -> Architecture:
    """That of a nano model."""
    return Architecture(
        layers=spec.layers,
        hidden=spec.hidden,
        feed_forward=spec.feed_forward,
        heads=spec.heads,
        kv_heads=spec.heads,
        head=spec.hidden // spec.heads,
        vocabulary=len(words(spec.vocabulary)),
        tied=True,
    )


def known(spec: Model) -> Architecture | None:
    """The architecture of a preset's model if it is one of these."""
    if isinstance(spec, Nano):
        return nano_shape(spec)
    return KNOWN.get(spec.id) if isinstance(spec, HubModel) else None
