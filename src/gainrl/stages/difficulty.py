"""Measured difficulties of a data set under a start model."""

from __future__ import annotations

import shutil

import pandas as pd
from transformers import AutoConfig

from gainrl import plan
from gainrl.data.templates import template_hash
from gainrl.evaluation import answering
from gainrl.evaluation.answering import Questions
from gainrl.evaluation.samples import Benchmark, graded
from gainrl.models.loading import load_tokenizer
from gainrl.models.sampling import Sampling
from gainrl.records import DIFFICULTY, write_table
from gainrl.stages import engines
from gainrl.stages.common import Context, grader_for, renderer_for
from gainrl.stages.prepare import weights_digest
from gainrl.stages.score import track, train_table


def measure_difficulty(context: Context, model: str, dataset: str) -> None:
    """ADARFT's coefficient of every training prompt, in this process alone."""
    for shard in range(context.preset.scoring.difficulty_shards):
        generate_rollouts(context, model, dataset, shard)
    gather_difficulty(context, model, dataset)


def generate_rollouts(context: Context, model: str, dataset: str, shard: int) -> None:
    """Rollouts of the start model to one shard of the prompts; those that are there are kept.

    Raises:
        DataError: no prompts, or no such shard.
        BackendError: vLLM failed; what it had answered is kept.
    """
    engines.generate(context, _questions(context, model, dataset), shard)


def gather_difficulty(context: Context, model: str, dataset: str) -> None:
    """Grade the rollouts of all shards: 100 (1 - pass rate) of each prompt.

    Raises:
        DataError: rollouts are missing.
    """
    asked = _questions(context, model, dataset)
    found = answering.gathered(asked)
    samples = graded(asked.benchmark, found.answers, asked.tokenizer)
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
    asked_tokens = sum(len(asked.benchmark.prompts.tokens[row]) for row in asked.benchmark.asked)
    tokens = {"prompt_tokens": asked_tokens, "rollout_tokens": int(samples["tokens"].sum())}
    about = {"seconds": found.seconds, "engine": found.engine, "draws": found.draws, **tokens}
    write_table(target, frame, DIFFICULTY, about)
    measures = {
        "seconds": found.seconds,
        **tokens,
        "pass_rate": float(frame["pass_rate"].mean()),
        "zero_variance": float(frame["pass_rate"].isin([0.0, 1.0]).mean()),
    }
    track(context, "difficulty", model, dataset, target, measures, plan.difficulty_slice)
    shutil.rmtree(asked.parts)
    times = f"{len(frame)} prompts x {asked.samples} rollouts in {found.seconds:.1f} s"
    print(f"{times}, {found.engine}; {measures}")


def _questions(context: Context, model: str, dataset: str) -> Questions:
    preset, folder = context.preset, context.layout.model(model)
    training = preset.training_for(dataset, model)
    evaluation = preset.evaluation_for(dataset, model)
    tokenizer, config = load_tokenizer(folder), AutoConfig.from_pretrained(folder)
    path = context.layout.prompts(model, dataset)
    table = train_table(path, dataset)
    renderer = renderer_for(preset, tokenizer, model, dataset, config, room=training.max_response)
    prompts = renderer.encode(list(table["id"]), list(table["question"]), segments=False)
    return Questions(
        model,
        folder,
        plan.answering_engine(preset, dataset, model),
        tokenizer,
        Benchmark(dataset, prompts, list(table["answer"]), grader_for(preset, dataset)),
        Sampling(training.temperature, training.top_p, training.max_response),
        preset.scoring.difficulty_samples,
        evaluation.seed,
        config.get_text_config().max_position_embeddings,
        preset.scoring.difficulty_shards,
        context.layout.difficulty_parts(model, dataset),
        {
            "slice": plan.digest(plan.difficulty_slice(preset, model, dataset)),
            "weights": weights_digest(folder),
            "data": plan.file_digest(path),
            "template": template_hash(tokenizer, preset.spec(model).template_arguments),
        },
    )
