"""What a run reads, decided once: rules, reading, hashes, tables and cost ask here. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gainrl.config.models import HubModel, PackagedGguf
from gainrl.config.preset import Preset
from gainrl.plan.datasets import difficulty_ranges, goes_by_column, warmup_datasets
from gainrl.plan.layout import Layout, Seeded, Signal, Trained
from gainrl.plan.policies import feature_kinds
from gainrl.plan.runs import benchmarks_of, selecting
from gainrl.plan.tuning import owner_of

FEATURE_TABLES: Mapping[str, Signal] = {
    "tokens": "scores",
    "angle": "scores",
    "states": "features",
}
"""Features of the start model's prefill by kind, and which table of its signals has them."""
UNSCORED = ("length", "shuffled")
"""Orders that need the score table for the prompts' lengths alone."""


@dataclass(frozen=True)
class Inputs:
    """What a run reads beside its model; what its method does without is None or empty.

    order: its ranks. difficulty: measured ones; ranges: ends of the scales of the data set's own
    difficulties by part, if it goes by those. features: tables that its curriculum's features come
    from. measured: all tables of the start model's signals behind the run, also those that its
    order is made of; costly: those of them for which the start model had to score or to answer.
    """

    prompts: Path
    order: Path | None
    difficulty: Path | None
    ranges: Mapping[str, tuple[float, float]] | None
    features: Mapping[Signal, Path]
    measured: Mapping[Signal, Path]
    costly: Mapping[Signal, Path]

    @property
    def walked(self) -> list[Path]:
        """The files that the run's curriculum is built from."""
        ranks = [path for path in (self.order, self.difficulty) if path is not None]
        return [*ranks, *self.features.values()]


def inputs_of(preset: Preset, layout: Layout, run: Seeded) -> Inputs:
    """What a run reads, from its method and the policy of its curriculum."""
    method = preset.methods[run.method]
    place = (preset.start_of(run.model, run.seed), run.dataset)
    kinds, column = feature_kinds(method), goes_by_column(preset, run)
    features = tuple(dict.fromkeys(FEATURE_TABLES[kind] for kind in kinds))
    needed: dict[Signal, bool] = {
        "scores": method.order is not None or "scores" in features,
        "features": "features" in features,
        "difficulty": method.difficulty is not None and not column,
    }
    measured = {name: layout.signal(*place, name) for name in needed if needed[name]}
    # The length of a prompt, as an order or as a feature, would be known without a prefill.
    scored = method.order not in (None, *UNSCORED) or "angle" in kinds
    return Inputs(
        prompts=layout.prompts(*place),
        order=layout.order(*place, method.order_key) if method.order_key else None,
        difficulty=measured.get("difficulty"),
        ranges=difficulty_ranges(preset, run.dataset) if column else None,
        features={name: measured[name] for name in features},
        measured=measured,
        costly={name: path for name, path in measured.items() if name != "scores" or scored},
    )


def chosen(preset: Preset, layout: Layout, run: Trained) -> list[Path]:
    """The file that a tuned method's runs have their settings from; none of other methods."""
    owner = owner_of(preset, run.method)
    return [layout.choice(run.model, run.dataset, owner)] if owner else []


def preparation(preset: Preset, layout: Layout, runs: Iterable[Seeded]) -> list[Path]:
    """The costly tables behind some runs, each once."""
    found = (inputs_of(preset, layout, run).costly.values() for run in runs)
    return list(dict.fromkeys(path for paths in found for path in paths))


def selections(preset: Preset, layout: Layout, experiment: str) -> Iterator[Path]:
    """Scores and orders that the selections of an experiment draw from, for the first seed."""
    orders = {preset.methods[name].order_key for name in selecting(preset, experiment)}
    for model, dataset in preset.experiments[experiment].places:
        place = (preset.starts(model)[0], dataset)
        yield layout.signal(*place, "scores")
        yield from (layout.order(*place, order) for order in sorted(filter(None, orders)))


def downloaded(preset: Preset, model: str) -> bool:
    """Whether a model comes over the network."""
    spec = preset.models[model]
    return isinstance(spec, HubModel) or (isinstance(spec, PackagedGguf) and spec.wheel is None)


def fetched(preset: Preset, layout: Layout) -> list[Path]:
    """Everything of a preset that comes over the network: models, and the tables of data sets."""
    models = [layout.fetched(name) for name in preset.models if downloaded(preset, name)]
    splits = ("train", "eval", "warmup")
    return models + [layout.split(name, each) for name in preset.datasets for each in splits]


def warmup_tables(preset: Preset, layout: Layout, model: str) -> list[Path]:
    """Prompt tables that a model's warm-up reads."""
    return [layout.split(name, "warmup") for name in warmup_datasets(preset, model)]


def held_out(preset: Preset, layout: Layout, run: Trained) -> list[Path]:
    """Held-out prompts of a run's own data set and of its benchmarks."""
    tested = benchmarks_of(preset, run.model, run.dataset, run.method)
    return [layout.split(name, "eval") for name in dict.fromkeys([run.dataset, *tested])]
