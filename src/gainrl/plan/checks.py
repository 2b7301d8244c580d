"""Checks of a preset that need more than one room: the registries too. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from gainrl import curricula
from gainrl.config.methods import Method
from gainrl.config.preset import Preset, load_preset
from gainrl.errors import ConfigError, nearest
from gainrl.plan.datasets import check_datasets, check_difficulties
from gainrl.plan.policies import check_format, check_on_verl, policy_of
from gainrl.plan.runs import order_keys, runs


def load(source: str | os.PathLike[str] | Mapping[str, Any]) -> Preset:
    """Load a preset and check it against the registries of curricula, tasks and data sets.

    Raises:
        ConfigError: as `load_preset`, or an unknown task, data set, curriculum or parameter, a pool
            of a task that has none, or a method that lacks the order or difficulty its curriculum
            walks, goes by difficulties that a data set lacks, draws several times in a step on
            verl, or rewards the format of programs.
    """
    preset = load_preset(source)
    check_datasets(preset)
    _check_together(preset)
    for name, parameters in preset.curricula.items():
        curricula.check_defaults(name, parameters, f"curricula.{name}")
    for name, method in preset.methods.items():
        if method.inter_weight is not None and preset.scoring.variant == "released":
            raise ConfigError(
                f"methods.{name}.inter_weight: scoring.variant 'released' has its own weight"
            )
        policy = policy_of(method, f"methods.{name}.curriculum")
        for need in sorted(policy.sampler.needs & set(Method.model_fields)):
            if getattr(method, need) is None:
                raise ConfigError(
                    f"methods.{name}: curriculum '{policy.name}' needs the key '{need}'"
                )
    for run in runs(preset):
        if preset.training_for(run.dataset, run.model).backend == "verl":
            check_on_verl(preset.methods[run.method], run)
        check_format(preset, run)
        check_difficulties(preset, run)
    return preset


def _check_together(preset: Preset) -> None:
    """Refuse one job for all seeds where a run is trained on verl: it takes hours."""
    if not preset.seeds_together:
        return
    for key in runs(preset):
        if preset.training_for(key.dataset, key.model).backend == "verl":
            raise ConfigError(
                f"seeds_together: {key.parent} is trained on verl, where each seed is a job"
            )


def check_names(preset: Preset, named: Mapping[str, Any]) -> None:
    """Refuse a model, dataset, benchmark, method, experiment or order that the preset lacks.

    Raises:
        ConfigError: naming it and the nearest valid name.
    """
    known: dict[str, Iterable[str]] = {
        "model": preset.models,
        "dataset": preset.datasets,
        "benchmark": preset.datasets,
        "method": preset.methods,
        "experiment": preset.experiments,
        "order": order_keys(preset),
    }
    for kind, names in known.items():
        name = named.get(kind)
        if name is not None and name not in names:
            raise ConfigError(
                f"preset '{preset.preset}' has no {kind} '{name}'{nearest(name, names)}"
            )
