"""What an experiment's table needs to know beside its runs, read from the preset and its files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from gainrl import plan
from gainrl.config.data import Dataset, Registered
from gainrl.config.experiments import Published
from gainrl.config.models import HubModel, LocalModel
from gainrl.data import registry
from gainrl.errors import ConfigError, DataError, ModelError
from gainrl.models.shapes import KNOWN, architecture
from gainrl.plan import Inputs
from gainrl.plan.layout import Signal
from gainrl.records import read_metadata
from gainrl.results.runs import AVERAGE, Run, of_experiment
from gainrl.stages.common import Context
from gainrl.tables import published
from gainrl.tables.published import ComparedCell, Ours
from gainrl.tables.rows import Facts, Preparation, Row

MEASURED: Mapping[Signal, str] = {
    "scores": "prefill scoring",
    "features": "mean states",
    "difficulty": "difficulty rollouts",
}
"""What took time before a method could train."""


def made_table(context: Context, experiment: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table of an experiment, as it was written, and how its methods are called.

    Raises:
        DataError: the table is missing.
    """
    table = context.layout.table(experiment)
    if not table.exists():
        raise DataError(f"{table}: no such table; `snakemake {table}` makes it")
    methods = context.preset.methods
    names = context.preset.experiments[experiment].methods
    return pd.read_csv(table), {name: methods[name].label or name for name in names}


def finished_runs(context: Context, experiment: str) -> list[Run]:
    """The runs of an experiment.

    Raises:
        DataError: one of them is not finished.
    """
    return of_experiment(context.preset, context.layout, experiment)


def table_facts(context: Context, experiment: str) -> Facts:
    """Parameters, seconds of preparation and printed numbers of an experiment.

    Raises:
        DataError: a file of the preparation is missing, or was not timed.
        ConfigError: `published` names what the paper's table does not have.
    """
    preset, chosen = context.preset, context.preset.experiments[experiment]
    parameters = {name: _parameters(context, name) for name in chosen.models}
    runs: dict[tuple[str, str, str], list[Inputs]] = {}
    for key in plan.runs(preset, [experiment]):
        read = plan.inputs_of(preset, context.layout, key)
        runs.setdefault((key.model, key.dataset, key.method), []).append(read)
    return Facts(
        parameters={name: count for name, count in parameters.items() if count},
        preparation={names: _preparation(inputs) for names, inputs in runs.items()},
        per_seed=frozenset(name for name in chosen.models if preset.models[name].per_seed),
        published=_published(context, experiment),
    )


def _parameters(context: Context, model: str) -> int | None:
    """Parameters of a model; None, said aloud, where its kind is not known."""
    spec = context.preset.models[model]
    if isinstance(spec, HubModel) and spec.id not in KNOWN:
        spec = LocalModel(
            source="local", path=str(context.layout.model(context.preset.starts(model)[0]))
        )
    try:
        return architecture(spec, model).parameters
    except ModelError as error:
        print(f"no numbers in FLOP: {error}")
        return None


def _preparation(inputs: Sequence[Inputs]) -> Preparation:
    """Of a method's runs, which share a start model or have one each: seconds of one of these."""
    seconds, words = 0.0, [MEASURED[name] for name in inputs[0].costly]
    starts = list(dict.fromkeys(tuple(each.costly.values()) for each in inputs))
    for path in (path for paths in starts for path in paths):
        if not path.exists():
            raise DataError(f"{path}: no such file")
        timed = read_metadata(path).get("seconds")
        if not isinstance(timed, int | float) or not math.isfinite(timed):
            raise DataError(f"{path}: its metadata has no 'seconds'")
        seconds += timed
    once = "measured once" if len(starts) == 1 else f"mean over {len(starts)} start models"
    how = f"{' and '.join(words)}, {once}" if words else "nothing to prepare"
    return Preparation(seconds / len(starts), how)


# --- the paper's numbers -------------------------------------------------------------------------


def _published(context: Context, experiment: str) -> list[Row]:
    chosen = context.preset.experiments[experiment]
    wanted = chosen.published
    if wanted is None:
        return []
    where = f"experiments.{experiment}.published"
    published.check_names(
        wanted.table,
        where,
        model=wanted.models.values(),
        method=wanted.methods.values(),
        benchmark=wanted.benchmarks.values(),
    )
    rows = published.published_rows(wanted.table, _cells(context, experiment, wanted))
    if not rows:
        raise ConfigError(
            f"{where}: Table {wanted.table} of the paper has none of the experiment's cells; map "
            "models, methods and benchmarks to the paper's names"
        )
    return rows


def _cells(context: Context, experiment: str, wanted: Published) -> Iterator[ComparedCell]:
    preset, chosen = context.preset, context.preset.experiments[experiment]
    columns = published.benchmarks(wanted.table)
    for model, dataset in chosen.places:
        ours = _hub_name(context, model)
        theirs = wanted.models.get(model, ours or model)
        training = preset.training_for(dataset, model)
        tested = preset.tested_on(experiment, dataset)
        shown: dict[str, tuple[str, ...]] = {name: (name,) for name in tested}
        if len(tested) > 1:
            shown[AVERAGE] = tested
        for benchmark, parts in shown.items():
            known = getattr(preset.datasets.get(benchmark), "name", benchmark)
            printed = wanted.benchmarks.get(benchmark, known)
            if printed not in columns:
                continue
            rests_on = Ours(
                model=ours,
                trained_on=_whole(preset.datasets[dataset], "train"),
                tested_on=tuple(_whole(preset.datasets[name], "eval") for name in parts),
                steps=training.steps,
                prompts=training.prompts,
            )
            other = published.differences(wanted.table, theirs, printed, rests_on)
            for method in chosen.methods:
                paper = (theirs, wanted.methods.get(method, method), printed)
                yield ComparedCell(model, dataset, method, benchmark, paper, other)


def _hub_name(context: Context, model: str) -> str | None:
    """The last part of a hub model's id, unless it is trained further before RL."""
    spec = context.preset.models[model]
    if isinstance(spec, HubModel) and spec.warmup is None:
        return spec.id.rpartition("/")[2]
    return None


def _whole(spec: Dataset, split: str) -> str | None:
    """The name of a data set in the registry, if a whole split of it is used."""
    if not isinstance(spec, Registered):
        return None
    found = getattr(registry.find(spec.name), split)
    wanted = getattr(spec, split)
    if found is None or wanted not in (None, found.rows - found.unanswered):
        return None
    return None if split == "train" and spec.warmup else spec.name
