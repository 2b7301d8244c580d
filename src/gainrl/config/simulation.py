"""The preset's `simulation`: pools and learners for curricula without a model. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from gainrl.config.base import Name, Names, Positive, Section, Share
from gainrl.errors import nearest

Above = Annotated[float, Field(gt=0)]
Correlation = Annotated[float, Field(gt=-1, lt=1)]

ORDERS = ("angle", "reversed", "residual", "length", "shuffled")
"""Orders that a simulated pool has: one C and one question length a prompt."""
FEWEST = 3
"""Methods below which a rank correlation says nothing."""


class Learner(Section):
    """A parametric learner and its pool of prompts; docs/simulation.md has the equations."""

    pool: Positive | None = None
    """N, its prompts."""
    impossible: Share = 0.0
    """Share of prompts that are never right."""
    trivial: Share = 0.0
    """Share of prompts that are always right."""
    unlucky: Share = 0.0
    """Share of prompts that are right with probability `luck` whatever the policy can do (a wrong
    gold answer); what is left of the pool are logistic items."""
    luck: Share = 0.1
    """See `unlucky`."""
    ability: float = -1.0
    """Of every skill before RL."""
    spread: Above = 1.0
    """Standard deviation of difficulties, which lie around 0."""
    discrimination: Above = 1.5
    """Slope of an item."""
    skills: Positive = 8
    """K."""
    between: Share = 0.5
    """Share of the difficulties' variance that lies between skills."""
    transfer: Share = 0.5
    """What another skill gets of a skill's growth."""
    rate: Above = 0.05
    """Growth a step and unit of gradient signal."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of a step's growth, in units of `rate`, for one rollout."""
    tokens: Positive = 400
    """Mean length of a response."""
    prompt_tokens: Positive = 100
    """Mean length of a question."""
    length: Correlation = 0.5
    """Correlation of lengths with difficulty."""
    signal: Correlation = -0.3
    """Correlation of C with difficulty."""
    signal_length: Correlation = -0.4
    """Correlation of C with question length."""

    @model_validator(mode="after")
    def _possible(self) -> Learner:
        if self.impossible + self.trivial + self.unlucky >= 1:
            raise ValueError("impossible, trivial and unlucky leave no prompt to learn from")
        if self._rest < 0:
            raise ValueError("no C has these correlations: length, signal and signal_length clash")
        return self

    @property
    def weights(self) -> tuple[float, float, float]:
        """Of difficulty, question length and noise in C, all of them standardised."""
        left = 1 - self.length**2
        difficulty = (self.signal - self.length * self.signal_length) / left
        length = (self.signal_length - self.length * self.signal) / left
        return difficulty, length, self._rest**0.5

    @property
    def _rest(self) -> float:
        """Share of C's variance that neither difficulty nor question length accounts for."""
        both = 2 * self.length * self.signal * self.signal_length
        return 1 - (self.signal**2 + self.signal_length**2 - both) / (1 - self.length**2)


class Recorded(Section):
    """Pass rates of a finished run's snapshots, in place of a parametric learner."""

    probe: str
    """Path of a probe table (records.PROBE), which `gainrl probe` writes."""
    scores: str | None = None
    """Path of the score table of its data set, for question lengths."""


class Regime(Learner):
    """One setting in which methods are compared."""

    methods: Names = Field(min_length=1)
    """Of the preset, which are simulated."""
    steps: Positive = 200
    """RL steps of a run."""
    batch: Positive = 1024
    """Prompts a step; a method's own training.prompts wins."""
    rollouts: Annotated[int, Field(ge=2)] = 8
    """Responses a prompt; a method's own training.rollouts wins."""
    seeds: Positive = 10
    """Runs of each method, seeds from 0 on."""
    recorded: Recorded | None = None
    """A finished run in place of the learner, whose keys then do not apply, but for tokens and
    prompt_tokens, which are every prompt's."""

    @model_validator(mode="after")
    def _one_source(self) -> Regime:
        if self.recorded is None:
            if self.pool is None:
                raise ValueError("needs the key 'pool' (prompts), or 'recorded'")
            if self.batch > self.pool:
                raise ValueError(f"batch is {self.batch}, but the pool has {self.pool} prompts")
            return self
        for key, field in Learner.model_fields.items():
            known = key in ("tokens", "prompt_tokens")
            if not known and getattr(self, key) != field.default:
                raise ValueError(f"'{key}' is of a parametric learner; 'recorded' takes none")
        return self


class Simulation(Section):
    """Which methods are simulated in which regimes."""

    regimes: dict[Name, Regime] = Field(min_length=1)
    """By name."""
    baseline: Name = "grpo"
    """The method that the others are compared with."""
    checks: dict[Name, Name | dict[Name, Name]] = Field(default_factory=dict)
    """Experiment -> regime, or, where data sets differ, experiment -> data set -> regime; how well
    the simulation ranks methods is measured on the experiment's finished runs."""

    def regime_of(self, experiment: str, dataset: str) -> str | None:
        """Name of the regime that the runs on a data set are held against."""
        chosen = self.checked.get(experiment, {})
        return chosen.get(dataset, chosen.get(""))

    @property
    def checked(self) -> dict[str, dict[str, str]]:
        """Experiment -> its keys in `checks` (a data set, or '' for all) -> regime."""
        return {
            name: chosen if isinstance(chosen, dict) else {"": chosen}
            for name, chosen in self.checks.items()
        }


def check_references(
    simulation: Simulation, methods: Mapping[str, Any], experiments: Mapping[str, Any]
) -> None:
    """Refuse names that a preset lacks, and methods that a simulation cannot run.

    Args:
        methods, experiments: the preset's sections.

    Raises:
        ValueError: naming the key.
    """
    for name, regime in simulation.regimes.items():
        key = f"simulation.regimes.{name}.methods"
        for method in regime.methods:
            if method not in methods:
                raise ValueError(f"{key}: unknown name '{method}'{nearest(method, methods)}")
            reason = _unsimulated(methods[method], regime)
            if reason:
                raise ValueError(f"{key}: '{method}' cannot be simulated: {reason}")
        if simulation.baseline not in regime.methods:
            raise ValueError(f"{key}: the baseline '{simulation.baseline}' is not among them")
    for name, chosen in simulation.checked.items():
        key = f"simulation.checks.{name}"
        if name not in experiments:
            raise ValueError(f"{key}: unknown experiment{nearest(name, experiments)}")
        for dataset, named in chosen.items():
            if dataset and dataset not in experiments[name].datasets:
                hint = nearest(dataset, experiments[name].datasets)
                raise ValueError(f"{key}: the experiment has no data set '{dataset}'{hint}")
            _check_shared(simulation, f"{key}.{dataset}".rstrip("."), named, experiments[name])


def _check_shared(simulation: Simulation, key: str, regime: str, experiment: Any) -> None:
    """Refuse a check by an unknown regime, or by one with too few of the experiment's methods."""
    if regime not in simulation.regimes:
        hint = nearest(regime, simulation.regimes)
        raise ValueError(f"{key}: unknown name '{regime}'{hint}")
    both = {*simulation.regimes[regime].methods} & {*experiment.methods}
    if len(both) < FEWEST or not {simulation.baseline, experiment.baseline} <= both:
        raise ValueError(
            f"{key}: the two share {len(both)} methods; a rank correlation needs {FEWEST}, "
            "both baselines among them"
        )


def _unsimulated(method: Any, regime: Regime) -> str | None:
    """Why a method cannot be simulated, or None."""
    if method.algorithm != "grpo":
        return f"its algorithm is {method.algorithm}, the simulation knows grpo only"
    if method.selection is not None:
        return "it trains on a selection of the data"
    if method.inter_weight is not None:
        return "it has a weight of C_inter of its own, but a simulated prompt has one C"
    if method.order is not None and method.order not in ORDERS:
        return f"a simulated pool has no order '{method.order}'; known: {', '.join(ORDERS)}"
    lengths = regime.recorded is None or regime.recorded.scores is not None
    if method.order in ("length", "residual") and not lengths:
        return f"order '{method.order}' needs the key 'recorded.scores'"
    if method.difficulty == "column" and regime.recorded is not None:
        return "a probe table has no difficulties of the data set's own"
    unknown = sorted(set(method.training.given) - {"prompts", "rollouts"})
    if unknown:
        return f"it sets training.{unknown[0]}, which a simulated step does not have"
    return None
