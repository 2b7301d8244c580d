"""A curriculum as a trainer sees it: one object before a sampler, a filter and an allocation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gainrl.curricula.base import (
    BoolArray,
    Groups,
    IntArray,
    Outcome,
    Prefilled,
    Request,
    Setting,
)
from gainrl.curricula.checks import (
    answered,
    check_accuracy,
    check_entropy,
    check_outcome,
    check_rows,
    check_setting,
)
from gainrl.curricula.parts import Allocation, Filter, Part, Sampler, Without
from gainrl.errors import CheckpointError, ConfigError, DataError


class Curriculum:
    """Asked `draw` until it has enough, then `keep`, and told by `observe` what came of it.

    Numbers that would poison a part for the rest of a run are refused here, before it sees them
    (gainrl.curricula.checks). A part that is not given is the sampler's own.

    Raises:
        ValueError: the parts do not go together, or the sampler's own are wrong.
    """

    def __init__(
        self,
        sampler: Sampler,
        filter: Filter | None = None,
        allocation: Allocation | None = None,
    ) -> None:
        given = [part.name for part in (sampler, filter, allocation) if part is not None]
        self.name = " + ".join(given)
        self.sampler = sampler
        self.filter = sampler.filter() if filter is None else filter
        self.allocation = sampler.allocation() if allocation is None else allocation
        if sampler.asks and self.filter.redraws:
            raise ValueError(
                f"the filter '{self.filter.name}' draws again where '{sampler.name}' would have to "
                "ask first"
            )
        if self.reads_noise and type(self.filter).keep is not Filter.keep:
            raise ValueError(
                f"'{self.allocation.name}' goes by the noise of all groups that are drawn, and the "
                f"filter '{self.filter.name}' chooses among them"
            )

    @property
    def parts(self) -> dict[str, Part]:
        """By the keys of a preset."""
        return {"sampler": self.sampler, "filter": self.filter, "rollouts": self.allocation}

    @property
    def several_draws(self) -> bool:
        """Whether a step may take more than one request."""
        return self.sampler.asks or any(part.several_draws for part in self.parts.values())

    @property
    def reads_signal(self) -> bool:
        """Whether a part reads C under the current model."""
        return any(part.reads_signal for part in self.parts.values())

    @property
    def reads_noise(self) -> bool:
        """Whether a part reads the moments of the gradient."""
        return any(part.reads_noise for part in self.parts.values())

    @property
    def goes_by(self) -> str:
        """What it reads that no trainer but gainrl's own measures, in words; else nothing.

        Elsewhere a batch is observed before its update, and drawn by who has no model.
        """
        if self.reads_noise:
            return "the noise of the policy's gradient"
        return "the entropy of prompts under the policy" if self.sampler.reads_entropy else ""

    def rate(self) -> float:
        """What the learning rate of the step that was just drawn is multiplied by."""
        return math.prod(part.rate() for part in self.parts.values() if part.reads_noise)

    @property
    def whole_batches(self) -> bool:
        """Whether a step is one draw of the preset's prompts and rollouts, all of it trained on."""
        everything = type(self.filter).keep is Filter.keep
        return everything and type(self.allocation) is Allocation and not self.several_draws

    def start(self, setting: Setting) -> None:
        """Bind all parts to a training table; called once, before anything else.

        Raises:
            ConfigError: a difficulty or a feature is not finite.
        """
        check_setting(self.name, setting)
        self.setting = setting
        for part in self.parts.values():
            part.bind(setting)

    def draw(
        self, seen: Groups, estimates: Groups | Prefilled | None, in_flight: BoolArray | None = None
    ) -> Request | None:
        """What to roll out next, or None if the step has enough.

        Args:
            seen: the step's groups so far; empty at its start.
            estimates: the answer to the request before, if that was no `group`.
            in_flight: (N,) rows that are being rolled out, which are left out as long as there are
                enough others; for trainers that draw before they have observed.

        Raises:
            DataError: an accuracy or an entropy is none.
            ConfigError: the sampler's rows are no draw, or it asks for what it does not declare.
        """
        check_accuracy(self.name, seen)
        if len(seen.rows):
            if (more := self.allocation.again(seen)) is not None:
                return more
            if self.filter.enough(seen):
                return None
        if isinstance(estimates, Prefilled):
            check_entropy(self.name, estimates)
            self.sampler.prefilled(estimates)
        elif estimates is not None:
            self._estimated(estimates)
        count = self.allocation.prompts()
        if (asked := self.sampler.ask(count)) is not None:
            if asked.purpose == "prefill" and not self.sampler.reads_entropy:
                raise ConfigError(f"curriculum '{self.name}' reads prompts: set reads_entropy")
            return asked
        sampler = self.sampler if in_flight is None else Without(self.sampler, in_flight)
        rows = self.filter.draw(sampler, count, seen)
        check_rows(self.name, rows, self.setting.size)
        if type(self.filter).draw is Filter.draw and len(rows) != count:
            raise ConfigError(f"curriculum '{self.name}' drew {len(rows)} rows, not {count}")
        return self.allocation.begin(rows)

    def _estimated(self, estimates: Groups) -> None:
        estimates = answered(estimates)
        check_accuracy(self.name, estimates)
        if not len(estimates.rows):
            raise DataError(f"curriculum '{self.name}': no prompt that it asked about was answered")
        self.sampler.estimated(estimates)

    def keep(self, seen: Groups) -> IntArray:
        """Positions in `seen` to train on, in that order; after the last draw of a step."""
        return np.asarray(self.filter.keep(seen))

    def observe(self, outcome: Outcome) -> None:
        """Learn from a step; a prompt without a response is left out.

        Raises:
            DataError: a number is none; nothing was learned.
        """
        outcome = answered(outcome)
        check_outcome(self.name, outcome, self.reads_signal)
        if len(outcome.rows):  # a step without any response teaches nothing
            for part in self.parts.values():
                part.observe(outcome)

    def metrics(self) -> dict[str, float]:
        """What all parts show."""
        shown = (part.metrics() for part in self.parts.values())
        return {key: value for each in shown for key, value in each.items()}

    def state_dict(self) -> dict[str, Any]:
        """The state of every part that has one, as plain values; taken between steps."""
        states = {key: part.state_dict() for key, part in self.parts.items()}
        return {key: state for key, state in states.items() if state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken.

        Raises:
            CheckpointError: a number of it is not finite, or it is of other parts.
        """
        for key, part in self.parts.items():
            saved = state.get(key, {})
            for name, value in saved.items():
                if not _finite(value):
                    self._refuse(f"'{key}.{name}' of its saved state is not finite")
            try:
                part.load_state_dict(saved)
            except KeyError as error:
                self._refuse(f"its saved state has no '{key}.{error.args[0]}'")

    def _refuse(self, reason: str) -> None:
        raise CheckpointError(
            f"curriculum '{self.name}': {reason}; delete the checkpoints to begin anew"
        )


def _finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True
