"""Loading a Hugging Face folder for scoring, training or sampling."""

from __future__ import annotations

import logging
import pickle
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from gainrl.errors import ModelError
from gainrl.models.checkpoints import check_finite, check_names, check_plain
from gainrl.models.imports import hidden
from gainrl.signals.plain import UNFIT

with hidden("scipy", "sklearn"):  # for losses of detectors and assisted generation: a second
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from transformers.utils import logging as transformers_logging

transformers_logging.disable_progress_bar()  # logs are files, not terminals


class _NoReport(logging.Filter):
    """`check_names` says in one line what transformers' table of weights does."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()


transformers_logging.get_logger("transformers.modeling_utils").addFilter(_NoReport())
_TOLD = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""transformers tells which weights are not there or do not fit; `check_names` refuses them."""
_UNREADABLE = (OSError, EOFError, pickle.UnpicklingError, SafetensorError)


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(place: torch.device) -> AbstractContextManager[None]:
    """bf16 in the forward pass on a GPU, where trained weights are in fp32; nothing on a CPU."""
    return torch.autocast("cuda", torch.bfloat16) if place.type == "cuda" else nullcontext()


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer of a model folder.

    Raises:
        ModelError: the folder is missing or holds no tokenizer.
    """
    return _load(AutoTokenizer, folder)


def load_model(folder: str | Path, *, trained: bool = False, dtype: str = "auto") -> Any:
    """The model of a folder, in eval mode (no dropout), on the GPU if there is one.

    Args:
        trained: its weights will be updated: kept in fp32 (on a GPU the forward pass is autocast).
        dtype: 'auto' is fp32 on the CPU and bf16 on a GPU.

    Raises:
        ModelError: the folder is missing or holds no causal language model or not all its weights.
    """
    check_plain(Path(folder))
    place = device()
    if trained or (dtype == "auto" and place.type == "cpu"):
        kind = torch.float32
    else:
        kind = torch.bfloat16 if dtype == "auto" else getattr(torch, dtype)
    options: dict[str, Any] = {"dtype": kind, "attn_implementation": _attention(folder), **_TOLD}
    model, info = _load(AutoModelForCausalLM, folder, **options)
    check_names(Path(folder), model, info)
    return model.to(place).eval()


def check_model(folder: Path) -> list[str]:
    """Refuse a folder whose weights are not plain, not all there or not finite.

    Names and shapes are compared without reading the weights.

    Returns:
        The names of stored weights that the model does not have and that no part of it lacks.

    Raises:
        ModelError: as `load_model`; or a weight is NaN or infinite.
    """
    check_plain(folder)
    try:
        model, info = _load(AutoModelForCausalLM, folder, dtype="auto", device_map="meta", **_TOLD)
    except ModelError as error:
        if not isinstance(error.__cause__, NotImplementedError):
            raise  # else: a tied head that is stored as well, whose values have to be compared
        model, info = _load(AutoModelForCausalLM, folder, dtype="auto", **_TOLD)
    unused = check_names(folder, model, info)
    check_finite(folder)
    return unused


def hidden_size(folder: str | Path) -> int:
    """The width of a model's hidden states.

    Raises:
        ModelError: the folder is missing or its config.json cannot be read.
    """
    return int(_load(AutoConfig, folder).get_text_config().hidden_size)


LEAKS = ("doge",)
"""Model types that see later tokens with sdpa, in transformers as it is."""


def _attention(folder: str | Path) -> str:
    """sdpa, or eager where sdpa is another model: it drops a cap on attention scores silently."""
    config = _load(AutoConfig, folder)
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None
    try:
        kind: Any = AutoModelForCausalLM._model_mapping[type(config)]
        has_sdpa = getattr(kind, "_supports_sdpa", True)
    except KeyError:  # not a causal language model, which loading it will say
        has_sdpa = True
    return "eager" if capped or config.model_type in LEAKS or not has_sdpa else "sdpa"


def need_folder(folder: Path) -> None:
    """Refuse what is no folder of a model (ModelError)."""
    if not folder.exists():
        raise ModelError(f"{folder}: no such folder")
    if not (folder / "config.json").exists():
        raise ModelError(f"{folder}: not a Hugging Face model folder (no config.json)")


def _load(kind: Any, folder: str | Path, **options: Any) -> Any:
    need_folder(Path(folder))
    try:
        return kind.from_pretrained(str(folder), local_files_only=True, **options)
    except torch.OutOfMemoryError:
        raise
    except (*_UNREADABLE, StrictDataclassError, *UNFIT) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "automatic conversion of the weights" in reason:  # into one tensor; it names none
            reason = "of a layer's experts some weights are missing or of another shape"
        if reason.startswith("Couldn't instantiate the backend tokenizer"):
            reason = "no tokenizer files in it (tokenizer.json, or what a slow tokenizer reads)"
        if reason.startswith("Padding_idx"):
            reason = "config.json: pad_token_id lies beyond the embedding's rows (vocab_size)"
        raise ModelError(f"{folder}: cannot load the model: {reason}") from error


def context_length(model: Any) -> int | None:
    """Longest sequence the model takes, in tokens, if its configuration says so."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def embedding_rows(config: Any) -> int | None:
    """How many tokens a model knows, if its configuration says so; a tokenizer may know more."""
    return getattr(config.get_text_config(), "vocab_size", None)


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token id that ends a response: the model's and the tokenizer's.

    Raises:
        ModelError: there is none that the model could give.
    """
    return _ends(model.generation_config, tokenizer, embedding_rows(model.config))


def folder_ends(folder: str | Path, tokenizer: Any) -> frozenset[int]:
    """As `end_tokens`, of a model that is not loaded."""
    config = _load(AutoConfig, folder)
    try:
        named = GenerationConfig.from_pretrained(str(folder))
    except OSError:  # the folder has no generation_config.json
        named = GenerationConfig.from_model_config(config)
    return _ends(named, tokenizer, embedding_rows(config))


def _ends(named: Any, tokenizer: Any, rows: int | None) -> frozenset[int]:
    given = named.eos_token_id
    several = [*(given if isinstance(given, list) else [given]), tokenizer.eos_token_id]
    ends = frozenset(token for token in several if _known(token, rows))
    if not ends:
        named_ones = sorted({token for token in several if token is not None})
        beyond = f" below {rows}, the rows of its embedding (named: {named_ones})"
        raise ModelError(
            f"{tokenizer.name_or_path}: the model has no end token{beyond if named_ones else ''}; "
            "name one in generation_config.json (eos_token_id)"
        )
    return ends


def _known(token: int | None, rows: int | None) -> bool:
    return token is not None and (rows is None or 0 <= token < rows)


def end_token(model: Any, tokenizer: Any) -> int:
    """The token id to teach as the end of a response: the tokenizer's if it has one."""
    ends, own = end_tokens(model, tokenizer), tokenizer.eos_token_id
    return own if own in ends else min(ends)


def pad_token(model: Any, tokenizer: Any) -> int:
    """A token id to fill batches with; masks hide it, so an end token will do."""
    pad = tokenizer.pad_token_id
    known = _known(pad, embedding_rows(model.config))
    return pad if known else end_token(model, tokenizer)
