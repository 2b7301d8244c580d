"""What a trainer and a curriculum tell each other: a setting, requests, groups and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gainrl.errors import ConfigError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Moments:
    """Estimates of one step's gradient (gainrl.curricula.noise_scale); either may be below 0.

    signal: |G|^2; noise: tr S, the trace of one group's covariance.
    """

    signal: float
    noise: float


@dataclass(frozen=True)
class Outcome:
    """What one RL step saw, for each prompt that it rolled out; all arrays are (B,).

    rows: rows of the training table; accuracy: mean accuracy of the group, in [0, 1]; signal: C
    under the current model (Eq. 9); advantage: mean absolute advantage; both NaN where the policy
    did not keep a prompt; tokens: rollout tokens; rollouts: responses in the group; mixed: their
    rewards differ; trained: the group, or a part of it, was part of the update. moments: of the
    policy's gradient before the update; None where no part reads them (`Part.reads_noise`), or of a
    step of one group. A policy sees no group without responses, and every number that it sees is
    one (gainrl.curricula.checks).
    """

    rows: IntArray
    accuracy: FloatArray
    signal: FloatArray
    advantage: FloatArray
    tokens: IntArray
    rollouts: IntArray
    mixed: BoolArray
    trained: BoolArray
    moments: Moments | None = None


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


@dataclass(frozen=True)
class Request:
    """What to roll out next within a step.

    rows: (P,) distinct rows; rollouts: (P,) responses to each, at least 1. purpose: `group` if they
    join the prompt's group, which has all of its responses of this step; `estimate` if they only
    tell its accuracy, under the current model; `free` if besides their tokens are not counted,
    which is for controls that know what nobody knows; `prefill` if the prompts are only read, for
    their entropy under the current model (`Prefilled`): 0 rollouts each.
    """

    rows: IntArray
    rollouts: IntArray
    purpose: Literal["group", "estimate", "free", "prefill"] = "group"

    @classmethod
    def prefill(cls, rows: IntArray) -> Request:
        """The entropy of (P,) distinct rows, no response."""
        return cls(rows, np.zeros(len(rows), dtype=np.int64), "prefill")

    def __post_init__(self) -> None:
        if not len(self.rows):
            raise ConfigError("the curriculum drew no prompts")
        if self.purpose == "prefill":
            if self.rollouts.any():
                raise ConfigError("the curriculum asks for responses to prompts that are only read")
        elif (self.rollouts < 1).any():
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


@dataclass(frozen=True)
class Prefilled:
    """The answer to a request of purpose `prefill`; both (P,), in its order.

    entropy: mean over a prompt's tokens but the first of the entropy, in nats, of what the current
    model expects in their place.
    """

    rows: IntArray
    entropy: FloatArray


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """A numpy generator's state as JSON-able values."""
    return dict(rng.bit_generator.state)


def restore_generator(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Set a generator to a state taken by `generator_state`."""
    rng.bit_generator.state = dict(state)
