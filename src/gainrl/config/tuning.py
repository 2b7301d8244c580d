"""The preset's `tuning`: which settings of each method are tried before methods are compared."""

from __future__ import annotations

import re
from itertools import product
from math import prod
from typing import Annotated, Any

from pydantic import Field, JsonValue, model_validator

from gainrl.config.base import Absent, Count, Name, Positive, Rate, Section
from gainrl.errors import nearest

TRY = ".try"
"""Between a method's name and the number of one of its tried settings."""


class Grid(Section):
    """Values of keys of `training` that every method tries; what is left out is as it is."""

    lr: tuple[Rate, ...] = ()
    """Of training.lr."""
    prompts: tuple[Positive, ...] = ()
    """Of training.prompts."""
    rollouts: tuple[Annotated[int, Field(ge=2)], ...] = ()
    """Of training.rollouts."""
    epochs: tuple[Positive, ...] = ()
    """Of training.epochs."""

    @property
    def given(self) -> dict[str, tuple[Any, ...]]:
        """The keys that have values."""
        return {key: getattr(self, key) for key in type(self).model_fields if getattr(self, key)}


class Tuning(Section):
    """Before methods are compared, each tries as many settings for as many tokens.

    Of a method's settings the one with the highest accuracy at `budget` tokens, in the mean over
    `seeds`, is written down (results/<preset>/tuning) and frozen; its runs with the preset's
    `seeds` have it.
    """

    grid: Grid
    """Keys of `training`, the same for every method."""
    methods: dict[Name, dict[str, tuple[JsonValue, ...]]] = Field(min_length=1)
    """The tuned methods, each with the values of its curriculum's own parameters, {} for none. A
    composed curriculum says the part too: `sampler.pool`, `filter.limit`."""
    borrowed: Annotated[dict[Name, Name], Absent()] = Field(default_factory=dict)
    """Methods that try nothing, each with the tuned method whose choice of the grid's keys it has:
    {as-gain: gain}, where `as-gain` draws uniformly, says whether GAIN-RL's order helps or its
    settings."""
    seeds: tuple[Count, ...] = Field(min_length=1)
    """Of the runs of each setting; none of the preset's `seeds`."""
    budget: Positive
    """Generated tokens of each of these runs, as `training.tokens`; they make as many steps as that
    takes, whatever `training.steps` says."""
    tokens: Positive | None = None
    """Likewise of the runs that are compared; None is `budget`."""
    tests: Positive = 8
    """As `training.tests`, of all these runs."""
    tries: Positive | None = None
    """Settings of each method; where the product of its values has more, so many are drawn without
    repetition, each value and each pair of values about as often. None: as many as the grid has, so
    that parameters of its own give a method no more tries than others."""
    seed: Count = 0
    """Of the draw."""

    @property
    def number(self) -> int:
        """How many settings each method tries."""
        return self.tries or prod(map(len, self.grid.given.values()))

    def settings(self, method: str) -> list[dict[str, JsonValue]]:
        """All that a method could try: values by key, in the order of the preset's lines."""
        values = {**self.grid.given, **self.methods[method]}
        return [dict(zip(values, each, strict=True)) for each in product(*values.values())]

    def base_of(self, name: str) -> str | None:
        """The method that a name is a tried setting of, `METHOD.tryK`; None of other names."""
        found = re.fullmatch(rf"(.+){re.escape(TRY)}\d+", name)
        return found[1] if found and found[1] in self.methods else None

    def owner(self, name: str) -> str | None:
        """Whose choice a method's runs have, mostly its own; None of methods that are not tuned."""
        return name if name in self.methods else self.borrowed.get(name)

    def ends(self, name: str) -> dict[str, Any]:
        """Keys of `training` that say when the runs of a method end; of one not tuned, none."""
        if self.base_of(name):
            return {"tokens": self.budget, "tests": self.tests, "keep_model": False}
        if self.owner(name):
            return {"tokens": self.tokens or self.budget, "tests": self.tests}
        return {}

    @model_validator(mode="after")
    def _enough(self) -> Tuning:
        if not self.grid.given:
            raise ValueError("grid is empty: nothing would be tried")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds must be distinct")
        for where, values in self._values():
            if any(value in values[:row] for row, value in enumerate(values)):  # 1 is 1.0
                raise ValueError(f"{where}: values must be distinct")
            if not values:
                raise ValueError(f"{where} has no values: leave it out")
        for name, own in self.methods.items():
            for key in own:
                if key in Grid.model_fields:
                    raise ValueError(
                        f"methods.{name}.{key}: 'grid' has this key for every method; a parameter "
                        f"of the same name is written sampler.{key}"
                    )
                if f"sampler.{key}" in own:
                    raise ValueError(f"methods.{name}: {key} and sampler.{key} are one parameter")
            if (size := len(self.settings(name))) < self.number:
                raise ValueError(
                    f"methods.{name}: its values give {size} settings, but each method tries "
                    f"{self.number}"
                )
        return self

    @model_validator(mode="after")
    def _lent(self) -> Tuning:
        for name, owner in self.borrowed.items():
            if name in self.methods:
                raise ValueError(f"borrowed.{name}: 'methods' has it too, with tries of its own")
            if owner not in self.methods:
                raise ValueError(
                    f"borrowed.{name}: no method '{owner}' is tuned{nearest(owner, self.methods)}"
                )
        return self

    def _values(self) -> list[tuple[str, tuple[Any, ...]]]:
        own = [(f"methods.{name}.{key}", v) for name in self.methods
               for key, v in self.methods[name].items()]  # fmt: skip
        return [(f"grid.{key}", values) for key, values in self.grid.given.items()] + own
