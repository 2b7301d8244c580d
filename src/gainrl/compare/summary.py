"""Methods against a baseline: levels, differences at equal cost, speed-ups and a verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from gainrl.compare.aggregate import (
    Statistic,
    interquartile_mean,
    probability_of_improvement,
    stratified_interval,
)
from gainrl.compare.curves import Curve, Task, arranged, check_window
from gainrl.compare.pairs import Speed, equal_difference, learnt, speed
from gainrl.compare.ratios import Ratio, equal_accuracy
from gainrl.compare.statistics import (
    ANY,
    SHARES,
    TIMES,
    FloatArray,
    Interval,
    mean_interval,
    smooth,
)
from gainrl.compare.units import unit_of
from gainrl.compare.verdicts import UNDECIDED, Rule, adjusted, survives
from gainrl.config.statistics import Statistics
from gainrl.errors import DataError, nearest

MEASURES = {
    "difference": ("points", "steps"),
    "equal-tokens": ("points", "tokens"),
    "speedup": (TIMES, "steps"),
    "speedup-tokens": (TIMES, "tokens"),
    "equal-accuracy": (TIMES, "steps"),
    "equal-accuracy-tokens": (TIMES, "tokens"),
}
"""What a rule can be of: unit where accuracies are shares, and what is spent."""
RULE = "difference > 0"


@dataclass(frozen=True)
class Against:
    """A method against the baseline in steps or in tokens.

    difference: of levels at equal cost, in the unit of the accuracies; None of the baseline.
    budget: at which cost, mean over seeds. speed: to the baseline's final level. same: how many
    times as much the baseline spends for the same accuracy; None of itself. Both ratios are None
    where the baseline has not learnt.
    """

    difference: Interval | None
    budget: float
    speed: Speed
    same: Ratio | None = None


@dataclass(frozen=True)
class Line:
    """What a table says of a method on a task; tokens: None where nobody counted them.

    p: that what the rule is of is the rule's threshold, adjusted: among all methods and tasks
    (Benjamini and Hochberg), NaN of the baseline and of one seed. survives: whether a verdict is
    kept at the allowed rate of false discoveries, "yes" or "no"; "" where nothing is decided.
    """

    task: str
    method: str
    level: Interval
    steps: Against
    tokens: Against | None
    verdict: str | None
    p: float = math.nan
    adjusted: float = math.nan
    survives: str = ""


@dataclass(frozen=True)
class Together:
    """A method on several tasks; improved: over the baseline, None of itself."""

    method: str
    middle: Interval
    improved: Interval | None


@dataclass(frozen=True)
class Summary:
    """A comparison: everything that its table and its figure say.

    shares: whether all accuracies are in [0, 1]; they are shown in percent then.
    """

    baseline: str
    rule: str
    how: Statistics
    tasks: dict[str, Task]
    lines: list[Line]
    together: list[Together] = field(default_factory=list)
    shares: bool = True

    @property
    def has_tokens(self) -> bool:
        """Whether the runs counted tokens."""
        return self.lines[0].tokens is not None


def summarise(
    curves: Sequence[Curve],
    baseline: str,
    rule: str = RULE,
    how: Statistics | None = None,
    seeds: Iterable[int] | None = None,
) -> Summary:
    """Compare methods with a baseline, seed by seed.

    A level is the mean of a run's last `how.smoothing` tests. At equal cost both runs of a seed are
    read where the one that spent less ended. Intervals: `compare.statistics`.

    Args:
        curves: of every method the same seeds (and tasks); in any order.
        rule: for the verdict, such as "difference > 0" or "speedup-tokens >= 1.5": a measure of
            MEASURES, one of > >= < <=, and a threshold in its unit (points where all accuracies
            are shares). Supported if the whole interval keeps it, not supported if none of it does.
        how: smoothing, resamples, confidence and seed of the intervals.
        seeds: the only ones to be compared; else all.

    Raises:
        DataError: curves that cannot be compared (`arranged`), fewer tests than `how.smoothing`,
            runs of a seed that share no cost, or a rule that cannot be read or
            that needs tokens where there are none.
    """
    how = how or Statistics()
    tasks = arranged(curves, baseline, seeds)
    every = [curve for task in tasks.values() for found in task.values() for curve in found]
    check_window(every, how.smoothing)
    shares = unit_of(every) == "share"
    measure, decision = parse_rule(rule)
    counted, within = every[0].tokens is not None, SHARES if shares else ANY
    if MEASURES[measure][1] == "tokens" and not counted:
        raise DataError(f"rule '{rule}': {every[0].where} and the others have no tokens")
    lines = []
    for name, task in tasks.items():
        for method in task:
            line = _line(name, method, task, baseline, counted, how, within)
            if method != baseline:
                said, p = _verdict(line, measure, decision, shares)
                line = replace(line, verdict=said, p=p)
            lines.append(line)
    lines = [
        replace(line, adjusted=among, survives=_kept(line, among, how))
        for line, among in zip(lines, adjusted([line.p for line in lines]), strict=True)
    ]
    return Summary(
        baseline, rule, how, tasks, lines, _together(tasks, baseline, how, within), shares
    )


def parse_rule(text: str) -> tuple[str, Rule]:
    """The measure that a rule is of, and the rule.

    Raises:
        DataError: it is none.
    """
    found = re.fullmatch(r"\s*([\w-]+)\s*([<>]=?)\s*([-+]?[\d.]+)\s*", text)
    try:
        threshold = float(found[3]) if found else math.nan
    except ValueError:
        threshold = math.nan
    if not found or math.isnan(threshold):
        raise DataError(f"rule '{text}' is not like 'difference > 0' or 'speedup-tokens >= 1.5'")
    if found[1] not in MEASURES:
        raise DataError(f"rule '{text}': no measure '{found[1]}'{nearest(found[1], MEASURES)}")
    if MEASURES[found[1]][0] == TIMES and threshold <= 0:
        raise DataError(f"rule '{text}': a speed-up is above 0, and so is its threshold")
    side: Literal["above", "below"] = "above" if found[2][0] == ">" else "below"
    return found[1], Rule(threshold, side, attained=found[2].endswith("="))


def _line(
    name: str,
    method: str,
    task: Task,
    baseline: str,
    counted: bool,
    how: Statistics,
    within: tuple[float, float],
) -> Line:
    levels = [smooth(curve.accuracies, how.smoothing)[-1] for curve in task[method]]
    level = mean_interval(levels, how.confidence, within)
    steps, tokens = (
        _against(name, method, task, baseline, currency, how) if wanted else None
        for currency, wanted in (("steps", True), ("tokens", counted))
    )
    assert steps is not None
    return Line(name, method, level, steps, tokens, None)


def _against(
    name: str, method: str, task: Task, baseline: str, currency: str, how: Statistics
) -> Against:
    ours, theirs = ([curve.track(currency) for curve in task[each]] for each in (method, baseline))
    found = speed(ours, theirs, how)
    if method == baseline:
        return Against(None, math.nan, found)
    try:
        difference, budget = equal_difference(ours, theirs, how)
    except ValueError as error:
        raise _apart(task[method], task[baseline], currency, how) from error
    if not learnt(theirs, how.smoothing):
        return Against(difference, budget, replace(found, ratio=None))
    return Against(difference, budget, found, equal_accuracy(ours, theirs, how))


def _apart(
    ours: Sequence[Curve], theirs: Sequence[Curve], currency: str, how: Statistics
) -> DataError:
    """The error that names the first seed whose runs share no cost."""
    for one, other in zip(ours, theirs, strict=True):
        try:
            equal_difference([one.track(currency)], [other.track(currency)], how)
        except ValueError as error:
            return DataError(
                f"{one.where}: seed {one.seed} of '{one.method}' and '{other.method}', in "
                f"{currency}: {error}; test both at step 0, or leave the seed out by --seeds"
            )
    raise AssertionError(currency)


def _verdict(line: Line, measure: str, rule: Rule, shares: bool) -> tuple[str, float]:
    """What the rule says of a line, and its p."""
    against = line.tokens if MEASURES[measure][1] == "tokens" else line.steps
    assert against is not None
    if MEASURES[measure][0] == TIMES:
        ratio = against.speed.ratio if measure.startswith("speedup") else against.same
        if ratio is None:
            return UNDECIDED, math.nan
        return rule.verdict(ratio.low, ratio.high), rule.p(ratio)
    found = against.difference
    assert found is not None
    scale = 100 if shares else 1
    low, high, error = scale * found.low, scale * found.high, scale * found.error
    points = Interval(scale * found.mean, low, high, found.n, error)
    return rule.verdict(low, high), rule.p(points)


def _kept(line: Line, among: float, how: Statistics) -> str:
    if line.verdict in (None, UNDECIDED):
        return ""
    return survives(among, how.false_discovery)


def _together(
    tasks: dict[str, Task], baseline: str, how: Statistics, within: tuple[float, float]
) -> list[Together]:
    """What is said of all tasks, if there are several."""
    if len(tasks) < 2:
        return []
    first = next(iter(tasks.values()))
    if len({len(task[baseline]) for task in tasks.values()}) > 1:
        raise DataError("tasks have other numbers of seeds; --seeds keeps those that all have")
    scores = {
        method: np.array(
            [
                [smooth(curve.accuracies, how.smoothing)[-1] for curve in task[method]]
                for task in tasks.values()
            ]
        ).T
        for method in first
    }
    base = scores[baseline]
    return [
        Together(
            method,
            _stratified(interquartile_mean, how, within, matrix),
            None
            if method == baseline
            else _stratified(probability_of_improvement, how, SHARES, matrix, base),
        )
        for method, matrix in scores.items()
    ]


def _stratified(
    statistic: Statistic, how: Statistics, within: tuple[float, float], *scores: FloatArray
) -> Interval:
    rng = np.random.default_rng(how.seed)
    return stratified_interval(
        statistic,
        *scores,
        rng=rng,
        resamples=how.resamples,
        confidence=how.confidence,
        within=within,
    )
