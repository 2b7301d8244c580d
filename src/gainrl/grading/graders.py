"""The graders by name: one object for the reward of training and for every test."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from typing import Protocol

from gainrl.config.base import GraderName
from gainrl.config.evaluation import Sandbox
from gainrl.grading import code, maths, sandbox
from gainrl.grading.grades import Grade
from gainrl.grading.own import Extracted, own

Reward = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""Rewards of responses, each given the gold answer beside it."""

MINERVA_TOLERANCE = 1e-4
"""Relative; Minerva's answers are rounded results of physics (see maths.grade for the sources)."""
DEFAULT_SANDBOX = Sandbox()
KEPT = 20_000
"""Grades of programs that a grader keeps."""
LASTING = frozenset({"passed", "failed", "syntax error", "no code", "no test"})
"""Reasons that are the program's. Any other may be the machine's (a limit, a process that was
killed): it is run again."""


class Grader(Protocol):
    """Grades responses against gold answers; never raises because of what a response holds."""

    @property
    def version(self) -> str:
        """What a grade depends on beside response and gold."""

    def __call__(self, responses: Sequence[str], golds: Sequence[str]) -> list[Grade]:
        """The grade of each response against the gold beside it."""


@dataclass(frozen=True)
class MathsGrader:
    """Answers: strings and numbers first, symbols where those do not settle it."""

    tolerance: float = 0.0
    workers: int = 1

    @property
    def version(self) -> str:
        """The grader's own and its parser's."""
        tolerance = f", tolerance {self.tolerance}" if self.tolerance else ""
        return f"{maths.version()}{tolerance}"

    def __call__(self, responses: Sequence[str], golds: Sequence[str]) -> list[Grade]:
        """The grade of each response."""
        return maths.grade_many(responses, golds, tolerance=self.tolerance, workers=self.workers)


@dataclass
class CodeGrader:
    """Programs: run on tests in a sandbox, equal programs on equal tests once.

    What a policy writes in one step it writes again in later ones: the grades of the last KEPT are
    known, by the response and a digest of the tests, which may be long. A program that goes by
    chance keeps its first grade for as long.
    """

    settings: Sandbox = DEFAULT_SANDBOX
    known: OrderedDict[tuple[str, bytes], Grade] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )
    lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    @property
    def version(self) -> str:
        """The grader's own, the isolation and the interpreter."""
        parts = code.version(self._isolation())
        return "code " + ", ".join(f"{key} {value}" for key, value in parts.items())

    def _isolation(self) -> sandbox.Isolation:
        return sandbox.choose(self.settings.unsafe)

    def __call__(self, responses: Sequence[str], golds: Sequence[str]) -> list[Grade]:
        """The grade of each response; golds are texts of `code.encode`.

        Raises:
            GradingError: no sandbox can be set up here.
            DataError: a gold is no tests.
        """
        digests = {
            gold: sha256(gold.encode(errors="surrogatepass")).digest() for gold in set(golds)
        }
        pairs = [(text, digests[gold]) for text, gold in zip(responses, golds, strict=True)]
        with self.lock:
            grades = {pair: self.known[pair] for pair in pairs if pair in self.known}
        asked = dict(zip(pairs, zip(responses, golds, strict=True), strict=True))
        new = {pair: given for pair, given in asked.items() if pair not in grades}
        settings = self.settings
        graded = code.grade_many(
            [response for response, _ in new.values()],
            [gold for _, gold in new.values()],
            sandbox.Limits(
                settings.seconds,
                settings.cpu_seconds,
                settings.memory_mb,
                settings.processes,
                settings.output_bytes,
            ),
            self._isolation(),
            settings.workers,
        )
        grades.update(zip(new, graded, strict=True))
        with self.lock:
            for pair, grade in grades.items():
                if grade.reason in LASTING:
                    self.known[pair] = grade
                    self.known.move_to_end(pair)
            while len(self.known) > KEPT:
                self.known.popitem(last=False)
        return [grades[pair] for pair in pairs]


def find(
    name: GraderName, settings: Sandbox = DEFAULT_SANDBOX, answer_in: str | None = None
) -> Grader:
    """The grader of a data set (gainrl.data.registry.grader_of names it).

    Args:
        settings: what programs may use.
        answer_in: regular expression that finds an answer, for the maths graders.

    Raises:
        ConfigError: a function of the user's own that cannot be imported.
    """
    if name == "code":
        return CodeGrader(settings)
    if ":" in name:
        return own(name)
    maths_grader = MathsGrader(MINERVA_TOLERANCE if name == "maths-tolerant" else 0.0)
    return Extracted(maths_grader, re.compile(answer_in)) if answer_in else maths_grader
