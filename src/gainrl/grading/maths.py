r"""Grading of mathematical answers: strings and exact numbers first, symbols only where needed.

Most answers are numbers; those are settled by exact comparison in microseconds. Lists, tuples and
intervals are taken apart (`_structure`). What is left goes to the library latex2sympy2_extended and
sympy, which take milliseconds and may take for ever: they run in worker processes with limits of
time and memory (`_workers`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from importlib import metadata
from itertools import chain
from queue import SimpleQueue

from gainrl.grading import _workers
from gainrl.grading._finding import boxes, find
from gainrl.grading._notation import uniform
from gainrl.grading._reading import LONGEST, bare, close, leaf, same_plain
from gainrl.grading._structure import (
    UNORDERED,
    Item,
    ParsedAnswer,
    differently_named,
    parse,
    same_structure,
    unread,
)
from gainrl.grading._workers import Comparison, Worker, WorkerError
from gainrl.grading.grades import Grade

__all__ = [
    "ALTERNATIVES",
    "VERSION",
    "boxes",
    "canonical",
    "extract",
    "grade",
    "grade_many",
    "marks_once",
    "version",
]

log = logging.getLogger(__name__)

VERSION = "3"
"""To be raised with every change that may grade an answer differently."""

ALTERNATIVES = " || "
"""In a gold answer: between forms any of which is right."""

Verdict = tuple[bool, str]


def version() -> str:
    """The grader's version with that of its parser, for the record of a run."""
    return f"maths {VERSION}, latex2sympy2-extended {metadata.version('latex2sympy2_extended')}"


def grade(response: str, gold: str, *, tolerance: float = 0.0) -> Grade:
    """Grade a response against the gold answer. Never raises.

    An answer is read whole or not at all. Numbers and fractions are compared exactly (so 0.333 is
    not 1/3); thousands separators, a trailing .0 or full stop and degrees do not matter, and
    neither does a unit that only one of the two has; 50% is 50 and 1/2. A multiple-choice label
    counts where the other side is only a letter. Lists, sets and unions may be in any order, tuples
    and intervals may not, and brackets of intervals matter. A name before '=' may be left out.

    The reason is one of: 'no answer', 'same text', 'different text', 'same number', 'different
    number', 'equivalent', 'not equivalent', 'not read: PLACE', 'gold not read: PLACE', 'time
    limit', 'too long', 'worker failed' (the log says why).

    Args:
        response: the model's text.
        gold: the answer, as text or LaTeX; forms any of which is right stand between ' || '.
        tolerance: how far numbers may be apart, relative to the gold one; 0 is exact. The answers
            of Minerva's OCWCourses are rounded results of physics: public code that follows the
            paper (Lewkowycz et al. 2022, arXiv:2206.14858, `numeric_equality`) states 0.01 but in
            effect uses numpy's isclose (1e-5), and Qwen2.5-Math's evaluation (`math_equal`) uses
            1e-4 for every set. Comparable figures for Minerva want 1e-4.
    """
    return grade_many([response], [gold], tolerance=tolerance)[0]


def grade_many(
    responses: Sequence[str], golds: Sequence[str], *, tolerance: float = 0.0, workers: int = 1
) -> list[Grade]:
    """Grade each response against its gold answer, as `grade` does.

    What text and numbers do not settle is compared once for each distinct pair of answers.

    Args:
        responses: the model's texts.
        golds: as many gold answers.
        tolerance: as for `grade`.
        workers: how many processes compare symbols; they start when needed and stay.

    Raises:
        ValueError: not as many gold answers as responses.
    """
    if len(responses) != len(golds):
        raise ValueError(f"{len(responses)} responses, {len(golds)} gold answers")
    answers = [find(response, _is_answer) for response in responses]
    found = [
        _in_process(answer.text, gold, tolerance)
        for answer, gold in zip(answers, golds, strict=True)
    ]
    jobs = {one: None for one in chain.from_iterable(found) if isinstance(one, Comparison)}
    known = _by_symbols(list(jobs), workers)
    return [
        _summary(*answer, [known[one] if isinstance(one, Comparison) else one for one in verdicts])
        for answer, verdicts in zip(answers, found, strict=True)
    ]


def extract(response: str) -> str | None:
    """The final answer of a response, or None (`_finding`)."""
    return find(response, _is_answer).text


def marks_once(response: str) -> bool:
    r"""Whether a response marks exactly one answer, by #### or by \boxed, for a format reward."""
    return response.count("####") + response.count("\\boxed") == 1


def canonical(answer: str) -> str:
    """A text that equal numbers and equal texts have in common, for a majority vote.

    Units and names before '=' are left out, and lists are sorted; symbols are not simplified.
    """
    if len(answer) > LONGEST:
        return answer.strip()
    found = parse(answer)
    return found.letter or "" if found.item is None else _canonical(found.item)


def _canonical(item: Item) -> str:
    if item.kind in ("", "chain"):
        one = leaf(item.value)
        if one.number is not None:
            return f"{one.number}_{one.base}" if one.base else str(one.number)
        return one.words or bare(item.value)
    parts = [_canonical(part) for part in item.parts]
    if item.kind in UNORDERED:
        return ", ".join(sorted(parts))
    return item.kind[0] + ", ".join(parts) + item.kind[-1]


def _is_answer(line: str) -> bool:
    """Whether the words behind '####' are an answer and no heading."""
    if len(line) > LONGEST:
        return False
    found = parse(line)
    if found.item is None or found.item.kind:
        return True
    one = leaf(found.item.value)
    return one.number is not None or (one.words is None and unread(found.item) is None)


def _in_process(answer: str | None, gold: str, tolerance: float) -> list[Verdict | Comparison]:
    """For each form of the gold answer what text and numbers say, or the job for symbols."""
    if answer is None:
        return [(False, "no answer")]
    if answer == gold:
        return [(True, "same text")]
    found: list[Verdict | Comparison] = []
    for form in gold.split(ALTERNATIVES):
        one = _plain(answer, form, tolerance)
        if one[0] is True:
            return [one]
        found.append(one)
    return found


def _plain(answer: str, gold: str, tolerance: float) -> Verdict | Comparison:
    if max(len(answer), len(gold)) > LONGEST:
        return False, "too long"
    verdict = _numerals(answer, gold, tolerance) or _compared(answer, gold, tolerance, lists=False)
    if verdict[0] is False and _GROUPS.search(answer) and "," in gold:
        return _compared(answer, gold, tolerance, lists=True)  # two numbers and not a thousand
    return verdict


def _numerals(answer: str, gold: str, tolerance: float) -> Verdict | None:
    """Settles in microseconds what nearly every answer is."""
    matches = [_NUMERAL.fullmatch(text) for text in (answer, gold)]
    if None in matches:
        return None
    ours, theirs = (text.replace(",", "").strip("\\$.") for text in (answer, gold))
    same = ours == theirs or close(Fraction(ours), Fraction(theirs), tolerance)
    return same, _reason("number", same)


_NUMERAL = re.compile(r"\\?\$?(?:[-+]?\d+|[-+]?\d{1,3}(?:,\d{3})+)(?:\.\d+)?\.?")
_GROUPS = re.compile(r"(?<![\d,])\d{1,3}(?:,\d{3})+(?![\d,])")


def _compared(answer: str, gold: str, tolerance: float, lists: bool) -> Verdict | Comparison:
    if bare(uniform(answer)) == bare(uniform(gold)):
        return True, "same text"
    ours, theirs = parse(answer, lists), parse(gold, lists)
    if ours.letter and theirs.letter and not (ours.item and theirs.item):
        return ours.letter == theirs.letter, _reason("text", ours.letter == theirs.letter)
    if ours.letter and theirs.letter and ours.letter != theirs.letter:
        return False, "different text"
    if ours.condition != theirs.condition and all(
        re.search("[=<>]", part or "") for part in (ours.condition, theirs.condition)
    ):
        return False, "different text"
    if ours.item is None or theirs.item is None:
        return _letter_and_value(ours, theirs)
    for item, words in ((ours.item, "not read"), (theirs.item, "gold not read")):
        if (place := unread(item, item is theirs.item)) is not None:
            return False, f"{words}: {place}"
    if not (ours.item.kind or theirs.item.kind or differently_named(ours.item, theirs.item)):
        plain = same_plain(leaf(ours.item.value), leaf(theirs.item.value, True), tolerance)
        if plain is not None:
            return plain[0], _reason(plain[1], plain[0])
    decided = same_structure(ours.item, theirs.item, partial(_leaf, tolerance))
    if decided is None:
        return Comparison(answer, gold, tolerance, lists)
    return decided, "equivalent" if decided else "not equivalent"


def _reason(kind: str, same: bool) -> str:
    return f"{'same' if same else 'different'} {kind}"


def _letter_and_value(ours: ParsedAnswer, theirs: ParsedAnswer) -> Verdict:
    """A label alone against a value: the letter may itself be the value."""
    letter = ours.letter if ours.item is None else theirs.letter
    item = ours.item or theirs.item
    same = item is not None and letter is not None and bare(item.text) == letter
    return same, _reason("text", same)


def _leaf(tolerance: float, answer: Item, gold: Item) -> bool | None:
    if answer.kind or gold.kind or differently_named(answer, gold):
        return None
    plain = same_plain(leaf(answer.value), leaf(gold.value, True), tolerance)
    return plain[0] if plain is not None else None


def _summary(answer: str | None, rule: str | None, verdicts: list[Verdict]) -> Grade:
    """Right if one form is; else the reason of the last form, or of one that was cut short."""
    for correct, reason in verdicts:
        if correct:
            return Grade(True, answer, reason, rule)
    cut = [reason for _, reason in verdicts if reason in ("time limit", "worker failed")]
    return Grade(False, answer, cut[0] if cut else verdicts[-1][1], rule)


# --- symbols -------------------------------------------------------------------------------------

_known: dict[Comparison, Verdict] = {}
_KEPT = 1 << 16


def _by_symbols(jobs: list[Comparison], count: int) -> dict[Comparison, Verdict]:
    """Compare each pair in one of up to `count` workers, unless it has been compared before."""
    found_before = {job: _known.get(job) for job in jobs}  # read once: other threads write too
    known = {job: verdict for job, verdict in found_before.items() if verdict is not None}
    new = [job for job in jobs if job not in known]
    team = _workers.workers(max(1, min(count, len(new)))) if new else []
    if len(team) < 2:
        found = [_ask(team[0], job) for job in new]
    else:
        free: SimpleQueue[Worker] = SimpleQueue()
        for worker in team:
            free.put(worker)

        def one(job: Comparison) -> Verdict:
            worker = free.get()
            try:
                return _ask(worker, job)
            finally:
                free.put(worker)

        with ThreadPoolExecutor(len(team)) as pool:
            found = list(pool.map(one, new))
    return known | dict(zip(new, found, strict=True))


def _ask(worker: Worker, job: Comparison) -> Verdict:
    try:
        same = worker.compare(job)
    except WorkerError as error:
        log.warning("%s", error)
        return False, "worker failed"
    verdict = (
        bool(same),
        "equivalent" if same else "time limit" if same is None else "not equivalent",
    )
    if len(_known) >= _KEPT:
        _known.clear()
    _known[job] = verdict
    return verdict
