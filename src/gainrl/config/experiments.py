"""Sections of a preset that say which runs an experiment compares and what is shown. No torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import Field, model_validator

from gainrl.config.base import Name, Section
from gainrl.errors import nearest

Column = Literal[
    "final",
    "difference",
    "steps",
    "speedup",
    "speedup_tokens",
    "speedup_seconds",
    "speedup_flops",
    "equal_tokens",
    "equal_seconds",
    "equal_flops",
    "tokens",
    "flops",
    "seconds",
    "preparation",
    "zero_variance",
    "overhead",
    "paper",
]
"""A column of an experiment's table; `final` and `paper` are one for each benchmark."""


class Published(Section):
    """Which printed numbers of the paper stand beside ours.

    table: its number there. models, methods, benchmarks: from our names to the paper's; a name that
    is left out is its own (of a model: the last part of its hub id; of a benchmark: its name in the
    registry). The paper's names are those of gainrl/tables/published.csv.
    """

    table: Literal[1, 2, 3, 4, 5]
    models: dict[Name, str] = Field(default_factory=dict)
    benchmarks: dict[Name, str] = Field(default_factory=dict)
    methods: dict[Name, str] = Field(default_factory=dict)

    def check(self, **known: Collection[str]) -> None:
        """Refuse mapped names that the experiment lacks (ValueError); `known` by field."""
        for field, names in known.items():
            for name in getattr(self, field):
                if name not in names:
                    raise ValueError(
                        f"published.{field}: the experiment has no '{name}'{nearest(name, names)}"
                    )


class Experiment(Section):
    """Which runs a table compares: every model on every data set by every method with every seed.

    `only`: the data sets, of these, that a model is trained on, for models that are not trained on
    all. `benchmarks` defaults to each run's own data set.
    `figure` names the experiment's learning curves (`figure7`); without it none are drawn. `speed`:
    what is counted in a second figure, `<figure>_speed`, with a line for each method. `final`:
    protocols under which the final model of every run, and its start model, are tested besides.
    `columns`: what the table for people shows (the CSV has everything). `published`: which numbers
    of the paper stand beside ours, in the CSV and in the column `paper`.
    """

    models: tuple[Name, ...] = Field(min_length=1)
    datasets: tuple[Name, ...] = Field(min_length=1)
    methods: tuple[Name, ...] = Field(min_length=1)
    only: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)
    benchmarks: tuple[Name, ...] | None = None
    baseline: Name = "grpo"
    figure: Name | None = None
    speed: Literal["steps", "tokens", "seconds", "flops"] | None = None
    final: tuple[Name, ...] = ()
    caption: str | None = None
    columns: tuple[Column, ...] = Field(
        default=(
            *("final", "difference", "steps", "speedup", "tokens", "seconds", "zero_variance"),
        ),
        min_length=1,
    )
    published: Published | None = None

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """The pairs of model and data set, model by model."""
        return tuple(
            (model, dataset)
            for model in self.models
            for dataset in self.datasets
            if dataset in self.only.get(model, self.datasets)
        )

    def has(self, model: str, dataset: str, method: str) -> bool:
        """Whether runs of these are compared."""
        return (model, dataset) in self.places and method in self.methods

    @model_validator(mode="after")
    def _pairs(self) -> Experiment:
        for model, datasets in self.only.items():
            if model not in self.models:
                hint = nearest(model, self.models)
                raise ValueError(f"only: the experiment has no model '{model}'{hint}")
            for name in datasets:
                if name not in self.datasets:
                    hint = nearest(name, self.datasets)
                    raise ValueError(f"only.{model}: the experiment has no data set '{name}'{hint}")
            if not datasets:
                raise ValueError(f"only.{model} is empty: leave the model out of 'models'")
        used = {dataset for _, dataset in self.places}
        for name in self.datasets:
            if name not in used:
                raise ValueError(f"only: no model is trained on data set '{name}'")
        return self

    @model_validator(mode="after")
    def _shown(self) -> Experiment:
        if self.speed and not self.figure:
            raise ValueError("speed: needs the key 'figure'")
        if self.speed and set(self.methods) == {self.baseline}:
            raise ValueError("speed: needs a method beside the baseline")
        if "paper" in self.columns and self.published is None:
            raise ValueError("columns: 'paper' needs the key 'published'")
        if self.published:
            self.published.check(
                models=self.models,
                methods=self.methods,
                benchmarks=self.benchmarks or self.datasets,
            )
        return self
