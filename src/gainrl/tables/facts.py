"""What an experiment's table needs to know beside its runs, read from the preset and its files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from gainrl import plan
from gainrl.config.models import HubModel, LocalModel
from gainrl.errors import DataError, ModelError
from gainrl.models.shapes import KNOWN, architecture
from gainrl.plan import Inputs
from gainrl.plan.layout import Signal
from gainrl.records import read_metadata
from gainrl.results.runs import Run, of_experiment
from gainrl.stages.common import Context
from gainrl.tables.cells import paper_rows
from gainrl.tables.rows import Facts, Preparation

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
        published=paper_rows(context.preset, experiment),
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
