"""Prompt augmentation: a prompt is rendered with another template every step (arXiv 2602.03190)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from gainrl.curricula.base import generator_state, restore_generator
from gainrl.data.prompts import MixedPrompts, Prompts


class Templates:
    """N prompts in several renderings, one for each template.

    A step draws a rendering for every prompt, whether it is rolled out or not: what a prompt gets
    then depends on the seed, the step and the prompt only, and all its rollouts of a step share it.
    """

    def __init__(self, renderings: Sequence[Prompts], seed: int) -> None:
        self.renderings = renderings
        self.rng = np.random.default_rng([seed, 23])

    def draw(self) -> Prompts:
        """The prompts of the next step; each has the prefix, question and suffix of its own."""
        size = len(self.renderings[0].tokens)
        drawn = self.rng.integers(len(self.renderings), size=size)
        rows = np.arange(size)
        suffixes = np.stack([each.n_suffix for each in self.renderings])
        prefixes = np.array([each.n_prefix for each in self.renderings])
        return MixedPrompts(
            self.renderings[0].ids,
            [self.renderings[k].tokens[row] for row, k in enumerate(drawn.tolist())],
            int(prefixes.min()),
            suffixes[drawn, rows],
            prefixes[drawn],
        )

    def state_dict(self) -> dict[str, Any]:
        """The random state, between steps."""
        return {"rng": json.dumps(generator_state(self.rng))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        restore_generator(self.rng, json.loads(state["rng"]))
