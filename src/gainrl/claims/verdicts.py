"""Verdicts: what a preset's claims come to under the rules that it fixed before the runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from gainrl.compare.pairs import Track, equal_difference
from gainrl.compare.ratios import Ratio, equal_accuracy
from gainrl.compare.statistics import (
    SHARES,
    Interval,
    Median,
    Reach,
    cost_to_reach,
    mean_interval,
    paired_difference,
    smooth,
    speedup,
    target_accuracy,
)
from gainrl.compare.student import quantile
from gainrl.compare.verdicts import REFUTED, SUPPORTED, UNDECIDED, Rule
from gainrl.config.claims import Claim
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.linearity.table import (
    PARTS,
    SELECTIONS,
    WAYS,
    Traced,
    accuracy,
    benchmarks_in,
    line_label,
)
from gainrl.results.runs import Run
from gainrl.results.speed import CURRENCIES, no_target
from gainrl.study.table import rank_interval

RATIOS = ("speedup", "cheaper", "equal_accuracy")
"""Measures whose threshold itself is enough."""
UNITS = {
    "difference": "points",
    "decline": "points",
    "speedup": "×",
    "cheaper": "×",
    "equal_accuracy": "×",
    "correlation": "rank correlation",
    "learnt_first": "rank correlation",
    "overhead": "% of training time",
    "linearity": "R²",
    "extrapolation": "points",
}


@dataclass(frozen=True)
class Measurement:
    """One measurement for a claim: where, of what, its interval and what to know of it.

    ratio: of what the interval is, where it is a median of ratios or a ratio at equal accuracy.
    """

    model: str
    dataset: str
    benchmark: str
    quantity: str
    interval: Interval
    note: str = ""
    ratio: Median | Ratio | None = None


# --- measurements --------------------------------------------------------------------------------


def difference(
    method: Sequence[Run], against: Sequence[Run], config: Statistics, benchmark: str
) -> Measurement:
    """Final level of a method less that of another, paired by seed, in points."""
    ours, theirs = (
        [100 * run.level(benchmark, config.smoothing) for run in runs] for runs in (method, against)
    )
    found = paired_difference(ours, theirs, config.confidence)
    what = f"{method[0].label} less {against[0].label}"
    return _part(method[0], benchmark, what, found)


def equal_cost(
    method: Sequence[Run],
    against: Sequence[Run],
    currency: str,
    config: Statistics,
    benchmark: str,
) -> Measurement:
    """Level of a method less that of another once both have spent as much, paired by seed.

    In points; the budget of a seed is what both of its runs spent.
    """
    kind = CURRENCIES[currency]
    ours, theirs = (
        [Track(costs, 100 * levels) for costs, levels in kind.tracks(runs, benchmark, None)]
        for runs in (method, against)
    )
    found, budget = equal_difference(ours, theirs, config, from_start=True)
    what = f"{method[0].label} less {against[0].label} at equal {currency}"
    note = f"at {format(budget, kind.spec)} {currency} in the mean"
    return _part(method[0], benchmark, what, found, note)


def decline(
    method: Sequence[Run], against: Sequence[Run], config: Statistics, benchmark: str
) -> Measurement:
    """How far a method ends below its own best level, less the same of another, in points.

    Levels are means of `smoothing` tests. The best of several tests is above the truth by chance,
    for both alike; so one method's decline alone would show forgetting where there is none.
    """
    falls = []
    for runs in (method, against):
        curves = [100 * smooth(run.curve(benchmark), config.smoothing) for run in runs]
        falls.append([float(curve.max() - curve[-1]) for curve in curves])
    found = paired_difference(falls[0], falls[1], config.confidence)
    what = f"decline of {method[0].label} less that of {against[0].label}"
    means = " and ".join(f"{np.mean(fall):.3g}" for fall in falls)
    return _part(method[0], benchmark, what, found, f"declines {means} points")


def faster(
    method: Sequence[Run], against: Sequence[Run], config: Statistics, benchmark: str
) -> Measurement:
    """Speed-up as the paper counts it: steps of a whole run over the steps to what `against` has.

    The target is the final level of `against`, whose steps are those of its whole run, whether it
    was there earlier or not; that favours the method. A censored seed lies in [0, 1].
    """
    what = f"{method[0].label} to the final level of {against[0].label}"
    if note := no_target(against, benchmark, config.smoothing):
        return _part(method[0], benchmark, what, _unknown(len(method)), note)
    window = config.smoothing
    target = target_accuracy([run.curve(benchmark) for run in against], window)
    fast = [cost_to_reach(run.evaluated, run.curve(benchmark), target, window) for run in method]
    slow = [Reach(run.evaluated[-1], run.evaluated[-1]) for run in against]
    return _median(method[0], benchmark, what, speedup(slow, fast, config.confidence))


def cheaper(
    method: Sequence[Run],
    against: Sequence[Run],
    baseline: Sequence[Run],
    currency: str,
    config: Statistics,
    benchmark: str,
) -> Measurement:
    """What `against` spends to the baseline's final level over what the method spends.

    Paired by seed; a seed that does not get there is censored and stays in the median.

    Args:
        currency: steps, tokens (rollout tokens, all that were generated) or seconds.
    """
    what = (
        f"{currency} of {against[0].label} to {baseline[0].label}'s level over {method[0].label}'s"
    )
    if note := no_target(baseline, benchmark, config.smoothing):
        return _part(method[0], benchmark, what, _unknown(len(method)), note)
    window, kind = config.smoothing, CURRENCIES[currency]
    target = target_accuracy([run.curve(benchmark) for run in baseline], window)
    fast, slow = (
        [cost_to_reach(kind.at_tests(run, 0), run.curve(benchmark), target, window) for run in runs]
        for runs in (method, against)
    )
    return _median(method[0], benchmark, what, speedup(slow, fast, config.confidence))


def equal_accuracy_ratio(
    method: Sequence[Run],
    against: Sequence[Run],
    currency: str,
    config: Statistics,
    benchmark: str,
) -> Measurement:
    """How many times as much as the method `against` spends for the same accuracy."""
    what = f"{currency} of {against[0].label} over {method[0].label}'s at equal accuracy"
    if note := no_target(against, benchmark, config.smoothing):
        return _part(method[0], benchmark, what, _unknown(len(method)), note)
    kind = CURRENCIES[currency]
    ours, theirs = (kind.tracks(runs, benchmark, None) for runs in (method, against))
    found = equal_accuracy(ours, theirs, config, from_start=True)
    interval = Interval(found.value, found.low, found.high, found.n)
    return replace(_part(method[0], benchmark, what, interval), ratio=found)


def overhead(runs: Sequence[Run], seconds: float, config: Statistics) -> Measurement:
    """Seconds before training as a percentage of a run's training seconds, over seeds."""
    shares = [100 * seconds / run.timing["seconds_step"].sum() for run in runs]
    found = mean_interval(shares, config.confidence)
    note = f"scoring took {seconds:.3g} s"
    return _part(runs[0], "", f"prefill scoring for {runs[0].label}", found, note)


def correlation(
    table: pd.DataFrame,
    model: str,
    dataset: str,
    quantity: str,
    given: str,
    config: Statistics,
) -> Measurement:
    """A cell of the signal table (gainrl.study.table): C with a quantity, over prompts.

    Raises:
        DataError: the table has no such cell.
    """
    text = table["given"].fillna("")
    row = table[
        (table["model"] == model)
        & (table["dataset"] == dataset)
        & (table["signal"] == "c")
        & (table["quantity"] == quantity)
        & (text == given)
    ]
    if len(row) != 1:
        raise DataError(f"signal.csv: no row of c with {quantity} for {model} on {dataset}")
    cell = row.iloc[0]
    found = Interval(float(cell["rho"]), float(cell["low"]), float(cell["high"]), int(cell["n"]))
    found = _with_error(found, config)
    held = ", given length" if given else ""
    what = f"C with {quantity.replace('_', ' ')}{held}"
    return Measurement(model, dataset, "", what, found, "over prompts")


def learnt_first(probe: pd.DataFrame, model: str, dataset: str, config: Statistics) -> Measurement:
    """Rank correlation of C before RL with the gain in pass rate over a run's first half.

    Args:
        probe: records.PROBE; the first half ends at the last snapshot by half of the last step.
    """
    steps = sorted(probe["step"].unique())
    middle = max(step for step in steps if step <= steps[-1] / 2)
    at = {step: probe[probe["step"] == step].set_index("id") for step in (steps[0], middle)}
    start, later = at[steps[0]], at[middle].loc[at[steps[0]].index]
    rates = [frame["correct"] / frame["samples"] for frame in (start, later)]
    ranked = rank_interval(start["c"], rates[1] - rates[0], None, *_bootstrap(config))
    found = _with_error(ranked, config)
    note = f"over prompts, one run, steps {steps[0]} to {middle}"
    return Measurement(model, dataset, "", "C with the gain in pass rate", found, note)


def straightness(
    runs: Sequence[Traced], quantity: str, selection: str, config: Statistics
) -> Measurement:
    """Median R^2 against the RL step of a run's trajectories, over seeds.

    Args:
        runs: the seeds of one method.
        quantity: weights, tokens_start or tokens_last; selection: which of them (SELECTIONS).
    """
    rows = [run.row(quantity, selection) for run in runs]
    what = f"median R² of {PARTS[quantity].lower()}, {SELECTIONS[selection]}; {runs[0].label}"
    note = f"random walk {rows[0]['null_median']:.2f}"
    left = [100 * (1 - row["kept"] / row["count"]) for row in rows]
    note += f", {np.mean(left):.1f}% of them left out"
    medians = [row["median"] for row in rows]
    known = all(math.isfinite(value) for value in medians)
    if not known:
        note = "undefined: of some seed nothing is kept"
    found = mean_interval(medians, config.confidence, SHARES) if known else _unknown(len(runs))
    return Measurement(runs[0].model, runs[0].dataset, "", what, found, note)


def extrapolated(runs: Sequence[Traced], place: int, way: str, config: Statistics) -> Measurement:
    """Accuracy of an extrapolated model less that of the one really trained, paired by seed.

    Args:
        runs: the seeds of one method.
        place: which of the section's extrapolations.
        way: weights or logits. Of several benchmarks their average is taken. In points.
    """
    lines = [run.lines[place] for run in runs]
    benchmark = benchmarks_in(lines[0])[-1]
    ours, theirs = (
        [100 * accuracy(line, name, benchmark) for line in lines] for name in (way, "trained")
    )
    found = paired_difference(ours, theirs, config.confidence)
    what = f"{WAYS[way].lower()}, {line_label(lines[0])}, less trained; {runs[0].label}"
    return Measurement(runs[0].model, runs[0].dataset, benchmark, what, found)


def _with_error(found: Interval, config: Statistics) -> Interval:
    """A bootstrap's interval over many prompts with the error that its length stands for."""
    if found.n < 2:
        return found
    error = (found.high - found.low) / 2 / quantile(config.confidence, found.n - 1)
    return Interval(found.mean, found.low, found.high, found.n, error)


def _bootstrap(config: Statistics) -> tuple[np.random.Generator, int, float]:
    return np.random.default_rng(config.seed), config.resamples, config.confidence


def _part(run: Run, benchmark: str, what: str, found: Interval, note: str = "") -> Measurement:
    return Measurement(run.model, run.dataset, benchmark, what, found, note)


def _median(run: Run, benchmark: str, what: str, found: Median) -> Measurement:
    interval = Interval(found.value, found.low, found.high, found.n)
    note = f"median {found.text('.2f', '≥', '≤', '×')}"
    return Measurement(run.model, run.dataset, benchmark, what, interval, note, found)


def _unknown(n: int) -> Interval:
    return Interval(math.nan, math.nan, math.nan, n)


# --- verdicts ------------------------------------------------------------------------------------


def verdict(claim: Claim, low: float, high: float) -> str:
    """What the interval of one part comes to (`compare.verdicts.Rule`)."""
    return _rule(claim).verdict(low, high)


def p_value(claim: Claim, part: Measurement) -> float:
    """Two-sided p that what a part measures is the claim's threshold; NaN where it is unknown."""
    return _rule(claim).p(part.interval if part.ratio is None else part.ratio)


def overall(verdicts: Sequence[str]) -> str:
    """Supported if all parts are, not supported if one is not, else undecided."""
    if REFUTED in verdicts:
        return REFUTED
    return SUPPORTED if set(verdicts) == {SUPPORTED} else UNDECIDED


def rule(claim: Claim) -> str:
    """The rule in words."""
    return _rule(claim).words(UNITS[claim.measure])


def _rule(claim: Claim) -> Rule:
    return Rule(claim.threshold, claim.direction, attained=claim.measure in RATIOS)
