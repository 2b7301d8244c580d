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
from typing import Any, Literal, Protocol, TypeVar, cast, get_type_hints

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from gainrl.curricula.checks import guard
from gainrl.errors import ConfigError, nearest

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """What one RL step saw, for each prompt that it rolled out; all arrays are (B,).

    rows: rows of the training table; accuracy: mean accuracy of the group, in [0, 1]; signal: C
    under the current model (Eq. 9); advantage: mean absolute advantage; both NaN where the policy
    did not keep a prompt; tokens: rollout tokens; rollouts: responses in the group; mixed: their
    rewards differ; trained: the group, or a part of it, was part of the update. A policy sees no
    group without responses, and every number that it sees is one (gainrl.curricula.checks).
    """

    rows: IntArray
    accuracy: FloatArray
    signal: FloatArray
    advantage: FloatArray
    tokens: IntArray
    rollouts: IntArray
    mixed: BoolArray
    trained: BoolArray


@dataclass(frozen=True)
class Setting:
    """What a policy is built for.

    size: prompts in the training table; batch: prompts a step; seed: of the run; order: (N,) rows
    from rank 0 on; difficulty: (N,) in [0, 100]; rollouts: responses a prompt; categories: (N,)
    codes from 0 on; features: name -> (N,), what the prefill of the start model says. What a method
    or a data set does not have is None.
    """

    size: int
    batch: int
    seed: int
    order: IntArray | None = None
    difficulty: FloatArray | None = None
    rollouts: int = 8
    categories: IntArray | None = None
    features: Mapping[str, FloatArray] | None = None


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
        """All state, as plain numbers, lists and dicts; taken between steps."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""


# --- several draws within a step -----------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What to roll out next within a step.

    rows: (P,) distinct rows; rollouts: (P,) responses to each, at least 1. purpose: `group` if they
    join the prompt's group, which has all of its responses of this step; `estimate` if they only
    tell its accuracy, under the current model; `free` if besides their tokens are not counted,
    which is for controls that know what nobody knows.
    """

    rows: IntArray
    rollouts: IntArray
    purpose: Literal["group", "estimate", "free"] = "group"

    def __post_init__(self) -> None:
        if not len(self.rows):
            raise ConfigError("the curriculum drew no prompts")
        if (self.rollouts < 1).any():
            row = self.rows[int((self.rollouts < 1).argmax())]
            raise ConfigError(f"the curriculum drew row {row} without a response to it")


@dataclass(frozen=True)
class Groups:
    """Groups rolled out so far in a step, in the order of their first request; all (P,).

    rows, rollouts, accuracy, mixed, tokens: as in Outcome.
    """

    rows: IntArray
    rollouts: IntArray
    accuracy: FloatArray
    mixed: BoolArray
    tokens: IntArray

    @classmethod
    def none(cls) -> Groups:
        """Before the first request."""
        whole, real = np.empty(0, dtype=np.int64), np.empty(0)
        return cls(whole, whole, real, np.empty(0, dtype=bool), whole)


class SeveralDraws(Curriculum, Protocol):
    """A policy that may draw several times within a step: a trainer that can, uses `draw`.

    several_draws: False if, with its parameters, one call of `next_batch` is a whole step.
    """

    several_draws: bool

    def draw(self, seen: Groups, estimates: Groups | None) -> Request | None:
        """What to roll out next, or None if the step has enough.

        Args:
            seen: the step's groups so far; empty at its start.
            estimates: the answer to the request before, if that was no `group`.
        """

    def keep(self, seen: Groups) -> IntArray:
        """Positions in `seen` to train on, in that order; at least one. After the last draw."""


@dataclass(frozen=True)
class OneDraw:
    """Any policy as one whose step is a single draw, all of it trained on."""

    policy: Curriculum
    rollouts: int

    def draw(self, seen: Groups, estimates: Groups | None) -> Request | None:
        """`next_batch`, once."""
        if len(seen.rows):
            return None
        rows = self.policy.next_batch()
        return Request(rows, np.full(len(rows), self.rollouts))

    def keep(self, seen: Groups) -> IntArray:
        """Everything."""
        return np.arange(len(seen.rows))


def draws_several(policy: Curriculum) -> bool:
    """Whether a policy, with its parameters, needs a trainer that asks it `draw`."""
    return bool(getattr(policy, "several_draws", False))


def in_draws(policy: Curriculum, rollouts: int) -> SeveralDraws | OneDraw:
    """The `draw` and `keep` of any policy; `rollouts` are those of the preset."""
    return cast(SeveralDraws, policy) if draws_several(policy) else OneDraw(policy, rollouts)


# --- the registry --------------------------------------------------------------------------------

REGISTRY: dict[str, type] = {}
NEEDS = {
    "order": "the method's key 'order'",
    "difficulty": "the method's key 'difficulty'",
    "categories": "a data set with the column 'category'",
    "features": "prefill scores",
}
"""What a policy may list in `needs`, and what that asks for."""
Policy = TypeVar("Policy", bound=type)


def register(name: str) -> Callable[[Policy], Policy]:
    """Class decorator: make a policy available to presets under `name`.

    What its methods are given is checked from then on (gainrl.curricula.checks).
    """

    def add(policy: Policy) -> Policy:
        if name in REGISTRY:
            raise ValueError(f"curriculum '{name}' is registered twice")
        guard(policy, name)
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
            raise ConfigError(f"curriculum '{name}' needs {NEEDS[need]}")
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
