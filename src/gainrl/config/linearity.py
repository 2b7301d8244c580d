"""The preset's `linearity`: how straight runs move, and where a line through them ends."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from gainrl.config.base import Count, Distinct, Names, Positive, Section
from gainrl.errors import nearest

FEWEST = 4
"""Snapshots, the start model included; three points or fewer are near a line by chance alone."""


class Extrapolation(Section):
    """A line through the models of two RL steps, taken to a third; step 0 is the start model."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    start: Count = Field(alias="from")
    """RL step of the first model."""
    end: Positive = Field(alias="to")
    """RL step of the second model."""
    target: Positive
    """RL step that the line is taken to, after both."""

    @model_validator(mode="after")
    def _ahead(self) -> Extrapolation:
        if not self.start < self.end < self.target:
            raise ValueError(
                f"from {self.start}, to {self.end}, target {self.target}: each must be after the "
                "one before"
            )
        return self

    @property
    def factor(self) -> float:
        """a = (target - from) / (to - from)."""
        return (self.target - self.start) / (self.end - self.start)

    @property
    def label(self) -> str:
        """As tables and figures name it."""
        return f"{self.start}, {self.end} → {self.target}"


class Linearity(Section):
    """Which runs are traced, and how."""

    models: Names = Field(min_length=1)
    """Whose runs are traced."""
    datasets: Names = Field(min_length=1)
    """On which data sets."""
    methods: Names = Field(min_length=1)
    """By which methods; some experiment has each of these runs."""
    seeds: Annotated[tuple[Count, ...], Field(min_length=1), Distinct] | None = None
    """Which runs are looked at; None for all."""
    every: Positive
    """RL steps from one snapshot to the next; divides the steps of the runs."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of each tensor's weights, which are drawn, but at least 50 of them."""
    prompts: Positive = 32
    """Held-out prompts whose responses are traced."""
    samples: Positive = 4
    """Responses to each, from the start model and from the last."""
    answers: Positive | None = None
    """Samples of a benchmark's problem for the accuracies; None as in `evaluation`."""
    extrapolate: tuple[Extrapolation, ...] = ()
    """Which models and logits are extrapolated."""
    walks: Positive = 20_000
    """Simulated walks, for the random walk that R^2 is held against."""
    seed: Count = 0
    """Of the weights that are looked at, the responses and the walks."""

    def kept(self, steps: int) -> tuple[int, ...]:
        """RL steps at which a run of `steps` keeps its weights, the last included."""
        return tuple(range(self.every, steps + 1, self.every))

    def traces(self, model: str, dataset: str, method: str) -> bool:
        """Whether runs of these are looked at."""
        return model in self.models and dataset in self.datasets and method in self.methods

    def check(self, preset: Any) -> None:
        """Refuse what a preset does not have, and runs whose snapshots do not serve (ValueError).

        preset: a config.Preset, which cannot be named here.
        """
        for field in ("models", "datasets", "methods"):
            known = getattr(preset, field)
            for name in getattr(self, field):
                if name not in known:
                    hint = nearest(name, known)
                    raise ValueError(f"linearity.{field}: unknown name '{name}'{hint}")
        for seed in self.seeds or ():
            if seed not in preset.seeds:
                raise ValueError(f"linearity.seeds: {seed} is not one of the seeds")
        if "linearity" in preset.experiments:  # both would write linearity.csv
            raise ValueError("experiments.linearity: the name is that of the section 'linearity'")
        for model, dataset, method in product(self.models, self.datasets, self.methods):
            run = f"{model}/{dataset}/{method}"
            if not any(each.has(model, dataset, method) for each in preset.experiments.values()):
                raise ValueError(f"linearity: no experiment has the run {run}")
            self._check_snapshots(run, preset.training_for(dataset, model, method).steps)
            if (self.answers or 1) > 1 and not preset.evaluation_for(dataset, model).temperature:
                raise ValueError("linearity.answers: at temperature 0 all answers are the same")

    def _check_snapshots(self, run: str, steps: int) -> None:
        if steps % self.every:
            raise ValueError(
                f"linearity.every: {self.every} does not divide the {steps} steps of {run}, so "
                "its snapshots would not be evenly spaced"
            )
        if steps // self.every + 1 < FEWEST:
            raise ValueError(
                f"linearity.every: {self.every} gives {run} fewer than {FEWEST} snapshots, the "
                "start model included"
            )
        known = {0, *self.kept(steps)}
        for number, each in enumerate(self.extrapolate):
            for step in (each.start, each.end, each.target):
                if step not in known:
                    raise ValueError(
                        f"linearity.extrapolate.{number}: {run} keeps no snapshot of step {step}"
                    )
