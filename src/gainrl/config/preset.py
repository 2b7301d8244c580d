"""What a preset may say: pydantic models that refuse unknown keys. Imports no torch.

A preset is data: models, data sets, methods, seeds and experiments. `load_preset` reads one
YAML or JSON file, checks it as a whole and reports the first problems as one line each, with the
key's full path and the nearest valid name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from gainrl.config.arithmetic import Arithmetic
from gainrl.config.base import Absent, Name, Positive, Section
from gainrl.config.claims import Claim
from gainrl.config.cost import Assumptions
from gainrl.config.data import Dataset, Generated
from gainrl.config.errors import explain, problems
from gainrl.config.evaluation import (
    PROTOCOLS,
    Benchmarks,
    Evaluation,
    Protocol,
    Sampled,
    Sandbox,
    Testing,
)
from gainrl.config.experiments import Experiment
from gainrl.config.files import extended, inherited, read_mapping, with_defaults
from gainrl.config.linearity import Linearity
from gainrl.config.methods import Method
from gainrl.config.models import Model, Nano, parse_start, start_name, start_pattern
from gainrl.config.ppo import PPO
from gainrl.config.scoring import Scoring
from gainrl.config.simulation import Simulation, check_references
from gainrl.config.statistics import Statistics
from gainrl.config.studies import Studies
from gainrl.config.tracking import Tracking
from gainrl.config.training import Training
from gainrl.config.tuning import Tuning
from gainrl.config.verl import Verl
from gainrl.errors import ConfigError, nearest

AnySection = TypeVar("AnySection", bound=Section)


class Preset(Section):
    """A whole preset, as written in config.yaml or experiments/*.yaml.

    A file's key `extends` names another file, which it adds to or changes (gainrl.config.files).
    """

    preset: Name
    """Its name, which is the folder of its runs below results/."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    """One run of each method for each of them, distinct."""
    seeds_together: bool = False
    """One job trains all seeds of a method one after another, in one process, which saves the start
    of the others where runs take seconds; not every backend allows it."""
    threads: Positive = 1
    """CPU threads of each job."""
    arithmetic: Annotated[Arithmetic, Absent()] = "native"
    """Of CPUs. 'native' is the fastest kernels of the processor at hand; 'portable' those that
    processors of all makes have, so that numbers do not depend on it (docs/experiments.md says at
    what cost, and where it was tried)."""
    models: dict[Name, Model]
    """What is trained and tested, by name."""
    datasets: dict[Name, Dataset]
    """What models are trained and tested on, by name."""
    curricula: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Parameters of a part for every method that uses it and does not say otherwise."""
    methods: dict[Name, Method] = Field(default_factory=dict)
    """What is compared, by name."""
    scoring: Scoring = Scoring()
    """Prefill scoring."""
    training: Training = Training()
    """The RL loop."""
    ppo: PPO = PPO()
    """What algorithms with a critic have besides."""
    evaluation: Evaluation = Evaluation()
    """How checkpoints are tested in training."""
    protocols: dict[Name, Protocol] = Field(default_factory=dict)
    """Ways to sample benchmarks besides 'paper' and 'standard', by name."""
    testing: Testing = Testing()
    """Where answers come from when a protocol is followed."""
    sandbox: Sandbox = Sandbox()
    """What a generated program may use while it is graded."""
    benchmarks: Benchmarks | None = None
    """Models as they are, on benchmarks."""
    tuning: Annotated[Tuning | None, Absent()] = None
    """Settings that methods try before they are compared."""
    experiments: dict[Name, Experiment] = Field(default_factory=dict)
    """Which runs a table compares, by name."""
    claims: dict[Name, Claim] = Field(default_factory=dict)
    """What is claimed, and what would support it, by name."""
    statistics: Statistics = Statistics()
    """How the tables summarise seeds."""
    tracking: Tracking = Tracking()
    """Where MLflow records runs."""
    verl: Verl = Verl()
    """Training on verl and vLLM."""
    cost: Assumptions = Assumptions()
    """What the estimate of GPU-hours assumes."""
    studies: Studies | None = None
    """Figures and a table about the signal itself."""
    simulation: Simulation | None = None
    """Curricula without a model."""
    linearity: Linearity | None = None
    """How straight runs move, and where a line through them ends."""
    overrides: dict[Name, dict[Literal["training", "evaluation"], dict[str, Any]]] = Field(
        default_factory=dict
    )
    """Keys of `training` and `evaluation` for runs of a model or on a data set, by its name; a data
    set's win over a model's, a method's over both."""

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError("seeds must be distinct")
        return value

    @model_validator(mode="after")
    def _references(self) -> Preset:
        for key, experiment in self.experiments.items():
            for field, known in (
                ("models", self.models),
                ("datasets", self.datasets),
                ("methods", self.methods),
                ("benchmarks", self.datasets),
            ):
                for name in getattr(experiment, field) or ():
                    _known(f"experiments.{key}.{field}", name, known)
            _known(f"experiments.{key}.baseline", experiment.baseline, experiment.methods)
            self._trainable(experiment)
            self._testable(key, experiment)
        if self.linearity:
            self.linearity.check(self)
        for key, claim in self.claims.items():
            self._decidable(f"claims.{key}", claim)
        if self.benchmarks:
            self._benchmark_references(self.benchmarks)
        if self.studies:
            self._study_references(self.studies)
        if self.simulation:
            check_references(self.simulation, self.methods, self.experiments)
        for key, model in self.models.items():
            for other in self.models:
                if model.per_seed and re.fullmatch(start_pattern(key, model), other):
                    raise ValueError(f"models.{other}: a start model of '{key}' is called so")
            for phase in model.warmup.phases if model.warmup else ():
                for name in phase.datasets:
                    self._teachable(key, model, name)
        for name in self.overrides:
            _known("overrides", name, {**self.datasets, **self.models})
            self.training_for(name, name)
            self.evaluation_for(name, name)
        return self

    def _teachable(self, key: str, model: Model, name: str) -> None:
        _known(f"models.{key}.warmup.phases.datasets", name, self.datasets)
        dataset = self.datasets[name]
        if not getattr(dataset, "warmup", 0):
            raise ValueError(
                f"models.{key}.warmup uses data set '{name}', whose key 'warmup' "
                "(number of worked solutions) is 0"
            )
        programs = isinstance(dataset, Generated) and dataset.task == "code"
        if programs and isinstance(model, Nano) and model.vocabulary != "code":
            raise ValueError(
                f"models.{key}.vocabulary: '{model.vocabulary}' lacks words of data set '{name}'; "
                "it needs 'code'"
            )

    def _trainable(self, experiment: Experiment) -> None:
        for (model, dataset), method in product(experiment.places, experiment.methods):
            self.training_for(dataset, model, method)

    def _testable(self, key: str, experiment: Experiment) -> None:
        for name in experiment.final:
            _known(f"experiments.{key}.final", name, {**PROTOCOLS, **self.protocols})
        for model, dataset in experiment.places:
            if experiment.final and not self.training_for(dataset, model).keep_model:
                raise ValueError(
                    f"experiments.{key}.final tests trained models: training.keep_model must "
                    f"be true (it is false for {model} on {dataset})"
                )

    def _decidable(self, key: str, claim: Claim) -> None:
        if claim.experiment is not None:
            _known(f"{key}.experiment", claim.experiment, self.experiments)
            methods = self.experiments[claim.experiment].methods
            for name in claim.methods:
                _known(f"{key}.methods", name, methods)
            for name in claim.against:
                _known(f"{key}.against", name, methods)
            rivals = claim.against or (self.experiments[claim.experiment].baseline,)
            itself = [name for name in claim.methods if name in rivals]
            if itself and claim.measure != "overhead":
                raise ValueError(
                    f"{key}.methods: '{itself[0]}' is held against {', '.join(rivals)}, and would "
                    "be its own rival"
                )
        part = {"correlation": "signal", "learnt_first": "dynamics"}.get(claim.measure)
        if part and getattr(self.studies, part, None) is None:
            raise ValueError(f"{key}: measure '{claim.measure}' needs the key 'studies.{part}'")
        if claim.measure == "learnt_first" and not self.studies.dynamics.samples:  # type: ignore[union-attr]
            raise ValueError(f"{key}: measure 'learnt_first' needs studies.dynamics.samples")
        if claim.measure in ("linearity", "extrapolation"):
            if self.linearity is None:
                raise ValueError(f"{key}: measure '{claim.measure}' needs the key 'linearity'")
            for name in claim.methods:
                _known(f"{key}.methods", name, self.linearity.methods)
            if claim.measure == "extrapolation" and not self.linearity.extrapolate:
                raise ValueError(f"{key}: linearity.extrapolate is empty")
        if claim.quantity == "gradient_norm" and not self.studies.signal.gradient_prompts:  # type: ignore[union-attr]
            raise ValueError(f"{key}.quantity: studies.signal.gradient_prompts is 0")

    def _benchmark_references(self, wanted: Benchmarks) -> None:
        for name in wanted.models:
            _known("benchmarks.models", name, self.models)
        for name in wanted.benchmarks:
            _known("benchmarks.benchmarks", name, self.datasets)
        for name in wanted.protocols:
            _known("benchmarks.protocols", name, {**PROTOCOLS, **self.protocols})

    def _study_references(self, studies: Studies) -> None:
        for name in (*studies.models, *(studies.answers.models if studies.answers else ())):
            _known("studies.models", name, self.models)
        for name in studies.datasets:
            _known("studies.datasets", name, self.datasets)
        if studies.dynamics:
            _known("studies.dynamics.method", studies.dynamics.method, self.methods)
            if studies.dynamics.seed not in self.seeds:
                raise ValueError(
                    f"studies.dynamics.seed: {studies.dynamics.seed} is not one of the seeds"
                )
            for model, dataset in product(studies.models, studies.datasets):
                if not self.training_for(dataset, model, studies.dynamics.method).keep_model:
                    raise ValueError(
                        "studies.dynamics looks at trained models: training.keep_model must not "
                        f"be false (it is for {model} on {dataset})"
                    )

    def start_of(self, model: str, seed: int) -> str:
        """Name of the start model that the runs of a model train with a seed."""
        return start_name(model, self.models[model], seed)

    def starts(self, model: str) -> tuple[str, ...]:
        """Names of the start models that the runs of a model train, in the order of seeds."""
        return tuple(dict.fromkeys(self.start_of(model, seed) for seed in self.seeds))

    def family(self, model: str) -> str:
        """The name in `models` of a start model, or of one of `models`."""
        return parse_start(model, self.models)[0]

    def spec(self, model: str) -> Model:
        """A start model, or one of `models`."""
        name, seed = parse_start(model, self.models)
        return self.models[name] if seed is None else self.models[name].of_seed(seed)

    def training_for(self, dataset: str, model: str, method: str | None = None) -> Training:
        """The training section with the overrides of the model, the data set and the method."""
        section = self._overridden(self.training, "training", self.family(model), dataset)
        changes = self.methods[method].training.given if method else {}
        section = _merged(section, changes, f"methods.{method}.training")
        if self.tuning and method and (ends := self.tuning.ends(method)):
            # A step has a token at least, whatever its batch, so that tokens end the run.
            section = _merged(section, {**ends, "steps": ends["tokens"]}, "tuning")
        return section

    def scoring_for(self, method: str) -> Scoring:
        """The scoring section with the method's own weight of C_inter."""
        weight = self.methods[method].inter_weight
        changes = {} if weight is None else {"inter_weight": weight}
        return _merged(self.scoring, changes, f"methods.{method}")

    def evaluation_for(self, dataset: str, model: str) -> Evaluation:
        """The evaluation section with the overrides of the model, then of the data set."""
        return self._overridden(self.evaluation, "evaluation", self.family(model), dataset)

    def _overridden(self, section: AnySection, name: str, *owners: str) -> AnySection:
        for owner in dict.fromkeys(owners):
            changes = self.overrides.get(owner, {}).get(name)  # type: ignore[call-overload]
            section = _merged(section, changes, f"overrides.{owner}.{name}")
        return section

    def sampled(self, protocol: str, benchmark: str) -> Sampled:
        """How a protocol samples a benchmark: exceptions go by its name here, or the registry's."""
        found = self.protocols.get(protocol) or PROTOCOLS[protocol]
        known = getattr(self.datasets[benchmark], "name", benchmark)
        return found.of(benchmark, known)

    def tested_on(self, experiment: str, dataset: str) -> tuple[str, ...]:
        """The data sets whose eval split tests runs trained on `dataset`."""
        return self.experiments[experiment].benchmarks or (dataset,)


def _merged(section: AnySection, changes: Mapping[str, Any] | None, key: str) -> AnySection:
    if not changes:
        return section
    try:
        return type(section)(**{**section.model_dump(), **changes})
    except ValidationError as error:
        raise ValueError(f"{key}: {explain(error, type(section))}") from error


def _known(key: str, name: str, known: Any) -> None:
    if name not in known:
        raise ValueError(f"{key}: unknown name '{name}'{nearest(name, known)}")


# --- loading -------------------------------------------------------------------------------------


def load_preset(
    source: str | os.PathLike[str] | Mapping[str, Any], where: str | None = None
) -> Preset:
    """Read and check a preset.

    Args:
        source: path of a YAML or JSON file, or the mapping itself (Snakemake's `config`).
        where: what errors begin with; else the path, or 'config'.

    Raises:
        ConfigError: a file is missing or unreadable, a key is unknown or a value is wrong.
    """
    where = where or name_of(source)
    data = written(source)
    try:
        return Preset.model_validate(with_defaults(extended(data, where)))
    except ValidationError as error:
        found = [inherited(problem, data) for problem in problems(error, Preset)]
        raise ConfigError(f"{where}: {'; '.join(found)}") from error


def written(source: str | os.PathLike[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    """A preset's own keys, without what it extends (ConfigError: an unreadable file)."""
    return source if isinstance(source, Mapping) else read_mapping(source)


def name_of(source: str | os.PathLike[str] | Mapping[str, Any]) -> str:
    """What errors of a preset begin with."""
    return "config" if isinstance(source, Mapping) else str(source)
