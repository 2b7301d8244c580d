"""The graders by name, as training and every test use them."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest

from gainrl.config.evaluation import Sandbox
from gainrl.errors import GradingError
from gainrl.grading import code, graders, sandbox
from gainrl.grading.code import FunctionTests, encode
from gainrl.grading.graders import CodeGrader, find

ADD = encode(FunctionTests("def f(x):\n", "f", "assert f(1) == 3\nassert f(5) == 7\n"))
RIGHT, WRONG = "```python\ndef f(x):\n    return x + 2\n```", "```\ndef f(x):\n    return 3\n```"


def test_numbers_may_differ_a_little_only_where_the_data_set_says_so():
    responses, golds = [r"\boxed{3.00001}"], ["3"]
    assert not find("maths")(responses, golds)[0].correct
    assert find("maths-tolerant")(responses, golds)[0].correct
    assert find("maths-tolerant").version == find("maths").version + ", tolerance 0.0001"


@pytest.fixture
def isolated():
    try:
        sandbox.choose()
    except GradingError as error:
        pytest.skip(str(error))


def test_programs_are_run(isolated):
    grades = find("code")([RIGHT, WRONG, "no program"], [ADD] * 3)
    assert [grade.correct for grade in grades] == [True, False, False]
    assert [grade.reason for grade in grades] == ["passed", "failed", "no code"]


def test_equal_programs_run_once_and_are_remembered_for_the_next_call(isolated, monkeypatch):
    ran = []
    grade_many = code.grade_many

    def counted(responses, *rest):
        ran.append(list(responses))
        return grade_many(responses, *rest)

    monkeypatch.setattr(code, "grade_many", counted)
    grader = CodeGrader()
    first = grader([RIGHT, RIGHT, WRONG], [ADD] * 3)
    second = grader([WRONG, RIGHT], [ADD] * 2)
    assert ran == [[RIGHT, WRONG], []]
    assert [grade.correct for grade in first] == [True, True, False]
    assert [grade.correct for grade in second] == [False, True]
    assert all(len(tests) == 32 for _, tests in grader.known)  # digests: tests may be long
    monkeypatch.setattr(graders, "KEPT", 2)
    assert [grade.correct for grade in grader(["no program", RIGHT], [ADD] * 2)] == [False, True]
    grader([WRONG, RIGHT], [ADD] * 2)  # the one that was asked for longest ago had been forgotten
    assert ran[2:] == [["no program"], [WRONG]]


def test_tests_may_have_what_is_no_unicode(monkeypatch):
    monkeypatch.setattr(sandbox, "unavailable", lambda kind: None)
    monkeypatch.setattr(
        code, "grade_many", lambda given, *_: [code.Grade(True, r, "passed") for r in given]
    )
    assert CodeGrader()([RIGHT], ["assert f('\ud800')"])[0].correct


def test_what_may_be_the_machines_failure_is_run_again(monkeypatch):
    reasons = iter(["time limit", "tests broken", "exception", "failed"])
    monkeypatch.setattr(sandbox, "unavailable", lambda kind: None)
    monkeypatch.setattr(
        code, "grade_many", lambda given, *_: [code.Grade(False, r, next(reasons)) for r in given]
    )
    grader = CodeGrader()
    found = [grader([WRONG], [ADD])[0].reason for _ in range(5)]
    assert found == ["time limit", "tests broken", "exception", "failed", "failed"]


class Contended(OrderedDict):
    """Lets other threads in between asking for a key and reading it."""

    def __contains__(self, key):
        found = super().__contains__(key)
        time.sleep(1e-6)
        return found


def test_one_grader_serves_many_threads(monkeypatch):
    """What one thread finds among the kept grades, another may be putting out."""
    wanted = [RIGHT, WRONG, "no program"]
    monkeypatch.setattr(graders, "KEPT", 1)
    monkeypatch.setattr(sandbox, "unavailable", lambda kind: None)
    monkeypatch.setattr(
        code,
        "grade_many",
        lambda responses, *_: [code.Grade(r == RIGHT, r, "passed") for r in responses],
    )
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    grader = CodeGrader()
    grader.known = Contended()

    def many(seed: int) -> int:
        for number in range(100):
            asked = [wanted[(seed + number + k) % 3] for k in range(1 + number % 3)]
            assert [got.extracted for got in grader(asked, [ADD] * len(asked))] == asked
        return 100

    try:
        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(many, range(16))) == 16 * 100
    finally:
        sys.setswitchinterval(interval)


def test_the_limits_are_the_presets(isolated):
    slow = "```python\ndef f(x):\n    while True: pass\n```"
    grader = find("code", Sandbox(seconds=1.0, cpu_seconds=5))
    assert grader([slow], [ADD])[0].reason == "time limit"


def test_without_isolation_grading_refuses_to_start(monkeypatch):
    monkeypatch.setattr(
        sandbox, "unavailable", lambda kind: None if kind == "limits" else "not here"
    )
    with pytest.raises(GradingError, match="generated code cannot be run safely here"):
        find("code")([RIGHT], [ADD])
    assert "isolation limits" in find("code", Sandbox(unsafe=True)).version
