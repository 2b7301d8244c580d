"""Responses as text: what graders read of token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SPACE = "\u2581"
"""How SentencePiece writes a space at the beginning of a token."""


def texts_of(tokenizer: Any, responses: Sequence[Sequence[int]]) -> list[str]:
    """The text of each response, as it stands behind its prompt, without special tokens.

    Decoders of SentencePiece's kind (Llama 2, Mistral 7B, Phi-3) drop the first space of a text,
    which in a response is part of the first line's indentation: such a response is decoded behind a
    word, which is cut off again.
    """
    if not responses:  # of which transformers makes one empty text
        return []
    texts = tokenizer.batch_decode(responses, skip_special_tokens=True)
    special = {one for one, token in tokenizer.added_tokens_decoder.items() if token.special}
    return [
        _behind_a_word(tokenizer, ids, text) if _begins(tokenizer, ids, special) else text
        for ids, text in zip(responses, texts, strict=True)
    ]


def _begins(tokenizer: Any, ids: Sequence[int], special: set[int]) -> bool:
    """Whether the first token that is not special begins with a space that may be dropped."""
    first = next((one for one in ids if one not in special), None)
    if first is None:
        return False
    return str(tokenizer.convert_ids_to_tokens(first)).startswith(SPACE)


def _behind_a_word(tokenizer: Any, ids: Sequence[int], text: str) -> str:
    """The text of ids behind the first of them that is a word; as it was if none is."""
    for one in ids:
        word = tokenizer.decode([one], skip_special_tokens=True)
        if word.strip() and word.isascii():
            whole = tokenizer.decode([one, *ids], skip_special_tokens=True)
            return whole.removeprefix(word) if whole.startswith(word) else text
    return text
