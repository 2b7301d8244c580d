"""Sections of a preset that fix, before the runs, what would support a claim. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import field_validator, model_validator

from gainrl.config.base import Name, Names, Section

Measure = Literal[
    "difference",
    "decline",
    "speedup",
    "cheaper",
    "equal_accuracy",
    "correlation",
    "learnt_first",
    "overhead",
    "linearity",
    "extrapolation",
]
Quantity = Literal[
    "difficulty", "pass_rate", "gradient_norm", "weights", "tokens_start", "tokens_last", "logits"
]
QUANTITIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "correlation": ("difficulty", "pass_rate", "gradient_norm"),
        "linearity": ("weights", "tokens_start", "tokens_last"),
        "extrapolation": ("weights", "logits"),
    }
)
"""What a measure can be of, where it can be of several things."""
COSTED = ("cheaper", "equal_accuracy")
"""Measures of what is spent."""


class Claim(Section):
    """A claim, what is measured for it, and the rule that turns the measurement into a verdict.

    A part of a claim (a method, what it is held against, a data set) is supported if its whole
    interval is above `threshold` (below it with `direction: below`), not supported if its whole
    interval is on the other side, and undecided else. The claim is supported if all its parts are,
    not supported if any of them is not, and undecided else.
    """

    statement: str
    """The claim in a sentence, as the tables print it."""
    measure: Measure
    """'difference' (final accuracy, mean of the last `statistics.smoothing` tests, method less
    `against`, paired by seed, in points), 'decline' (how far that mean ends below its own highest,
    method less `against`, paired by seed, in points), 'speedup' (as the paper counts it: steps of a
    whole run over the method's steps to the final accuracy of `against`, median over seeds),
    'cheaper' (what `against` spends until it has the baseline's final accuracy, over what the
    method spends, in `currency`, median over paired seeds), 'equal_accuracy' (how many times as
    much of `currency` as the method `against` spends for the same accuracy, paired by seed; an
    interval that no seed censors: `gainrl.compare.ratios`), 'correlation' (rank correlation of C
    with `quantity`, with `given` held fixed, over prompts), 'learnt_first' (rank correlation of C
    before RL with the gain in pass rate over the first half of the probed run, over prompts),
    'overhead' (seconds of prefill scoring over a run's training seconds, percent), 'linearity'
    (median R^2 of `quantity` against the RL step, over seeds), 'extrapolation' (accuracy of models
    that are extrapolated in `quantity` less that of the model really trained, paired by seed, in
    points). The last two are of the runs and extrapolations of the section `linearity`, or of those
    of its `methods`."""
    threshold: float
    """What the interval is held against, in the measure's unit."""
    direction: Literal["above", "below"] = "above"
    """On which side of `threshold` the claim is supported."""
    experiment: Name | None = None
    """Whose runs are compared; not for measures of prompts, 'linearity' and 'extrapolation'."""
    methods: Names = ()
    """Of the experiment (or of the section `linearity`): each is a part of the claim."""
    against: Names = ()
    """A method or several, all of which have to be beaten; else the experiment's baseline."""
    currency: Literal["steps", "tokens", "seconds"] | None = None
    """What the measures 'cheaper' and 'equal_accuracy' count, and when 'difference' compares
    levels: once both runs of a seed have spent as much of it; without it at the end."""
    quantity: Quantity | None = None
    """What 'correlation' (difficulty, pass_rate, gradient_norm), 'linearity' (weights,
    tokens_start, tokens_last) and 'extrapolation' (weights, logits) are of."""
    given: Literal["", "tokens"] = ""
    """What a correlation holds fixed: nothing, or the question's length in tokens."""
    selection: Literal["all", "range", "released"] = "all"
    """Of measure 'linearity': all that moves, or what a published filter keeps ('range': of weights
    only)."""

    @field_validator("against", mode="before", json_schema_input_type=Name | Names)
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        compares = self.measure in (*COSTED, "difference", "decline", "speedup", "overhead")
        if compares and (self.experiment is None or not self.methods):
            raise ValueError(f"measure '{self.measure}' needs the keys 'experiment' and 'methods'")
        traced = self.measure in ("linearity", "extrapolation")
        if traced and (self.experiment or self.against):
            raise ValueError(
                f"measure '{self.measure}' is of the runs of the section 'linearity': it takes no "
                "'experiment' or 'against'"
            )
        if not (compares or traced) and (self.experiment or self.methods or self.against):
            raise ValueError(
                f"measure '{self.measure}' is of prompts, not of runs: it takes no 'experiment', "
                "'methods' or 'against'"
            )
        if self.measure in COSTED and self.currency is None:
            raise ValueError(f"measure '{self.measure}' needs 'currency'")
        if self.currency is not None and self.measure not in (*COSTED, "difference"):
            raise ValueError(
                "'currency' belongs to the measures 'cheaper', 'equal_accuracy' and 'difference'"
            )
        self._measurable()
        return self

    def _measurable(self) -> None:
        known = QUANTITIES.get(self.measure, ())
        if self.quantity is not None and not known:
            raise ValueError(f"'quantity' belongs to the measures {', '.join(QUANTITIES)}")
        if known and self.quantity not in known:
            raise ValueError(f"measure '{self.measure}' needs 'quantity': {', '.join(known)}")
        if self.selection != "all" and self.measure != "linearity":
            raise ValueError("'selection' belongs to measure 'linearity'")
        if self.selection == "range" and self.quantity != "weights":
            raise ValueError("selection 'range' is of quantity 'weights'")
