"""How fast a method is, in four currencies: RL steps, rollout tokens, seconds and FLOP.

Each says what a run had spent when its smoothed test curve first reached the baseline's final
accuracy to stay there, and how many times that the baseline spent, paired by seed. Censoring is
that of `gainrl.compare.statistics`: no seed is ever dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gainrl.compare.pairs import Speed, Track, speed
from gainrl.compare.statistics import RATIO, FloatArray, Median
from gainrl.config.preset import Statistics
from gainrl.records import health
from gainrl.results.flops import prompt_copies, step_flops
from gainrl.results.runs import AVERAGE, Group, Run

Row = dict[str, object]


def run_flops(run: Run, parameters: int) -> FloatArray:
    """(steps,) FLOP of a run's RL steps; `parameters` are the policy's."""
    algorithm = run.config["slice"]["method"]["algorithm"]
    prompts, responses = run.steps["prompt_tokens"], run.steps["rollout_tokens"]
    copies = prompt_copies(run.config["training"])
    trained, measured = _tokens(run, "trained", copies), _tokens(run, "measured", copies)
    idle = 0.0 if trained is None else copies * prompts + responses - trained
    return step_flops(
        parameters,
        prompts,
        responses,
        run.config["training"],
        algorithm,
        idle,
        0.0 if measured is None else measured,
    )


def _tokens(run: Run, kind: str, copies: int) -> pd.Series | None:
    """(steps,) prompt and response tokens of a kind as they were run, if recorded apart."""
    prompts, responses = f"{kind}_prompt_tokens", f"{kind}_rollout_tokens"
    if responses not in run.steps:
        return None
    return copies * run.steps[prompts] + run.steps[responses]


@dataclass(frozen=True)
class Currency:
    """What is spent: the suffixes of its metrics, how a note prints it, and each step's share.

    spent: from a run and the policy's parameters to (steps,) costs, each over 0.
    """

    cost: str
    ratio: str
    spec: str
    spent: Callable[[Run, int], FloatArray]

    def at_tests(self, run: Run, parameters: int) -> FloatArray:
        """(n,) what a run had spent before each of its tests; 0 for the start model."""
        total = np.concatenate([[0.0], np.cumsum(self.spent(run, parameters))])
        return total[run.evaluated.astype(int)]

    def tracks(self, runs: Sequence[Run], benchmark: str, parameters: int | None) -> list[Track]:
        """What each run had spent before its tests, and their accuracies."""
        return [Track(self.at_tests(run, parameters or 0), run.curve(benchmark)) for run in runs]


STEPS = Currency("steps", "speedup", ".0f", lambda run, _: np.ones(len(run.steps)))
TOKENS = Currency(
    "tokens", "speedup_tokens", ",.0f", lambda run, _: run.steps["rollout_tokens"].to_numpy(float)
)
SECONDS = Currency(
    "seconds", "speedup_seconds", ",.1f", lambda run, _: run.timing["seconds_step"].to_numpy(float)
)
FLOPS = Currency("flops", "speedup_flops", ".2e", run_flops)
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
    median over paired seeds, NaN where censoring leaves it open or the start model is already at
    the target. Without `parameters` there are no rows in FLOP.
    """
    if not baseline_learnt(group[baseline], benchmark):
        for currency in (STEPS, TOKENS, SECONDS, *([FLOPS] if parameters else [])):
            names = [f"{currency.cost}_to_baseline", *([currency.ratio] * (method != baseline))]
            yield from (_undefined(name, len(group[baseline]), UNLEARNT) for name in names)
        return
    for currency in (STEPS, TOKENS, SECONDS, *([FLOPS] if parameters else [])):
        ours, theirs = (
            currency.tracks(group[name], benchmark, parameters) for name in (method, baseline)
        )
        yield from speed_rows_of(speed(ours, theirs, config), currency, method == baseline)


def speed_rows_of(found: Speed, currency: Currency, is_baseline: bool) -> Iterator[Row]:
    """The rows of one currency, as `speed_rows` describes them."""
    text = found.cost.text(currency.spec)
    yield median_row(f"{currency.cost}_to_baseline", found.cost.upper, found.cost, text)
    if is_baseline:
        return
    if found.ratio is None:
        yield _undefined(currency.ratio, found.cost.n, AT_TARGET)
        return
    yield median_row(currency.ratio, found.ratio.value, found.ratio, found.ratio.text(*RATIO))


AT_TARGET = "undefined: the start model is already at the baseline's final accuracy"
UNLEARNT = "undefined: the baseline did not learn"


def baseline_learnt(runs: Sequence[Run], benchmark: str) -> bool:
    """Whether the runs of a baseline end above their start by more than their tests' noise.

    A level that the start model has by chance is one that any method reaches at once.
    """
    before: dict[tuple[str, float], Any] = {}  # seeds of one start model share its test
    after: list[Any] = []
    for run in runs:
        for row in run.evaluations.to_dict("records"):
            if benchmark in (AVERAGE, row["benchmark"]) and row["step"] == 0:
                before[row["benchmark"], row["accuracy"]] = row
            elif benchmark in (AVERAGE, row["benchmark"]) and row["step"] == run.evaluated[-1]:
                after.append(row)
    return health.learnt([*before.values()], after)


def _undefined(metric: str, n: int, note: str) -> Row:
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
