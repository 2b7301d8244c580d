"""Engines that answer a benchmark's prompts: transformers in this process, vLLM in another.

Both take what is still to be answered and give single answers as they are finished, so that a
caller can write each down and ask only for the rest after a kill.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch

from gainrl.evaluation.samples import Answer
from gainrl.models.loading import end_tokens, pad_token
from gainrl.models.sampling import Sampling, generate


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """One answer that is wanted: row of the benchmark, id and tokens of the prompt, sample.

    max_tokens: longest answer, where the model's context leaves less than the sampling says.
    """

    row: int
    id: str
    tokens: list[int]
    sample: int
    max_tokens: int | None = None

    def limit(self, sampling: Sampling) -> int:
        """Longest answer, tokens."""
        return sampling.max_tokens if self.max_tokens is None else self.max_tokens


class Engine(Protocol):
    """What answers prompts; `version` names the software, `draws` what the samples depend on."""

    version: str
    draws: str

    def answers(
        self, requests: Sequence[AnswerRequest], sampling: Sampling, seed: int
    ) -> Iterator[list[Answer]]:
        """The answers, in any order, in lists of what has been finished since the last one."""


def seed_of(request: AnswerRequest, seed: int) -> tuple[int, int, int]:
    """What the draws of one answer depend on: seed, problem and sample, nothing else."""
    return seed, zlib.crc32(request.id.encode()), request.sample


class TransformersEngine:
    """Batched generation in this process (gainrl.models.sampling).

    Requests of about one length go together, those of one prompt share its prefill. An answer
    depends on its own request alone: not on the batch, on shards, or on what was there before.
    """

    draws = "by seed, problem and sample"

    def __init__(self, model: Any, tokenizer: Any, batch: int) -> None:
        self.model, self.batch = model, batch
        self.ends, self.pad = end_tokens(model, tokenizer), pad_token(model, tokenizer)
        self.version = f"transformers {version('transformers')}"

    def answers(
        self, requests: Sequence[AnswerRequest], sampling: Sampling, seed: int
    ) -> Iterator[list[Answer]]:
        """As `Engine.answers`: a list is a batch."""
        for samples, part in self._batches(requests, sampling):
            most = part[0].limit(sampling)
            draws = torch.from_numpy(
                np.array([
                    np.random.default_rng(seed_of(each, seed)).random(most)
                    for each in part
                ])
            )  # fmt: skip
            got = generate(
                self.model,
                [each.tokens for each in part[::samples]],
                samples,
                replace(sampling, max_tokens=most),
                draws.to(next(self.model.parameters()).device),
                ends=self.ends,
                pad=self.pad,
            )
            yield [
                Answer(each.row, each.sample, ids, ids[-1] in self.ends)
                for each, ids in zip(part, got, strict=True)
            ]

    def _batches(
        self, requests: Sequence[AnswerRequest], sampling: Sampling
    ) -> Iterator[tuple[int, list[AnswerRequest]]]:
        """Batches of prompts with equally many samples and equal limits, longest prompts last."""
        by_prompt = [
            list(group)
            for _, group in groupby(
                sorted(requests, key=lambda each: (len(each.tokens), each.row, each.sample)),
                key=lambda each: each.row,
            )
        ]
        pieces = [
            group[start : start + self.batch]
            for group in by_prompt
            for start in range(0, len(group), self.batch)
        ]

        def kind(piece: list[AnswerRequest]) -> tuple[int, int]:
            return len(piece), piece[0].limit(sampling)

        for (samples, _), alike in groupby(sorted(pieces, key=kind), key=kind):
            found, room = list(alike), max(self.batch // samples, 1)
            for start in range(0, len(found), room):
                yield samples, [each for piece in found[start : start + room] for each in piece]
