"""Rendering of prompts, once for every stage, and the segments that the angle signal needs.

A rendered prompt has three parts (spec section 1): the prefix, which is the longest common token
prefix over the data set; the question; and the suffix that the chat template adds after the user's
turn (the generation prompt), which belongs to neither segment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from tokenizers import processors

from gainrl.data.cells import is_blank
from gainrl.data.templates import PROBE, TODAY, render
from gainrl.errors import DataError

NO_PREFIX = (
    "the prompts share no prefix, so C_inter is undefined: give the data set a 'system' prompt or "
    "use a chat template that has one"
)


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
    def prefixes(self) -> np.ndarray:
        """(N,) prefix lengths in tokens."""
        return np.full(len(self.tokens), self.n_prefix)

    @property
    def n_question(self) -> np.ndarray:
        """(N,) question lengths in tokens."""
        return self.lengths - self.prefixes - self.n_suffix


@dataclass(frozen=True)
class MixedPrompts(Prompts):
    """Prompts of several renderings, each with its own's prefix; n_prefix is the shortest.

    own: (N,) prefix lengths.
    """

    own: np.ndarray

    @property
    def prefixes(self) -> np.ndarray:
        """(N,) prefix lengths in tokens."""
        return self.own


@dataclass(frozen=True)
class Chunk:
    """Some rendered prompts of a data set, from row `start` on, before the prefix is known.

    tokens: token ids, unpadded; n_suffix: tokens after the user's turn, by prompt.
    """

    start: int
    tokens: list[list[int]]
    n_suffix: np.ndarray

    def common(self, prefix: Sequence[int] | None = None) -> int:
        """Length of the longest common prefix, of `prefix` too where there is one.

        It leaves every prompt at least one question token.
        """
        first, last = min(self.tokens), max(self.tokens)  # lexicographic extremes bound all others
        shared = _agreement(first, last)
        if prefix is not None:
            shared = min(shared, _agreement(first, prefix))
        room = min(len(row) - int(n) for row, n in zip(self.tokens, self.n_suffix, strict=True))
        return max(min(shared, room - 1), 0)


@dataclass(frozen=True)
class Renderer:
    """Renders and tokenises prompts of one data set.

    template: what surrounds the question in the user's turn; max_length: longest prompt allowed,
    in tokens; context: the model's context, in tokens; arguments: of the chat template; rows: of
    the model's embedding, beyond which it knows no token.
    """

    tokenizer: Any
    template: str = "{question}"
    system: str | None = None
    max_length: int | None = None
    context: int | None = None
    now: datetime = TODAY
    arguments: Mapping[str, Any] = field(default_factory=dict)
    rows: int | None = None

    def _render(self, question: str, template: str) -> str:
        return render(self.tokenizer, question, template, self.system, self.arguments, self.now)

    def tokens(
        self, ids: Sequence[str], questions: Sequence[str], segments: bool = True
    ) -> tuple[list[list[int]], np.ndarray]:
        """Token ids of each prompt and its (N,) suffix lengths (zeros without `segments`).

        Raises:
            DataError: no prompts, an empty question, or a prompt that is too long, has a token
                that the model lacks or lost its question; its id is named.
        """
        if not len(ids):
            raise DataError("no prompts to render")
        for name, question in zip(ids, questions, strict=True):
            if is_blank(question):
                raise DataError(f"prompt '{name}': the question is empty")
        texts = [self._render(question, self.template) for question in questions]
        contents = [self.template.replace("{question}", question) for question in questions]
        tail = self._render(PROBE, "{question}").rpartition(PROBE)[2] if segments else None
        return self._coded(ids, texts, contents, tail)

    def _coded(
        self, ids: Sequence[str], texts: list[str], contents: Sequence[str], tail: str | None
    ) -> tuple[list[list[int]], np.ndarray]:
        """Token ids and suffix lengths of rendered prompts.

        Args:
            contents: (N,) what stands in the last turn.
            tail: what the template puts after that turn; None for no suffixes.
        """
        coded = _code(self.tokenizer, texts)
        self._check(ids, coded["input_ids"])
        for name, text, content in zip(ids, texts, contents, strict=True):
            if content.strip() not in text:
                raise DataError(
                    f"prompt '{name}': the rendered prompt does not contain its question"
                )
        if tail is None:
            return coded["input_ids"], np.zeros(len(ids), dtype=int)
        rows = zip(texts, contents, coded["offset_mapping"], strict=True)
        suffix = [_suffix_length(text, content, tail, offsets) for text, content, offsets in rows]
        return coded["input_ids"], np.array(suffix)

    def _check(self, ids: Sequence[str], tokens: Sequence[Sequence[int]]) -> None:
        limits = [limit for limit in (self.max_length, self.context) if limit is not None]
        for name, row in zip(ids, tokens, strict=True):
            check_known(self.tokenizer, row, self.rows, f"prompt '{name}'")
            if limits and len(row) > min(limits):
                kind = "max_prompt" if min(limits) == self.max_length else "the model's context"
                raise DataError(
                    f"prompt '{name}' has {len(row)} tokens, more than {min(limits)} ({kind})"
                )

    def encode(
        self, ids: Sequence[str], questions: Sequence[str], segments: bool = True
    ) -> Prompts:
        """Rendered prompts with their segments, without these only the tokens.

        Raises:
            DataError: as `tokens`, or the prompts share no prefix.
        """
        tokens, suffix = self.tokens(ids, questions, segments)
        if not segments:
            return Prompts(list(ids), tokens, 0, suffix)
        n_prefix = Chunk(0, tokens, suffix).common()
        if n_prefix == 0:
            raise DataError(NO_PREFIX)
        return Prompts(list(ids), tokens, n_prefix, suffix)

    def chunks(self, ids: Sequence[str], questions: Sequence[str], size: int) -> Iterator[Chunk]:
        """The data set in chunks of `size` prompts (raises as `tokens`, `size` prompts later)."""
        for start in range(0, max(len(ids), 1), size):
            part = slice(start, start + size)
            yield Chunk(start, *self.tokens(ids[part], questions[part]))


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
        segments: find prefix and suffix; evaluation does not need them. The rest as `Renderer`.

    Raises:
        DataError: no prompts, a prompt that is too long (its id is named), no shared prefix, or a
            prompt whose question is empty.
    """
    renderer = Renderer(tokenizer, template, system, max_length, context)
    return renderer.encode(ids, questions, segments)


def check_known(tokenizer: Any, tokens: Sequence[int], rows: int | None, where: str) -> None:
    """Refuse token ids beyond the embedding, where it is known to have `rows` rows.

    Raises:
        DataError: naming the first such token.
    """
    if rows is None or max(tokens, default=0) < rows:
        return
    beyond = next(token for token in tokens if token >= rows)
    text = tokenizer.convert_ids_to_tokens(beyond)
    raise DataError(
        f"{where}: the model has no token '{text}' (id {beyond}; its embedding has {rows} rows)"
    )


def check_words(tokenizer: Any, template: str, questions: Sequence[str]) -> None:
    """Refuse a template with words that a tokenizer lacks, also where a question joins them.

    Raises:
        DataError: naming the first such word.
    """
    if tokenizer.unk_token_id is None:
        return
    start, _, tail = template.partition("{question}")
    coded = _code(tokenizer, [start + question + tail for question in questions])
    rows = zip(questions, coded["input_ids"], coded["offset_mapping"], strict=True)
    for question, tokens, offsets in rows:
        end = len(start) + len(question)
        for token, (first, last) in zip(tokens, offsets, strict=True):
            own = first >= len(start) and last <= end  # a word of the question is no fault of ours
            if token == tokenizer.unk_token_id and not own:
                word = (start + question + tail)[first:last]
                raise DataError(f"the tokenizer has no word '{word}'")


def _code(tokenizer: Any, texts: list[str]) -> Any:
    """Token ids and offsets; a post-processor would cut spaces off the offsets (trim_offsets)."""
    core = tokenizer.backend_tokenizer
    processor = core.post_processor
    if processor is not None:
        core.post_processor = processors.Sequence([])
    try:
        return tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    finally:
        if processor is not None:
            core.post_processor = processor


def _suffix_length(text: str, content: str, tail: str, offsets: Sequence[tuple[int, int]]) -> int:
    """Tokens that start at or after the end of the user's turn (a straddling one is question).

    Args:
        tail: what the template puts after a turn; the content may read like a part of it.
    """
    end = len(text) - len(tail)
    if text.endswith(tail) and text[:end].rstrip().endswith(content.strip()):
        return sum(1 for first, _ in offsets if first >= end)
    wanted = content if content in text else content.strip()  # templates strip their content
    end = text.rfind(wanted) + len(wanted)
    return sum(1 for first, _ in offsets if first >= end)


def _agreement(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their start."""
    shorter = min(len(one), len(other))
    return next((i for i in range(shorter) if one[i] != other[i]), shorter)
