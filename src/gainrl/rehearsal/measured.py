"""What a rehearsal measured: speeds, lengths and memory, by model. What was not run has no row.

A rehearsal is short, so a first step (compilation, caches) is left out wherever there is a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from gainrl import plan
from gainrl.models.shapes import architecture
from gainrl.plan import RunKey
from gainrl.records import SCORES, read_json, read_metadata, read_table
from gainrl.records.runs import StepRecord, TimingRecord, read_rows
from gainrl.rehearsal.jobs import Job
from gainrl.results.flops import FORWARD, step_flops
from gainrl.stages.common import Context
from gainrl.training import files

PARTS = {
    "seconds_update_weights": "weight sync",
    "seconds_save_checkpoint": "save",
    "seconds_testing": "tests of a step",
    "seconds_gen": "rollout",
}


@dataclass(frozen=True)
class Measured:
    """A number: the median of `count` of them, of a model and what it was measured on."""

    quantity: str
    model: str
    of: str
    value: float
    unit: str
    count: int


def measure(context: Context, jobs: Iterable[Job]) -> list[Measured]:
    """Everything that the finished jobs allow to say."""
    found = [*_prefill(context), *_lengths(context), *_training(context), *_memory(jobs)]
    return sorted(found, key=lambda each: (each.quantity, each.model, each.of))


def table(found: Iterable[Measured]) -> pd.DataFrame:
    """A row a number."""
    return pd.DataFrame([vars(each) for each in found], columns=list(Measured.__annotations__))


def _prefill(context: Context) -> Iterator[Measured]:
    layout = context.layout
    for model in context.preset.models:
        for dataset in plan.datasets_of(context.preset, model):
            path = layout.signal(model, dataset, "scores")
            if not path.exists():
                continue
            tokens = int(read_table(path, SCORES)["n_question"].sum())
            seconds = float(read_metadata(path)["seconds"])
            yield Measured("prefill", model, dataset, tokens / seconds, "question tokens/s", 1)


def _lengths(context: Context) -> Iterator[Measured]:
    """Mean response of the start model, at the full length that its tests allow."""
    for model in context.preset.models:
        for benchmark in context.preset.datasets:
            path = context.layout.start(model, benchmark)
            length = read_json(path).get("response_length") if path.exists() else None
            if length is not None:
                yield Measured("mean response", model, benchmark, length, "tokens", 1)


def _training(context: Context) -> Iterator[Measured]:
    """Speeds of each run's steps."""
    for key in plan.runs(context.preset):
        folder = context.layout.run(key)
        if not (folder / files.DONE).exists():
            continue
        steps = pd.DataFrame(read_rows(folder / files.STEPS, StepRecord))
        seconds = pd.DataFrame(read_rows(folder / files.TIMING, TimingRecord))
        later = slice(1, None) if len(steps) > 1 else slice(None)
        steps, seconds = steps[later], seconds[later]
        median = partial(_median, key.model, f"{key.dataset}/{key.method}")
        yield median("decoding", steps["rollout_tokens"] / seconds["seconds_rollout"], "tokens/s")
        yield median("training", _flops(context, key, steps) / seconds["seconds_train"], "FLOP/s")
        for name, quantity in PARTS.items():
            if name in seconds and seconds[name].notna().any():
                yield median(quantity, seconds[name].dropna(), "s")


def _median(model: str, of: str, quantity: str, values: pd.Series, unit: str) -> Measured:
    return Measured(quantity, model, of, float(np.median(values)), unit, len(values))


def _flops(context: Context, key: RunKey, steps: pd.DataFrame) -> pd.Series:
    """FLOP of the passes after the rollout, by step, over all GPUs of the run."""
    preset = context.preset
    size = architecture(preset.models[key.model], key.model).parameters
    training = preset.training_for(key.dataset, key.model, key.method).model_dump(mode="json")
    algorithm, responses = preset.methods[key.method].algorithm, steps["rollout_tokens"]
    whole = step_flops(size, steps["prompt_tokens"], responses, training, algorithm)
    return pd.Series(whole - FORWARD * size * responses.to_numpy(), steps.index)


def _memory(jobs: Iterable[Job]) -> Iterator[Measured]:
    """The most host memory of a kind of job, by model."""
    most: dict[tuple[str, str], list[float]] = {}
    for job in jobs:
        memory = job.usage[1]
        if memory is not None:
            most.setdefault((job.rule, job.of.get("model", "")), []).append(memory)
    for (rule, model), values in most.items():
        yield Measured("host memory", model, rule, max(values), "MiB", len(values))
