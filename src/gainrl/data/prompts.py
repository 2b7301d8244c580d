"""Rendering of prompts, once for every stage, and the segments that the angle signal needs.

A rendered prompt has three parts (spec section 1): the prefix, which is the longest common token
prefix over the data set; the question; and the suffix that the chat template adds after the user's
turn (the generation prompt), which belongs to neither segment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gainrl.errors import DataError, ModelError

PROBE = "gainrl-probe"


@dataclass(frozen=True)
class Prompts:
    """Rendered prompts of one data set.

    ids: data set ids; tokens: token ids of each prompt, unpadded; n_prefix: length of the shared
    prefix; n_suffix: (N,) tokens after the user's turn, by prompt.
    """

    ids: list[str]
    tokens: list[list[int]]
    n_prefix: int
    n_suffix: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """(N,) prompt lengths in tokens."""
        return np.array([len(row) for row in self.tokens])

    @property
    def n_question(self) -> np.ndarray:
        """(N,) question lengths in tokens."""
        return self.lengths - self.n_prefix - self.n_suffix


def conversation(question: str, template: str, system: str | None) -> list[dict[str, str]]:
    """The chat messages of one question."""
    messages = [{"role": "system", "content": system}] if system else []
    return [*messages, {"role": "user", "content": template.replace("{question}", question)}]


def render(tokenizer: Any, question: str, template: str, system: str | None) -> str:
    """The text that the model continues.

    Raises:
        ModelError: the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise ModelError(f"{tokenizer.name_or_path}: the tokenizer has no chat template")
    return tokenizer.apply_chat_template(
        conversation(question, template, system), tokenize=False, add_generation_prompt=True
    )


def encode(
    tokenizer: Any,
    ids: Sequence[str],
    questions: Sequence[str],
    *,
    template: str = "{question}",
    system: str | None = None,
    max_length: int | None = None,
    context: int | None = None,
    segments: bool = True,
) -> Prompts:
    """Render and tokenise prompts and find their segments.

    Args:
        max_length: longest prompt allowed, in tokens.
        context: the model's context, in tokens; a longer prompt is an error as well.
        segments: find prefix and suffix; evaluation does not need them.

    Raises:
        DataError: no prompts, a prompt that is too long (its id is named), no shared prefix, or a
            prompt whose question is empty.
    """
    if not len(ids):
        raise DataError("no prompts to render")
    for name, question in zip(ids, questions, strict=True):
        if not question.strip():
            raise DataError(f"prompt '{name}': the question is empty")
    texts = [render(tokenizer, question, template, system) for question in questions]
    coded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=segments)
    tokens = coded["input_ids"]
    limits = [limit for limit in (max_length, context) if limit is not None]
    for name, row in zip(ids, tokens, strict=True):
        if limits and len(row) > min(limits):
            kind = "max_prompt" if min(limits) == max_length else "the model's context"
            raise DataError(
                f"prompt '{name}' has {len(row)} tokens, more than {min(limits)} ({kind})"
            )
    if not segments:
        return Prompts(list(ids), tokens, 0, np.zeros(len(ids), dtype=int))
    contents = [template.replace("{question}", question) for question in questions]
    tail = render(tokenizer, PROBE, "{question}", system).partition(PROBE)[2]
    suffix = np.array(
        [
            _suffix_length(text, content, tail, offsets, name)
            for text, content, offsets, name in zip(
                texts, contents, coded["offset_mapping"], ids, strict=True
            )
        ]
    )
    n_prefix = _prefix_length(tokens, suffix)
    if n_prefix == 0:
        raise DataError(
            "the prompts share no prefix, so C_inter is undefined: give the data set a 'system' "
            "prompt or use a chat template that has one"
        )
    return Prompts(list(ids), tokens, n_prefix, suffix)


def _suffix_length(
    text: str, content: str, tail: str, offsets: Sequence[tuple[int, int]], name: str
) -> int:
    """Tokens that start at or after the end of the user's turn (a straddling one is question).

    Args:
        tail: what the template puts after a turn; the content may read like a part of it.
    """
    end = len(text) - len(tail) if text.endswith(tail) else len(text)
    for wanted in (content, content.strip()):  # templates strip their content
        start = text.rfind(wanted, 0, end)
        if start >= 0:
            return sum(1 for first, _ in offsets if first >= start + len(wanted))
    raise DataError(f"prompt '{name}': the rendered prompt does not contain its question")


def _prefix_length(tokens: Sequence[list[int]], suffix: np.ndarray) -> int:
    """Longest common token prefix that leaves every prompt at least one question token."""
    first, last = min(tokens), max(tokens)  # the extremes in lexicographic order bound all others
    common = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        min(len(first), len(last)),
    )
    room = min(len(row) - int(n) for row, n in zip(tokens, suffix, strict=True)) - 1
    return max(min(common, room), 0)


def template_hash(tokenizer: Any) -> str:
    """Short hash of the chat template, stored beside scores and accuracies."""
    template = tokenizer.chat_template or ""
    return hashlib.sha256(str(template).encode()).hexdigest()[:12]
