"""Conversations as data sets of chat messages have them: lists of messages, each with a role.

A trainer's prompt ends before the model's turn. So a conversation that ends with an answer, as data
sets for supervised training have it, is cut before that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gainrl.data.cells import is_blank
from gainrl.data.prompts import Chunk, Renderer
from gainrl.data.templates import PROBE, render_messages
from gainrl.errors import DataError

Messages = list[dict[str, Any]]
"""Messages with `role` and a `content` that is text."""


def messages_of(value: Any) -> Messages:
    """The messages of a cell, without a final answer.

    Contents in parts are joined, where all of them are text.

    Raises:
        ValueError: with the end of a sentence: it is no list of messages, none of them is text, or
            nobody has asked anything.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise ValueError("is no list of chat messages")
    found: Messages = []
    for message in value:
        if not isinstance(message.get("role"), str):
            raise ValueError("has a message without a role")
        found.append({**message, "content": _text(message.get("content"))})
    while found and found[-1]["role"] == "assistant":
        found.pop()
    if not found or is_blank(found[-1]["content"]):
        raise ValueError("has no message that a model could answer")
    return found


def _text(content: Any) -> str:
    if isinstance(content, np.ndarray):
        content = content.tolist()
    if isinstance(content, list):
        kinds = [each.get("type") if isinstance(each, Mapping) else None for each in content]
        if set(kinds) - {"text"}:
            raise ValueError("has a message that is not text alone")
        content = "".join(str(each.get("text") or "") for each in content)
    if content is None:
        return ""
    if not isinstance(content, str):
        raise ValueError(f"has a message whose content is a {type(content).__name__}")
    return content


@dataclass(frozen=True)
class ChatRenderer(Renderer):
    """Renders and tokenises conversations; the question is what they do not all begin with."""

    def rendered(
        self, ids: Sequence[str], conversations: Sequence[Messages]
    ) -> tuple[list[list[int]], np.ndarray]:
        """Token ids of each prompt and its (N,) suffix lengths.

        Raises:
            DataError: as `Renderer.tokens`.
        """
        if not len(ids):
            raise DataError("no prompts to render")
        texts = [self._chat(messages) for messages in conversations]
        contents = [str(messages[-1]["content"]) for messages in conversations]
        last = {**conversations[0][-1], "content": PROBE}
        tail = self._chat([*conversations[0][:-1], last]).rpartition(PROBE)[2]
        return self._coded(ids, texts, contents, tail)

    def _chat(self, messages: Messages) -> str:
        return render_messages(self.tokenizer, messages, self.arguments, self.now)

    def chat_chunks(
        self, ids: Sequence[str], conversations: Sequence[Messages], size: int
    ) -> Iterator[Chunk]:
        """The data set in chunks of `size` prompts (raises as `rendered`, `size` prompts later)."""
        for start in range(0, max(len(ids), 1), size):
            part = slice(start, start + size)
            yield Chunk(start, *self.rendered(ids[part], conversations[part]))
