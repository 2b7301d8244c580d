"""SPEED: a cheap screening before the rollouts that are trained on (arXiv:2506.09016)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import Groups, IntArray, Request
from gainrl.curricula.dapo import Mixed
from gainrl.curricula.parts import Allocation
from gainrl.curricula.registry import register
from gainrl.curricula.uniform import Uniform
from gainrl.errors import ConfigError


@register("screened")
@dataclass
class Screened(Allocation):
    """Few rollouts of many prompts, and the rest of the preset's of those that are mixed.

    A draw has `pool` times the preset's prompts. Of the groups whose first rewards differ the first
    B of a step get the rest; no more, for the filter `mixed` keeps so many. Groups that are all
    right or all wrong stay at `first` rollouts, and with the filter `all` are trained on so.

    Parameters:
        first: rollouts of the screening, at least 2 and below the preset's; None is a quarter of
            these and at least 2. The source has 4 of 16, in its scripts 4 of 24.
        pool: at least 1; 4 in these scripts.
    """

    first: int | None = None
    pool: int = 4
    several_draws = True

    def __post_init__(self) -> None:
        if self.first is not None and self.first < 2:
            raise ValueError(f"first is {self.first}, not at least 2: one rollout is never mixed")
        if self.pool < 1:
            raise ValueError(f"pool is {self.pool}, not at least 1")

    def start(self) -> None:
        """What is left after the screening.

        Raises:
            ConfigError: the preset has no rollouts beyond it.
        """
        whole = self.setting.rollouts
        self.some = max(whole // 4, 2) if self.first is None else self.first
        self.rest, self.asked = whole - self.some, np.empty(0, dtype=np.int64)
        if self.rest < 1:
            raise ConfigError(
                f"the allocation 'screened' takes {self.some} rollouts first, but "
                f"training.rollouts is {whole}: it must be greater"
            )

    def prompts(self) -> int:
        """Prompts of the next draw."""
        return min(self.pool * self.setting.batch, self.setting.size)

    def begin(self, rows: IntArray) -> Request:
        """The screening."""
        self.asked = np.empty(0, dtype=np.int64)
        return Request(rows, np.full(len(rows), self.some))

    def again(self, seen: Groups) -> Request | None:
        """The rest for mixed groups, until B have it; None if they do, or there is none.

        A group that lost responses gets it too; one whose rest is lost as a whole is asked for it
        no second time in that draw.
        """
        mixed = np.flatnonzero(seen.mixed)[: self.setting.batch]
        rows = seen.rows[mixed[seen.rollouts[mixed] <= self.some]]
        rows = rows[~np.isin(rows, self.asked)]
        self.asked = np.append(self.asked, rows)
        return Request(rows, np.full(len(rows), self.rest)) if len(rows) else None


@register("speed")
@dataclass
class Speed(Uniform):
    """Short for the sampler `uniform` with the filter `mixed` and the allocation `screened`.

    The source screens the next step's prompts in the same call as this step's rest, and keeps
    prompts beyond B for the next step; here a step screens its own, and drops them.

    Parameters:
        first, pool: those of the allocation. limit: draws a step; that of the filter.
    """

    first: int | None = None
    pool: int = 4
    limit: int = 10

    def filter(self) -> Mixed:
        """Groups of mixed rewards."""
        return Mixed(self.limit)

    def allocation(self) -> Screened:
        """Few rollouts first."""
        return Screened(self.first, self.pool)
