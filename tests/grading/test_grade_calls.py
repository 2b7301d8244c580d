"""Calls of functions and methods with their results, many responses at once, tests as text."""

from __future__ import annotations

import platform

import pytest

from gainrl.errors import DataError
from gainrl.grading import code, sandbox
from gainrl.grading.code import (
    CallTests,
    FunctionTests,
    StreamTests,
    decode,
    encode,
    grade_many,
    grade_program,
    subset,
    version,
)
from gainrl.grading.program_tests import LONG
from gainrl.grading.sandbox import Limits

LIMITS = Limits(seconds=20.0, memory_mb=256)


@pytest.fixture(params=["bubblewrap", "namespaces", "limits"])
def any_isolation(request):
    reason = sandbox.unavailable(request.param)
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return request.param


# --- calls ---------------------------------------------------------------------------------------

METHOD = CallTests("from typing import List\n", "Solution.top", (("[[3, 1]]", "3"), ("[[2]]", "2")))
COUNTING = """
class Solution:
    def __init__(self):
        self.calls = 0
    def top(self, xs: List[int]):
        self.calls += 1
        return max(xs) if self.calls == 1 else None
"""


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("class Solution:\n    def top(self, xs: List[int]): return max(xs)", "passed"),
        (COUNTING, "passed"),  # a new instance for every call
        ("class Solution:\n    def top(self, xs): return 3", "failed"),
        ("class Solution:\n    def top(self, xs): return str(max(xs))", "failed"),
        ("class Solution:\n    def other(self, xs): return max(xs)", "exception"),
        ("class Solution:\n    def __init__(self, n): pass\n    def top(self, x): 1", "exception"),
        ("def top(xs): return max(xs)", "exception"),
        ("class Solution:\n    def top(self, xs) return 3", "syntax error"),
        ("class Solution:\n    def top(self, xs): return type('', (int,), {})(9)", "failed"),
        ("import os\nclass Solution:\n    def top(self, xs): os._exit(0)", "program ended"),
        ("class Solution:\n    def top(self, xs):\n        while True: pass", "program ended"),
    ],
)
def test_methods(program: str, reason: str, any_isolation) -> None:
    limits = Limits(seconds=60.0, cpu_seconds=1, memory_mb=256)
    got = grade_program(program, METHOD, limits, any_isolation)
    assert (got.correct, got.reason) == (reason == "passed", reason)


def test_calls_without_pairs_pass_nothing(any_isolation) -> None:
    nothing = CallTests("", "f", ())
    assert grade_program("def f(): pass", nothing, LIMITS, any_isolation).reason == "no test"


@pytest.mark.parametrize(
    ("ours", "expected", "same"),
    [
        ("[1, [2]]", "[1, [2]]", True),
        ("(1, (2,))", "[1, [2]]", True),
        ("[1]", "[1, 2]", False),
        ("[1, 2]", "[2, 1]", False),
        ("{1}", "[1]", False),
        ("'12'", '"12"', True),
        ("['1', '2']", '"12"', False),
        ("12", '"12"', False),
        ("None", "null", True),
        ("None", "0", False),
        ("True", "true", True),
        ("True", "1", False),
        ("1", "true", False),
        ("2.0", "2", True),
        ("2", "2.0", True),
        ("1000000.9", "1000000.0", True),
        ("1000002.0", "1000000.0", False),
        ("1e-10", "0.0", True),
        ("1e-8", "0.0", False),
        ("1000001", "1000000", False),
        ("True", "1.0", False),
        ("float('nan')", "1.0", False),
        ("{'a': (1,)}", '{"a": [1]}', True),
        ("{'a': 1, 'b': 2}", '{"a": 1}', False),
        ("10 ** 5000", str(10**4000), False),
        ("10 ** 4000 + 1", str(10**4000 + 1), True),
    ],
)
def test_results_are_compared(ours: str, expected: str, same: bool) -> None:
    tests = CallTests("", "f", (("[]", expected),))
    isolation = sandbox.choose(unsafe=True)
    got = grade_program(f"def f(): return {ours}", tests, LIMITS, isolation)
    assert got.reason == ("passed" if same else "failed")


# --- what stands ahead of a program -------------------------------------------------------------

FUTURE = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    "ahead", [FUTURE, f'"""Doc."""\n{FUTURE}', f"# note\n\n{FUTURE}import os\n"]
)
def test_future_imports(ahead: str, any_isolation) -> None:
    program = f"{ahead}def f(x: Unknown):\n    return x\n"
    for tests in (
        CallTests("import math\nfrom typing import *\n", "f", (("[1]", "1"),)),
        FunctionTests('import math\ndef f(x):\n    """Same."""\n', "f", "assert f(1) == 1"),
        FunctionTests(f"{FUTURE}import math\n", "f", "assert f(1) == 1"),
    ):
        assert grade_program(program, tests, LIMITS, any_isolation).reason == "passed"
    stream = StreamTests((("", "1"),))
    assert grade_program(f"{program}print(f(1))", stream, LIMITS, any_isolation).reason == "passed"


def test_our_own_future_imports_are_not_the_programs(any_isolation) -> None:
    program = "def f(x: Unknown):\n    return x\n"
    calls, stream = CallTests("", "f", (("[1]", "1"),)), StreamTests((("", "1"),))
    assert grade_program(program, calls, LIMITS, any_isolation).reason == "exception"
    assert grade_program(f"{program}print(1)", stream, LIMITS, any_isolation).reason == "exception"
    asks = FunctionTests(f"{FUTURE}def f(x: Unknown):\n", "f", "assert f(1) == 1")
    assert grade_program("    return x", asks, LIMITS, any_isolation).reason == "passed"
    assert grade_program(program, asks, LIMITS, any_isolation).reason == "passed"  # the prompt's


# --- many at once --------------------------------------------------------------------------------


def response(program: str) -> str:
    return f"So:\n```python\n{program}\n```"


def test_many_are_graded_in_order_and_the_same_once(monkeypatch) -> None:
    double = encode(StreamTests((("2", "4"),)))
    square = encode(CallTests("", "f", (("[3]", "9"),)))
    doubles, squares = response("print(2 * int(input()))"), response("def f(x): return x * x")
    run, real = [], code.grade_program

    def counted(program, tests, *rest):
        run.append((program, tests))
        return real(program, tests, *rest)

    monkeypatch.setattr(code, "grade_program", counted)
    responses = [doubles, squares, "no program", f"Again. {doubles}", squares, doubles]
    tests = [double, double, double, double, square, square]
    grades = grade_many(responses, tests, LIMITS, sandbox.choose(unsafe=True), workers=3)
    assert [got.reason for got in grades] == [
        *("passed", "failed", "no code", "passed", "passed", "exception")
    ]
    assert len(run) == len(set(run)) == 4
    assert grade_many([], [], LIMITS, sandbox.choose(unsafe=True)) == []


def test_many_with_tests_that_are_none() -> None:
    isolation = sandbox.choose(unsafe=True)
    with pytest.raises(DataError, match="not the tests of a program"):
        grade_many([response("x = 1")], ["72"], LIMITS, isolation)
    with pytest.raises(ValueError, match="shorter"):
        grade_many([response("x = 1")], [], LIMITS, isolation)


def test_the_version_names_what_verdicts_depend_on() -> None:
    assert version("limits") == {
        "grader": "2",
        "isolation": "limits",
        "python": platform.python_version(),
    }


# --- tests as text -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tests",
    [
        METHOD,
        StreamTests((("1" * LONG, "ü\ud800"),)),
        CallTests("", "f", (("[]", "1" * LONG),)),
        FunctionTests("", "f", "assert f() == 1\n" * LONG),
    ],
)
def test_tests_come_back_from_their_text(tests) -> None:
    text = encode(tests)
    assert decode(text) == tests
    assert len(text) < LONG


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "compressed"}',
        '{"kind": "compressed", "zlib": "?"}',
        '{"kind": "compressed", "zlib": "aGVsbG8="}',
        '{"kind": "CallTests", "pairs": []}',
        '{"kind": "CallTests", "prompt": "", "entry_point": "f", "pairs": [1]}',
    ],
)
def test_text_that_is_no_tests_is_refused(text) -> None:
    with pytest.raises(DataError, match="not the tests of a program"):
        decode(text)


def test_a_subset_has_the_longest_inputs_in_order() -> None:
    pairs = tuple((given, "") for given in ("aaa", "a", "bbb", "cc", "dddd", "eee"))
    chosen = subset(StreamTests(pairs), 3)
    assert [given for given, _ in chosen.pairs] == ["aaa", "bbb", "dddd"]
    assert subset(StreamTests(pairs), 9).pairs == pairs
    assert subset(METHOD, 1) == CallTests(METHOD.prompt, METHOD.entry_point, METHOD.pairs[:1])
