"""Tests under a protocol: every sample is generated once, kept, graded and summed up.

The answers are kept in `parts/` (gainrl.evaluation.answering); `collect` grades them all and writes
the score.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from typing import Any

import pandas as pd
from transformers import AutoConfig

from gainrl import plan
from gainrl.data import registry
from gainrl.data.templates import template_hash
from gainrl.errors import DataError
from gainrl.evaluation import answering
from gainrl.evaluation.answering import Questions
from gainrl.evaluation.estimators import by_problem
from gainrl.evaluation.samples import OVERLONG, Benchmark, graded
from gainrl.models.loading import load_tokenizer
from gainrl.models.sampling import Sampling
from gainrl.plan.benchmarks import Test, test_slice
from gainrl.plan.layout import TRACKED
from gainrl.records import PROMPTS, SAMPLES, read_table, write_json, write_table
from gainrl.stages import engines
from gainrl.stages.common import (
    Context,
    commit,
    grader_for,
    problem_limit,
    render_tests,
    versions,
)
from gainrl.stages.prepare import weights_digest


def prepare(context: Context, test: Test) -> Questions:
    """Render the prompts of a test and settle how they are sampled.

    Raises:
        DataError: the benchmark has no held-out prompts, or none that fits.
    """
    preset, folder = context.preset, test.weights(context.layout)
    tokenizer, config = load_tokenizer(folder), AutoConfig.from_pretrained(folder)
    path = context.layout.split(test.benchmark, "eval")
    table = read_table(path, PROMPTS)
    if table.empty:
        raise DataError(f"{path}: no held-out prompts to test on")
    prompts = render_tests(preset, tokenizer, test.model, test.benchmark, table, config)
    sampled = preset.sampled(test.protocol, test.benchmark)
    most = sampled.max_response or preset.training_for(test.benchmark, test.model).max_response
    window = config.get_text_config().max_position_embeddings
    benchmark = Benchmark(
        test.benchmark,
        prompts,
        list(table["answer"]),
        grader_for(preset, test.benchmark),
        problem_limit(preset, test.model, test.benchmark, config, response=1),
    )
    shortest = min(len(prompts.tokens[row]) for row in benchmark.asked)
    sampling = Sampling(sampled.temperature, sampled.top_p, min(most, window - shortest))
    arguments = preset.spec(test.model).template_arguments
    head = {
        "slice": plan.digest(test_slice(preset, test)),
        "weights": weights_digest(folder),
        "data": plan.file_digest(path),
        "template": template_hash(tokenizer, arguments),
        "max_tokens": sampling.max_tokens,
    }
    return Questions(
        test.model,
        folder,
        test.engine,
        tokenizer,
        benchmark,
        sampling,
        sampled.samples,
        preset.testing.seed,
        window,
        preset.testing.shards,
        test.folder(context.layout) / "parts",
        head,
    )


def generate(context: Context, test: Test, shard: int = 0) -> None:
    """Generate the answers of one shard that are not there yet (errors: `answering.generate`)."""
    engines.generate(context, prepare(context, test), shard)


def collect(context: Context, test: Test) -> None:
    """Grade the answers of all shards; write samples.parquet and, last, score.json.

    Raises:
        DataError: answers are missing.
        GradingError: programs are to be graded and no sandbox works here.
    """
    asked = prepare(context, test)
    found = answering.gathered(asked)
    began = time.perf_counter()
    frame = graded(asked.benchmark, found.answers, asked.tokenizer, asked.samples)
    grading = time.perf_counter() - began
    score = {
        **_score(context, test, asked, frame),
        "grader": asked.benchmark.grader.version,
        "engine": found.engine,
        "draws": found.draws,
        "seconds": {"generating": found.seconds, "grading": grading},
    }
    write_table(test.samples(context.layout), frame, SAMPLES, asked.head)
    _track(context, test, asked, score)
    write_json(test.score(context.layout), score)
    shutil.rmtree(asked.parts)
    shown = "  ".join(f"{name} {100 * value:.1f}%" for name, value in score["metrics"].items())
    print(f"{test.subject} on {test.benchmark}, {test.protocol}, {score['engine']}: {shown}")
    if score["overlong"]:
        print(f"too long for the model, counted as wrong: {', '.join(score['overlong'])}")


def _score(context: Context, test: Test, asked: Questions, frame: pd.DataFrame) -> dict[str, Any]:
    """The metrics, and everything that they depend on."""
    preset = context.preset
    sampled = preset.sampled(test.protocol, test.benchmark)
    votes = registry.grader_of(preset.datasets[test.benchmark]).startswith("maths")
    values = by_problem(frame, sampled.pass_at, votes)
    answered = frame[frame["reason"] != OVERLONG]
    return {
        "preset": preset.preset,
        "subject": test.subject,
        "model": test.model,
        "benchmark": test.benchmark,
        "protocol": test.protocol,
        "metrics": {name: float(values[name].mean()) for name in values},
        "problems": len(values),
        "samples": asked.samples,
        "sampling": asdict(asked.sampling),
        "seed": preset.testing.seed,
        "overlong": [asked.benchmark.prompts.ids[row] for row in asked.benchmark.overlong],
        "truncated": float(answered["truncated"].mean()),
        "response_length": float(answered["tokens"].mean()),
        "without_answer": float(answered["extracted"].isna().mean()),
        **{key: asked.head[key] for key in ("weights", "data", "template", "slice")},
        "revision": getattr(preset.spec(test.model), "revision", None),
        "config": test_slice(preset, test),
        "versions": versions(),
        "commit": commit(),
    }


def _track(context: Context, test: Test, asked: Questions, score: dict[str, Any]) -> None:
    tags = {
        "gainrl.model": test.model,
        "gainrl.benchmark": test.benchmark,
        "gainrl.protocol": test.protocol,
        "gainrl.engine": score["engine"],
        "gainrl.grader": score["grader"],
    }
    run = context.track(
        "benchmark",
        f"{test.subject} on {test.benchmark} ({test.protocol})",
        test.folder(context.layout) / f"benchmark{TRACKED}",
        {**asked.head, **test_slice(context.preset, test)},
        tags=tags,
    )
    others = {key: score[key] for key in ("truncated", "response_length", "without_answer")}
    run.metrics([{"step": 0, **score["metrics"], **others}])
    run.artifact(test.samples(context.layout))
    run.finish()
