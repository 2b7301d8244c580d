"""Where a prompt's question begins and ends: it travels with each row, for C. No verl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from gainrl.curricula.base import IntArray
from gainrl.data.chats import ChatRenderer, messages_of
from gainrl.data.prompts import NO_PREFIX, Chunk, Prompts
from gainrl.errors import DataError

SEGMENTS = "gainrl_segments"
"""A row's field: (3,) tokens of the prefix, of the question and of the whole prompt."""
SIGNAL = "gainrl_signal_of"
"""Beside a batch, for the pass that gives the old log-probabilities: `Signal` as a mapping."""


@dataclass(frozen=True)
class Signal:
    """What C is: the place where states are read, the weight of C_inter, the diagonal left out."""

    tap: str = "post_norm"
    weight: float = 1.0
    offdiagonal: bool = False


def segments_of(renderings: Sequence[Prompts]) -> IntArray:
    """(M, 3) of the prompts of all renderings, one rendering after the other."""
    parts = [
        np.stack([prompts.prefixes, prompts.n_question, prompts.lengths], 1)
        for prompts in renderings
    ]
    return np.concatenate(parts).astype(np.int64)


def rendered(
    tokenizer: Any, conversations: Sequence[Any], arguments: Mapping[str, Any], now: datetime
) -> IntArray:
    """(N, 3) of conversations, each a list of messages.

    Args:
        arguments: of the chat template.
        now: the date that a template may print.

    Raises:
        DataError: a cell is no conversation of text, or they begin with no common token.
    """
    messages = []
    for row, value in enumerate(conversations):
        try:
            messages.append(messages_of(value))
        except ValueError as error:
            raise DataError(f"the prompt of row {row} (from 0) {error}") from None
    renderer = ChatRenderer(tokenizer, arguments=arguments, now=now)
    ids = [f"row {row}" for row in range(len(messages))]
    tokens, suffix = renderer.rendered(ids, messages)
    prefix = Chunk(0, tokens, suffix).common()
    if not prefix:
        raise DataError(NO_PREFIX)
    return segments_of([Prompts(ids, tokens, prefix, suffix)])
