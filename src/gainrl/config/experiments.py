"""Sections of a preset that say which runs an experiment compares and what is shown. No torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gainrl.config.base import Distinct, Name, Names, Section
from gainrl.errors import nearest

Column = Literal[
    "at_tokens",
    "area",
    "area_difference",
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
    "equal_accuracy_steps",
    "equal_accuracy_tokens",
    "equal_accuracy_seconds",
    "equal_accuracy_flops",
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

    The paper's names are those of gainrl/tables/published.csv; an unmapped name is its own.
    """

    table: Literal[1, 2, 3, 4, 5]
    """The table's number in the paper."""
    models: dict[Name, str] = Field(default_factory=dict)
    """From our names to the paper's, where they differ from the last part of the hub id."""
    benchmarks: dict[Name, str] = Field(default_factory=dict)
    """From our names to the paper's, where they differ from the name in the registry."""
    methods: dict[Name, str] = Field(default_factory=dict)
    """From our names to the paper's."""

    def check(self, **known: Collection[str]) -> None:
        """Refuse mapped names that the experiment lacks (ValueError); `known` by field."""
        for field, names in known.items():
            for name in getattr(self, field):
                if name not in names:
                    raise ValueError(
                        f"published.{field}: the experiment has no '{name}'{nearest(name, names)}"
                    )


class Experiment(Section):
    """Which runs a table compares: each model on each data set by each method with each seed."""

    models: Names = Field(min_length=1)
    """What is trained."""
    datasets: Names = Field(min_length=1)
    """What it is trained on."""
    methods: Names = Field(min_length=1)
    """How."""
    only: dict[Name, Names] = Field(default_factory=dict)
    """The data sets, of these, that a model is trained on, for models that are not trained on
    all."""
    benchmarks: Names | None = None
    """The data sets whose eval split tests the runs; None is each run's own data set."""
    baseline: Name = "grpo"
    """The method that the others are compared with."""
    figure: Name | None = None
    """Name of the experiment's learning curves, such as figure7; without it none are drawn."""
    speed: Literal["steps", "tokens", "seconds", "flops"] | None = None
    """What is counted in a second figure, `<figure>_speed`, with a line for each method."""
    final: Names = ()
    """Protocols under which the final model of every run, and its start model, are tested
    besides."""
    caption: str | None = None
    """What stands above the table for people; None is made from the preset."""
    columns: Annotated[tuple[Column, ...], Distinct] = Field(
        default=(
            "at_tokens",
            "area",
            "equal_tokens",
            "equal_accuracy_tokens",
            "final",
            "difference",
        ),
        min_length=1,
    )
    """What the table for people shows (the CSV has everything)."""
    published: Published | None = None
    """Which numbers of the paper stand beside ours, in the CSV and in the column `paper`."""

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
