"""When a run is tested and when it ends: by RL steps, or by the tokens that it has generated."""

from __future__ import annotations

from dataclasses import dataclass

from gainrl.config.evaluation import Evaluation
from gainrl.config.training import Training


@dataclass(frozen=True)
class Schedule:
    """Asked after every step, with what is in the records: so a resumed run ends where it would
    have ended.

    steps: the most of them; every: from one test to the next. tokens, tests: of a run that ends by
    tokens, what ends it and in how many equal parts it is tested; None of others.
    """

    steps: int
    every: int
    tokens: int | None = None
    tests: int | None = None

    @classmethod
    def of(cls, training: Training, evaluation: Evaluation) -> Schedule:
        """That of a run."""
        return cls(training.steps, evaluation.every, training.tokens, training.tests)

    def ends(self, step: int, spent: int) -> bool:
        """Whether a step is the last one; `spent` are all generated tokens, its own too."""
        return step >= self.steps or (self.tokens is not None and spent >= self.tokens)

    def tested(self, step: int, before: int, spent: int) -> bool:
        """Whether a test is due after a step; `before` are the tokens without its own.

        A step that spends several parts is tested once.
        """
        if self.ends(step, spent):
            return True
        if self.tokens is None or self.tests is None:
            return step % self.every == 0
        return before * self.tests // self.tokens < spent * self.tests // self.tokens
