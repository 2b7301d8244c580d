"""Prompt augmentation: a prompt is rendered with another template every step (arXiv 2602.03190)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from gainrl.curricula.base import IntArray, generator_state, restore_generator
from gainrl.data.prompts import MixedPrompts, Prompts


class Drawn:
    """Which of some templates each of N prompts has in a step.

    A step draws for every prompt, whether it is rolled out or not: what a prompt gets then depends
    on the seed, the step and the prompt only, and all its rollouts of a step share it.

    drawn: (N,) of the step, from 0 on.
    """

    def __init__(self, templates: int, size: int, seed: int) -> None:
        self.templates, self.size = templates, size
        self.rng = np.random.default_rng([seed, 23])
        self.drawn = np.zeros(size, dtype=np.int64)

    def next(self) -> IntArray:
        """(N,) those of the next step."""
        self.drawn = self.rng.integers(self.templates, size=self.size)
        return self.drawn

    def state_dict(self) -> dict[str, Any]:
        """The random state, between steps."""
        return {"rng": json.dumps(generator_state(self.rng))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        restore_generator(self.rng, json.loads(state["rng"]))


class Templates(Drawn):
    """N prompts in several renderings, one for each template."""

    def __init__(self, renderings: Sequence[Prompts], seed: int) -> None:
        super().__init__(len(renderings), len(renderings[0].tokens), seed)
        self.renderings = renderings

    def draw(self) -> Prompts:
        """The prompts of the next step; each has the prefix, question and suffix of its own."""
        drawn, rows = self.next(), np.arange(self.size)
        suffixes = np.stack([each.n_suffix for each in self.renderings])
        prefixes = np.array([each.n_prefix for each in self.renderings])
        return MixedPrompts(
            self.renderings[0].ids,
            [self.renderings[k].tokens[row] for row, k in enumerate(drawn.tolist())],
            int(prefixes.min()),
            suffixes[drawn, rows],
            prefixes[drawn],
        )
