"""Three graders on the same answers: ours, math-verify alone, and lm-evaluation-harness's rules.

    GAINRL_DATA_DIR=... python benchmarks/graders.py --harness PYTHON [--more FILE]

PYTHON is an interpreter of its own for the other two, because the harness wants another parser
than ours: lm_eval (--no-deps), math-verify, latex2sympy2_extended[antlr4_11_0], sympy, datasets.
Prints, for the kinds of tests/grading/test_maths_writing.py, for FILE (JSON: a list of answer,
gold, right) and for the gold answers of six sets, right and perturbed (perturbations.py), how many
wrong answers each grader rewards and how many right ones it refuses.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

Row = tuple[str, str, bool]
HERE = Path(__file__).resolve().parent


def rows_of_tests() -> list[Row]:
    sys.path.insert(0, str(HERE.parent / "tests" / "unit"))
    import test_maths_writing as kinds

    rows = [(answer, gold, True) for answer, gold in kinds.RIGHT]
    return rows + [(answer, gold, False) for answer, gold in kinds.WRONG]


def rows_of_set(name: str, folder: Path) -> list[Row]:
    from grader import read
    from perturbations import equal_form, perturb

    rows: list[Row] = []
    for answer in read(name, folder)["answer"]:
        gold = answer.split(" || ")[0]
        rows += [(gold, gold, True)]
        rows += [(form, gold, True) for form in [equal_form(gold)] if form]
        rows += [(form, gold, False) for form in perturb(gold)]
    return rows


# --- the graders ---------------------------------------------------------------------------------


def ours(rows: list[Row]) -> list[bool]:
    from gainrl.grading.maths import grade_many

    responses = [rf"So it is $\boxed{{{answer}}}$." for answer, _, _ in rows]
    grades = grade_many(responses, [gold for _, gold, _ in rows], workers=2)
    return [found.correct for found in grades]


def math_verify(answer: str, gold: str) -> bool:
    from math_verify import parse, verify

    return verify(parse(f"${gold}$"), parse(rf"So it is $\boxed{{{answer}}}$."))


def harness(answer: str, gold: str) -> bool:
    rules = _rules()
    return rules.is_equiv(rules.normalize_final_answer(answer), rules.normalize_final_answer(gold))


@cache
def _rules() -> ModuleType:
    """The harness's file of rules alone: the package imports much more."""
    package = importlib.util.find_spec("lm_eval")
    assert package is not None
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "tasks/minerva_math/utils.py"
    spec = importlib.util.spec_from_file_location("rules", path)
    assert spec is not None
    assert spec.loader is not None
    rules = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rules)
    return rules


JUDGES: dict[str, Callable[[str, str], bool]] = {
    "math-verify": math_verify,
    "minerva_math": harness,
}


def judge(name: str) -> None:
    """In the other interpreter: rows on standard input, verdicts on standard output."""
    import logging

    logging.disable(logging.CRITICAL)
    verdicts = []
    for answer, gold, _ in json.load(sys.stdin):
        try:
            verdicts.append(bool(JUDGES[name](answer, gold)))
        except Exception:  # noqa: BLE001 - what a judge cannot take, it does not reward
            verdicts.append(False)
    json.dump(verdicts, sys.stdout)


def asked(python: str, name: str, rows: list[Row]) -> list[bool]:
    done = subprocess.run(
        [python, __file__, "--judge", name],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--harness", metavar="PYTHON", help="the interpreter of the other graders")
    parser.add_argument("--more", metavar="FILE", type=Path, help="further rows")
    parser.add_argument("--judge", choices=JUDGES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.judge:
        return judge(given.judge)
    sets = {"kinds of the tests": rows_of_tests()}
    if given.more:
        sets[given.more.stem] = [tuple(row) for row in json.loads(given.more.read_text())]
    if folder := os.environ.get("GAINRL_DATA_DIR"):
        from grader import SETS

        sets |= {name: rows_of_set(name, Path(folder)) for name in SETS}
    for name, rows in sets.items():
        right = sum(row[2] for row in rows)
        print(f"{name}: {right} right answers, {len(rows) - right} wrong ones")
        for grader in ("ours", *(JUDGES if given.harness else ())):
            begin = time.perf_counter()
            verdicts = ours(rows) if grader == "ours" else asked(given.harness, grader, rows)
            pairs = list(zip(rows, verdicts, strict=True))
            rewarded = sum(said and not row[2] for row, said in pairs)
            refused = sum(row[2] and not said for row, said in pairs)
            seconds = time.perf_counter() - begin
            print(
                f"  {grader:13s} rewards {rewarded} wrong, refuses {refused} right, {seconds:.0f} s"
            )
    return None


if __name__ == "__main__":
    main()
