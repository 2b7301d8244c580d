"""Symbolic comparisons in worker processes: limits, isolation, and no process left behind."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gainrl.grading import _workers, maths
from gainrl.grading.maths import Grade, grade, grade_many

ENDLESS = r"\boxed{9^{9^{9^{9}}}}"
HUNGRY = r"\boxed{\sqrt{2}^{(10^7)!}}"


@pytest.fixture(autouse=True)
def fresh_workers() -> Iterator[None]:
    maths._known.clear()
    yield
    _workers._stop_all()


def compare_one(n: int) -> bool:
    """Right only if a worker has compared symbols; another n is another comparison."""
    got = grade(rf"\boxed{{{n}+q-p}}", f"q-p+{n}")
    return got.correct and got.reason == "equivalent"


def worker_pid(index: int = 0) -> int:
    process = _workers.workers(index + 1)[index]._process
    assert process is not None
    return process.pid


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def ends(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.parametrize(
    "answer",
    [ENDLESS, r"\boxed{(10^8)!}", r"\boxed{\sum_{k=1}^{10^{9}} \frac{1}{k^3+\sqrt{k}}}"],
)  # fmt: skip
def test_the_time_limit_holds(answer: str, monkeypatch) -> None:
    assert compare_one(1)
    before = worker_pid()
    monkeypatch.setattr(_workers, "SECONDS", 0.5)
    begin = time.perf_counter()
    assert grade(answer, r"3\sqrt{2}").reason == "time limit"
    assert time.perf_counter() - begin < 2.5
    assert not alive(before)
    monkeypatch.undo()
    assert compare_one(2)
    assert worker_pid() != before


@pytest.mark.alone
def test_a_comparison_is_cut_short_once(monkeypatch) -> None:
    assert compare_one(1)
    monkeypatch.setattr(_workers, "SECONDS", 0.3)
    first = grade(ENDLESS, "3")
    begin = time.perf_counter()
    assert grade(ENDLESS, "3") == first == Grade(False, "9^{9^{9^{9}}}", "time limit", "box")
    assert time.perf_counter() - begin < 0.1


def stopped_for(seconds: float) -> threading.Thread:
    """Another process's work, as the worker sees it: the clock goes on, and it does not."""
    pid = worker_pid()

    def stop() -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=stop)
    thread.start()
    return thread


def test_a_worker_that_waits_for_a_processor_is_not_cut(monkeypatch) -> None:
    monkeypatch.setattr(_workers, "SECONDS", 0.25)
    assert any(compare_one(n) for n in range(3))
    thread = stopped_for(1.0)
    time.sleep(0.1)
    assert grade(r"\boxed{a+b}", "b+a").reason == "equivalent"
    thread.join()


def test_a_worker_without_a_reply_is_replaced_and_asked_again(monkeypatch, caplog) -> None:
    assert compare_one(1)
    monkeypatch.setattr(_workers, "CLOCK_SECONDS", 0.5)
    before = worker_pid()
    os.kill(before, signal.SIGSTOP)
    assert grade(r"\boxed{a+b}", "b+a").reason == "equivalent"
    assert worker_pid() != before
    assert not alive(before)


def test_what_fails_twice_is_said_and_not_kept(monkeypatch, caplog) -> None:
    assert compare_one(1)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(_workers, "CLOCK_SECONDS", 0.0)
        assert grade(r"\boxed{a+b}", "b+a").reason == "worker failed"
    assert "no reply in 0 s" in caplog.text
    assert grade(r"\boxed{a+b}", "b+a").reason == "equivalent"


def test_starting_a_worker_does_not_count(monkeypatch) -> None:
    """The import of sympy alone takes longer than this limit."""
    monkeypatch.setattr(_workers, "SECONDS", 0.25)
    assert any(compare_one(n) for n in range(3))


def test_memory_is_limited(monkeypatch) -> None:
    monkeypatch.setattr(_workers, "MEMORY_MB", 700)
    assert compare_one(1)
    limits = Path(f"/proc/{worker_pid()}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max address space"))
    assert line.split()[3:5] == [str(700 << 20)] * 2
    assert not grade(HUNGRY, "3").correct
    assert compare_one(2)


def test_a_worker_that_has_grown_is_replaced(monkeypatch) -> None:
    assert compare_one(1)
    worker, before = _workers.workers(1)[0], worker_pid()
    asked = worker._ask
    monkeypatch.setattr(worker, "_ask", lambda job: {**asked(job), "last": True})
    assert compare_one(2)
    assert not alive(before)
    monkeypatch.undo()
    assert compare_one(3)


def test_a_large_parent_does_not_make_its_worker_look_grown(monkeypatch) -> None:
    monkeypatch.setattr(_workers, "MEMORY_MB", 900)
    _workers.workers(1)[0].stop()
    held = np.ones(600 << 17)  # 600 MB, which the child has between fork and exec
    assert compare_one(4)
    first = worker_pid()
    assert compare_one(5)
    assert worker_pid() == first
    assert held[-1] == 1


def test_a_worker_killed_from_outside_is_replaced() -> None:
    assert compare_one(1)
    before = worker_pid()
    os.kill(before, signal.SIGKILL)
    assert grade(r"\boxed{a+b}", "b+a").reason == "equivalent"
    assert worker_pid() != before


def test_a_worker_that_does_not_start_is_no_exception(monkeypatch, caplog) -> None:
    monkeypatch.setattr(_workers.sys, "executable", "/nonexistent/python")
    with caplog.at_level(logging.WARNING):
        assert grade(r"\boxed{a+b}", "b+a") == Grade(False, "a+b", "worker failed", "box")
    assert "/nonexistent/python" in caplog.text


def test_a_missing_library_is_named(monkeypatch, caplog, tmp_path) -> None:
    (tmp_path / "latex2sympy2_extended.py").write_text("raise ImportError('no such library')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert grade(r"\boxed{a+b}", "b+a").reason == "worker failed"
    assert "ImportError: no such library" in caplog.text


def test_an_interrupted_comparison_does_not_answer_the_next(monkeypatch) -> None:
    assert compare_one(1)

    def interrupted(*_) -> dict:
        raise KeyboardInterrupt

    worker = _workers.workers(1)[0]
    monkeypatch.setattr(worker, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        grade(r"\boxed{a+b}", "b+a")
    monkeypatch.undo()
    assert grade(r"\boxed{a+c}", "b+a").reason == "not equivalent"


# --- threads, forks, daemons ---------------------------------------------------------------------


def test_comparisons_work_in_threads_and_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(compare_one(n))) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
    assert compare_one(9)  # the worker has outlived the thread that started it
    assert signal.getsignal(signal.SIGALRM) is before


def test_sixteen_threads_share_one_process() -> None:
    """As verl calls the grader, in each of its reward workers."""
    code = """
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from gainrl.grading.maths import grade
def one(number):
    return grade(rf"\\boxed{{x+{number}}}", f"{number}+x").correct
with ThreadPoolExecutor(16) as pool:
    assert all(pool.map(one, range(16)))
started = Path(f"/proc/{os.getpid()}/task").glob("*/children")
print(sum(len(path.read_text().split()) for path in started))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("1", 0), done.stderr


def test_a_forked_child_has_a_worker_of_its_own() -> None:
    assert compare_one(1)
    parents = worker_pid()
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(sender, json.dumps([compare_one(2), worker_pid()]).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    correct, other = json.loads(os.read(receiver, 1000))
    assert correct
    assert other != parents
    assert ends(other, 5)
    assert compare_one(3)
    assert worker_pid() == parents


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_comparisons_work_in_daemonic_processes(method: str) -> None:
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:  # its processes may have no children by multiprocessing
        assert pool.map(compare_one, [1, 2]) == [True, True]


# --- nothing stays -------------------------------------------------------------------------------

PARENT = """
import os, sys, time
from gainrl.grading import _workers
from gainrl.grading.maths import grade
_workers.SECONDS = 2.0
grade("\\\\boxed{a+b}", "b+a")
print(_workers.workers(1)[0]._process.pid, flush=True)
"""


def start_parent(then: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT + then], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize(
    ("then", "seconds"),
    [
        ("time.sleep(100)", 1),
        # In the middle of a power that takes C code for ever; it has SECONDS of processor to live.
        (f"grade({ENDLESS!r}, '3')", 5),
        # A child that had a copy of the pipe lives on.
        ("os.fork() or (os.close(1), time.sleep(4), os._exit(0)); time.sleep(100)", 1),
    ],
)
def test_no_worker_outlives_a_killed_parent(then: str, seconds: float) -> None:
    process, worker = start_parent(then)
    time.sleep(0.5)
    assert alive(worker)
    process.kill()
    process.wait()
    assert ends(worker, seconds)


def test_no_worker_outlives_its_parent() -> None:
    process, worker = start_parent("")
    assert process.wait(timeout=10) == 0
    assert ends(worker, 1)


# --- grade_many ----------------------------------------------------------------------------------


def test_grade_many_agrees_with_grade_in_order() -> None:
    pairs = [(r"\boxed{3}", "3.0"), (r"\boxed{4}", "3"), ("none", "3"), (r"\boxed{b+a}", "a+b"),
             (r"\boxed{b+a}", "a-b"), (r"\boxed{2,1}", "1,2"), (ENDLESS.replace("9", "x"), "x"),
             (r"\boxed{a}", "b || a"), (r"\boxed{q+1}", "5 || 1+q || 7")]  # fmt: skip
    expected = [grade(*pair) for pair in pairs]
    maths._known.clear()
    for workers in (1, 2, 5):
        assert grade_many(*zip(*pairs, strict=True), workers=workers) == expected
        maths._known.clear()
    assert [got.correct for got in expected] == [True, False, False, True, False, True, False] + (
        [True] * 2
    )


def test_grade_many_compares_equal_pairs_once_and_numbers_never(monkeypatch) -> None:
    jobs: list[_workers.Job] = []
    compare = _workers.Worker.compare
    monkeypatch.setattr(
        _workers.Worker, "compare", lambda self, job: jobs.append(job) or compare(self, job)
    )
    responses = [r"\boxed{b+a}", r"\boxed{b+a}", r"\boxed{7}", r"\boxed{b-a}", r"so \boxed{b+a}"]
    got = grade_many(responses, ["a+b", "a+b", "7.0", "a+b", "a+b"], workers=2)
    assert [one.correct for one in got] == [True, True, True, False, True]
    assert sorted(job.answer for job in jobs) == ["b+a", "b-a"]


def test_grade_many_uses_as_many_workers_as_it_may() -> None:
    for workers in (1, 3):
        _workers._stop_all()
        maths._known.clear()
        pairs = [(rf"\boxed{{{n}+q-p}}", f"q-p+{n}") for n in range(12)]
        assert all(got.correct for got in grade_many(*zip(*pairs, strict=True), workers=workers))
        assert sum(worker._process is not None for worker in _workers._workers) == workers


def test_a_process_starts_its_worker_once(monkeypatch) -> None:
    started: list[int] = []
    start = _workers.Worker._start
    monkeypatch.setattr(_workers.Worker, "_start", lambda self: started.append(1) or start(self))
    assert all(compare_one(n) for n in range(30))
    assert started == [1]


def test_grade_many_wants_as_many_gold_answers() -> None:
    with pytest.raises(ValueError, match="2 responses, 1 gold answers"):
        grade_many(["a", "b"], ["c"])
    assert grade_many([], []) == []
