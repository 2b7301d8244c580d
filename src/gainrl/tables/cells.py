"""The paper's cells that an experiment's stand beside, from the preset alone."""

from __future__ import annotations

from collections.abc import Iterator

from gainrl.config.data import Dataset, Registered
from gainrl.config.experiments import Published
from gainrl.config.models import HubModel
from gainrl.config.preset import Preset
from gainrl.data import registry
from gainrl.errors import ConfigError
from gainrl.plan.results import AVERAGE
from gainrl.tables import published
from gainrl.tables.published import ComparedCell, Ours


def paper_rows(preset: Preset, experiment: str) -> list[dict[str, object]]:
    """What the paper prints of an experiment's cells; none unless the preset asks for it.

    Raises:
        ConfigError: a name that is none of the paper's, or no cell of the experiment is one of its.
    """
    wanted = preset.experiments[experiment].published
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
    rows = published.published_rows(wanted.table, _cells(preset, experiment, wanted))
    if not rows:
        raise ConfigError(
            f"{where}: Table {wanted.table} of the paper has none of the experiment's cells; map "
            "models, methods and benchmarks to the paper's names"
        )
    return rows


def _cells(preset: Preset, experiment: str, wanted: Published) -> Iterator[ComparedCell]:
    chosen = preset.experiments[experiment]
    columns = published.benchmarks(wanted.table)
    for model, dataset in chosen.places:
        ours = _hub_name(preset, model)
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


def _hub_name(preset: Preset, model: str) -> str | None:
    """The last part of a hub model's id, unless it is trained further before RL."""
    spec = preset.models[model]
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
