"""Grading of programs on a busy machine, and from many threads and processes at a time."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gainrl.config.evaluation import Sandbox
from gainrl.errors import GradingError
from gainrl.grading import _slots, sandbox
from gainrl.grading.code import FunctionTests, StreamTests, encode, grade_program
from gainrl.grading.graders import CodeGrader
from gainrl.grading.sandbox import Limits

CORES = len(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def isolation():
    try:
        return sandbox.choose()
    except GradingError as error:
        pytest.skip(str(error))


@pytest.fixture
def busy():
    """Eight processes that compute for every processor; Linux shares time out by session."""
    command = [sys.executable, "-c", "while True: pass"]
    held = [subprocess.Popen(command, start_new_session=True) for _ in range(8 * CORES)]
    yield
    for process in held:
        process.kill()
        process.wait()


WORK = "import time\nwhile time.process_time() < 0.5: pass\n"


@pytest.mark.parametrize("kind", ["stream", "function"])
def test_a_program_that_waits_for_a_processor_is_given_that_time(isolation, busy, kind):
    """0.5 s of computing take four seconds and more; the clock's limit is 2 s."""
    limits = Limits(seconds=2.0, cpu_seconds=5)
    tests, program = StreamTests((("", "7\n"),)), f"{WORK}print(7)"
    if kind == "function":
        tests = FunctionTests("", "f", "assert f(1) == 7\n")
        program = f"{WORK}def f(x):\n    return 7"
    began = time.monotonic()
    assert grade_program(program, tests, limits, isolation).reason == "passed"
    assert time.monotonic() - began > 2  # else the machine was not busy


def test_a_program_that_sleeps_is_not(isolation, busy):
    limits = Limits(seconds=1.0, cpu_seconds=5)
    program, tests = "import time\ntime.sleep(6)\nprint(7)", StreamTests((("", "7\n"),))
    began = time.monotonic()
    assert grade_program(program, tests, limits, isolation).reason == "time limit"
    assert time.monotonic() - began < 6


def test_programs_of_several_processes_share_the_processors(tmp_path):
    """Each process notes how many hold a place while it does."""
    noted = tmp_path / "noted"
    noted.mkdir()
    code = f"""
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from gainrl.grading._slots import slot
folder = Path({str(noted)!r})
def one(number):
    with slot():
        mine = folder / f"{{os.getpid()}}-{{number}}"
        mine.touch()
        time.sleep(0.05)
        seen = len(list(folder.iterdir()))
        mine.unlink()
    return seen
with ThreadPoolExecutor(8) as pool:
    print(max(pool.map(one, range(12))))
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    most = [int(process.communicate()[0]) for process in started]
    assert max(most) <= CORES
    assert max(most) >= min(2, CORES)  # they did run beside each other


@pytest.fixture
def holder(tmp_path, monkeypatch):
    """A process that has the only place."""
    monkeypatch.setattr(_slots.tempfile, "gettempdir", lambda: str(tmp_path))
    own = os.sched_getaffinity(0)
    code = "import time; from gainrl.grading._slots import slot\n"
    code += "with slot(): print(1); time.sleep(60)"
    holder = subprocess.Popen(
        [sys.executable, "-uc", code],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {min(own)}),
    )
    monkeypatch.setattr(_slots.os, "sched_getaffinity", lambda _: {min(own)})
    holder.stdout.read(1)
    yield holder
    holder.kill()
    holder.communicate()


def wait():
    with _slots.slot():
        return time.monotonic()


def test_a_stopped_grader_keeps_nobody_waiting(holder, monkeypatch):
    monkeypatch.setattr(_slots, "LOOK_SECONDS", 0.1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        time.sleep(0.3)
        assert not waiting.done()
        stopped = time.monotonic()
        holder.send_signal(signal.SIGSTOP)
        assert waiting.result(10) >= stopped


def test_a_place_of_a_killed_grader_is_free_again(holder, tmp_path, monkeypatch):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        time.sleep(0.2)
        assert not waiting.done()
        killed = time.monotonic()
        holder.kill()
        assert waiting.result(10) >= killed
    monkeypatch.setattr(_slots.tempfile, "gettempdir", lambda: str(tmp_path / "missing"))
    with pytest.raises(GradingError, match="cannot count running programs: No such file"):
        _slots.slot().__enter__()


def test_a_fork_does_not_keep_a_place(tmp_path, monkeypatch):
    monkeypatch.setattr(_slots.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(_slots.os, "sched_getaffinity", lambda _: {0})
    with _slots.slot():
        child = os.fork()
        if child == 0:
            os.read(os.pipe()[0], 1)
    try:
        with open(tmp_path / f"gainrl-programs-{os.geteuid()}" / "0") as place:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_one_grader_serves_sixteen_threads(isolation):
    """As verl calls it: one response at a time, many at once."""
    grader = CodeGrader(Sandbox(workers=1))
    gold = encode(StreamTests((("1\n", "1\n"),)))
    answers = [f"```python\nprint({value})\n```" for value in (1, 2, 1)]

    def right(number):
        return grader([answers[number % 3]], [gold])[0].correct

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(right, range(240)))
    assert found == [number % 3 != 1 for number in range(240)]
