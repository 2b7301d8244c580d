"""Sections of a preset that fix, before the runs, what would support a claim. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from gainrl.config_data import Name, Section

Measure = Literal["difference", "decline", "speedup", "correlation", "learnt_first", "overhead"]


class Claim(Section):
    """A claim, what is measured for it, and the rule that turns the measurement into a verdict.

    measure: 'difference' (final accuracy, mean of the last `statistics.smoothing` tests, method
    less `against`, paired by seed, in points), 'decline' (how far that mean ends below its own
    highest, method less `against`, paired by seed, in points), 'speedup' (as the paper counts it:
    steps of a whole run over the method's steps to the final accuracy of `against`, median over
    seeds), 'correlation' (rank
    correlation of C with `quantity`, with `given` held fixed, over prompts), 'learnt_first' (rank
    correlation of C before RL with the gain in pass rate over the first half of the probed run,
    over prompts), 'overhead' (seconds of prefill scoring over a run's training seconds, percent).

    A part of a claim (a method on a data set) is supported if its whole interval is above
    `threshold` (below it with `direction: below`), not supported if its whole interval is on the
    other side, and undecided else. The claim is supported if all its parts are, not supported if
    any of them is not, and undecided else.
    """

    statement: str
    measure: Measure
    threshold: float
    direction: Literal["above", "below"] = "above"
    experiment: Name | None = None
    methods: tuple[Name, ...] = ()
    against: Name | None = None
    quantity: Literal["difficulty", "pass_rate", "gradient_norm"] | None = None
    given: Literal["", "tokens"] = ""

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        compares = self.measure in ("difference", "decline", "speedup", "overhead")
        if compares and (self.experiment is None or not self.methods):
            raise ValueError(f"measure '{self.measure}' needs the keys 'experiment' and 'methods'")
        if not compares and (self.experiment or self.methods or self.against):
            raise ValueError(
                f"measure '{self.measure}' is of prompts, not of runs: it takes no 'experiment', "
                "'methods' or 'against'"
            )
        if (self.measure == "correlation") != (self.quantity is not None):
            raise ValueError("'quantity' belongs to measure 'correlation', which needs it")
        return self
