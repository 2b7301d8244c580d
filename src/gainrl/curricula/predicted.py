"""Predict what a group would teach, from the prefill and the record; draw where it is most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gainrl.curricula.adaptive import Adaptive
from gainrl.curricula.base import FloatArray, IntArray, Outcome
from gainrl.curricula.columns import standardised
from gainrl.curricula.logistic import FadingLogistic
from gainrl.curricula.parts import Allocation, Sampler
from gainrl.curricula.registry import register
from gainrl.errors import ConfigError

KINDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "length": ("tokens",),
    "length_c": ("tokens", "angle"),
    "all": ("tokens", "angle", "states"),
}
"""What each choice of features is made of (gainrl.plan.fingerprints knows where it comes from)."""
NAMES = {"tokens": ["tokens"], "angle": ["c_intra", "c_inter"]}
STATE = "state"
"""What the names of the principal components begin with, however many there are."""


@register("predicted")
@dataclass
class Predicted(Sampler):
    """Draw prompts in proportion to (4 p (1 - p) v)^power, p and v predicted online.

    p is a prompt's pass rate and v its group's variance, 4 a (1 - a) for a group of accuracy a.
    Each has a logistic model on the prompt's features (`FadingLogistic`), which is the prior of
    the prompt's own record:

        p = (prior_rollouts m + right) / (prior_rollouts + rollouts),
        v = (prior_groups u + sum of 4 a (1 - a)) / (prior_groups + groups),

    with the models' predictions m and u, and counts that fade by `count_decay` a step. The draw is
    without replacement, exact by the Gumbel top-k trick; weights are floored at a share of the
    largest. Every group is learned from, also those without a gradient.

    Parameters:
        features: standardised inputs beside an intercept: none, the question's length in tokens,
            that and C_intra and C_inter, or these and 16 principal components of the mean state.
        adaptive: bring the allocation `adaptive`; else the preset's prompts and rollouts.
        first: that of the allocation.
        prior_rollouts, prior_groups: what the models weigh against a prompt's record.
        ridge, model_decay: of both models. count_decay: of the record, a step.
        floor: of the weights, as a share of the largest.
        power: of the score.
    """

    features: Literal["none", "length", "length_c", "all"] = "length_c"
    adaptive: bool = True
    first: int = 4
    prior_rollouts: float = 4.0
    prior_groups: float = 1.0
    ridge: float = 3.0
    model_decay: float = 0.9
    count_decay: float = 0.95
    floor: float = 0.05
    power: float = 2.0
    stream = 19
    state = ("pass_rate", "variance", "right", "tried", "spread", "groups", "told")

    def __post_init__(self) -> None:
        for key in ("prior_rollouts", "prior_groups", "ridge"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{key} must be above 0")
        for key in ("model_decay", "count_decay", "floor"):
            if not 0 < getattr(self, key) <= 1:
                raise ValueError(f"{key} must be above 0 and at most 1")
        if self.power < 0:
            raise ValueError("power must be at least 0")
        self.feature_kinds = KINDS[self.features]
        self.needs = frozenset({"features"} if self.feature_kinds else ())

    def allocation(self) -> Allocation:
        """Adaptive rollouts, unless the preset's are asked for."""
        return Adaptive(self.first) if self.adaptive else super().allocation()

    def start(self) -> None:
        """Every prompt is alike until something was observed.

        Raises:
            ConfigError: a feature is missing.
        """
        self.inputs, self.names = self._inputs()
        width = self.inputs.shape[1]
        self.pass_rate = FadingLogistic(width, self.ridge, self.model_decay)
        self.variance = FadingLogistic(width, self.ridge, self.model_decay)
        self.right, self.tried, self.spread, self.groups = np.zeros((4, self.setting.size))
        self.told: dict[str, float] = {}

    def _inputs(self) -> tuple[FloatArray, list[str]]:
        """(N, F) intercept and standardised features, and their names."""
        given = self.setting.features or {}
        states = sorted(name for name in given if name.startswith(STATE)) or [f"{STATE}00"]
        names = [n for kind in self.feature_kinds for n in NAMES.get(kind, states)]
        for name in names:
            if name not in given:
                raise ConfigError(f"curriculum 'predicted' needs the feature '{name}'")
        inputs = np.zeros((self.setting.size, 1 + len(names)))
        inputs[:, 0] = 1.0
        for column, name in enumerate(names, start=1):
            inputs[:, column] = standardised(given[name])
        return inputs, ["intercept", *names]

    # --- choosing --------------------------------------------------------------------------------

    def estimates(self, rows: IntArray | slice = slice(None)) -> tuple[FloatArray, FloatArray]:
        """(R,) p and (R,) v of some rows."""
        inputs = self.inputs[rows]
        rate = self.prior_rollouts * self.pass_rate.predict(inputs) + self.right[rows]
        variance = self.prior_groups * self.variance.predict(inputs) + self.spread[rows]
        rate /= self.prior_rollouts + self.tried[rows]
        variance /= self.prior_groups + self.groups[rows]
        return rate, variance

    def weights(self) -> FloatArray:
        """(N,) what the draw is in proportion to; above 0."""
        rate, variance = self.estimates()
        score = 4 * rate * (1 - rate) * variance
        self.told["predicted"], self.told["score"] = float(rate.mean()), float(score.mean())
        found = score**self.power
        return np.maximum(found, self.floor * (found.max() or 1.0))

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows in the order in which they were drawn."""
        # the smallest Exp(1) / w: their -log are the largest log w + Gumbel
        keys = self.rng.standard_exponential(self.setting.size) / self.weights()
        chosen = np.argpartition(keys, count - 1)[:count]
        return chosen[np.argsort(keys[chosen])]

    # --- learning --------------------------------------------------------------------------------

    def observe(self, outcome: Outcome) -> None:
        """Fade the record, add every group to it, and move both models."""
        rows, rate = outcome.rows, outcome.accuracy
        count, spread = outcome.rollouts.astype(np.float64), 4 * rate * (1 - rate)
        self.told["error"] = float(np.abs(self.estimates(rows)[0] - rate).mean())
        inputs = self.inputs[rows]
        self.pass_rate.observe(inputs, rate, count)
        self.variance.observe(inputs, spread, np.ones(len(rows)))
        gains = (count * rate, count, spread, np.ones(len(rows)))
        for record, gain in zip(self._record(), gains, strict=True):
            record *= self.count_decay
            record[rows] += gain

    def _record(self) -> tuple[FloatArray, ...]:
        return self.right, self.tried, self.spread, self.groups

    def metrics(self) -> dict[str, float]:
        """Of the last step; `error` is that of p before the step was observed.

        predicted, score: means over the table at the draw; weight/*: of the pass rate's model, in
        logits a standard deviation, but for the components.
        """
        weights = zip(self.names, self.pass_rate.weights.tolist(), strict=True)
        named = {f"weight/{name}": w for name, w in weights if not name.startswith(STATE)}
        return {**self.told, **named}
