"""`gainrl grade`: a file of answers to the same file with their grades, and a summary."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from gainrl.errors import ConfigError, DataError, nearest
from gainrl.files import atomic_write, in_utf8, keep_inputs, not_utf8, parse_json
from gainrl.grading.graders import CodeGrader, Grader, MathsGrader
from gainrl.grading.grades import Grade
from gainrl.grading.own import own
from gainrl.grading.program_tests import decode
from gainrl.grading.rewards import gold_text, grader_of, response_text

BATCH = 1024
KEYS = ("gainrl_correct", "gainrl_extracted", "gainrl_reason", "gainrl_rule")
"""What is added to a row: see `grades.Grade`."""


def grade_file(
    answers: Path,
    out: Path | None,
    answer: str,
    gold: str,
    grader: str,
    workers: int | None,
) -> None:
    """Grade a JSONL file of answers, write its rows with KEYS added, and print a summary.

    Args:
        out: where it goes; else beside `answers`, as NAME-graded.jsonl.
        answer, gold: columns. An answer is text or messages, a gold answer as `gold_text` says.
        grader: maths, maths-tolerant, code, or a function of one's own by import path; workers:
            processes, else one for each core.

    Raises:
        ConfigError: a function of one's own that cannot be imported, or no worker.
        DataError: the file is missing or empty, or a row cannot be graded (named); `out` is not
            written then.
        GradingError: programs cannot be run safely here, or the function says neither right nor
            wrong.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers {workers}: must be at least 1")
    if answers.is_dir():
        raise DataError(f"{answers}: is a folder; JSONL is wanted, an object a line")
    target = out or answers.with_name(f"{answers.stem}-graded.jsonl")
    keep_inputs([target], [answers])
    judge = _judge(grader, workers or len(os.sched_getaffinity(0)))
    counts: Counter[tuple[bool, str]] = Counter()
    rows = _rows(answers)
    with atomic_write(target) as file:
        while batch := list(islice(rows, BATCH)):
            graded = _graded(answers, batch, answer, gold, grader, judge)
            counts.update((each.correct, each.reason) for each in graded)
            for (_, row), found in zip(batch, graded, strict=True):
                row.update(zip(KEYS, _values(found), strict=True))
                file.write(in_utf8(json.dumps(row, ensure_ascii=False) + "\n"))
        if not counts:
            raise DataError(f"{answers}: no row to grade")
    print(_summary(counts, target, judge))


def _judge(name: str, workers: int) -> Grader:
    if ":" in name:
        return own(name, "--grader")
    grader = grader_of(name)
    if isinstance(grader, MathsGrader):
        return MathsGrader(grader.tolerance, workers)
    assert isinstance(grader, CodeGrader)
    return CodeGrader(grader.settings.model_copy(update={"workers": workers}))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each row that is not blank."""
    wanted = "" if path.suffix == ".jsonl" else "JSONL is wanted, an object a line"
    hint = wanted and f"; {wanted}"
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    row = parse_json(line)
                    if not isinstance(row, dict):
                        raise DataError(f"{path}: row {number} is no JSON object{hint}")
                    yield number, row
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise not_utf8(path, wanted or "save it as UTF-8") from error
    except ValueError as error:
        raise DataError(f"{path}: row {number} is not valid JSON{hint}: {error}") from error


def _graded(
    path: Path,
    batch: list[tuple[int, dict[str, Any]]],
    answer: str,
    gold: str,
    grader: str,
    judge: Grader,
) -> list[Grade]:
    pairs = []
    for number, row in batch:
        if taken := next((key for key in KEYS if key in row), None):
            raise DataError(
                f"{path}: row {number} has '{taken}' already, which grading adds; rename or drop "
                "that column"
            )
        for flag, column in (("answer", answer), ("gold", gold)):
            if column not in row:
                hint = f"{nearest(column, {*row} - {answer, gold})}; --{flag} names it"
                raise DataError(f"{path}: row {number} has no '{column}'{hint}")
        try:
            pairs.append((response_text(row[answer]), gold_text(row[gold], grader)))
        except DataError as error:
            raise DataError(f"{path}: row {number}: {error}") from error
    try:
        return judge([response for response, _ in pairs], [text for _, text in pairs])
    except DataError:
        for (number, _), (_, text) in zip(batch, pairs, strict=True):
            try:
                decode(text)
            except DataError as error:
                raise DataError(f"{path}: row {number}: {error}") from error
        raise


def _values(found: Grade) -> tuple[bool, str | None, str, str | None]:
    return found.correct, found.extracted, found.reason, found.rule


def _summary(counts: Counter[tuple[bool, str]], target: Path, judge: Grader) -> str:
    total = sum(counts.values())
    right = sum(count for (correct, _), count in counts.items() if correct)
    lines = [f"{right:,} of {total:,} right ({right / total:.1%}); graded by {judge.version}"]
    for (correct, reason), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        lines.append(f"  {count:>7,}  {'right' if correct else 'wrong'}: {reason}")
    return "\n".join([*lines, f"written to {target}"])
