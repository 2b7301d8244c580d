"""Numbers that would poison a policy for the rest of a run: refused by name before it sees them.

One that is not a number, once it is in an average, makes every later comparison false.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gainrl.errors import CheckpointError, ConfigError, DataError

if TYPE_CHECKING:
    from gainrl.curricula.base import BoolArray, FloatArray, Groups, Outcome, Setting

Answered = TypeVar("Answered", "Outcome", "Groups")


def answered(seen: Answered) -> Answered:
    """Without the prompts that have no response: they say nothing of themselves."""
    there = seen.rollouts > 0
    if there.all():
        return seen
    names = [field.name for field in dataclasses.fields(seen)]
    return dataclasses.replace(seen, **{name: getattr(seen, name)[there] for name in names})


def check_setting(name: str, setting: Setting) -> None:
    """Refuse difficulties and features that are not finite (ConfigError)."""
    columns: dict[str, FloatArray | None] = {"difficulty": setting.difficulty}
    columns |= {f"feature '{key}'": values for key, values in (setting.features or {}).items()}
    for what, values in columns.items():
        if values is not None and not (fine := np.isfinite(values)).all():
            row = int(fine.argmin())
            raise ConfigError(
                f"curriculum '{name}': {what} of row {row} is not finite ({values[row]})"
            )


def check_outcome(name: str, outcome: Outcome) -> None:
    """Refuse what a step saw if a number of it is none, or no share (DataError).

    Signal and advantage may be NaN where nothing was trained on.
    """
    _check_shares(name, outcome)
    for what in ("signal", "advantage"):
        values = getattr(outcome, what)
        unmeasured = np.isnan(values) & ~outcome.trained
        _refuse(name, what, outcome, values, np.isfinite(values) | unmeasured)


def _check_shares(name: str, seen: Outcome | Groups) -> None:
    fine = (seen.accuracy >= 0) & (seen.accuracy <= 1)
    _refuse(name, "accuracy", seen, seen.accuracy, fine)


def _refuse(
    name: str, what: str, seen: Outcome | Groups, values: FloatArray, fine: BoolArray
) -> None:
    if not fine.all():
        at = int(fine.argmin())
        raise DataError(
            f"curriculum '{name}': {what} of row {seen.rows[at]} of the training table is "
            f"{values[at]}"
        )


# --- put before the methods of a policy ----------------------------------------------------------


def guard(policy: type, name: str) -> None:
    """Check what a policy's own methods are given before they are called.

    A prompt without a response is left out; a step without any teaches nothing.
    """
    for method, checked in _CHECKED.items():
        if method in vars(policy):
            setattr(policy, method, checked(vars(policy)[method], name))


def _start(call: Callable[..., None], name: str) -> Callable[..., None]:
    @wraps(call)
    def start(self: Any, setting: Setting) -> None:
        check_setting(name, setting)
        call(self, setting)

    return start


def _observe(call: Callable[..., None], name: str) -> Callable[..., None]:
    @wraps(call)
    def observe(self: Any, outcome: Outcome) -> None:
        outcome = answered(outcome)
        check_outcome(name, outcome)
        if len(outcome.rows):
            call(self, outcome)

    return observe


def _draw(call: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(call)
    def draw(self: Any, seen: Groups, estimates: Groups | None) -> Any:
        if estimates is not None:
            estimates = answered(estimates)
            _check_shares(name, estimates)
            if not len(estimates.rows):
                raise DataError(f"curriculum '{name}': no prompt that it asked about was answered")
        _check_shares(name, seen)
        return call(self, seen, estimates)

    return draw


def _load(call: Callable[..., None], name: str) -> Callable[..., None]:
    @wraps(call)
    def load_state_dict(self: Any, state: Mapping[str, Any]) -> None:
        for key, value in state.items():
            try:
                json.dumps(value, allow_nan=False)
            except ValueError as error:
                raise CheckpointError(
                    f"curriculum '{name}': '{key}' of its saved state is not finite; delete the "
                    "checkpoints to begin anew"
                ) from error
        call(self, state)

    return load_state_dict


_CHECKED = {"start": _start, "observe": _observe, "draw": _draw, "load_state_dict": _load}
