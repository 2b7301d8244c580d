"""Generated answers as graded records: one row an answer, whatever engine wrote it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gainrl.data.prompts import Prompts
from gainrl.errors import GradingError
from gainrl.grading.graders import Grader
from gainrl.models.texts import texts_of


@dataclass(frozen=True)
class Benchmark:
    """Rendered held-out prompts of a data set with their gold answers and their grader."""

    name: str
    prompts: Prompts
    answers: Sequence[str]
    grader: Grader


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


def graded(benchmark: Benchmark, answers: Iterable[Answer], tokenizer: Any) -> pd.DataFrame:
    """Decode and grade answers.

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
    records = [
        {
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
    ]
    return pd.DataFrame(records)
