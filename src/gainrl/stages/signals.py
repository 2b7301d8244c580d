"""Scores, measured difficulties and orders of a data set under a start model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gainrl import planning
from gainrl.config import Evaluation
from gainrl.data.prompts import template_hash
from gainrl.errors import DataError
from gainrl.evaluation.accuracy import Benchmark, answer
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.records import (
    DIFFICULTY,
    ORDER,
    PROMPTS,
    SCORES,
    read_json,
    read_metadata,
    read_table,
    write_table,
)
from gainrl.signals.prefill import score
from gainrl.stages.common import Context, render_prompts

SHUFFLE_SEED = 0


def _train_table(context: Context, dataset: str) -> pd.DataFrame:
    path = context.layout.split(dataset, "train")
    frame = read_table(path, PROMPTS)
    if frame.empty:
        raise DataError(f"{path}: no training prompts (datasets.{dataset}.train is 0)")
    return frame


def score_prompts(context: Context, model: str, dataset: str) -> None:
    """One prefill per training prompt: C_intra and C_inter (Eq. 5) under the start model."""
    torch.set_num_threads(context.preset.threads)
    folder = context.layout.model(model)
    network = load_model(folder, dtype=context.preset.models[model].dtype)
    tokenizer = load_tokenizer(folder)
    prompts = render_prompts(
        context, tokenizer, model, dataset, _train_table(context, dataset), network
    )
    began = time.perf_counter()
    frame = score(network, prompts, context.preset.scoring.batch_tokens)
    seconds = time.perf_counter() - began
    target = context.layout.signals(model, dataset) / "scores.parquet"
    metadata = {
        "model": read_json(folder / "gainrl.json")["weights"],
        "template": template_hash(tokenizer),
        "dtype": str(network.dtype).removeprefix("torch."),
        "seconds": seconds,
    }
    write_table(target, frame, SCORES, metadata)
    tokens = int(prompts.n_question.sum()) + prompts.n_prefix
    measures = {
        "prompts": len(frame),
        "seconds": seconds,
        "prompts_per_second": len(frame) / seconds,
        "tokens_per_second": tokens / seconds,
        "c_mean": float((frame["c_intra"] + frame["c_inter"]).mean()),
    }
    _track(context, "score", model, dataset, target, measures)
    print(f"{len(frame)} prompts in {seconds:.2f} s; shared prefix {prompts.n_prefix} tokens")


def measure_difficulty(context: Context, model: str, dataset: str) -> None:
    """ADARFT's coefficient, 100 (1 - pass rate), from rollouts of the start model."""
    torch.set_num_threads(context.preset.threads)
    folder, training = context.layout.model(model), context.preset.training_for(dataset, model)
    network = load_model(folder, dtype=context.preset.models[model].dtype)
    tokenizer, table = load_tokenizer(folder), _train_table(context, dataset)
    room = training.max_response
    prompts = render_prompts(
        context, tokenizer, model, dataset, table, network, segments=False, room=room
    )
    settings = Evaluation(
        samples=context.preset.scoring.difficulty_samples,
        temperature=training.temperature,
        top_p=training.top_p,
        batch=context.preset.evaluation_for(dataset, model).batch,
        seed=context.preset.evaluation_for(dataset, model).seed,
    )
    began = time.perf_counter()
    benchmark = Benchmark(dataset, prompts, list(table["answer"]))
    samples = answer(network, tokenizer, benchmark, settings, room)
    seconds = time.perf_counter() - began
    rate = samples.groupby("id", sort=False)["correct"].agg(["mean", "size"]).reset_index()
    frame = pd.DataFrame(
        {
            "id": rate["id"],
            "difficulty": 100 * (1 - rate["mean"]),
            "pass_rate": rate["mean"],
            "samples": rate["size"],
        }
    )
    target = context.layout.signals(model, dataset) / "difficulty.parquet"
    write_table(target, frame, DIFFICULTY, {"seconds": seconds})
    measures = {
        "seconds": seconds,
        "rollout_tokens": int(samples["tokens"].sum()),
        "pass_rate": float(frame["pass_rate"].mean()),
        "zero_variance": float(frame["pass_rate"].isin([0.0, 1.0]).mean()),
    }
    _track(context, "difficulty", model, dataset, target, measures, planning.difficulty_slice)
    print(f"{len(frame)} prompts x {settings.samples} rollouts in {seconds:.1f} s; {measures}")


def _track(
    context: Context,
    stage: str,
    model: str,
    dataset: str,
    target: Path,
    measures: dict[str, Any],
    slice_of: Any = planning.score_slice,
) -> None:
    """Record a signal stage as an MLflow run."""
    run = context.track(
        stage,
        f"{stage} {model}/{dataset}",
        target.parent / f"{stage}.tracking.json",
        slice_of(context.preset, model, dataset),
        tags={"gainrl.model": model, "gainrl.dataset": dataset},
    )
    path = context.layout.split(dataset, "train")
    run.dataset(dataset, planning.file_digest(path), path, len(read_table(path, PROMPTS)))
    run.metrics([{"step": 0, **measures}])
    run.artifact(target)
    run.finish()


def make_order(context: Context, model: str, dataset: str, order: str) -> None:
    """Sort the prompts; ties go by id. The file names the scores it came from.

    angle: C descending (Algorithm 1); reversed: C ascending; length: shortest question first (the
    published orders are that, at a rank correlation of .96 to .99); shuffled: random but fixed.
    """
    source = context.layout.signals(model, dataset) / "scores.parquet"
    scores = read_table(source, SCORES)
    combined = scores["c_intra"] + scores["c_inter"]
    keys = {
        "angle": (combined, False),
        "reversed": (combined, True),
        "length": (scores["n_question"].astype(float), True),
        "shuffled": (_random_keys(scores["id"]), True),
    }
    value, ascending = keys[order]
    frame = pd.DataFrame({"id": scores["id"], "value": value})
    frame = frame.sort_values(["value", "id"], ascending=[ascending, True], kind="stable")
    frame.insert(0, "rank", np.arange(len(frame)))
    metadata = {
        "scores": planning.file_digest(source),
        "scores_file": str(source),
        "order": order,
        "scoring": read_metadata(source),
    }
    write_table(
        context.layout.order(model, dataset, order), frame.reset_index(drop=True), ORDER, metadata
    )


def _random_keys(ids: pd.Series) -> pd.Series:
    """A fixed random key a prompt, the same whatever order the table is in."""
    rank = ids.rank(method="first").astype(int) - 1
    keys = np.random.default_rng([SHUFFLE_SEED, 31]).permutation(len(ids))
    return pd.Series(keys[rank.to_numpy()].astype(float), index=ids.index)
