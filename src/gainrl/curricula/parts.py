"""What a curriculum is made of: a sampler, a filter and an allocation. Every method has a default.

A part is a dataclass whose fields are its parameters in a preset. A plain sampler writes `draw`
and, if it learns, `observe`; what it names in `state` is saved with the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from gainrl.curricula.base import (
    BoolArray,
    Groups,
    IntArray,
    Outcome,
    Prefilled,
    Request,
    Setting,
    generator_state,
    restore_generator,
)
from gainrl.errors import ConfigError


class Stateful:
    """State that is declared by name and saved as plain numbers, lists and mappings.

    state: attributes, each a number, a mapping of numbers, an array, a list of arrays, a generator
    or another Stateful. All of them exist after the start.
    """

    state: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> dict[str, Any]:
        """All that is declared, as JSON has it."""
        return {name: _plain(getattr(self, name)) for name in self.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken.

        Raises:
            KeyError: something that is declared was not saved.
        """
        for name in self.state:
            setattr(self, name, _restored(getattr(self, name), state[name]))


def _plain(value: Any) -> Any:
    if isinstance(value, Stateful):
        return value.state_dict()
    if isinstance(value, np.random.Generator):
        return generator_state(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return dict(value) if isinstance(value, Mapping) else value


def _restored(now: Any, saved: Any) -> Any:
    """What was saved, in the form of what is there now."""
    if isinstance(now, Stateful):
        now.load_state_dict(saved)
        return now
    if isinstance(now, np.random.Generator):
        restore_generator(now, saved)
        return now
    if isinstance(now, list):
        return [_restored(*pair) for pair in zip(now, saved, strict=True)]
    if isinstance(now, np.ndarray):
        found = np.array(saved, dtype=None if saved else now.dtype)
        # An array of whole numbers at the start may hold others by now: those are not cut off.
        same = np.can_cast(found.dtype, now.dtype, "same_kind")
        return found.astype(now.dtype, copy=False) if same else found
    return dict(saved) if isinstance(now, Mapping) else saved


def generator(seed: int, name: str) -> np.random.Generator:
    """The stream of chance of a run's seed that belongs to a name, and to no other name."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(name.encode())))


class Part(Stateful):
    """A sampler, a filter or an allocation.

    name: what presets call it (`register`), else its class. several_draws: whether a step may take
    more than one draw with it, which not every backend does. reads_signal: whether `observe` reads
    C, which a trainer may leave unmeasured else. reads_noise: whether it reads the moments of the
    gradient, or sets the rate by them, which not every backend does. setting: there before `start`.
    """

    name: ClassVar[str]
    several_draws: bool = False
    reads_signal: bool = False
    reads_noise: bool = False
    setting: Setting

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.__name__

    def bind(self, setting: Setting) -> None:
        """Take a training table and start; called once, before anything else."""
        self.setting = setting
        self.start()

    def start(self) -> None:
        """Set the state up for `self.setting`."""

    def observe(self, outcome: Outcome) -> None:
        """Learn from a step."""

    def rate(self) -> float:
        """What the learning rate of the step that was just drawn is multiplied by, above 0; only of
        parts that read the noise."""
        return 1.0

    def metrics(self) -> dict[str, float]:
        """State worth plotting; logged every step under `curriculum/`."""
        return {}


class Sampler(Part):
    """What to draw.

    needs: of `NEEDS` (gainrl.curricula.registry), what `self.setting` must have. feature_kinds: if
    features are needed, which: `tokens`, `angle`, `states`. asks: whether `ask` ever asks for
    anything; reads_entropy: whether that is the entropy of prompts, which not every backend knows.
    rng: the generator that all its chance comes from, saved with the state. stream: of samplers
    that are older than named generators, so that their runs stay what they were; a new one leaves
    it alone. excluded: rows that a draw leaves out (`Without`), for filters that choose rows
    themselves.
    """

    needs: frozenset[str] = frozenset()
    feature_kinds: tuple[str, ...] = ("tokens", "angle")
    asks: bool = False
    reads_entropy: bool = False
    stream: ClassVar[int | None] = None
    excluded: BoolArray | Literal[False] = False
    rng: np.random.Generator

    def bind(self, setting: Setting) -> None:
        """Take a training table and the generator of the run's seed and of the sampler's name."""
        if self.stream is None:
            self.rng = generator(setting.seed, self.name)
        else:
            self.rng = np.random.default_rng([setting.seed, self.stream])
        super().bind(setting)

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows of the training table; `count` is at most the table's size."""
        raise NotImplementedError(f"{type(self).__name__} draws nothing")

    def draw_without(self, count: int, excluded: BoolArray) -> IntArray:
        """(count,) distinct rows that are not excluded, as the sampler would draw them.

        By default `draw` is asked again for what is missing. A sampler that repeats itself brings
        nothing new then, and is asked for so many that some must be.

        Args:
            excluded: (N,); at least `count` are not.

        Raises:
            ConfigError: `draw` gives another number of rows than it is asked for.
        """
        gone, rows, asked = excluded.copy(), np.empty(0, dtype=np.int64), count
        while len(rows) < count:
            drawn = self.draw(asked)
            if len(drawn) != asked:  # it would be asked for ever
                raise ConfigError(f"curriculum '{self.name}' drew {len(drawn)} rows, not {asked}")
            new = drawn[~gone[drawn]][: count - len(rows)]
            gone[new] = True
            rows = np.concatenate([rows, new])
            asked = count - len(rows)
            if not len(new):
                asked = min(asked + int(gone.sum()), self.setting.size)
        return rows

    def ask(self, count: int) -> Request | None:
        """What it takes to know which `count` prompts come next: no `group`."""
        return None

    def estimated(self, estimates: Groups) -> None:
        """Take the answer to what was asked last, if that was for responses."""

    def prefilled(self, found: Prefilled) -> None:
        """Take the answer to what was asked last, if that was of purpose `prefill`."""

    def filter(self) -> Filter:
        """The filter where the preset names none."""
        return Filter()

    def allocation(self) -> Allocation:
        """The allocation where the preset names none."""
        return Allocation()

    def state_dict(self) -> dict[str, Any]:
        """What is declared, and the generator."""
        return {**super().state_dict(), "rng": _plain(self.rng)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly."""
        super().load_state_dict(state)
        restore_generator(self.rng, state["rng"])


class Without(Sampler):
    """A sampler for one draw that leaves rows out, as long as there are enough others."""

    def __init__(self, sampler: Sampler, excluded: BoolArray) -> None:
        self.sampler, self.excluded = sampler, excluded
        self.setting, self.rng = sampler.setting, sampler.rng

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows."""
        return self.draw_without(count, np.zeros(self.setting.size, dtype=bool))

    def draw_without(self, count: int, excluded: BoolArray) -> IntArray:
        """(count,) distinct rows without these, and without the others if there are enough."""
        both = excluded | self.excluded
        enough = self.setting.size - int(both.sum()) >= count
        return self.sampler.draw_without(count, both if enough else excluded)


class Filter(Part):
    """What to admit to the update: by default every group, after one draw.

    redraws: whether it may draw again before the groups of a draw are there, which a sampler that
    asks does not allow.
    """

    redraws: bool = False

    def draw(self, sampler: Sampler, count: int, seen: Groups) -> IntArray:
        """(up to count,) rows that are not in `seen`, the step's groups so far; at least one."""
        return sampler.draw(count)

    def enough(self, seen: Groups) -> bool:
        """Whether the step's draws are over; asked after every draw."""
        return True

    def keep(self, seen: Groups) -> IntArray:
        """Positions in `seen` to train on, in that order; at least one. After the last draw."""
        return np.arange(len(seen.rows))


class Allocation(Part):
    """How many prompts a draw has, and how many rollouts each: by default those of the preset."""

    def prompts(self) -> int:
        """Prompts of the next draw."""
        return self.setting.batch

    def begin(self, rows: IntArray) -> Request:
        """The rollouts of prompts that were just drawn."""
        return Request(rows, np.full(len(rows), self.setting.rollouts))

    def again(self, seen: Groups) -> Request | None:
        """More rollouts of groups that the step has, or None."""
        return None


Filter.name, Allocation.name = "all", "fixed"
