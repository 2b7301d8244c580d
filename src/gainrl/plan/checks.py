"""Checks of a preset that need more than one room: the registries too. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from gainrl import curricula
from gainrl.config.files import inherited
from gainrl.config.methods import Method
from gainrl.config.preset import Preset, load_preset, name_of, written
from gainrl.errors import ConfigError, nearest
from gainrl.plan.backends import check_backends
from gainrl.plan.datasets import check_datasets, check_difficulties, known_rows
from gainrl.plan.layout import RunKey
from gainrl.plan.policies import check_format, policy_of
from gainrl.plan.runs import order_keys, runs, snapshots
from gainrl.plan.tuning import expanded, settings_of, with_choice, words
from gainrl.training import algorithms


def load(source: str | os.PathLike[str] | Mapping[str, Any], where: str | None = None) -> Preset:
    """Load a preset and check it against the registries of curricula, backends and data sets.

    Settings that `tuning` tries are among the methods of what is returned. Arguments are those of
    `load_preset`.

    Raises:
        ConfigError: as `load_preset`, or an unknown task, data set, algorithm, backend, curriculum
            or parameter, tests on a data set that has no held-out prompts, a pool of a task that
            has none, or a method that lacks the order or difficulty its curriculum walks, goes by
            difficulties that a data set lacks, rewards the format of programs, takes a part of
            rollouts whose advantages are a critic's, ends by tokens but goes by steps, or asks for
            what its backend cannot do.
    """
    where = where or name_of(source)
    preset = load_preset(source, where)
    try:
        preset = expanded(preset)
        _check(preset)
    except ConfigError as error:
        raise ConfigError(f"{where}: {inherited(str(error), written(source))}") from error
    return preset


def _check(preset: Preset) -> None:
    check_datasets(preset)
    for name, parameters in preset.curricula.items():
        curricula.check_defaults(name, parameters, f"curricula.{name}")
    for name, method in preset.methods.items():
        algorithms.named(method.algorithm, f"methods.{name}.algorithm")
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
    check_backends(preset)
    _check_tests(preset)
    _check_borrowed(preset)
    for run in runs(preset):
        _check_downsample(preset, run)
        _check_budget(preset, run)
        check_format(preset, run)
        check_difficulties(preset, run)


def _check_tests(preset: Preset) -> None:
    """Refuse tests on data sets that have no held-out prompts, before anything is trained."""
    asked: dict[str, str] = {}
    for name, experiment in preset.experiments.items():
        for _, dataset in experiment.places:
            for tested in preset.tested_on(name, dataset):
                asked.setdefault(tested, f"experiments.{name}")
    for tested in preset.linearity.datasets if preset.linearity else ():
        asked.setdefault(tested, "linearity")
    for tested in preset.benchmarks.benchmarks if preset.benchmarks else ():
        asked.setdefault(tested, "benchmarks")
    for tested, where in asked.items():
        if known_rows(preset, tested, "eval") == 0:
            raise ConfigError(
                f"{where}: data set '{tested}' has no held-out prompts to test on; name data sets "
                "that have, in `benchmarks`"
            )


def _check_downsample(preset: Preset, run: RunKey) -> None:
    """Refuse to choose rollouts by advantages that are not a response's."""
    algorithm = algorithms.named(preset.methods[run.method].algorithm)
    training = preset.training_for(run.dataset, run.model, run.method)
    if training.downsample and algorithm.critic:
        raise ConfigError(
            f"methods.{run.method}: training.downsample goes by the advantages of whole responses: "
            "it needs an algorithm without a critic"
        )


def _check_budget(preset: Preset, run: RunKey) -> None:
    """Refuse a run by tokens that goes by steps elsewhere, and epochs with a critic."""
    training = preset.training_for(run.dataset, run.model, run.method)
    where = f"({run.method} on {run.dataset})"
    if training.tokens is not None and training.downsample:
        raise ConfigError(f"training.tokens: training.downsample goes by the share of all steps, "
                          f"which are not known before {where}")  # fmt: skip
    if training.tokens is not None and snapshots(preset, run.model, run.dataset, run.method):
        raise ConfigError(f"training.tokens: studies.dynamics and linearity look at steps that a "
                          f"run by tokens may not make {where}")  # fmt: skip
    if training.epochs > 1 and algorithms.named(preset.methods[run.method].algorithm).critic:
        raise ConfigError(f"training.epochs: needs an algorithm without a critic {where}")


def _check_borrowed(preset: Preset) -> None:
    """Refuse a borrower whose own keys do not go with a setting that it may be given."""
    borrowed = preset.tuning.borrowed if preset.tuning else {}
    firsts = {(run.model, run.dataset, run.method): run for run in runs(preset)}
    for run in firsts.values():
        if run.method not in borrowed:
            continue
        for setting in settings_of(preset, borrowed[run.method]).values():
            given = {run.method: with_choice(preset, run.method, {"values": setting})}
            changed = preset.model_copy(update={"methods": {**preset.methods, **given}})
            try:
                _check_budget(changed, run)
            except (ConfigError, ValueError) as error:
                raise ConfigError(
                    f"tuning.borrowed.{run.method}: {words(setting)}: {error}"
                ) from error


def check_names(preset: Preset, named: Mapping[str, Any]) -> None:
    """Refuse a model, dataset, benchmark, method or order that the preset lacks.

    Raises:
        ConfigError: naming it and the nearest valid name.
    """
    known: dict[str, Iterable[str]] = {
        "model": preset.models,
        "dataset": preset.datasets,
        "benchmark": preset.datasets,
        "method": preset.methods,
        "order": order_keys(preset),
    }
    for kind, names in known.items():
        name = named.get(kind)
        if kind == "model" and name is not None:
            name = preset.family(name)  # of a start model
        if name is not None and name not in names:
            raise ConfigError(
                f"preset '{preset.preset}' has no {kind} '{name}'{nearest(name, names)}"
            )
