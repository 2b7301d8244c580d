"""The preset's `studies`: what is measured and drawn about the signal itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gainrl.config.base import Count, Name, Positive, Section


class SignalStudy(Section):
    """results/signal.csv: C against length, difficulty, pass rate and gradient norm."""

    gradient_prompts: Count = 64
    gradient_rollouts: Annotated[int, Field(ge=2)] = 8
    resamples: Positive = 2000


class LayerStudy(Section):
    """Layer profile over `prompts` prompts, and cosine maps (Figure 3) of `maps` of them."""

    prompts: Positive = 64
    maps: Positive = 3


class AnswerStudy(Section):
    """Figure 2: right answers of `samples`, by question, for two or more models."""

    models: tuple[Name, ...] = Field(min_length=2)
    prompts: Positive = 100
    samples: Positive = 10


class DynamicsStudy(Section):
    """Figures 4 to 6: what happens to C, answers and neurons while `method` trains.

    Snapshots are kept every `every` steps, and `prompts` training prompts are answered `samples`
    times at each; `seed` says which run is looked at.
    """

    method: Name
    seed: Count = 0
    every: Positive
    prompts: Positive = 256
    samples: Positive = 4


class Studies(Section):
    """What the signal is worth: figures and a table about C, for models and data sets."""

    models: tuple[Name, ...] = Field(min_length=1)
    datasets: tuple[Name, ...] = Field(min_length=1)
    signal: SignalStudy | None = None
    layers: LayerStudy | None = None
    answers: AnswerStudy | None = None
    dynamics: DynamicsStudy | None = None
