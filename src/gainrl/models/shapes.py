"""How large a model is, before it is fetched or built: its architecture and what follows from it.

Known models need no network. Imports no torch; transformers only for a model that is not known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gainrl.config.models import HubModel, LocalModel, Model, Nano
from gainrl.errors import ModelError
from gainrl.models import nano


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
_SMOLLM2 = replace(
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
        "HuggingFaceTB/SmolLM2-135M-Instruct": _SMOLLM2,
    }
)
"""By id of the hub; from the models' config.json."""

BIASED = ("qwen2",)
NORMED = ("qwen3",)
PLAIN = ("gemma", "granite", "llama", "mistral", "phi3", "smollm3")
"""Model types of transformers for which `Architecture.parameters` is exact."""


def architecture(spec: Model, name: str) -> Architecture:
    """The architecture of a preset's model, before it is fetched or built.

    Args:
        name: key below `models`, for messages.

    Raises:
        ModelError: its config.json cannot be had, or is not of a kind that can be counted.
    """
    if isinstance(spec, Nano):
        return _nano(spec)
    if isinstance(spec, HubModel):
        return KNOWN.get(spec.id) or _configured(spec.id, spec.revision, name)
    if isinstance(spec, LocalModel):
        if not (Path(spec.path) / "config.json").is_file():
            raise ModelError(f"models.{name}: {spec.path} has no config.json")
        return _configured(spec.path, None, name)
    return _SMOLLM2


def _nano(spec: Nano) -> Architecture:
    return Architecture(
        layers=spec.layers,
        hidden=spec.hidden,
        feed_forward=spec.feed_forward,
        heads=spec.heads,
        kv_heads=spec.heads,
        head=spec.hidden // spec.heads,
        vocabulary=len(nano.words(spec.vocabulary)),
        tied=True,
    )


def _configured(source: str, revision: str | None, name: str) -> Architecture:
    """From config.json, in which transformers fills in what a model leaves out."""
    from huggingface_hub.utils import logging
    from transformers import AutoConfig

    logging.set_verbosity_error()  # a line for each of its retries; the last failure is told below
    try:
        config = AutoConfig.from_pretrained(source, revision=revision or "main")
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ModelError(
            f"models.{name}: cannot read the config of '{source}': {reason}"
        ) from error
    return _counted(config, f"models.{name}: '{source}'")


def _counted(config: Any, where: str) -> Architecture:
    kind = config.model_type
    if kind not in (*BIASED, *NORMED, *PLAIN):
        known = ", ".join(sorted((*BIASED, *NORMED, *PLAIN)))
        raise ModelError(f"{where} is a '{kind}', whose size is not known here; known: {known}")
    heads = config.num_attention_heads
    return Architecture(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        feed_forward=config.intermediate_size,
        heads=heads,
        kv_heads=config.num_key_value_heads,
        head=getattr(config, "head_dim", None) or config.hidden_size // heads,
        vocabulary=config.vocab_size,
        tied=config.tie_word_embeddings,
        bias=kind in BIASED,
        head_norm=kind in NORMED,
    )
