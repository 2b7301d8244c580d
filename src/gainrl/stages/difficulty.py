"""Measured difficulties of a data set under a start model."""

from __future__ import annotations

import time

import pandas as pd
import torch

from gainrl import plan
from gainrl.config.evaluation import Evaluation
from gainrl.evaluation.accuracy import answer
from gainrl.evaluation.samples import Benchmark
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.records import DIFFICULTY, write_table
from gainrl.stages.common import Context, grader_for, render_prompts
from gainrl.stages.score import track, train_table


def measure_difficulty(context: Context, model: str, dataset: str) -> None:
    """ADARFT's coefficient, 100 (1 - pass rate), from rollouts of the start model."""
    torch.set_num_threads(context.preset.threads)
    folder, training = context.layout.model(model), context.preset.training_for(dataset, model)
    network = load_model(folder, dtype=context.preset.models[model].dtype)
    tokenizer, table = (
        load_tokenizer(folder),
        train_table(context.layout.prompts(model, dataset), dataset),
    )
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
    benchmark = Benchmark(
        dataset, prompts, list(table["answer"]), grader_for(context.preset, dataset)
    )
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
    target = context.layout.signal(model, dataset, "difficulty")
    write_table(target, frame, DIFFICULTY, {"seconds": seconds})
    measures = {
        "seconds": seconds,
        "rollout_tokens": int(samples["tokens"].sum()),
        "pass_rate": float(frame["pass_rate"].mean()),
        "zero_variance": float(frame["pass_rate"].isin([0.0, 1.0]).mean()),
    }
    track(context, "difficulty", model, dataset, target, measures, plan.difficulty_slice)
    print(f"{len(frame)} prompts x {settings.samples} rollouts in {seconds:.1f} s; {measures}")
