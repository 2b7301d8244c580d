"""Engines as the preset says: what answers where no trainer does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gainrl.config.evaluation import EngineName
from gainrl.evaluation.engines import AnswerRequest, Engine, TransformersEngine
from gainrl.evaluation.vllm_engine import VllmEngine
from gainrl.models.loading import folder_ends, load_model
from gainrl.models.sampling import Sampling
from gainrl.stages.common import Context, verl_python


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
    settings, dtype = context.preset.testing, context.preset.models[model].dtype
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
