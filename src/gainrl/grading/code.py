"""Grading of programs: runs them on tests in a sandbox.

Three kinds of tests:

- pairs of standard input and output (LiveCodeBench, Codeforces): the program runs once a pair, and
  what it wrote is compared here. The expected output never leaves this process.
- calls of a function and their results (LiveCodeBench's LeetCode problems), compared as JSON
  values: tuples are lists, true is not 1, and where one of two numbers is a float they may differ
  by 1e-6 of the larger (1e-9 near zero).
- Python tests of a function (`check(candidate)` as in HumanEval, or bare asserts as in MBPP).

In the last two the program and the tests run in two sandboxes that exchange plain values. The tests
call a stand-in, which sends the arguments and gets the result. So the program never shares a
process with the tests or the expected values: to leave early, patch builtins or assertions,
overwrite `check`, return objects that equal everything, or print what a verdict looks like changes
nothing but its own sandbox. Only the tests' process, after their last line, says that they passed.

What this cannot do: results that are not plain values (a generator, an instance of a class) count
as wrong, functions cannot be passed as arguments, and tests that look at a changed argument see the
unchanged one. A program also sees every argument, so tests that are few and fixed can be solved by
a table of remembered answers, in any sandbox; and tests that ask nothing of the value (or that
compare two results of the program) can be passed by any value. Under the isolation 'limits' the
program may read the user's files, and so the data set if it lies there.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

from gainrl.grading._blocks import defines
from gainrl.grading._extraction import extract
from gainrl.grading._slots import slot
from gainrl.grading.grades import Grade
from gainrl.grading.program_tests import (
    CallTests,
    FunctionTests,
    StreamTests,
    Tests,
    decode,
    encode,
    subset,
)
from gainrl.grading.sandbox import DEFAULT, Isolation, Limits, choose, run, started

__all__ = ["CallTests", "FunctionTests", "StreamTests", "Tests", "decode", "encode", "extract"]
__all__ += ["grade", "grade_many", "grade_program", "same_output", "subset", "version"]

_VERSION = "2"  # of the rules of grading: a new one for whatever can change a verdict
_DECIMAL = re.compile(r"[-+]?\d{1,40}(?:\.\d{0,40})?")


def grade(
    response: str,
    tests: Tests,
    limits: Limits = DEFAULT,
    isolation: Isolation | None = None,
) -> Grade:
    """Grade the program in a response.

    Args:
        response: the model's text.
        tests: what the program must pass.
        limits: for all tests of a function together, or for each pair of input and output.
        isolation: None for the best that works here; 'limits' only if the user said so.

    The reason is one of: 'passed', 'no code', 'no test', 'failed', 'exception', 'syntax error',
    'program ended' (before it had answered), 'invalid reply', 'time limit', 'cpu limit', 'output
    limit', 'tests broken' (their process died: a limit, or the tests left it).

    Raises:
        GradingError: no sandbox can be set up here.
    """
    code = extract(response, _entry_point(tests))
    if code is None:
        return Grade(False, None, "no code")
    return grade_program(code, tests, limits, isolation)


def grade_program(
    code: str,
    tests: Tests,
    limits: Limits = DEFAULT,
    isolation: Isolation | None = None,
) -> Grade:
    """Grade a program, or the continuation of the prompt of FunctionTests; see `grade`.

    It waits until a processor of the machine runs no other grader's program.
    """
    isolation = isolation or choose()
    code = code.encode(errors="replace").decode()  # a lone surrogate is no Python
    with slot():
        if isinstance(tests, StreamTests):
            reason = _streams(code, tests, limits, isolation)
        else:
            reason = _function(code, tests, limits, isolation)
    return Grade(reason == "passed", code, reason)


def grade_many(
    responses: Sequence[str],
    tests: Sequence[str],
    limits: Limits = DEFAULT,
    isolation: Isolation | None = None,
    workers: int = 2,
) -> list[Grade]:
    """Grade responses, each with the text of its tests (`encode`), some at a time.

    The same program with the same tests runs once.

    Args:
        responses: the model's texts.
        tests: a text for each of them.
        limits: as for `grade`.
        isolation: as for `grade`.
        workers: how many are graded at a time; a program may use as many processors.

    Raises:
        DataError: a text that is no tests.
        GradingError: no sandbox can be set up here.
    """
    isolation = isolation or choose()
    entry_points = {text: _entry_point(decode(text)) for text in set(tests)}
    programs = [
        extract(response, entry_points[text])
        for response, text in zip(responses, tests, strict=True)
    ]
    jobs = dict.fromkeys(
        (code, text) for code, text in zip(programs, tests, strict=True) if code is not None
    )
    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(lambda job: grade_program(job[0], decode(job[1]), limits, isolation), jobs)
        graded: dict[Any, Grade] = dict(zip(jobs, done, strict=True))
    missing = Grade(False, None, "no code")
    return [graded.get(job, missing) for job in zip(programs, tests, strict=True)]


def _entry_point(tests: Tests) -> str | None:
    return None if isinstance(tests, StreamTests) else tests.entry_point


def version(isolation: Isolation | None = None) -> dict[str, str]:
    """What verdicts depend on beside program, tests and limits, for the provenance of a result.

    Raises:
        GradingError: no sandbox can be set up here.
    """
    return {
        "grader": _VERSION,
        "isolation": isolation or choose(),
        "python": platform.python_version(),
    }


# --- standard input and output -------------------------------------------------------------------


def _streams(code: str, tests: StreamTests, limits: Limits, isolation: Isolation) -> str:
    for given, expected in tests.pairs:
        done = run(code, given.encode(), limits, isolation)
        if done.reason != "ended":
            return done.reason
        if done.exit != 0:
            return "exception" if done.exit == 1 else "program ended"
        if not same_output(done.output.decode(errors="replace"), expected):
            return "failed"
    return "passed" if tests.pairs else "no test"


def same_output(ours: str, expected: str) -> bool:
    """Whether two outputs are the same, line by line and word by word.

    Spaces between words and around the text do not matter; two words with a decimal point in one
    of them are compared as numbers, exactly (2.50 is 2.5).
    """
    left, right = ours.strip().splitlines(), expected.strip().splitlines()
    return len(left) == len(right) and all(map(_same_line, left, right))


def _same_line(ours: str, expected: str) -> bool:
    left, right = ours.split(), expected.split()
    return len(left) == len(right) and all(map(_same_word, left, right))


def _same_word(ours: str, expected: str) -> bool:
    if ours == expected:
        return True
    if "." not in ours and "." not in expected:  # 0101 is not 101
        return False
    if not (_DECIMAL.fullmatch(ours) and _DECIMAL.fullmatch(expected)):
        return False
    return Decimal(ours) == Decimal(expected)


# --- functions -----------------------------------------------------------------------------------


def build(code: str, tests: FunctionTests | CallTests) -> list[str]:
    """The program as texts that run one after another, each with its own `__future__` imports.

    The code alone continues the prompt, or comes after it as its own.
    """
    if isinstance(tests, CallTests):
        return [tests.prompt, code]
    if defines(code, tests.entry_point):
        return [_complete(tests.prompt), code]
    return [tests.prompt + code]


def _complete(prompt: str) -> str:
    """The prompt as a program: with a body for the function if it ends with its head."""
    for end in ("", "\n    pass\n"):
        try:
            compile(prompt + end, "prompt.py", "exec")
        except (SyntaxError, ValueError):
            continue
        return prompt + end
    return ""


@lru_cache
def _side(name: str) -> CodeType:
    """One side of the exchange, compiled, behind what both sides need."""
    wire, rest = (Path(__file__).with_name(file).read_text() for file in ("_wire.py", name))
    return compile(f"{wire}\n{rest}", name, "exec", dont_inherit=True)


def _function(
    code: str, tests: FunctionTests | CallTests, limits: Limits, isolation: Isolation
) -> str:
    """The verdict of the tests' process on the program in the other one."""
    job: dict[str, Any] = {"source": build(code, tests), "entry_point": tests.entry_point}
    if isinstance(tests, CallTests):
        job["pairs"] = tests.pairs
    else:
        job |= {"prompt": _complete(tests.prompt), "tests": tests.tests}
    check = f"check_program({json.dumps(job)!r})"
    with ExitStack() as stack:
        descriptors: list[int] = []
        stack.callback(_close, descriptors)
        for _ in range(3):
            descriptors += os.pipe()
        calls, ask, replies, answer, verdict, decide = descriptors
        program = stack.enter_context(
            started("serve()", limits, isolation, calls, answer, before=_side("_server.py"))
        )
        checker = stack.enter_context(
            started(check, limits, isolation, replies, ask, decide, before=_side("_checker.py"))
        )
        for descriptor in (calls, ask, replies, answer, decide):
            descriptors.remove(descriptor)
            os.close(descriptor)
        program.await_ready()
        checker.await_ready()
        done = checker.collect(verdict, limits, program)
    if done.reason != "ended":
        return done.reason
    try:
        return str(json.loads(done.output)["verdict"])
    except (ValueError, KeyError, TypeError):
        return "tests broken"


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
