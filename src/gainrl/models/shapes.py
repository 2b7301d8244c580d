"""How large a model is, before it is fetched or built: its architecture and what follows from it.

Known models need no network. Imports no torch; transformers only for a model that is not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gainrl.config.models import HubModel, LocalModel, Model, Nano
from gainrl.errors import ModelError
from gainrl.models.known import KNOWN, SMOLLM2, Architecture, nano_shape

__all__ = ["KNOWN", "Architecture", "architecture", "of_folder"]


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
        return nano_shape(spec)
    if isinstance(spec, HubModel):
        return KNOWN.get(spec.id) or _configured(spec.id, spec.revision, name)
    if isinstance(spec, LocalModel):
        if not (Path(spec.path) / "config.json").is_file():
            lacks = "has no config.json" if Path(spec.path).exists() else "no such folder"
            raise ModelError(f"models.{name}: {spec.path}: {lacks}")
        return _configured(spec.path, None, name)
    return SMOLLM2


def of_folder(folder: Path, name: str) -> Architecture:
    """The architecture of a model's folder (ModelError as `architecture`)."""
    return _configured(str(folder), None, name)


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
