"""Evaluation of a model before training, and what every test of a checkpoint needs."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.errors import DataError
from gainrl.evaluation.accuracy import answer, answered, requests, summary
from gainrl.evaluation.samples import Benchmark
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.models.sampling import Sampling
from gainrl.plan.layout import TRACKED
from gainrl.records import PROMPTS, SAMPLES, read_table, write_json, write_table
from gainrl.stages.common import Context, grader_for, problem_limit, render_tests
from gainrl.stages.engines import engine_named


def load_benchmark(
    context: Context, model: str, name: str, config: Any, tokenizer: Any
) -> Benchmark:
    """Rendered held-out prompts of a data set; config: transformers' one of the model."""
    path = context.layout.split(name, "eval")
    table = read_table(path, PROMPTS)
    if table.empty:
        raise DataError(f"{path}: no held-out prompts to test on")
    preset = context.preset
    limit = problem_limit(preset, model, name, config, max_response(preset, model, name))
    prompts = render_tests(preset, tokenizer, model, name, table, config)
    return Benchmark(name, prompts, list(table["answer"]), grader_for(preset, name), limit)


def max_response(preset: Preset, model: str, dataset: str) -> int:
    """Longest answer in evaluation, in tokens."""
    return (
        preset.evaluation_for(dataset, model).max_response
        or preset.training_for(dataset, model).max_response
    )


def evaluate_start(context: Context, model: str, benchmark: str) -> None:
    """pass@1 of a model before RL; step 0 of every run that starts from it.

    By the engine that tests the checkpoints of these runs.

    Raises:
        BackendError: vLLM failed.
    """
    torch.set_num_threads(context.preset.threads)
    folder, target = context.layout.model(model), context.layout.start(model, benchmark)
    tokenizer, config = load_tokenizer(folder), AutoConfig.from_pretrained(folder)
    loaded = load_benchmark(context, model, benchmark, config, tokenizer)
    settings = context.preset.evaluation_for(benchmark, model)
    most = max_response(context.preset, model, benchmark)
    engine = plan.engine_of(context.preset, benchmark, model)
    if engine == "transformers":
        network = load_model(folder, dtype=context.preset.spec(model).dtype)
        samples = answer(network, tokenizer, loaded, settings, most)
    else:
        sampling = Sampling(settings.temperature, settings.top_p, most)
        wanted = requests(loaded, settings.samples)
        log = target.with_suffix(f".{engine}.log")
        target.parent.mkdir(parents=True, exist_ok=True)
        named = (context, engine, model, folder, tokenizer, wanted, sampling, log)
        answers = engine_named(*named).answers(wanted, sampling, settings.seed)
        samples = answered(loaded, wanted, answers, tokenizer, settings.samples)
    result = summary(samples, benchmark, 0)
    write_table(target.with_suffix(".parquet"), samples, SAMPLES)
    run = context.track(
        "evaluate",
        f"evaluate {model} on {benchmark}",
        target.with_suffix(TRACKED),
        plan.evaluation_slice(context.preset, model, benchmark),
        tags={"gainrl.model": model, "gainrl.dataset": benchmark},
    )
    run.metrics([result])
    run.finish()
    write_json(target, result)
    print(f"{model} on {benchmark}: {100 * result['accuracy']:.1f}%")
    if overlong := result.get("overlong"):
        print(f"too long for the model, counted as wrong: {', '.join(overlong)}")
