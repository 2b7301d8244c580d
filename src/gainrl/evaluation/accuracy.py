"""Tests of a model that is being trained: sampled with transformers, graded, summed up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from gainrl.config.evaluation import Evaluation
from gainrl.errors import GradingError
from gainrl.evaluation.engines import AnswerRequest
from gainrl.evaluation.samples import OVERLONG, Answer, Benchmark, graded
from gainrl.models.loading import end_tokens, pad_token
from gainrl.models.sampling import Sampling, generate
from gainrl.records.runs import TestRecord


def answer(
    model: Any,
    tokenizer: Any,
    benchmark: Benchmark,
    settings: Evaluation,
    max_tokens: int,
) -> pd.DataFrame:
    """Answer and grade every problem `settings.samples` times; one that is too long is wrong.

    The generator is seeded by the settings alone, so models are compared on equal draws.

    Returns:
        A sample table (gainrl.records.SAMPLES).

    Raises:
        GradingError: an answer or a grade is missing.
        DataError: every prompt is too long.
    """
    place = next(model.parameters()).device
    generator = torch.Generator(device=place).manual_seed(settings.seed)
    sampling = Sampling(settings.temperature, settings.top_p, max_tokens)
    tokens, asked = benchmark.prompts.tokens, np.array(benchmark.asked)
    order = asked[np.argsort(benchmark.prompts.lengths[asked], kind="stable")]
    size = max(settings.batch // settings.samples, 1)
    ends = end_tokens(model, tokenizer)
    answers = []
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        got = generate(
            model,
            [tokens[row] for row in rows],
            settings.samples,
            sampling,
            generator,
            ends=ends,
            pad=pad_token(model, tokenizer),
        )
        if len(got) != len(rows) * settings.samples:
            raise GradingError(
                f"{benchmark.name}: {len(rows) * settings.samples} answers were asked for, "
                f"{len(got)} came"
            )
        for i, ids in enumerate(got):
            row, sample = divmod(i, settings.samples)
            answers.append(Answer(int(rows[row]), sample, ids, ids[-1] in ends))
    return graded(benchmark, answers, tokenizer, settings.samples)


def requests(benchmark: Benchmark, samples: int) -> list[AnswerRequest]:
    """What an engine is asked in a test, of the problems that fit."""
    ids, tokens = benchmark.prompts.ids, benchmark.prompts.tokens
    return [
        AnswerRequest(row, ids[row], tokens[row], sample)
        for row in benchmark.asked
        for sample in range(samples)
    ]


def answered(
    benchmark: Benchmark,
    wanted: Sequence[AnswerRequest],
    answers: Iterable[Sequence[Answer]],
    tokenizer: Any,
    samples: int,
) -> pd.DataFrame:
    """Grade what an engine answers; a sample table, as `answer` gives one.

    Raises:
        GradingError: an answer or a grade is missing.
    """
    found = [each for part in answers for each in part]
    if len({(each.row, each.sample) for each in found}) != len(wanted):
        raise GradingError(
            f"{benchmark.name}: {len(wanted)} answers were asked for, {len(found)} came"
        )
    return graded(benchmark, found, tokenizer, samples)


def summary(samples: pd.DataFrame, benchmark: str, step: int) -> dict[str, Any]:
    """One row of eval.jsonl; accuracy is pass@1, the mean over problems and samples.

    Response lengths are of the problems that were put to the model; the others are listed.
    """
    left_out = samples["reason"] == OVERLONG
    overlong = samples.loc[left_out, "id"].unique().tolist()
    return TestRecord(
        step=step,
        benchmark=benchmark,
        accuracy=float(samples["correct"].mean()),
        problems=int(samples["id"].nunique()),
        samples=int(samples["sample"].max()) + 1,
        response_length=float(samples.loc[~left_out, "tokens"].mean()),
        **({"overlong": overlong} if overlong else {}),
    ).row()
