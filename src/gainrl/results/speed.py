"""How fast a method is, in four currencies: RL steps, generated tokens, seconds and FLOP.

Each says what a run had spent when its smoothed test curve first reached the baseline's final
accuracy to stay there, and how many times that the baseline spent, paired by seed. Censoring is
that of `gainrl.compare.statistics`: no seed is ever dropped. Tokens, seconds and FLOP count what
was done again after an interruption too, where it happened; tokens and FLOP what the start model
ran before the first step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gainrl.compare.pairs import Speed, Track, at_target, speed
from gainrl.compare.statistics import RATIO, FloatArray, Median
from gainrl.config.preset import Statistics
from gainrl.plan.results import AVERAGE
from gainrl.records import health
from gainrl.results.flops import FORWARD, prompt_copies, step_flops
from gainrl.results.runs import Group, Run

Row = dict[str, object]


def run_flops(run: Run, parameters: int, rows: pd.DataFrame | None = None) -> FloatArray:
    """(steps,) FLOP of a run's RL steps, or of other rows; `parameters` are the policy's."""
    rows = run.steps if rows is None else rows
    algorithm = run.config["slice"]["method"]["algorithm"]
    prompts, responses = rows["prompt_tokens"], rows["rollout_tokens"]
    copies = prompt_copies(run.config["training"])
    trained, measured = _tokens(rows, "trained", copies), _tokens(rows, "measured", copies)
    idle = 0.0 if trained is None else copies * prompts + responses - trained
    forward = 0.0 if measured is None else measured
    if "prefill_tokens" in rows:  # prompts that a curriculum had read before it drew
        forward = forward + rows["prefill_tokens"]
    return step_flops(
        parameters,
        prompts,
        responses,
        run.config["training"],
        algorithm,
        idle,
        forward,
        rows.get("epochs"),
        rows.get("trained_groups"),
    )


def _tokens(rows: pd.DataFrame, kind: str, copies: int) -> pd.Series | None:
    """(steps,) prompt and response tokens of a kind as they were run, if recorded apart."""
    prompts, responses = f"{kind}_prompt_tokens", f"{kind}_rollout_tokens"
    if responses not in rows:
        return None
    return copies * rows[prompts] + rows[responses]


@dataclass(frozen=True)
class Currency:
    """What is spent: the suffixes of its metrics, how a note prints it, and what it is of.

    once: from a run and the policy's parameters to (steps,) costs of its steps, each over 0; again:
    the same of the rows of `Run.redone`; before: what was spent before the first step.
    """

    cost: str
    ratio: str
    spec: str
    once: Callable[[Run, int], FloatArray]
    again: Callable[[Run, int], FloatArray] | None = None
    before: Callable[[Run, int], float] = lambda run, parameters: 0.0

    def spent(self, run: Run, parameters: int) -> FloatArray:
        """(steps,) costs of a run's steps; what was taken again counts with the step it led to."""
        found = np.array(self.once(run, parameters), dtype=np.float64)
        if self.again is not None and len(run.redone):
            np.add.at(found, run.redone["after"].to_numpy(), self.again(run, parameters))
        return found

    def total(self, run: Run, parameters: int) -> float:
        """All that a run cost."""
        return self.before(run, parameters) + float(self.spent(run, parameters).sum())

    def at_tests(self, run: Run, parameters: int) -> FloatArray:
        """(n,) what a run had cost before each of its tests."""
        spent = np.concatenate([[0.0], np.cumsum(self.spent(run, parameters))])
        return self.before(run, parameters) + spent[run.evaluated.astype(int)]

    def tracks(self, runs: Sequence[Run], benchmark: str, parameters: int | None) -> list[Track]:
        """What each run had spent before its tests, and their accuracies."""
        return [Track(self.at_tests(run, parameters or 0), run.curve(benchmark)) for run in runs]

    def both(
        self, group: Group, method: str, baseline: str, benchmark: str, parameters: int | None
    ) -> tuple[list[Track], list[Track]]:
        """The tracks of a method's runs and of the baseline's."""
        ours, theirs = group[method], group[baseline]
        return (
            self.tracks(ours, benchmark, parameters),
            self.tracks(theirs, benchmark, parameters),
        )


STEPS = Currency("steps", "speedup", ".0f", lambda run, _: np.ones(len(run.steps)))
TOKENS = Currency(
    "tokens",
    "speedup_tokens",
    ",.0f",
    lambda run, _: run.steps["rollout_tokens"].to_numpy(float),
    lambda run, _: run.redone["rollout_tokens"].to_numpy(float),
    lambda run, _: run.prepared.rollout_tokens,
)
SECONDS = Currency(
    "seconds",
    "speedup_seconds",
    ",.1f",
    lambda run, _: run.timing["seconds_step"].to_numpy(float),
    lambda run, _: run.redone["seconds_step"].fillna(0.0).to_numpy(float),
)
FLOPS = Currency(
    "flops",
    "speedup_flops",
    ".2e",
    run_flops,
    lambda run, parameters: run_flops(run, parameters, run.redone),
    lambda run, parameters: (
        FORWARD * parameters * (run.prepared.prompt_tokens + run.prepared.rollout_tokens)
    ),
)
CURRENCIES = {each.cost: each for each in (STEPS, TOKENS, SECONDS, FLOPS)}


def speed_rows(
    group: Group,
    method: str,
    baseline: str,
    benchmark: str,
    parameters: int | None,
    config: Statistics,
) -> Iterator[Row]:
    """Rows <currency>_to_baseline and, but for the baseline, speedup and speedup_<currency>.

    `mean` of the first is the median over seeds with censored ones as infinity; of the second the
    median over paired seeds, NaN where censoring leaves it open or there is nothing to be faster at
    (`no_target`). Without `parameters` there are no rows in FLOP.
    """
    if not baseline_learnt(group[baseline], benchmark):
        for currency in (STEPS, TOKENS, SECONDS, *([FLOPS] if parameters else [])):
            names = [f"{currency.cost}_to_baseline", *([currency.ratio] * (method != baseline))]
            yield from (undefined(name, len(group[baseline]), UNLEARNT) for name in names)
        return
    for currency in (STEPS, TOKENS, SECONDS, *([FLOPS] if parameters else [])):
        ours, theirs = currency.both(group, method, baseline, benchmark, parameters)
        yield from speed_rows_of(speed(ours, theirs, config), currency, method == baseline)


def speed_rows_of(found: Speed, currency: Currency, is_baseline: bool) -> Iterator[Row]:
    """The rows of one currency, as `speed_rows` describes them."""
    text = found.cost.text(currency.spec)
    yield median_row(f"{currency.cost}_to_baseline", found.cost.upper, found.cost, text)
    if is_baseline:
        return
    if found.ratio is None:
        yield undefined(currency.ratio, found.cost.n, AT_TARGET)
        return
    yield median_row(currency.ratio, found.ratio.value, found.ratio, found.ratio.text(*RATIO))


AT_TARGET = "undefined: the start model is already at the baseline's final accuracy"
UNLEARNT = "undefined: the baseline did not learn"


def no_target(runs: Sequence[Run], benchmark: str, window: int) -> str | None:
    """Why nothing can be faster to the final level of a baseline, if that is so."""
    if not baseline_learnt(runs, benchmark):
        return UNLEARNT
    return AT_TARGET if at_target(STEPS.tracks(runs, benchmark, None), window) else None


def baseline_learnt(runs: Sequence[Run], benchmark: str) -> bool:
    """Whether the runs of a baseline end above their start by more than their tests' noise.

    A level that the start model has by chance is one that any method reaches at once.
    """
    before: dict[tuple[str, object], Any] = {}  # seeds of one start model share its test
    after: list[Any] = []
    for run in runs:
        for row in run.evaluations.to_dict("records"):
            if benchmark in (AVERAGE, row["benchmark"]) and row["step"] == 0:
                before[row["benchmark"], run.start or row["accuracy"]] = row
            elif benchmark in (AVERAGE, row["benchmark"]) and row["step"] == run.evaluated[-1]:
                after.append(row)
    return health.learnt([*before.values()], after)


def undefined(metric: str, n: int, note: str) -> Row:
    """A row of what cannot be said, and why not."""
    numbers = {"mean": math.nan, "low": math.nan, "high": math.nan, "n": n}
    return {"metric": metric, **numbers, "note": note}


BOUNDS = ("lower", "upper", "censored")
"""Columns of a median: where it lies, and how many seeds are known only as bounds."""


def median_row(metric: str, value: float, median: Median, text: str) -> Row:
    """A row of a tidy table; its note is what a table prints."""
    numbers = {"mean": value, "low": median.low, "high": median.high, "n": median.n}
    bounds = {name: getattr(median, name) for name in BOUNDS}
    return {"metric": metric, **numbers, "note": f"median: {text}", **bounds}


def median_text(row: Mapping[str, Any]) -> str:
    """What a table prints of a row of `speed_rows`."""
    if math.isnan(row["upper"]):
        return "undefined"
    numbers = (row[name] for name in ("lower", "upper", "low", "high"))
    lower, upper, low, high = map(float, numbers)
    median = Median(lower, upper, low, high, int(row["n"]), int(row["censored"]))
    for currency in CURRENCIES.values():
        if row["metric"] == f"{currency.cost}_to_baseline":
            return median.text(currency.spec)
    return median.text(*RATIO)
