"""The interface between a curriculum and a trainer, and the registry of policies.

A trainer asks `next_batch` which rows of the training table come next and tells `observe` what
happened to them. A policy is a dataclass whose keyword-only fields are its parameters in a preset;
`@register("name")` makes it available there, and nothing else has to change.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, get_type_hints

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from gainrl.errors import ConfigError, nearest

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What one RL step saw, per prompt of the batch; all arrays are (B,).

    rows: rows of the training table; accuracy: mean accuracy of the group, in [0, 1]; signal: C
    under the current model (Eq. 9); advantage: mean absolute advantage; tokens: rollout tokens.
    """

    rows: IntArray
    accuracy: FloatArray
    signal: FloatArray
    advantage: FloatArray
    tokens: IntArray


@dataclass(frozen=True)
class Setting:
    """What a policy is built for.

    size: prompts in the training table; batch: prompts a step; seed: of the run; order: (N,) rows
    from rank 0 on; difficulty: (N,) in [0, 100]. The last two are None where the method has none.
    """

    size: int
    batch: int
    seed: int
    order: IntArray | None = None
    difficulty: FloatArray | None = None


class Curriculum(Protocol):
    """A policy with state; everything random comes from its own seeded generator."""

    needs: frozenset[str]

    def start(self, setting: Setting) -> None:
        """Bind to a training table; called once, before anything else."""

    def next_batch(self) -> IntArray:
        """(B,) distinct rows of the training table."""

    def observe(self, outcome: Outcome) -> None:
        """Learn from the batch that `next_batch` returned last."""

    def metrics(self) -> dict[str, float]:
        """State worth plotting; logged every step under `curriculum/`."""

    def state_dict(self) -> dict[str, Any]:
        """All state, as plain numbers, lists and dicts."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""


REGISTRY: dict[str, type] = {}
Policy = TypeVar("Policy", bound=type)


def register(name: str) -> Callable[[Policy], Policy]:
    """Class decorator: make a policy available to presets under `name`."""

    def add(policy: Policy) -> Policy:
        if name in REGISTRY:
            raise ValueError(f"curriculum '{name}' is registered twice")
        REGISTRY[name] = policy
        return policy

    return add


def check(name: str, parameters: Mapping[str, Any], key: str) -> Any:
    """Find a policy and check its parameters' names and types.

    Args:
        key: where the preset says so, for the error message.

    Raises:
        ConfigError: unknown policy, unknown parameter or a value that the policy refuses.
    """
    if name not in REGISTRY:
        raise ConfigError(f"{key}: unknown curriculum '{name}'{nearest(name, REGISTRY)}")
    known = [field.name for field in dataclasses.fields(REGISTRY[name]) if field.init]
    for parameter in parameters:
        if parameter not in known:
            hint = nearest(parameter, known) or "; it takes no parameters"
            raise ConfigError(f"{key}: curriculum '{name}' has no parameter '{parameter}'{hint}")
    hints, strict = get_type_hints(REGISTRY[name]), ConfigDict(strict=True, allow_inf_nan=False)
    for parameter, value in parameters.items():
        try:
            TypeAdapter(hints[parameter], config=strict).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ConfigError(
                f"{key}: curriculum '{name}': '{parameter}' is {value!r}: {reason}"
            ) from error
    try:
        REGISTRY[name](**parameters)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: curriculum '{name}': {error}") from error
    return REGISTRY[name]


def build(name: str, parameters: Mapping[str, Any], setting: Setting) -> Curriculum:
    """Build a policy for a training table.

    Raises:
        ConfigError: as `check`; or the policy needs an order or difficulties that are not there,
            or the batch is larger than the table.
    """
    policy = check(name, parameters, "curriculum")(**parameters)
    for need in policy.needs:
        if getattr(setting, need) is None:
            raise ConfigError(f"curriculum '{name}' needs the method's key '{need}'")
    if setting.batch > setting.size:
        raise ConfigError(
            f"training.prompts is {setting.batch}, but the data set has {setting.size} prompts"
        )
    policy.start(setting)
    return policy


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """A numpy generator's state as JSON-able values."""
    return dict(rng.bit_generator.state)


def restore_generator(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Set a generator to a state taken by `generator_state`."""
    rng.bit_generator.state = dict(state)


def discover() -> None:
    """Import every module of this package, so that each policy registers itself."""
    package = importlib.import_module("gainrl.curricula")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "base":
            importlib.import_module(f"gainrl.curricula.{module.name}")
