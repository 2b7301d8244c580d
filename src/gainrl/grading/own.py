"""A grader of the user's own, by import path; and answers where a regular expression says.

    def reward(completion: str, answer: str) -> bool

is called once a response, with the gold answer of its prompt, and says whether it is right.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gainrl.config.imported import imported
from gainrl.errors import ConfigError, GradingError
from gainrl.grading.grades import Grade

_SHOWN = 60


@dataclass(frozen=True)
class OwnGrader:
    """Asks a function whether a response is right; `path` is where it is from."""

    path: str
    function: Callable[[str, str], Any]

    @property
    def version(self) -> str:
        """The path, and a hash of the function's source."""
        source = inspect.getsource(self.function)
        return f"{self.path} {hashlib.sha256(source.encode()).hexdigest()[:8]}"

    def __call__(self, responses: Sequence[str], golds: Sequence[str]) -> list[Grade]:
        """The grade of each response.

        Raises:
            GradingError: the function raised something, or said neither right nor wrong.
        """
        return [self._grade(*pair) for pair in zip(responses, golds, strict=True)]

    def _grade(self, response: str, gold: str) -> Grade:
        try:
            found = self.function(response, gold)
            right = found.item() if hasattr(found, "item") else found
        except Exception as error:  # whatever a user's function may raise: named, never a 0
            kind = type(error).__name__
            raise GradingError(
                f"{self.path} raised {kind}: {error} (response {_short(response)}, answer "
                f"{_short(gold)})"
            ) from error
        if right not in (0, 1):
            raise GradingError(
                f"{self.path} returned {right!r} (response {_short(response)}, answer "
                f"{_short(gold)}); a grader says right or wrong: True or False, 1 or 0"
            )
        return Grade(bool(right), None, f"by {self.path}")


@dataclass(frozen=True)
class Extracted:
    """A maths grader that is shown what a regular expression finds, and nothing else.

    pattern: its group, or the whole of it, is the answer; of several matches the last one counts.
    """

    grader: Any
    pattern: re.Pattern[str]

    @property
    def version(self) -> str:
        """The grader's own, and the expression."""
        return f"{self.grader.version}, answer in {self.pattern.pattern}"

    def __call__(self, responses: Sequence[str], golds: Sequence[str]) -> list[Grade]:
        """The grade of each response; one without a match is wrong."""
        found = [[*self.pattern.finditer(response)] for response in responses]
        texts = [each[-1][self.pattern.groups] if each else None for each in found]
        places = [place for place, text in enumerate(texts) if text is not None]
        graded = self.grader(
            [f"\\boxed{{{texts[place]}}}" for place in places], [golds[place] for place in places]
        )
        missing = Grade(False, None, "no answer where `answer_in` looks")
        grades = [missing] * len(texts)
        for place, grade in zip(places, graded, strict=True):
            grades[place] = Grade(grade.correct, grade.extracted, grade.reason, "answer_in")
        return grades


def own(path: str, key: str = "grader") -> OwnGrader:
    """The grader that 'module:function' or 'file.py:function' names.

    Args:
        key: where the preset says so, for the error message.

    Raises:
        ConfigError: there is none, or it does not take a completion and an answer.
    """
    function = imported(path, key)
    try:
        inspect.signature(function).bind("completion", "answer")
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{key}: '{path}' is no function of a completion and an answer: {error}"
        ) from error
    return OwnGrader(path, function)


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")
