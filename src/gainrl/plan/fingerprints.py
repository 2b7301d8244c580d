"""Slices of a preset: what the result of a stage depends on beside its input files. No torch."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from typing import Any

from gainrl.config.data import Mix
from gainrl.config.preset import Preset
from gainrl.plan import tuning
from gainrl.plan.backends import Backend, answering_engine, backend_of, engine_of
from gainrl.plan.datasets import rendering_slice, warmup_datasets
from gainrl.plan.runs import (
    benchmarks_of,
    keeps_model,
    need_studies,
    prompt_limits,
    snapshots,
)
from gainrl.training import algorithms


def dataset_slice(preset: Preset, dataset: str) -> dict[str, Any]:
    """What a data set's tables depend on, the parts of a mix included."""
    spec = preset.datasets[dataset]
    found = _sorted(spec.fingerprint(exclude={"overlong"}))  # which is of a model's prompts
    if isinstance(spec, Mix):
        found["of"] = {name: dataset_slice(preset, name) for name in spec.parts}
    return found


def model_slice(preset: Preset, model: str) -> dict[str, Any]:
    """What a model folder depends on, the prompts of its warm-up included."""
    data = {name: dataset_slice(preset, name) for name in warmup_datasets(preset, model)}
    return {
        "model": preset.spec(model).fingerprint(),
        "warmup_data": data,
        **_arithmetic(preset),
    }


def prompts_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What the choice of training prompts depends on beside their input files."""
    return {
        **rendering_slice(preset, model, dataset),
        **preset.datasets[dataset].fingerprint(include={"overlong"}),
        **asdict(prompt_limits(preset, model, dataset)),
    }


def _prompt_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What the rendered training prompts depend on beside their input files."""
    return {
        **rendering_slice(preset, model, dataset),
        "max_prompt": preset.training_for(dataset, model).max_prompt,
        **_cpu(preset),
    }


def score_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What scores depend on beside their input files; they are the same for every shard count."""
    others = {"shards", "difficulty_samples", "difficulty_shards"}
    scoring = preset.scoring.fingerprint(exclude=others)
    return {"scoring": scoring, **_prompt_slice(preset, model, dataset)}


def difficulty_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What measured difficulties depend on beside their input files, for any number of shards."""
    found = rollouts_slice(preset, model, dataset)
    if answering_engine(preset, dataset, model) == "vllm":
        found |= {"engine": "vllm", "vllm": preset.testing.vllm}
    return found


def rollouts_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What rollouts of a start model by transformers depend on beside their input files."""
    training = preset.training_for(dataset, model)
    evaluation = preset.evaluation_for(dataset, model)
    return {
        **_prompt_slice(preset, model, dataset),
        "samples": preset.scoring.difficulty_samples,
        "dtype": preset.spec(model).dtype,
        "sampling": [training.temperature, training.top_p, training.max_response],
        "seed": evaluation.seed,
        "batch": evaluation.batch,
    }


def features_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What the components of the mean states depend on beside their input files."""
    scoring = preset.scoring.fingerprint(include={"dtype", "batch_tokens"})
    return {"scoring": scoring, **_prompt_slice(preset, model, dataset)}


def table_slice(preset: Preset, experiment: str) -> dict[str, Any]:
    """What a table or figure depends on beside the runs."""
    chosen = preset.experiments[experiment]
    return {
        "statistics": preset.statistics.fingerprint(),
        "experiment": chosen.fingerprint(),
        "labels": {name: preset.methods[name].label for name in chosen.methods},
    }


def layers_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What layer profiles and cosine maps depend on beside their input files."""
    return {**_study(preset, "layers"), **_prompt_slice(preset, model, dataset)}


def answers_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What the answers behind Figure 2 depend on beside their input files."""
    sampled = rollouts_slice(preset, model, dataset)
    return {**_study(preset, "answers"), **{k: v for k, v in sampled.items() if k != "samples"}}


def gradients_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What per-prompt gradient norms depend on beside their input files."""
    training = preset.training_for(dataset, model)
    return {
        **_study(preset, "signal"),
        **_prompt_slice(preset, model, dataset),
        "sampling": [training.temperature, training.top_p, training.max_response],
        "seed": preset.evaluation_for(dataset, model).seed,
    }


def probe_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What the probe of a run's snapshots depends on beside the run."""
    sampled = rollouts_slice(preset, model, dataset)
    return {
        **_study(preset, "dynamics"),
        **score_slice(preset, model, dataset),
        **{k: v for k, v in sampled.items() if k != "samples"},
    }


def _study(preset: Preset, part: str) -> dict[str, Any]:
    studies = need_studies(preset, part)
    return {part: getattr(studies, part).fingerprint()}


def evaluation_slice(preset: Preset, model: str, benchmark: str) -> dict[str, Any]:
    """What the start model's accuracy depends on beside its input files."""
    training, engine = preset.training_for(benchmark, model), engine_of(preset, benchmark, model)
    other = {"engine": engine, "vllm": preset.testing.vllm} if engine != Backend.engine else {}
    return {
        **other,
        "evaluation": preset.evaluation_for(benchmark, model).fingerprint(),
        "max_response": training.max_response,
        "max_prompt": training.max_prompt,
        **rendering_slice(preset, model, benchmark),
        **_cpu(preset),
    }


def run_slice(preset: Preset, model: str, dataset: str, method: str) -> dict[str, Any]:
    """What a training run depends on beside its seed and its input files."""
    scoring = preset.scoring_for(method)
    benchmarks = benchmarks_of(preset, model, dataset, method)
    critic = algorithms.named(preset.methods[method].algorithm).critic
    return {
        "training": {
            **preset.training_for(dataset, model, method).fingerprint(),
            "keep_model": keeps_model(preset, model, dataset, method),
        },
        "evaluation": preset.evaluation_for(dataset, model).fingerprint(),
        "method": _sorted(preset.methods[method].fingerprint(exclude={"label"})),
        **rendering_slice(preset, model, dataset),
        **_cpu(preset),
        "benchmarks": {name: evaluation_slice(preset, model, name) for name in benchmarks},
        "signal": [scoring.variant, scoring.tap, scoring.inter_weight],
        "snapshots": list(snapshots(preset, model, dataset, method)),
        **({"ppo": preset.ppo.fingerprint()} if critic else {}),
        **_sorted(backend_of(preset, dataset, model).fingerprint(preset)),
    }


def train_slice(preset: Preset, model: str, dataset: str, method: str) -> dict[str, Any]:
    """What a training job depends on beside its seeds and its input files, before it has begun.

    A tuned method's settings are in an input file; here is what that is chosen from.
    """
    found = run_slice(preset, model, dataset, method)
    owner = tuning.owner_of(preset, method)
    if owner is None:
        return found
    settings = tuning.settings_of(preset, owner).values()
    varied = {key for setting in settings for key in setting}
    found["training"] = {k: v for k, v in found["training"].items() if k not in varied}
    return {**found, "tuning": digest(tuning_slice(preset, model, dataset, owner))}


def tuning_slice(preset: Preset, model: str, dataset: str, method: str) -> dict[str, Any]:
    """What the choice among a method's tried settings depends on beside their runs."""
    names = tuning.settings_of(preset, method)
    return {
        "tried": {name: run_slice(preset, model, dataset, name) for name in names},
        "seeds": list(tuning.seeds_of(preset, next(iter(names)))),
        "smoothing": preset.statistics.smoothing,
    }


def _cpu(preset: Preset) -> dict[str, Any]:
    """What sums on a CPU depend on beside their terms."""
    return {"threads": preset.threads, **_arithmetic(preset)}


def _arithmetic(preset: Preset) -> dict[str, Any]:
    return preset.fingerprint(include={"arithmetic"})


def _sorted(value: Any) -> Any:
    """The same value with sorted keys: the order of a preset's lines must not rerun anything."""
    return json.loads(json.dumps(value, sort_keys=True))


def digest(value: Any) -> str:
    """Short hash of a JSON-able value."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_digest(path: str | os.PathLike[str]) -> str:
    """Short hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
