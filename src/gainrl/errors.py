"""The errors a user can cause; the command line prints them as one line and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something a user can mend; the message names the file, the key or the row."""


class ConfigError(UserError):
    """A preset that cannot be run as it is written."""


class DataError(UserError):
    """A data set, a record file or a prompt that cannot be used."""


class ModelError(UserError):
    """A model folder or model source that cannot be used."""


class CheckpointError(UserError):
    """A checkpoint that does not belong to this run or is damaged."""


class TrackingError(UserError):
    """Experiment tracking that did not record what it should have."""


class BackendError(UserError):
    """A training backend that ended with an error or stood still; the message names its log."""


class GradingError(UserError):
    """Generated code that cannot be run safely on this machine."""


class ExtraError(UserError, ImportError):
    """A library that is not installed; the message says which extra brings it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"`, or the list of known names if none is near."""
    known = sorted(map(str, known))
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""
