"""Measures the maths grader on the gold answers of the six sets for tests, and its speed.

    GAINRL_DATA_DIR=... python benchmarks/grader.py      # a folder of local copies

Prints, for each set, the share of gold answers in a box and of worked solutions that are graded as
right, the share of perturbed gold answers (perturbations.py) that are graded as wrong, and every
exception; then answers per second.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from perturbations import equal_form, perturb

from gainrl.config.data import Registered
from gainrl.data import registry
from gainrl.data.sources import load_splits
from gainrl.grading import graders, maths
from gainrl.grading.graders import Grader
from gainrl.grading.maths import ALTERNATIVES, grade_many

SETS = ("gsm8k", "math500", "amc23", "aime24", "olympiadbench", "minerva")


@dataclass
class Tally:
    """How many of some responses were graded as they should be, and which were not."""

    count: int = 0
    good: int = 0
    exceptions: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        share = f"{100 * self.good / self.count:7.2f} %" if self.count else "      - "
        return f"{share} of {self.count:5d}"


def boxed(golds: list[str], grade: Grader) -> Tally:
    """Every form of every gold answer in a box."""
    rows = [(form, gold) for gold in golds for form in gold.split(ALTERNATIVES)]
    grades = grade(
        [f"So the answer is $\\boxed{{{form}}}$." for form, _ in rows],
        [gold for _, gold in rows],
    )
    tally = Tally(len(rows), sum(got.correct for got in grades))
    for (form, _), got in zip(rows, grades, strict=True):
        if not got.correct:
            tally.exceptions.append(f"{form!r}: {got.reason}")
    return tally


def rewritten(golds: list[str], grade: Grader) -> Tally:
    """The same without what another author would leave out: style, sizes and blanks."""
    forms = [_rewrite(gold.split(ALTERNATIVES)[0]) for gold in golds]
    grades = grade([f"\\boxed{{{form}}}" for form in forms], golds)
    tally = Tally(len(forms), sum(got.correct for got in grades))
    for form, gold, got in zip(forms, golds, grades, strict=True):
        if not got.correct:
            tally.exceptions.append(f"{form!r} for {gold!r}: {got.reason}")
    return tally


def equal_forms(golds: list[str], grade: Grader) -> Tally:
    """Forms that need symbols, or lists in another order."""
    rows = [(form, gold) for gold in golds if (form := equal_form(gold.split(ALTERNATIVES)[0]))]
    grades = grade([f"\\boxed{{{form}}}" for form, _ in rows], [gold for _, gold in rows])
    tally = Tally(len(rows), sum(got.correct for got in grades))
    for (form, gold), got in zip(rows, grades, strict=True):
        if not got.correct:
            tally.exceptions.append(f"{form!r} for {gold!r}: {got.reason}")
    return tally


def _rewrite(answer: str) -> str:
    text = re.sub(r"\\left|\\right|\\!|(?<!\\)\$", "", answer)
    text = text.replace("\\dfrac", "\\frac").replace("\\frac", "\\tfrac ").replace("{ ", "{")
    return text.replace(", ", ",").replace(" + ", "+").replace(" - ", "-").rstrip(".") + " "


def solved(table: pd.DataFrame, grade: Grader) -> Tally:
    """Worked solutions that have a box or '####', as responses."""
    if "solution" not in table:
        return Tally()
    has_answer = table["solution"].fillna("").str.contains(r"\\boxed|####")
    rows = table[has_answer]
    grades = grade(list(rows["solution"]), list(rows["answer"]))
    tally = Tally(len(rows), sum(got.correct for got in grades))
    for gold, got in zip(rows["answer"], grades, strict=True):
        if not got.correct:
            tally.exceptions.append(f"{got.extracted!r} for {gold!r}: {got.reason}")
    return tally


def perturbed(golds: list[str], grade: Grader, seed: int = 0) -> Tally:
    """Perturbed gold answers, which are to be wrong."""
    rows = [
        (form, gold, kind)
        for gold in golds
        for form, kind in perturb(gold.split(ALTERNATIVES)[0], seed).items()
    ]
    grades = grade(
        [f"\\boxed{{{form}}}" for form, _, _ in rows],
        [gold for _, gold, _ in rows],
    )
    tally = Tally(len(rows), sum(not got.correct for got in grades))
    for (form, gold, kind), got in zip(rows, grades, strict=True):
        tally.kinds[kind] += 1
        if got.correct:
            tally.exceptions.append(f"{form!r} for {gold!r} ({kind}): {got.reason}")
        elif got.reason in ("time limit", "worker failed"):
            print(f"  note: {form!r} for {gold!r}: {got.reason}")
    return tally


def read(name: str, folder: Path) -> pd.DataFrame:
    """The table of a set's evaluation split."""
    spec = Registered(source="registry", name=name)
    return load_splits(spec, data_dir=folder, name=name)["eval"]


def timed(what: str, responses: list[str], golds: list[str], workers: int = 1) -> None:
    begin = time.perf_counter()
    grades = grade_many(responses, golds, workers=workers)
    seconds = time.perf_counter() - begin
    right = sum(got.correct for got in grades)
    print(f"{what}: {len(grades) / seconds:9.0f} answers/s ({len(grades)}, {right} right)")


def speed(folder: Path, count: int) -> None:
    """Distinct answers, half of them right, so that nothing is graded from memory."""
    gsm8k = list(read("gsm8k", folder)["answer"])
    right = [f"The total is {gold}.\n#### ${gold}.00" for gold in gsm8k]
    wrong = [f"The total is {gold}.\n#### {gold}.5" for gold in gsm8k]
    timed("GSM8K, one process      ", right + wrong, gsm8k * 2)
    golds = [str(n) for n in range(5_000_000, 5_000_000 + 40 * count)]
    responses = [f"#### {int(gold) + i % 2}.0" for i, gold in enumerate(golds)]
    timed("distinct numbers        ", responses, golds)
    for workers in (1, 2):
        start = [rf"\boxed{{y+x+{n}}}" for n in range(workers)]
        grade_many(start, ["x+y"] * workers, workers=workers)
        numbers = range(1000 * workers, 1000 * workers + count)
        responses = [rf"\boxed{{{n}+x\sqrt{{{n + n % 2}}}}}" for n in numbers]
        golds = [rf"x\sqrt{{{n}}}+{n}" for n in numbers]
        timed(f"symbols, {workers} worker(s)    ", responses, golds, workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--count", type=int, default=500, help="answers for the speed of symbols")
    given = parser.parse_args()
    if not os.environ.get("GAINRL_DATA_DIR"):
        parser.error("set GAINRL_DATA_DIR to a folder of local copies of the sets")
    folder = Path(os.environ["GAINRL_DATA_DIR"])
    print(f"{maths.version()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    parts: tuple[tuple[str, Callable[[pd.DataFrame, Grader], Tally]], ...] = (
        ("gold in a box right", lambda table, grade: boxed(list(table["answer"]), grade)),
        ("rewritten right    ", lambda table, grade: rewritten(list(table["answer"]), grade)),
        ("other form right   ", lambda table, grade: equal_forms(list(table["answer"]), grade)),
        ("solution right     ", lambda table, grade: solved(table, grade)),
        ("perturbed wrong    ", lambda table, grade: perturbed(list(table["answer"]), grade)),
    )
    for name in SETS:
        table = read(name, folder)
        grader = graders.find(registry.find(name).grader)
        assert isinstance(grader, graders.MathsGrader)
        grade = replace(grader, workers=given.workers)
        print(f"\n{name}: {len(table)} problems, {grade.version}")
        for title, measure in parts:
            tally = measure(table, grade)
            kinds = ", ".join(f"{count} {kind}" for kind, count in tally.kinds.most_common())
            print(f"  {title} {tally}{'  (' + kinds + ')' if kinds else ''}")
            for line in tally.exceptions:
                print(f"      {line}")
    print()
    speed(folder, given.count)


if __name__ == "__main__":
    main()
