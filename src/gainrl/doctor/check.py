"""What a check finds, and how it is printed: one line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed", "not looked at"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    status: 'failed' is what a run will die of; 'warning' is slow, unsafe or could not be seen;
    'not looked at' is what the check says nothing about.
    saw: what is there. do: what helps; empty if nothing has to be done.
    """

    name: str
    status: Status
    saw: str
    do: str = ""

    def __str__(self) -> str:
        parts = [" ".join(part.split()) for part in (self.saw, self.do) if part]
        return f"{self.status:<7}  {self.name}: {'; '.join(parts)}"


def ok(name: str, saw: str) -> Check:
    """Nothing to do."""
    return Check(name, "ok", saw)


def warning(name: str, saw: str, do: str) -> Check:
    """It runs, but slowly or unsafely, or it could not be seen whether it runs."""
    return Check(name, "warning", saw, do)


def unseen(name: str, why: str) -> Check:
    """Nothing was looked at, so that no other line says anything about it."""
    return Check(name, "not looked at", why)


def failed(name: str, saw: str, do: str) -> Check:
    """A run will die of it."""
    return Check(name, "failed", saw, do)


def at_least(name: str, saw: str, have: float, bounds: tuple[float, float], do: str) -> Check:
    """Failed below the first bound, a warning below the second."""
    least, wanted = bounds
    status: Status = "failed" if have < least else "warning" if have < wanted else "ok"
    return Check(name, status, saw, "" if status == "ok" else do)


def summary(checks: Sequence[Check]) -> str:
    """The last line: how many of each."""
    kinds: tuple[Status, ...] = ("failed", "warning", "ok")
    counts = {kind: sum(each.status == kind for each in checks) for kind in kinds}
    words = {"failed": "failed", "warning": "warnings", "ok": "ok"}
    unlooked = sum(each.status == "not looked at" for each in checks)
    found = [f"{count} {words[kind]}" for kind, count in counts.items()]
    return ", ".join([*found, *([f"{unlooked} not looked at"] if unlooked else [])])


def size(number: float) -> str:
    """Bytes for people, in units of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:,.0f} {unit}" if number >= 10 or unit == "B" else f"{number:,.1f} {unit}"
