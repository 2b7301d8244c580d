"""Which runs a preset asks for, what they depend on, and checks that need more than one room.

The Snakefile and the command line both ask this module. It is imported while the DAG is
built: no torch here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, get_args

from gainrl import curricula
from gainrl.config import Preset, load_preset
from gainrl.config_data import Generated, Mix
from gainrl.config_methods import Method, Order
from gainrl.config_studies import Studies
from gainrl.config_training import without_unused
from gainrl.errors import ConfigError, nearest
from gainrl.layout import Layout as Layout
from gainrl.layout import RunKey as RunKey
from gainrl.planning_datasets import check_datasets, check_difficulties, rendering_slice
from gainrl.planning_datasets import datasets_of as datasets_of
from gainrl.planning_datasets import difficulty_ranges as difficulty_ranges
from gainrl.planning_datasets import known_rows as known_rows
from gainrl.planning_policies import check_format, check_on_verl
from gainrl.planning_policies import feature_kinds as feature_kinds
from gainrl.planning_policies import feature_tables as feature_tables
from gainrl.planning_policies import policy_of as policy_of

DATA_DIR = "GAINRL_DATA_DIR"
ORDERS = get_args(Order)


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
        curricula.check(name, parameters, f"curricula.{name}")
    for name, method in preset.methods.items():
        if method.inter_weight is not None and preset.scoring.variant == "released":
            raise ConfigError(
                f"methods.{name}.inter_weight: scoring.variant 'released' has its own weight"
            )
        key = f"methods.{name}.curriculum"
        curricula.check(method.curriculum.name, method.curriculum.parameters, key)
        for need in sorted(policy_of(method).needs & set(Method.model_fields)):
            if getattr(method, need) is None:
                raise ConfigError(
                    f"methods.{name}: curriculum '{method.curriculum.name}' needs the key '{need}'"
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


def order_keys(preset: Preset) -> list[str]:
    """Names of the order files that can be made: every order, and those with a method's weight."""
    own = [method.order_key for method in preset.methods.values() if method.order_key]
    return list(dict.fromkeys([*ORDERS, *own]))


def runs(preset: Preset, experiments: Iterable[str] | None = None) -> list[RunKey]:
    """The runs that some experiments (default: all) need, each once, in the preset's order."""
    names = list(preset.experiments) if experiments is None else list(experiments)
    keys: dict[RunKey, None] = {}
    for name in names:
        experiment = preset.experiments[name]
        places = product(experiment.places, experiment.methods, preset.seeds)
        keys.update((RunKey(*place, method, seed), None) for place, method, seed in places)
    return list(keys)


def experiments_of(preset: Preset, model: str, dataset: str, method: str) -> list[str]:
    """Experiments that a run belongs to; the first is its home in the tracking store."""
    return [
        name
        for name, experiment in preset.experiments.items()
        if experiment.has(model, dataset, method)
    ]


def benchmarks_of(preset: Preset, model: str, dataset: str, method: str) -> list[str]:
    """Data sets on which a run's checkpoints are tested: all that its experiments ask for."""
    found: dict[str, None] = {}
    for name in experiments_of(preset, model, dataset, method):
        found.update(dict.fromkeys(preset.tested_on(name, dataset)))
    return list(found)


def selecting(preset: Preset, experiment: str) -> list[str]:
    """The methods of an experiment that train on a part of the data."""
    methods = preset.experiments[experiment].methods
    return [name for name in methods if preset.methods[name].selection]


STUDY_FIGURES = {
    "figure2": "answers",
    "figure3": "layers",
    "layers": "layers",
    "figure4": "dynamics",
    "figure5": "dynamics",
    "figure6": "dynamics",
}
"""Figures about the signal, and the part of `studies` that each is drawn from."""


def study_figures(preset: Preset) -> list[str]:
    """The figures about the signal that a preset asks for."""
    return [
        name
        for name, part in STUDY_FIGURES.items()
        if getattr(preset.studies, part, None) is not None
    ]


def need_studies(preset: Preset, part: str) -> Studies:
    """The preset's studies.

    Raises:
        ConfigError: it has none, or not this part.
    """
    if preset.studies is None or getattr(preset.studies, part) is None:
        raise ConfigError(f"preset '{preset.preset}' has no key 'studies.{part}'")
    return preset.studies


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


# --- slices: what the result of a stage depends on ---------------------------------------------


def dataset_slice(preset: Preset, dataset: str) -> dict[str, Any]:
    """What a data set's tables depend on, the parts of a mix included."""
    spec = preset.datasets[dataset]
    found = _sorted(spec.model_dump(mode="json"))
    if isinstance(spec, Generated):  # without these keys, tables are as before there were any
        found = {k: v for k, v in found.items() if v or k not in ("careful", "pool")}
    if isinstance(spec, Mix):
        found["of"] = {name: dataset_slice(preset, name) for name in spec.parts}
    return found


def model_slice(preset: Preset, model: str) -> dict[str, Any]:
    """What a model folder depends on, the prompts of its warm-up included."""
    spec = preset.models[model]
    unset = set() if spec.template_arguments else {"template_arguments"}
    used = {name for phase in spec.warmup.phases for name in phase.datasets} if spec.warmup else ()
    data = {name: dataset_slice(preset, name) for name in sorted(used)}
    kept = spec.model_dump(mode="json", exclude=unset)
    return {"model": kept, "warmup_data": data}


def _prompt_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What the rendered training prompts depend on beside their input files."""
    return {
        **rendering_slice(preset, model, dataset),
        "max_prompt": preset.training_for(dataset, model).max_prompt,
        "threads": preset.threads,
    }


def score_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What scores depend on beside their input files; they are the same for every shard count."""
    scoring = preset.scoring.model_dump(mode="json", exclude={"shards", "difficulty_samples"})
    return {"scoring": scoring, **_prompt_slice(preset, model, dataset)}


def difficulty_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What measured difficulties depend on beside their input files."""
    training = preset.training_for(dataset, model)
    evaluation = preset.evaluation_for(dataset, model)
    return {
        **_prompt_slice(preset, model, dataset),
        "samples": preset.scoring.difficulty_samples,
        "dtype": preset.models[model].dtype,
        "sampling": [training.temperature, training.top_p, training.max_response],
        "seed": evaluation.seed,
        "batch": evaluation.batch,
    }


def features_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What the components of the mean states depend on beside their input files."""
    scoring = preset.scoring.model_dump(mode="json", include={"dtype", "batch_tokens"})
    return {"scoring": scoring, **_prompt_slice(preset, model, dataset)}


def table_slice(preset: Preset, experiment: str) -> dict[str, Any]:
    """What a table or figure depends on beside the runs."""
    chosen = preset.experiments[experiment]
    return {
        "statistics": preset.statistics.model_dump(mode="json"),
        "experiment": chosen.model_dump(mode="json"),
        "labels": {name: preset.methods[name].label for name in chosen.methods},
    }


def layers_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What layer profiles and cosine maps depend on beside their input files."""
    return {**_study(preset, "layers"), **_prompt_slice(preset, model, dataset)}


def answers_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What the answers behind Figure 2 depend on beside their input files."""
    sampled = difficulty_slice(preset, model, dataset)
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
    sampled = difficulty_slice(preset, model, dataset)
    return {
        **_study(preset, "dynamics"),
        **score_slice(preset, model, dataset),
        **{k: v for k, v in sampled.items() if k != "samples"},
    }


def _study(preset: Preset, part: str) -> dict[str, Any]:
    studies = need_studies(preset, part)
    return {part: getattr(studies, part).model_dump(mode="json")}


def evaluation_slice(preset: Preset, model: str, benchmark: str) -> dict[str, Any]:
    """What the start model's accuracy depends on beside its input files."""
    training = preset.training_for(benchmark, model)
    return {
        "evaluation": preset.evaluation_for(benchmark, model).model_dump(mode="json"),
        "max_response": training.max_response,
        "max_prompt": training.max_prompt,
        **rendering_slice(preset, model, benchmark),
        "threads": preset.threads,
    }


def run_slice(preset: Preset, model: str, dataset: str, method: str) -> dict[str, Any]:
    """What a training run depends on beside its seed and its input files."""
    scoring = preset.scoring_for(method)
    benchmarks, ppo = benchmarks_of(preset, model, dataset, method), preset.ppo_for(method)
    composed = _sorted(preset.methods[method].model_dump(mode="json", exclude={"label"}))
    training = preset.training_for(dataset, model, method).model_dump(mode="json")
    return {
        "training": without_unused(training),
        "evaluation": preset.evaluation_for(dataset, model).model_dump(mode="json"),
        "method": {**composed, "training": without_unused(composed["training"])},
        **rendering_slice(preset, model, dataset),
        "threads": preset.threads,
        "benchmarks": {name: evaluation_slice(preset, model, name) for name in benchmarks},
        "signal": [scoring.variant, scoring.tap, scoring.inter_weight],
        "snapshots": list(snapshots(preset, model, dataset, method)),
        **({"ppo": ppo.model_dump(mode="json")} if ppo else {}),
        **_verl_slice(preset, model, dataset),
    }


def _verl_slice(preset: Preset, model: str, dataset: str) -> dict[str, Any]:
    """What a run on verl depends on besides; where and how patiently it runs is no part of it."""
    if preset.training_for(dataset, model).backend != "verl":
        return {}
    return {"verl": {"keys": _sorted(preset.verl.keys)}}


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
