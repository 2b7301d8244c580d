"""The preset's `studies`: what is measured and drawn about the signal itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gainrl.config.base import Count, Name, Names, Positive, Section


class SignalStudy(Section):
    """The table `signal`: C against length, difficulty, pass rate and gradient norm."""

    gradient_prompts: Count = 64
    """Prompts whose policy gradient is measured; 0 for none."""
    gradient_rollouts: Annotated[int, Field(ge=2)] = 8
    """Rollouts of each of them."""
    resamples: Positive = 2000
    """Of the bootstrap over prompts."""


class LayerStudy(Section):
    """Layer profile and cosine maps (Figure 3) of some prompts."""

    prompts: Positive = 64
    """Prompts of the profile."""
    maps: Positive = 3
    """Prompts, of these, that a map is drawn of."""


class AnswerStudy(Section):
    """Figure 2: right answers by question, for two or more models."""

    models: Names = Field(min_length=2)
    """Whose answers."""
    prompts: Positive = 100
    """Questions."""
    samples: Positive = 10
    """Responses to each."""


class DynamicsStudy(Section):
    """Figures 4 to 6: what happens to C, answers and neurons while `method` trains."""

    method: Name
    """Whose run is looked at."""
    seed: Count = 0
    """Which of its runs."""
    every: Positive
    """RL steps from one snapshot to the next."""
    prompts: Positive = 256
    """Training prompts that are looked at and answered at each snapshot."""
    samples: Count = 4
    """Responses to each; 0 draws Figure 4 alone, which needs none."""


class Studies(Section):
    """What the signal is worth: figures and a table about C, for models and data sets."""

    models: Names = Field(min_length=1)
    """Of which models."""
    datasets: Names = Field(min_length=1)
    """On which data sets."""
    signal: SignalStudy | None = None
    """The table of correlations; None for none."""
    layers: LayerStudy | None = None
    """Layer profiles; None for none."""
    answers: AnswerStudy | None = None
    """Figure 2; None for none."""
    dynamics: DynamicsStudy | None = None
    """Figures 4 to 6; None for none."""
