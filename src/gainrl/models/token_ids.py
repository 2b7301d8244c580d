"""Token ids of a model folder, before anything is computed: none without a row in the embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from gainrl.errors import ModelError
from gainrl.models.loading import embedding_rows, folder_ends


def check_token_ids(folder: Path, tokenizer: Any) -> int | None:
    """Refuse a folder whose tokenizer writes words that its model has no embedding for.

    Added tokens beyond the embedding are let pass: some models have such for images. A prompt in
    which one of them stands is refused when it is rendered.

    Returns:
        The rows of the embedding, if the configuration says how many there are.

    Raises:
        ModelError: words or the padding index lie beyond the embedding, or there is no end token.
    """
    config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    rows = embedding_rows(config)
    folder_ends(folder, tokenizer)
    if rows is None:
        return None
    added = tokenizer.added_tokens_decoder
    words = {token: word for word, token in tokenizer.get_vocab().items() if token not in added}
    beyond = sorted(token for token in words if token >= rows)
    if beyond:
        raise ModelError(
            f"the tokenizer has {len(beyond)} words that the model lacks, '{words[beyond[0]]}' "
            f"(id {beyond[0]}) the first: its embedding has {rows} rows (config.json: vocab_size)"
        )
    pad = getattr(config.get_text_config(), "pad_token_id", None)
    if pad is not None and pad >= rows:
        _check_padding(config, pad, rows)
    return rows


def _check_padding(config: Any, pad: int, rows: int) -> None:
    """Some architectures cannot be built with a padding index beyond the embedding, others can."""
    try:
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(config)
    except AssertionError as error:
        raise ModelError(
            f"config.json: pad_token_id is {pad}, but the embedding has {rows} rows"
        ) from error
