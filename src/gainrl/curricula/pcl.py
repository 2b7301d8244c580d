"""Prompt Curriculum Learning: a value model picks prompts of middle accuracy (arXiv:2510.01135)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import IntArray, Outcome
from gainrl.curricula.columns import standardised
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register


@register("pcl")
@dataclass
class Pcl(Sampler):
    """Of k B random candidates, the B with the smallest |V - tau|; V is fitted to group means.

    The paper's V is a second language model, about as large as the one that is trained and updated
    once a step. That would cost a training of its own in every run that compares curricula, so
    here V is a ridge regression over what the prefill of the start model says of a prompt. It is
    fitted to every step's group means with weights that fall by `decay` a step, so that it follows
    the model in training. It sees far less of a prompt than the paper's V, and its results say
    little about that. With features z of mean 0 and deviation 1 over the table,

        V = w0 + w z,    minimising  sum_t decay^(now - t) sum_i (V_i - accuracy_i)^2 + ridge |w|^2.

    Before the first step V is tau for all.

    Parameters:
        k: candidates as a multiple of what is drawn (the whole table if that is smaller).
        tau: accuracy in [0, 1].
        ridge: above 0, in units of prompts.
        decay: in [0, 1]; 1 forgets nothing. The ridge and this are ours.
    """

    k: int = 4
    tau: float = 0.5
    ridge: float = 1.0
    decay: float = 0.9
    needs = frozenset({"features"})
    stream = 17
    state = ("gram", "moment", "weights", "expected", "error")

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k is {self.k}, not at least 1")
        for key in ("tau", "decay"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} is {getattr(self, key)}, not in [0, 1]")
        if self.ridge <= 0:
            raise ValueError("ridge must be above 0")

    def start(self) -> None:
        """Standardise the features; V is tau for all."""
        features = self.setting.features
        assert features is not None
        columns = [np.ones(self.setting.size)]
        for name in sorted(features):
            columns.append(standardised(features[name]))
        self.inputs = np.stack(columns, axis=1)
        width = len(columns)
        self.penalty = np.diag([0.0] + [self.ridge] * (width - 1))
        self.gram, self.moment = np.zeros((width, width)), np.zeros(width)
        self.weights = np.array([self.tau] + [0.0] * (width - 1))
        self.expected = self.error = 0.0

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows, nearest first."""
        size = min(self.k * count, self.setting.size)
        pool = self.rng.choice(self.setting.size, size, replace=False)
        distance = np.abs(self.inputs[pool] @ self.weights - self.tau)
        return pool[np.argsort(distance, kind="stable")[:count]]

    def observe(self, outcome: Outcome) -> None:
        """Compare V with the group means, then fit it to them."""
        inputs = self.inputs[outcome.rows]
        values = inputs @ self.weights
        self.expected = float(values.mean())
        self.error = float(np.abs(values - outcome.accuracy).mean())
        self.gram = self.decay * self.gram + inputs.T @ inputs
        self.moment = self.decay * self.moment + inputs.T @ outcome.accuracy
        self.weights = np.linalg.solve(self.gram + self.penalty, self.moment)

    def metrics(self) -> dict[str, float]:
        """Of the last batch, before it was seen: mean V, and its mean absolute error."""
        return {"expected_accuracy": self.expected, "error": self.error}
