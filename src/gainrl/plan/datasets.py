"""A preset's data sets against the registries of tasks and data sets. No torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from gainrl.config.data import Dataset, Files, Generated, Hub, Mix, Registered
from gainrl.config.preset import Preset
from gainrl.data import generate, pools, registry
from gainrl.errors import ConfigError, nearest
from gainrl.grading.own import own
from gainrl.plan.layout import RunKey, Trained

DATA_DIR = "GAINRL_DATA_DIR"
"""Environment variable: the folder of local copies of data sets."""


def check_datasets(preset: Preset) -> None:
    """Refuse what no registry has, pools of tasks without one, and mixes of unlike parts.

    Raises:
        ConfigError: naming the key and the nearest valid name.
    """
    for name, spec in preset.datasets.items():
        if name == "average":
            raise ConfigError("datasets.average: the mean over benchmarks is called so in tables")
        if isinstance(spec, Generated) and spec.task not in generate.TASKS:
            raise ConfigError(
                f"datasets.{name}.task: unknown task '{spec.task}'"
                f"{nearest(spec.task, generate.TASKS)}"
            )
        if isinstance(spec, Generated):
            pools.check(spec, name)
        if isinstance(spec, Registered) and spec.name not in registry.REGISTRY:
            raise ConfigError(
                f"datasets.{name}.name: unknown data set '{spec.name}'"
                f"{nearest(spec.name, registry.REGISTRY)}"
            )
        elif isinstance(spec, Registered) and spec.difficulty == "published":
            train = registry.find(spec.name).train
            if train is None or train.published is None:
                raise ConfigError(
                    f"datasets.{name}.difficulty: the registry knows no published difficulties of "
                    f"'{spec.name}'"
                )
        _check_grader(name, spec)
        if isinstance(spec, Mix):
            _check_mix(preset, name, spec)


def _check_mix(preset: Preset, name: str, spec: Mix) -> None:
    """Refuse a mix whose parts are rendered or graded in another way than the mix."""
    for part in spec.parts:
        if part not in preset.datasets:
            hint = nearest(part, preset.datasets)
            raise ConfigError(f"datasets.{name}.parts: unknown name '{part}'{hint}")
        other = preset.datasets[part]
        if isinstance(other, Mix):
            raise ConfigError(f"datasets.{name}.parts: '{part}' is a mix itself")
        for key in ("prompt", "system", "overlong", "answer_in"):
            if getattr(spec, key) != getattr(other, key):
                raise ConfigError(f"datasets.{name}.{key}: differs from that of its part '{part}'")
        ours, theirs = registry.grader_of(spec), registry.grader_of(other)
        if ours != theirs:
            raise ConfigError(
                f"datasets.{name}.grader: '{ours}', but that of its part '{part}' is '{theirs}'"
            )


def _check_grader(name: str, spec: Dataset) -> None:
    """Refuse a function that cannot be imported, and an expression that nobody would use."""
    grader = registry.grader_of(spec)
    if ":" in grader:
        own(grader, f"datasets.{name}.grader")
    if spec.answer_in and not grader.startswith("maths"):
        raise ConfigError(
            f"datasets.{name}.answer_in: the grader '{grader}' finds answers by itself"
        )


def difficulty_ranges(preset: Preset, dataset: str) -> dict[str, tuple[float, float]]:
    """Ends of the scales of a data set's own difficulties, by its parts (of a mix) that have any.

    The ids of a part's prompts begin with its name.
    """
    spec = preset.datasets[dataset]
    found: dict[str, tuple[float, float]] = {}
    for name in spec.parts if isinstance(spec, Mix) else (dataset,):
        part = preset.datasets[name]
        if isinstance(part, Generated):
            found[name] = pools.difficulty_range(part)
        elif isinstance(part, Registered | Files | Hub) and (
            ends := registry.difficulty_range(part)
        ):
            found[name] = ends
    return found


def goes_by_column(preset: Preset, run: Trained) -> bool:
    """Whether a run's method goes by difficulties that the data set has, and not by measured ones.

    With 'published', if every part of the data set has published ones.
    """
    wanted, spec = preset.methods[run.method].difficulty, preset.datasets[run.dataset]
    if wanted != "published":
        return wanted == "column"
    parts = [preset.datasets[name] for name in spec.parts] if isinstance(spec, Mix) else [spec]
    return all(getattr(part, "difficulty", "own") == "published" for part in parts)


def check_difficulties(preset: Preset, run: RunKey) -> None:
    """Refuse a method that goes by difficulties of a data set that has none of its own.

    Raises:
        ConfigError: naming the method and the data set.
    """
    if not goes_by_column(preset, run):
        return
    spec, ranges = preset.datasets[run.dataset], difficulty_ranges(preset, run.dataset)
    for name in spec.parts if isinstance(spec, Mix) else (run.dataset,):
        if name not in ranges:
            raise ConfigError(
                f"methods.{run.method}.difficulty: data set '{name}' has no column of difficulties "
                f"(datasets.{name}.fields.difficulty names one); 'measured' needs none"
            )


def known_rows(preset: Preset, dataset: str, split: Literal["train", "eval"]) -> int | None:
    """How many prompts a split will have, or None before it has been read."""
    spec = preset.datasets[dataset]
    if not isinstance(spec, Mix):
        return registry.known_rows(spec, split)
    parts = [known_rows(preset, part, split) for part in spec.parts]
    known = [count for count in parts if count is not None]
    return sum(known) if len(known) == len(parts) else None


def warmup_datasets(preset: Preset, model: str) -> list[str]:
    """Data sets whose worked solutions a model is warmed up on, by name."""
    warmup = preset.spec(model).warmup
    return sorted({name for phase in warmup.phases for name in phase.datasets}) if warmup else []


def datasets_of(preset: Preset, model: str) -> list[str]:
    """Data sets whose questions the preset puts to a model, in training, tests and studies."""
    found, studies = warmup_datasets(preset, model), preset.studies
    model = preset.family(model)
    for name, experiment in preset.experiments.items():
        for trained, dataset in experiment.places:
            if trained == model:
                found += [dataset, *preset.tested_on(name, dataset)]
    if preset.benchmarks and model in preset.benchmarks.models:
        found += preset.benchmarks.benchmarks
    if studies and model in (*studies.models, *(studies.answers.models if studies.answers else ())):
        found += studies.datasets
    if preset.linearity and model in preset.linearity.models:
        found += preset.linearity.datasets
    return list(dict.fromkeys(found))


def rendering_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What the text of a data set's prompts depends on beside questions and chat template."""
    spec = preset.datasets[dataset]
    return {
        "prompt": spec.prompt,
        "system": spec.system,
        **preset.spec(model).fingerprint(include={"template_arguments"}),
    }


def data_dir() -> Path | None:
    """The folder of local copies that GAINRL_DATA_DIR names, if any.

    Raises:
        ConfigError: the variable names a folder that does not exist.
    """
    value = os.environ.get(DATA_DIR)
    if not value:
        return None
    if not Path(value).is_dir():
        raise ConfigError(f"{DATA_DIR}: no such folder: {value}")
    return Path(value)
