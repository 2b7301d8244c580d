"""Which runs a preset asks for, who tests and looks at them. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import get_args

from gainrl.config.methods import Order
from gainrl.config.models import start_pattern
from gainrl.config.preset import Preset
from gainrl.config.studies import Studies
from gainrl.errors import ConfigError
from gainrl.plan import tuning
from gainrl.plan.layout import RunKey

ORDERS = get_args(Order)


def order_keys(preset: Preset) -> list[str]:
    """Names of the order files that can be made: every order, and those with a method's weight."""
    own = [method.order_key for method in preset.methods.values() if method.order_key]
    return list(dict.fromkeys([*ORDERS, *own]))


def runs(preset: Preset, experiments: Iterable[str] | None = None) -> list[RunKey]:
    """The runs that some experiments need, each once, in the preset's order.

    Default: those of all, and after them those of settings that tuning tries.
    """
    names = list(preset.experiments) if experiments is None else list(experiments)
    keys: dict[RunKey, None] = {}
    for name in names:
        experiment = preset.experiments[name]
        places = product(experiment.places, experiment.methods, preset.seeds)
        keys.update((RunKey(*place, method, seed), None) for place, method, seed in places)
    tried = tuning.runs_of_tuning(preset) if experiments is None else []
    return [*keys, *tried]


def experiments_of(preset: Preset, model: str, dataset: str, method: str) -> list[str]:
    """Experiments that a run belongs to; the first is its home in the tracking store.

    A tried setting belongs where its method does.
    """
    named = tuning.base_of(preset, method)
    return [
        name
        for name, experiment in preset.experiments.items()
        if experiment.has(model, dataset, named)
    ]


def benchmarks_of(preset: Preset, model: str, dataset: str, method: str) -> list[str]:
    """Data sets on which a run's checkpoints are tested: all that its experiments ask for."""
    found: dict[str, None] = {}
    for name in experiments_of(preset, model, dataset, method):
        found.update(dict.fromkeys(preset.tested_on(name, dataset)))
    return list(found)


def keeps_model(preset: Preset, model: str, dataset: str, method: str) -> bool:
    """Whether the final models of a method's runs are kept: 'tested', by whoever reads them."""
    wanted = preset.training_for(dataset, model, method).keep_model
    if wanted != "tested":
        return wanted
    followed = {(key.model, key.dataset, key.method) for key in probed(preset)}
    if (model, dataset, method) in followed:
        return True
    homes = experiments_of(preset, model, dataset, method)
    return any(preset.experiments[name].final for name in homes)


@dataclass(frozen=True)
class PromptLimits:
    """What a prompt has to fit into; a training prompt whichever method draws it.

    prompt, response: longest ones, in tokens (None: the model's context alone is a limit);
    templates: in place of the data set's `prompt`.
    """

    prompt: int | None
    response: int
    templates: tuple[str, ...] = ()


def prompt_limits(preset: Preset, model: str, dataset: str) -> PromptLimits:
    """The limits of a model on a data set, with the templates of all methods that train there."""
    section, family = preset.training_for(dataset, model), preset.family(model)
    templates = dict.fromkeys(section.templates)
    for experiment in preset.experiments.values():
        if (family, dataset) in experiment.places:
            for method in experiment.methods:
                own = preset.training_for(dataset, family, method)
                templates.update(dict.fromkeys(own.templates))
    return PromptLimits(section.max_prompt, section.max_response, tuple(templates))


def selecting(preset: Preset, experiment: str) -> list[str]:
    """The methods of an experiment that train on a part of the data."""
    methods = preset.experiments[experiment].methods
    return [name for name in methods if preset.methods[name].selection]


def need_studies(preset: Preset, part: str) -> Studies:
    """The preset's studies.

    Raises:
        ConfigError: it has none, or not this part.
    """
    if preset.studies is None or getattr(preset.studies, part) is None:
        raise ConfigError(f"preset '{preset.preset}' has no key 'studies.{part}'")
    return preset.studies


def start_patterns(preset: Preset, warmed: bool | None = None) -> str:
    """A regular expression of the names of all start models, or of those (not) warmed up here."""
    found = (
        start_pattern(name, model)
        for name, model in preset.models.items()
        if warmed in (None, model.warmup is not None)
    )
    return "|".join(found) or "none"


def studied(preset: Preset, models: Iterable[str]) -> list[tuple[str, str]]:
    """Start models and data sets that studies of some models look at.

    Of a model with a start model a seed, that of the first one.
    """
    datasets = preset.studies.datasets if preset.studies else ()
    return list(product([preset.starts(name)[0] for name in models], datasets))


def probed(preset: Preset) -> list[RunKey]:
    """The runs whose snapshots the studies look at."""
    studies = preset.studies
    if not studies or not studies.dynamics:
        return []
    how = studies.dynamics
    return [
        RunKey(model, dataset, how.method, how.seed)
        for model in studies.models
        for dataset in studies.datasets
    ]


def traced(preset: Preset) -> list[RunKey]:
    """The runs of the section `linearity`."""
    chosen = preset.linearity
    if chosen is None:
        return []
    seeds = preset.seeds if chosen.seeds is None else chosen.seeds
    places = product(chosen.models, chosen.datasets, chosen.methods, seeds)
    return [RunKey(*place) for place in places]


def snapshots(preset: Preset, model: str, dataset: str, method: str) -> tuple[int, ...]:
    """RL steps at which a run keeps its weights, for all that looks at it."""
    kept = set(probe_steps(preset, model, dataset, method))
    if preset.linearity and preset.linearity.traces(model, dataset, method):
        kept.update(preset.linearity.kept(preset.training_for(dataset, model, method).steps))
    return tuple(sorted(kept))


def probe_steps(preset: Preset, model: str, dataset: str, method: str) -> tuple[int, ...]:
    """RL steps whose weights the probe of a run looks at, beside the first and the last."""
    studies = preset.studies
    if not studies or not studies.dynamics or method != studies.dynamics.method:
        return ()
    if model not in studies.models or dataset not in studies.datasets:
        return ()
    steps = preset.training_for(dataset, model).steps
    return tuple(range(studies.dynamics.every, steps, studies.dynamics.every))
