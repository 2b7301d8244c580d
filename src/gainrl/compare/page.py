"""A comparison as a document: tables, how to read them, and the verdicts."""

from __future__ import annotations

import math

from gainrl.compare.render import (
    Block,
    Caption,
    Heading,
    Paragraph,
    Points,
    Table,
    Title,
    with_interval,
)
from gainrl.compare.statistics import RATIO, TIMES, Interval, interval_words
from gainrl.compare.summary import MEASURES, Against, Line, Summary, parse_rule

UNDEFINED = "undefined"


def blocks(summary: Summary) -> list[Block]:
    """The document: a table for each task, one of all of them, and the rule with its verdicts."""
    found: list[Block] = [Title(_title(summary))]
    for task in summary.tasks:
        lines = [line for line in summary.lines if line.task == task]
        found += [Heading(task)] if task else []
        found.append(Table([_head(summary), *(_cells(line, summary) for line in lines)]))
    found.append(Caption(_caption(summary)))
    if summary.together:
        found += [Heading("All tasks"), Table(_all_tasks(summary)), Caption(ALL_TASKS)]
    measure, rule = parse_rule(summary.rule)
    unit = MEASURES[measure][0]
    if unit != TIMES and not summary.shares:
        unit = "of the accuracy"
    found.append(Paragraph(f"Rule: {summary.rule}; {rule.words(unit)}, undecided else."))
    return [*found, Points(tuple(_verdicts(summary))), Paragraph(_discoveries(summary))]


ALL_TASKS = (
    "Interquartile mean: of the final levels of all seeds on all tasks, the mean of the middle "
    "half. Probability of improvement: that a run of the method ends above one of the baseline on "
    "the same task, ties counted half, averaged over tasks. Both by Agarwal et al. 2021 "
    "(arXiv:2108.13264), with the error of a stratified bootstrap over seeds."
)


def _title(summary: Summary) -> str:
    first = next(iter(summary.tasks.values()))
    counts = sorted({len(found) for task in summary.tasks.values() for found in task.values()})
    seeds = " or ".join(map(str, counts))
    return f"{len(first)} methods, {seeds} seed{'' if counts == [1] else 's'} each"


def _head(summary: Summary) -> list[str]:
    unit, points = ("(%)", "(points)") if summary.shares else ("", "")
    head = ["Method", f"Final level {unit}".strip(), f"Difference at equal steps {points}".strip()]
    head += [f"At equal tokens {points}".strip()] if summary.has_tokens else []
    head += [f"Fewer {'tokens' if summary.has_tokens else 'steps'} at equal accuracy"]
    head += [f"Steps to {summary.baseline}'s level", "Speed-up"]
    if summary.has_tokens:
        head += [f"Tokens to {summary.baseline}'s level", "Speed-up in tokens"]
    return head


def _cells(line: Line, summary: Summary) -> list[str]:
    costs = [(line.steps, ".0f"), *([(line.tokens, ",.0f")] if line.tokens else [])]
    differences = [_shown(against.difference, summary.shares, "+") for against, _ in costs]
    speeds = [text for against, spec in costs for text in _speed(against, spec)]
    same = (line.tokens or line.steps).same
    ratio = same.text() if same else "–" if line.method == summary.baseline else UNDEFINED
    return [line.method, _shown(line.level, summary.shares), *differences, ratio, *speeds]


def _shown(interval: Interval | None, shares: bool, sign: str = "") -> str:
    if interval is None:
        return "–"
    scale, spec = (100, f"{sign}.1f") if shares else (1, f"{sign}.3g")
    return with_interval(interval.mean, interval.low, interval.high, spec, scale)


def _speed(against: Against, spec: str) -> list[str]:
    cost = against.speed.cost.text(spec)
    if against.difference is None:
        return [cost, "–"]
    ratio = against.speed.ratio
    return [cost, ratio.text(*RATIO) if ratio else UNDEFINED]


def _caption(summary: Summary) -> str:
    how, base = summary.how, summary.baseline
    tests = f"last {how.smoothing} tests" if how.smoothing > 1 else "last test"
    counts = {len(found) for task in summary.tasks.values() for found in task.values()}
    if counts == {1}:
        spread = "One seed has no spread, so there are no intervals."
    else:
        spread = f"{interval_words(how.confidence)}."
    budgets = "steps or tokens" if summary.has_tokens else "steps"
    undefined = any(
        against is not None and against.difference is not None and against.speed.ratio is None
        for line in summary.lines
        for against in (line.steps, line.tokens)
    )
    text = (
        f"{spread} Final level: mean of the {tests} of a run. Differences are paired by seed, read "
        f"where both runs of a seed had spent as many {budgets} as the one that spent less. "
        f"At equal accuracy: {'tokens' if summary.has_tokens else 'steps'} of {base} over the "
        "method's (above 1: the method is cheaper) to the accuracy that the worse of the two has "
        f"where both had spent as much{_ratios(counts)}. "
        f"Speed-up: what {base} spent until its own curve, smoothed over the same tests, stays at "
        "its mean final level, over what the method spent; median over paired seeds. A censored "
        "seed did not get there within its run and is never dropped."
    )
    if undefined:
        text += (
            f" {UNDEFINED.capitalize()}: what {base} gains from its first tests on is not told "
            "from the noise of its tests, or of every seed a run is at its final level at once."
        )
    if not summary.has_tokens:
        text += " No tokens were given, so nothing is said at equal tokens."
    return text


def _ratios(counts: set[int]) -> str:
    """What an interval of a ratio is, where there are any."""
    if counts == {1}:
        return ""
    return (
        "; interval: the ratios at which the paired difference is not told from 0, open where it "
        "goes on"
    )


def _all_tasks(summary: Summary) -> list[list[str]]:
    head = ["Method", "Interquartile mean" + (" (%)" if summary.shares else "")]
    rows = [[*head, f"Probability of improvement over {summary.baseline} (%)"]]
    for each in summary.together:
        improved = _shown(each.improved, True)
        rows.append([each.method, _shown(each.middle, summary.shares), improved])
    return rows


def _verdicts(summary: Summary) -> list[str]:
    return [
        f"{line.method}{f' on {line.task}' if line.task else ''}: {line.verdict}{_tested(line)}"
        for line in summary.lines
        if line.verdict is not None
    ]


def _tested(line: Line) -> str:
    if math.isnan(line.p):
        return ""
    kept = {"yes": ", survives", "no": ", does not survive"}.get(line.survives, "")
    return f" (p {line.p:.2g}, adjusted {line.adjusted:.2g}{kept})"


def _discoveries(summary: Summary) -> str:
    tests = sum(not math.isnan(line.p) for line in summary.lines)
    if not tests:
        return "Nothing is tested: one seed decides nothing, and what is undefined or open neither."
    return (
        "p: two-sided, of the rule's threshold, by the statistic of the interval. Adjusted for "
        f"{tests} verdict{'s' * (tests > 1)} (Benjamini and Hochberg): of those that survive, at "
        f"most {summary.how.false_discovery:.0%} are false in the mean."
    )
