"""Generated answers as graded records: one row an answer, whatever engine wrote it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gainrl.data.prompts import Prompts
from gainrl.errors import DataError, GradingError
from gainrl.grading.graders import Grader
from gainrl.models.texts import texts_of

OVERLONG = "prompt too long"
"""Why an answer is wrong that was never asked for: the reason in its row of a sample table."""


@dataclass(frozen=True)
class Benchmark:
    """Rendered held-out prompts of a data set with their gold answers and their grader.

    limit: longest prompt that is put to the model, in tokens. Longer ones count as wrong.
    """

    name: str
    prompts: Prompts
    answers: Sequence[str]
    grader: Grader
    limit: int | None = None

    @property
    def overlong(self) -> list[int]:
        """Rows of the prompts that are longer than the limit."""
        if self.limit is None:
            return []
        return np.flatnonzero(self.prompts.lengths > self.limit).tolist()

    @property
    def asked(self) -> list[int]:
        """Rows of the other prompts.

        Raises:
            DataError: there are none.
        """
        left_out = set(self.overlong)
        rows = [row for row in range(len(self.prompts.ids)) if row not in left_out]
        if not rows:
            raise DataError(
                f"{self.name}: every problem has more than {self.limit} tokens "
                "(evaluation.max_prompt, or what the response leaves of the model's context)"
            )
        return rows


@dataclass(frozen=True, slots=True)
class Answer:
    """One generated answer: row of the benchmark, number of the sample, token ids.

    ended: its last token ends a response; else it met the limit.
    """

    row: int
    sample: int
    tokens: list[int]
    ended: bool


def prompt_hash(tokens: Sequence[int]) -> str:
    """Short hash of a prompt's token ids: equal for equal prompts, whatever text they came from."""
    return hashlib.sha256(np.asarray(tokens, dtype="<i8").tobytes()).hexdigest()[:12]


def unasked(name: str, sample: int) -> dict[str, Any]:
    """What every sample table says of a prompt (by its id) that was too long to be asked."""
    wrong: dict[str, Any] = {"extracted": None, "correct": 0, "reason": OVERLONG, "rule": None}
    return {"id": name, "sample": sample, "response": "", "tokens": 0, **wrong}


def graded(
    benchmark: Benchmark, answers: Iterable[Answer], tokenizer: Any, samples: int = 1
) -> pd.DataFrame:
    """Decode and grade answers.

    Args:
        samples: answers to a problem, for the rows of prompts that are too long.

    Returns:
        A sample table (gainrl.records.SAMPLES), by problem and sample.

    Raises:
        GradingError: the grader gave fewer grades than there are answers, or more.
    """
    ordered = sorted(answers, key=lambda answer: (answer.row, answer.sample))
    texts = texts_of(tokenizer, [each.tokens for each in ordered])
    grades = benchmark.grader(texts, [benchmark.answers[each.row] for each in ordered])
    if len(grades) != len(ordered):
        raise GradingError(f"{benchmark.name}: {len(ordered)} answers, {len(grades)} grades")
    prompts = [prompt_hash(row) for row in benchmark.prompts.tokens]
    records = {
        (each.row, each.sample): {
            "id": benchmark.prompts.ids[each.row],
            "sample": each.sample,
            "prompt": prompts[each.row],
            "response": text,
            "token_ids": each.tokens,
            "tokens": len(each.tokens),
            "truncated": int(not each.ended),
            "extracted": grade.extracted,
            "correct": int(grade.correct),
            "reason": grade.reason,
            "rule": grade.rule,
        }
        for each, text, grade in zip(ordered, texts, grades, strict=True)
    }
    for row in benchmark.overlong:
        for sample in range(samples):
            empty: dict[str, Any] = {"prompt": prompts[row], "token_ids": [], "truncated": 0}
            records[row, sample] = {**unasked(benchmark.prompts.ids[row], sample), **empty}
    return pd.DataFrame([records[place] for place in sorted(records)])
