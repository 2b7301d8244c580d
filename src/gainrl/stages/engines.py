"""Engines as the preset says: what answers where no trainer does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gainrl.config.evaluation import EngineName
from gainrl.evaluation import answering
from gainrl.evaluation.answering import Questions
from gainrl.evaluation.engines import AnswerRequest, Engine, TransformersEngine
from gainrl.evaluation.vllm_engine import VllmEngine
from gainrl.models.loading import folder_ends, load_model
from gainrl.models.sampling import Sampling
from gainrl.stages.common import Context, verl_python

SAID_SECONDS = 10.0
"""Between two lines of progress in the log."""


def generate(context: Context, asked: Questions, shard: int) -> None:
    """Generate the answers of one shard that are not there yet (errors: `answering.generate`)."""
    torch.set_num_threads(context.preset.threads)
    began = said = time.perf_counter()

    def told(done: int, _due: int) -> None:
        nonlocal said
        now = time.perf_counter()
        if now - said > SAID_SECONDS:
            said = now
            print(f"{done} answers, {now - began:.0f} s", flush=True)

    def engine(wanted: Sequence[AnswerRequest], log: Path) -> Engine:
        name, model, folder = asked.engine, asked.model, asked.folder
        return engine_named(
            context, name, model, folder, asked.tokenizer, wanted, asked.sampling, log
        )

    answering.generate(asked, shard, engine, told)


def engine_named(
    context: Context,
    name: EngineName,
    model: str,
    folder: Path,
    tokenizer: Any,
    wanted: Sequence[AnswerRequest],
    sampling: Sampling,
    log: Path,
) -> Engine:
    """An engine for some requests.

    Args:
        model: in the preset, which says the dtype; folder: its weights.
        log: of vLLM.
    """
    settings, dtype = context.preset.testing, context.preset.spec(model).dtype
    if name == "transformers":
        return TransformersEngine(load_model(folder, dtype=dtype), tokenizer, settings.batch)
    longest = max(len(each.tokens) + each.limit(sampling) for each in wanted)
    return VllmEngine(
        verl_python(context.preset),
        folder,
        folder_ends(folder, tokenizer),
        {"dtype": dtype, "max_model_len": longest, **settings.vllm},
        {"OMP_NUM_THREADS": str(context.preset.threads), **context.preset.verl.variables},
        log,
        settings.patience,
    )
