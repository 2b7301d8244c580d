"""What a rehearsal measured: speeds, lengths and memory, by model. What was not run has no row.

A rehearsal is short, so a first step (compilation, caches) is left out wherever there is a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from statistics import median

import pandas as pd

from gainrl import plan
from gainrl.models.shapes import architecture
from gainrl.plan import RunKey
from gainrl.records import SCORES, read_json, read_lines, read_metadata, read_table
from gainrl.records.measured import UNITS, Measured
from gainrl.records.runs import StepRecord, TimingRecord, read_rows
from gainrl.rehearsal.jobs import Job
from gainrl.results.flops import FORWARD, step_flops
from gainrl.stages.common import Context
from gainrl.training import files

OVERHEADS = {
    "seconds_start": "start",
    "seconds_sync": "weight sync",
    "seconds_save": "save",
    "seconds_tests": "tests of a step",
    "gpu_mib": "GPU memory",
}


def measure(context: Context, jobs: Iterable[Job]) -> list[Measured]:
    """Everything that the finished jobs allow to say."""
    found = [*_prefill(context), *_lengths(context), *_training(context), *_memory(context, jobs)]
    return sorted(found, key=lambda each: (each.quantity, each.model, each.of))


def _prefill(context: Context) -> Iterator[Measured]:
    layout, preset = context.layout, context.preset
    for model in preset.models:
        for dataset in plan.datasets_of(preset, model):
            paths = (layout.signal(each, dataset, "scores") for each in preset.starts(model))
            rates = [
                int(read_table(path, SCORES)["n_question"].sum())
                / float(read_metadata(path)["seconds"])
                for path in paths
                if path.exists()
            ]
            if rates:
                yield _number("prefill", model, dataset, rates)


def _lengths(context: Context) -> Iterator[Measured]:
    """Mean response of the start model, at the full length that its tests allow."""
    preset = context.preset
    for model in preset.models:
        for benchmark in preset.datasets:
            paths = (context.layout.start(each, benchmark) for each in preset.starts(model))
            found = [read_json(path).get("response_length") for path in paths if path.exists()]
            if lengths := [length for length in found if length is not None]:
                yield _number("mean response", model, benchmark, lengths)


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
        number = partial(_number, model=key.model, of=f"{key.dataset}/{key.method}")
        rolled = steps["rollout_tokens"] / seconds["seconds_rollout"]
        yield number("decoding", values=rolled)
        yield number("rollout", values=seconds["seconds_rollout"])
        yield number("training", values=_flops(context, key, steps) / seconds["seconds_train"])
        overheads = pd.DataFrame(read_lines(folder / files.OVERHEADS))
        for name, quantity in OVERHEADS.items():
            if name in overheads and (values := overheads[name].dropna()).any():
                yield number(quantity, values=values)


def _number(quantity: str, model: str, of: str, values: Iterable[float]) -> Measured:
    found = list(values)
    return Measured(quantity, model, of, median(found), UNITS[quantity], len(found))


def _flops(context: Context, key: RunKey, steps: pd.DataFrame) -> pd.Series:
    """FLOP of the passes after the rollout, by step, over all GPUs of the run."""
    preset = context.preset
    size = architecture(preset.models[key.model], key.model).parameters
    training = preset.training_for(key.dataset, key.model, key.method).model_dump(mode="json")
    algorithm, responses = preset.methods[key.method].algorithm, steps["rollout_tokens"]
    groups = steps.get("trained_groups")
    whole = step_flops(size, steps["prompt_tokens"], responses, training, algorithm, groups=groups)
    return pd.Series(whole - FORWARD * size * responses.to_numpy(), steps.index)


def _memory(context: Context, jobs: Iterable[Job]) -> Iterator[Measured]:
    """The most host memory of a kind of job, by model."""
    most: dict[tuple[str, str], list[float]] = {}
    for job in jobs:
        memory = job.usage[1]
        if memory is not None:
            model = context.preset.family(job.of.get("model", ""))
            most.setdefault((job.rule, model), []).append(memory)
    for (rule, model), values in most.items():
        yield _number("host memory", model, rule, [max(values)])
