"""What tuning tries and trains: every tried setting is a method of the preset. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from gainrl.config.methods import Composition, CurriculumPart, Method
from gainrl.config.preset import Preset
from gainrl.config.tuning import TRY, Grid, Tuning
from gainrl.errors import ConfigError, nearest
from gainrl.plan.layout import RunKey
from gainrl.plan.policies import feature_kinds, policy_of

STREAM = 53


def is_tuned(preset: Preset, method: str) -> bool:
    """Whether the runs of a method have a setting that tuning has chosen, for it or another."""
    return owner_of(preset, method) is not None


def owner_of(preset: Preset, method: str) -> str | None:
    """Whose choice the runs of a method have: mostly its own; None of one that is not tuned."""
    return None if preset.tuning is None else preset.tuning.owner(method)


def is_tried(preset: Preset, method: str) -> bool:
    """Whether a method is a tried setting of another."""
    return preset.tuning is not None and preset.tuning.base_of(method) is not None


def base_of(preset: Preset, method: str) -> str:
    """The method that experiments name: that of a tried setting, else itself."""
    return (preset.tuning and preset.tuning.base_of(method)) or method


def seeds_of(preset: Preset, method: str) -> tuple[int, ...]:
    """Seeds of a method's runs: those of the preset, of a tried setting those of tuning."""
    if preset.tuning is not None and is_tried(preset, method):
        return preset.tuning.seeds
    return preset.seeds


def settings_of(preset: Preset, method: str) -> dict[str, dict[str, Any]]:
    """What a tuned method tries: by the name of each setting, its values by key.

    All that there are, or as many as each method tries, drawn without repetition, in the preset's
    order. Methods with grids of the same shape draw the same places.
    """
    tuning = _tuning(preset)
    settings = tuning.settings(method)
    rng = np.random.default_rng([tuning.seed, STREAM, len(settings)])
    places = sorted(_balanced(settings, tuning.number, rng))
    return {f"{method}{TRY}{k}": settings[place] for k, place in enumerate(places)}


def _balanced(
    settings: Sequence[Mapping[str, Any]], number: int, rng: np.random.Generator
) -> list[int]:
    """Places of `number` settings in which each value, and each pair of them, is about as often.

    One after another, the one whose values and pairs have been drawn least is taken, of equal ones
    by chance: plain chance may leave out a half of the grid, such as every large batch.
    """
    parts = [[*each, *combinations(each, 2)] for each in map(_values, settings)]
    left, drawn, places = rng.permutation(len(settings)).tolist(), Counter[Any](), []
    for _ in range(number):
        place = min(left, key=lambda place: sum(drawn[part] for part in parts[place]))
        left.remove(place)
        drawn.update(parts[place])
        places.append(place)
    return places


def _values(setting: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, repr(value)) for key, value in setting.items()]


def expanded(preset: Preset) -> Preset:
    """The preset with every tried setting among its methods.

    Raises:
        ConfigError: tuning cannot be done as it is written, naming the key.
    """
    if preset.tuning is None:
        return preset
    _check(preset, preset.tuning)
    methods = {name: each for name, each in preset.methods.items() if not is_tried(preset, name)}
    for name in preset.tuning.methods:
        for tried, setting in settings_of(preset, name).items():
            label = f"{preset.methods[name].label or name}: {words(setting)}"
            found = with_setting(preset.methods[name], setting, f"tuning.methods.{name}")
            made = found.model_copy(update={"label": label})
            if preset.methods.get(tried, made) != made:
                raise ConfigError(f"methods.{tried}: a setting that tuning tries is called so")
            methods[tried] = made
    whole = preset.model_copy(update={"methods": methods})
    for run in runs_of_tuning(whole):
        try:
            whole.training_for(run.dataset, run.model, run.method)
        except ValueError as error:
            setting = settings_of(preset, base_of(preset, run.method))[run.method]
            raise ConfigError(f"tuning: {words(setting)}: {error}") from error
    return whole


def with_setting(method: Method, setting: Mapping[str, Any], key: str) -> Method:
    """A method with the values of a tried setting.

    Args:
        key: where the preset names the parameters, for the error message.

    Raises:
        ConfigError: the curriculum has no such part or parameter, or not with such a value.
    """
    training = {k: v for k, v in setting.items() if k in Grid.model_fields}
    parameters = {k: v for k, v in setting.items() if k not in training}
    curriculum: CurriculumPart | Composition = method.curriculum
    for name, value in parameters.items():
        part, _, parameter = name.rpartition(".")
        if isinstance(curriculum, Composition):
            chosen = getattr(curriculum, part, None) if part in Composition.model_fields else None
            if chosen is None:
                raise ConfigError(f"{key}.{name}: the curriculum has no such part")
            changed = CurriculumPart(**{**chosen.model_dump(), parameter: value})
            curriculum = curriculum.model_copy(update={part: changed})
        elif part in ("", "sampler"):
            curriculum = CurriculumPart(**{**curriculum.model_dump(), parameter: value})
        else:
            raise ConfigError(f"{key}.{name}: the curriculum has no such part")
    changes = method.training.model_copy(update=training)
    found = method.model_copy(update={"training": changes, "curriculum": curriculum})
    policy_of(found, key)
    if feature_kinds(found) != feature_kinds(method):
        raise ConfigError(f"{key}: its values change what features the curriculum reads, which "
                          "have to be known before a setting is chosen")  # fmt: skip
    return found


def with_choice(preset: Preset, method: str, choice: Mapping[str, Any]) -> Method:
    """A tuned method as its runs are trained, by the file of its owner's choice.

    A borrower keeps its own curriculum and has what the grid says of training.
    """
    own = preset.methods[method]
    if owner_of(preset, method) == method:
        return preset.methods[choice["chosen"]].model_copy(update={"label": own.label})
    shared = {key: value for key, value in choice["values"].items() if key in Grid.model_fields}
    return with_setting(own, shared, f"tuning.borrowed.{method}")


def words(setting: Mapping[str, Any]) -> str:
    """A setting as people read it."""
    return ", ".join(f"{key} {value}" for key, value in setting.items())


def runs_of_tuning(preset: Preset) -> list[RunKey]:
    """The runs of all tried settings, where experiments train their method."""
    if preset.tuning is None:
        return []
    keys: dict[RunKey, None] = {}
    for method in preset.tuning.methods:
        for model, dataset in places_of(preset, method):
            keys.update((key, None) for key in tried_runs(preset, model, dataset, method))
    return list(keys)


def places_of(preset: Preset, method: str) -> list[tuple[str, str]]:
    """Models and data sets that a method, or one that borrows from it, is trained on, each once."""
    owned = {method, *(name for name in preset.methods if owner_of(preset, name) == method)}
    found = (each for each in preset.experiments.values() if owned & {*each.methods})
    return list(dict.fromkeys(place for experiment in found for place in experiment.places))


def tried_runs(preset: Preset, model: str, dataset: str, method: str) -> list[RunKey]:
    """The runs that a choice is made from: setting by setting, each with every tuning seed."""
    seeds = _tuning(preset).seeds
    names = settings_of(preset, method)
    return [RunKey(model, dataset, name, seed) for name in names for seed in seeds]


def _tuning(preset: Preset) -> Tuning:
    if preset.tuning is None:
        raise ConfigError(f"preset '{preset.preset}' has no key 'tuning'")
    return preset.tuning


def _check(preset: Preset, tuning: Tuning) -> None:
    both = sorted({*tuning.seeds} & {*preset.seeds})
    if both:
        raise ConfigError(f"tuning.seeds: {both[0]} is one of the preset's seeds, whose runs are "
                          "to be fresh")  # fmt: skip
    if tuning.tests + 1 < preset.statistics.smoothing:
        raise ConfigError(f"tuning.tests: {tuning.tests} tests and the start model's are fewer "
                          f"than statistics.smoothing ({preset.statistics.smoothing})")  # fmt: skip
    for name in tuning.methods:
        if name not in preset.methods:
            hint = nearest(name, preset.methods)
            raise ConfigError(f"tuning.methods: unknown name '{name}'{hint}")
    for name in tuning.borrowed:
        if name not in preset.methods:
            hint = nearest(name, preset.methods)
            raise ConfigError(f"tuning.borrowed: unknown name '{name}'{hint}")
    for name, experiment in preset.experiments.items():
        tuned = [each for each in experiment.methods if is_tuned(preset, each)]
        for method in experiment.methods:
            if tuned and method not in tuned:
                raise ConfigError(
                    f"experiments.{name}.methods: '{tuned[0]}' is tuned and '{method}' is not; "
                    "of methods that are compared all are, or none (tuning.methods)"
                )
