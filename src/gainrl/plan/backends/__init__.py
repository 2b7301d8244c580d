"""Training backends by name: what plans, rules and reports ask, in place of the name. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points

from gainrl.config.evaluation import EngineName
from gainrl.config.imported import imported
from gainrl.config.preset import Preset
from gainrl.errors import ConfigError, nearest
from gainrl.plan.backends.base import Backend, Resources
from gainrl.plan.backends.local import LocalBackend
from gainrl.plan.backends.verl import VerlBackend
from gainrl.plan.layout import RunKey
from gainrl.plan.policies import policy_of
from gainrl.plan.runs import runs

__all__ = [
    "REGISTRY",
    "Backend",
    "Resources",
    "answering_engine",
    "backend_of",
    "check_backends",
    "engine_of",
    "find",
    "used",
]

REGISTRY: dict[str, Backend] = {each.name: each for each in (LocalBackend(), VerlBackend())}
GROUP = "gainrl.backends"
"""Entry points of other packages."""
KEY = "training.backend"


@cache
def find(name: str) -> Backend:
    """A backend.

    Args:
        name: a registered one, `module:Class`, or an entry point of another package.

    Raises:
        ConfigError: there is none of that name, or it is no `Backend`.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    outside = next(iter(entry_points(group=GROUP, name=name)), None)
    if ":" not in name and outside is None:
        raise ConfigError(f"{KEY}: unknown backend '{name}'{nearest(name, REGISTRY)}")
    found = imported(outside.value if outside else name, KEY)
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise ConfigError(f"{KEY}: '{name}' is no gainrl.plan.backends.Backend")
    return found()


def backend_of(preset: Preset, dataset: str, model: str) -> Backend:
    """The backend of a model's runs on a data set (ConfigError as `find`)."""
    return find(preset.training_for(dataset, model).backend)


def engine_of(preset: Preset, benchmark: str, model: str) -> EngineName:
    """Which engine tests a model on a benchmark while it is trained: that of its runs' backend.

    Where some runs are local and some are not, it is that of the others: one test is of the start
    model, whatever is trained from it.
    """
    engines = (
        backend_of(preset, dataset, model).engine
        for name, experiment in preset.experiments.items()
        for trained, dataset in experiment.places
        if trained == preset.family(model) and benchmark in preset.tested_on(name, dataset)
    )
    return next((engine for engine in engines if engine != Backend.engine), Backend.engine)


def answering_engine(preset: Preset, dataset: str, model: str) -> EngineName:
    """Which engine answers a model's training prompts (ConfigError as `find`): the preset's, or
    that of the backend which trains on them."""
    if preset.testing.engine != "auto":
        return preset.testing.engine
    return backend_of(preset, dataset, model).engine


def used(preset: Preset) -> list[Backend]:
    """The backends of a preset's runs."""
    return list(dict.fromkeys(backend_of(preset, run.dataset, run.model) for run in runs(preset)))


def check_backends(preset: Preset) -> None:
    """Refuse runs that their backend cannot train.

    Raises:
        ConfigError: naming the method, the backend and the first reason; or as `find`.
    """
    find(preset.training.backend)  # whether or not a run has it
    for run in (run for run in runs(preset) if run.seed == preset.seeds[0]):
        backend = backend_of(preset, run.dataset, run.model)
        if preset.seeds_together and not backend.seeds_together:
            raise ConfigError(
                f"seeds_together: {run.parent} is trained on {backend.name}, where each seed is a "
                "job"
            )
        if preset.arithmetic != "native" and backend.distributed:
            raise ConfigError(
                f"arithmetic: '{preset.arithmetic}' is of CPUs, and {run.parent} is trained on "
                f"{backend.name}"
            )
        for reason in _refusals(backend, preset, run):
            raise ConfigError(
                f"methods.{run.method}: training.backend '{backend.name}' cannot train it "
                f"({run.model} on {run.dataset}): {reason}"
            )


def _refusals(backend: Backend, preset: Preset, run: RunKey) -> Iterator[str]:
    method = preset.methods[run.method]
    training = preset.training_for(run.dataset, run.model, run.method)
    for other in REGISTRY.values():
        for key in sorted(other.options - backend.options):
            if getattr(training, key):
                yield f"training.{key} is an option of backend '{other.name}'"
    policy = policy_of(method)
    if not (policy.whole_batches or backend.several_draws):
        does = "chooses groups or numbers of rollouts"
        if policy.several_draws:
            does = "draws several times in a step"
        yield f"curriculum '{policy.name}' {does}"
    if policy.reads_noise and not backend.measures_noise:
        yield f"curriculum '{policy.name}' goes by the noise of the gradient, which is not measured"
    if policy.sampler.reads_entropy and not backend.measures_entropy:
        yield f"curriculum '{policy.name}' goes by the entropy of prompts, which is not measured"
    if policy.reads_noise and training.mini_batch is not None:
        yield f"curriculum '{policy.name}' sets the batch of one update: leave out mini_batch"
    yield from backend.refusals(preset, run)
