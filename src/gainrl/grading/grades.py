"""What every grader returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grade:
    """A graded response: the answer found in it (None if none), and why it is right or wrong.

    rule: what found the answer ('box', 'phrase', 'tag', 'mark'; None if there is none).
    """

    correct: bool
    extracted: str | None
    reason: str
    rule: str | None = None
