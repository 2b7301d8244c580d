"""Prefill scoring of a data set under a start model, whole or in shards, resumable."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from gainrl import plan
from gainrl.config.preset import Scoring
from gainrl.data.templates import template_hash
from gainrl.errors import DataError
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.models.resources import scoring_dtype, token_budget
from gainrl.plan.layout import TRACKED
from gainrl.records import PROMPTS, SCORES, read_json, read_table, write_table
from gainrl.signals.concentration import concentration
from gainrl.signals.parts import Parts, read_shard, save_batches
from gainrl.signals.prefill import CHUNK, Prefill, gather
from gainrl.stages.common import Context, renderer_for


def score_prompts(context: Context, model: str, dataset: str) -> None:
    """C_intra and C_inter of every training prompt (Eq. 5), in this process alone."""
    shards = context.preset.scoring.shards
    for shard in range(shards):
        score_shard(context, model, dataset, shard)
    gather_scores(context, model, dataset)
    shutil.rmtree(context.layout.shard(model, dataset, 0, shards).parent)


def score_shard(context: Context, model: str, dataset: str, shard: int) -> None:
    """Score the batches of one shard; batches that an earlier, killed call finished are kept.

    Raises:
        DataError: no prompts, a prompt that does not fit, or no shared prefix.
    """
    torch.set_num_threads(context.preset.threads)
    settings, shards = context.preset.scoring, context.preset.scoring.shards
    if not 0 <= shard < shards:
        raise DataError(
            f"shard {shard}: scoring.shards is {shards}, so shards are 0 to {shards - 1}"
        )
    folder = context.layout.model(model)
    about = read_json(context.layout.model_note(model))
    dtype = scoring_dtype(settings.dtype, folder)
    network, tokenizer = load_model(folder, dtype=dtype), load_tokenizer(folder)
    path = context.layout.prompts(model, dataset)
    table = train_table(path, dataset)
    renderer = renderer_for(context.preset, tokenizer, model, dataset, network.config)
    budget = token_budget(settings.batch_tokens, network)
    head = {
        "slice": plan.score_slice(context.preset, model, dataset),
        "weights": about["weights"],
        "train": plan.file_digest(path),
        "template": template_hash(tokenizer, renderer.arguments),
        "dtype": dtype,
        "batch_tokens": budget,
        "shard": [shard, shards],
    }
    target = context.layout.shard(model, dataset, shard, shards)
    parts = Parts(target.with_suffix(".parts"), head)
    prefill = Prefill(network, budget, settings.taps, settings.with_released)
    began = time.perf_counter()
    for batch in prefill.run(
        renderer.chunks(list(table["id"]), list(table["question"]), CHUNK),
        lambda number: sum(number) % shards == shard and parts.missing(number),
    ):
        parts.save(batch)
        print(f"{len(batch.rows)} prompts, {time.perf_counter() - began:.1f} s", flush=True)
    seconds = time.perf_counter() - began
    save_batches(target, parts.load(), prefill.gram, prefill.n_prefix, seconds, prefill.tokens)


def gather_scores(context: Context, model: str, dataset: str) -> None:
    """Put the shards together into scores.parquet and record them as one MLflow run."""
    settings = context.preset.scoring
    table = train_table(context.layout.prompts(model, dataset), dataset)
    paths = [
        context.layout.shard(model, dataset, shard, settings.shards)
        for shard in range(settings.shards)
    ]
    shards = [read_shard(path) for path in paths]
    found = [batch for shard in shards for batch in shard.batches]
    frame = gather(list(table["id"]), found, shards[0].gram, shards[0].n_prefix)
    frame = with_signals(frame, settings)
    target = context.layout.signal(model, dataset, "scores")
    folder = context.layout.model(model)
    seconds = sum(shard.seconds for shard in shards)
    missing = int(frame["c"].isna().sum())
    arguments = context.preset.spec(model).template_arguments
    metadata = {
        "model": read_json(context.layout.model_note(model))["weights"],
        "template": template_hash(load_tokenizer(folder), arguments),
        "dtype": scoring_dtype(settings.dtype, folder),
        "variant": settings.variant,
        "tap": settings.tap,
        "inter_weight": settings.inter_weight,
        "without_value": missing,
        "seconds": seconds,
        "prompt_tokens": shards[0].n_prefix + int(frame["n_question"].sum()),
    }
    write_table(target, frame, SCORES, metadata)
    measures = {
        "prompts": len(frame),
        "seconds": seconds,
        "prompts_per_second": len(frame) / seconds,
        "tokens_per_second": sum(shard.tokens for shard in shards) / seconds,
        "without_value": missing,
        "c_mean": float(frame["c"].mean()) if missing < len(frame) else None,
    }
    track(context, "score", model, dataset, target, measures)
    for path in paths:
        shutil.rmtree(path.with_suffix(".parts"), ignore_errors=True)
        for torn in path.parent.glob(f".{path.stem}.*"):  # of a job that was killed as it wrote
            torn.unlink(missing_ok=True)
    print(f"{len(frame)} prompts in {seconds:.2f} s; shared prefix {shards[0].n_prefix} tokens")
    if missing:
        print(f"warning: {missing} of {len(frame)} prompts have no value (variant 'released': NaN)")


def with_signals(frame: pd.DataFrame, settings: Scoring) -> pd.DataFrame:
    """Add c, and C at further taps, to the table of `gather`; drops the taps' own parts."""
    frame = frame.copy()
    weight = settings.inter_weight
    intra = "c_intra_offdiagonal" if settings.variant == "offdiagonal" else "c_intra"
    if settings.variant == "released":
        frame["c"] = frame["c_released"]
    else:
        frame["c"] = concentration(frame[intra], frame["c_inter"], weight)
    for tap in settings.taps[1:]:
        parts = frame[f"{tap}.{intra}"], frame[f"{tap}.c_inter"]
        frame[f"c_{tap}"] = concentration(*parts, weight)
    return frame[[name for name in frame.columns if "." not in name]]


def train_table(path: Path, dataset: str) -> pd.DataFrame:
    """A data set's training prompts; DataError if there are none."""
    frame = read_table(path, PROMPTS)
    if frame.empty:
        raise DataError(f"{path}: no training prompts (datasets.{dataset}.train is 0)")
    return frame


def track(
    context: Context,
    stage: str,
    model: str,
    dataset: str,
    target: Path,
    measures: dict[str, Any],
    slice_of: Any = plan.score_slice,
    artifacts: Sequence[Path] = (),
) -> None:
    """Record a signal stage as an MLflow run."""
    run = context.track(
        stage,
        f"{stage} {model}/{dataset}",
        target.with_name(f"{stage}{TRACKED}"),
        slice_of(context.preset, model, dataset),
        tags={"gainrl.model": model, "gainrl.dataset": dataset},
    )
    path = context.layout.prompts(model, dataset)
    run.dataset(dataset, plan.file_digest(path), path, len(read_table(path, PROMPTS)))
    run.metrics([{"step": 0, **{k: v for k, v in measures.items() if v is not None}}])
    for item in (target, *artifacts):
        run.artifact(item)
    run.finish()
