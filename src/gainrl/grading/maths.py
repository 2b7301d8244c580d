r"""Grading of mathematical answers: strings and exact numbers first, symbols only where needed.

Most answers are numbers; those are settled by exact comparison in microseconds. Lists, tuples and
intervals are taken apart (`_structure`). What is left goes to the library math_verify (LaTeX to
sympy), which takes milliseconds and may take for ever: it runs in worker processes with limits of
time and memory (`_workers`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from importlib import metadata
from itertools import chain
from queue import SimpleQueue

from gainrl.grading import _workers
from gainrl.grading._reading import LONGEST, extract, marks_once, read, same_plain
from gainrl.grading._structure import UNORDERED, parse, same_structure
from gainrl.grading._workers import Job, Worker, WorkerError
from gainrl.grading.grade import Grade

__all__ = [
    "ALTERNATIVES",
    "VERSION",
    "canonical",
    "extract",
    "grade",
    "grade_many",
    "marks_once",
    "version",
]

log = logging.getLogger(__name__)

VERSION = "2"
"""To be raised with every change that may grade an answer differently."""

ALTERNATIVES = " || "
"""In a gold answer: between forms any of which is right."""

Verdict = tuple[bool, str]


def version() -> str:
    """The grader's version with that of math_verify, for the record of a run."""
    return f"maths {VERSION}, math-verify {metadata.version('math-verify')}"


def grade(response: str, gold: str, *, tolerance: float = 0.0) -> Grade:
    """Grade a response against the gold answer. Never raises.

    Numbers and fractions are compared exactly (so 0.333 is not 1/3); thousands separators, a
    trailing .0 or full stop, $, % and degrees do not matter, and neither does a unit that only one
    of the two has. A multiple-choice label counts where the other side is only a letter. Lists,
    sets and unions may be in any order, tuples and intervals may not, and brackets of intervals
    matter. A name before '=' may be left out.

    The reason is one of: 'no answer', 'same text', 'different text', 'same number', 'different
    number', 'equivalent', 'not equivalent', 'time limit', 'too long', 'worker failed' (the log
    says why).

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
    pairs = [(extract(response), gold) for response, gold in zip(responses, golds, strict=True)]
    found = [_in_process(answer, gold, tolerance) for answer, gold in pairs]
    jobs = {one: None for one in chain.from_iterable(found) if isinstance(one, Job)}
    known = _by_symbols(list(jobs), workers)
    return [
        _summary(answer, [known[one] if isinstance(one, Job) else one for one in verdicts])
        for (answer, _), verdicts in zip(pairs, found, strict=True)
    ]


def canonical(answer: str) -> str:
    """A text that equal numbers and equal texts have in common, for a majority vote.

    Units and names before '=' are left out, and lists are sorted; symbols are not simplified.
    """
    if len(answer) > LONGEST:
        return answer.strip()
    plain = read(answer)
    if plain.number is not None:
        return f"{plain.number}_{plain.base}" if plain.base else str(plain.number)
    if plain.words or not plain.text:
        return plain.words or plain.letter or ""
    item = parse(plain.latex)
    if not item.parts:
        return plain.text if item.name is None else canonical(item.value)
    parts = [canonical(part.text) for part in item.parts]
    if item.kind in UNORDERED:
        return ", ".join(sorted(parts))
    return item.kind[0] + ", ".join(parts) + item.kind[-1]


def _in_process(answer: str | None, gold: str, tolerance: float) -> list[Verdict | Job]:
    """For each form of the gold answer what text and numbers say, or the job for symbols."""
    if answer is None:
        return [(False, "no answer")]
    if answer == gold:
        return [(True, "same text")]
    found: list[Verdict | Job] = []
    for form in gold.split(ALTERNATIVES):
        one = _plain(answer, form, tolerance)
        if one[0] is True:
            return [one]
        found.append(one)
    return found


def _plain(answer: str, gold: str, tolerance: float) -> Verdict | Job:
    if max(len(answer), len(gold)) > LONGEST:
        return False, "too long"
    plain = same_plain(answer, gold, tolerance)
    if plain is not None:
        same, kind = plain
        return same, f"same {kind}" if same else f"different {kind}"
    ours, theirs = read(answer).latex, read(gold).latex
    if "," in ours and _parsed(theirs).parts:
        ours = ours.replace(",", ", ")  # '8,221' is two numbers where the gold answer is '221,8'
    decided = same_structure(_parsed(ours), _parsed(theirs), partial(_leaf, tolerance))
    if decided is None:
        return Job(ours, theirs, tolerance)
    return decided, "equivalent" if decided else "not equivalent"


def _leaf(tolerance: float, answer: str, gold: str) -> bool | None:
    plain = same_plain(answer, gold, tolerance)
    return plain[0] if plain is not None else None


_parsed = lru_cache(maxsize=8192)(parse)


def _summary(answer: str | None, verdicts: list[Verdict]) -> Grade:
    """Right if one form is; else the reason of the last form, or of one that was cut short."""
    for correct, reason in verdicts:
        if correct:
            return Grade(True, answer, reason)
    cut = [reason for _, reason in verdicts if reason in ("time limit", "worker failed")]
    return Grade(False, answer, cut[0] if cut else verdicts[-1][1])


# --- symbols -------------------------------------------------------------------------------------

_known: dict[Job, Verdict] = {}
_KEPT = 1 << 16


def _by_symbols(jobs: list[Job], count: int) -> dict[Job, Verdict]:
    """Compare each pair in one of up to `count` workers, unless it has been compared before."""
    known = {job: _known[job] for job in jobs if job in _known}
    new = [job for job in jobs if job not in known]
    team = _workers.workers(max(1, min(count, len(new)))) if new else []
    if len(team) < 2:
        found = [_ask(team[0], job) for job in new]
    else:
        free: SimpleQueue[Worker] = SimpleQueue()
        for worker in team:
            free.put(worker)

        def one(job: Job) -> Verdict:
            worker = free.get()
            try:
                return _ask(worker, job)
            finally:
                free.put(worker)

        with ThreadPoolExecutor(len(team)) as pool:
            found = list(pool.map(one, new))
    return known | dict(zip(new, found, strict=True))


def _ask(worker: Worker, job: Job) -> Verdict:
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
