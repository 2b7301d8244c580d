"""Answers of verl to what a curriculum asks for, and how they become mini-batches. Without Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import BoolArray, IntArray, Request
from gainrl.errors import BackendError
from gainrl.training.rollouts import Answers, Rollouts

LIMIT = 0.01
"""Share of a step's prompts, and of its responses, that may be lost before the run stops."""


@dataclass(frozen=True)
class Answer:
    """One response: its key in verl's TransferQueue, its tokens and its grade."""

    key: str
    tokens: Sequence[int]
    correct: float
    reward: float


@dataclass
class Lost:
    """What of a step has no answer, of what was asked for."""

    prompts: int = 0
    responses: int = 0
    asked_prompts: int = 0
    asked_responses: int = 0

    def count(self, request: Request, answers: Sequence[Sequence[Answer]]) -> None:
        """Add a request and what came of it.

        Raises:
            BackendError: more than `LIMIT` is lost.
        """
        self.asked_prompts += len(request.rows)
        self.asked_responses += int(request.rollouts.sum())
        self.prompts += sum(not each for each in answers)
        self.responses += int(request.rollouts.sum()) - sum(map(len, answers))
        for what, lost, asked in (
            ("prompts have no response", self.prompts, self.asked_prompts),
            ("responses were not made or not graded", self.responses, self.asked_responses),
        ):
            if lost > LIMIT * asked:
                raise BackendError(
                    f"gainrl: {lost} of the step's {asked} {what}, which is more than {LIMIT:.0%}; "
                    "verl's errors above say why"
                )

    def record(self) -> dict[str, int]:
        """The step record's keys; none if nothing is lost."""
        found = {"groups_without_responses": self.prompts, "lost_responses": self.responses}
        return {key: value for key, value in found.items() if value}


RollOut = Callable[[Request], list[list[Answer]]]
"""What a request asks for -> the answers to each of its rows, none where all are lost."""


class Sampled(Answers):
    """Answers that verl has rolled out and graded; `keys`: of each row's, in their order.

    A prompt without a response is left out: nothing was learned of it.
    """

    def __init__(self, roll_out: RollOut, bonus: bool, lost: Lost) -> None:
        super().__init__(bonus)
        self.roll_out, self.lost = roll_out, lost
        self.keys: dict[int, list[str]] = {}

    def add(self, request: Request) -> int:
        """Roll out what is asked for; its tokens.

        Raises:
            BackendError: too much is lost (`Lost.count`).
        """
        found = self.roll_out(request)
        self.lost.count(request, found)
        for row, answers in zip(request.rows.tolist(), found, strict=True):
            if answers:
                self.keys.setdefault(row, []).extend(answer.key for answer in answers)
                self.join(
                    row,
                    [answer.tokens for answer in answers],
                    [answer.correct for answer in answers],
                    [answer.reward for answer in answers],
                )
        return sum(len(answer.tokens) for answers in found for answer in answers)

    def keys_of(self, rollouts: Rollouts) -> list[str]:
        """(R,) the keys of rollouts that were made of these answers."""
        return [key for row in rollouts.rows.tolist() for key in self.keys[row]]


def mini_batch(sequences: int, updates: int, ranks: int) -> int:
    """Sequences of each optimiser step, so that as many steps as asked for hold them all.

    Groups of any sizes are spread evenly; what is missing to whole mini-batches, verl fills up, and
    by less than one mini-batch.

    Args:
        updates: optimiser steps.
        ranks: data parallel, among which each mini-batch is split evenly.
    """
    return ranks * -(-sequences // (updates * ranks))


def filled(kept: BoolArray, size: int) -> IntArray:
    """Positions of the sequences that are kept, and of as many others as make whole mini-batches.

    Args:
        kept: (S,) of the sequences of a step, whose number is a multiple of a larger mini-batch.
        size: of a mini-batch.
    """
    chosen = np.flatnonzero(kept)
    missing = -len(chosen) % size if len(chosen) else size
    return np.concatenate([chosen, np.flatnonzero(~kept)[:missing]])
