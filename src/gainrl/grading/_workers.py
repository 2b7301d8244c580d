"""Symbolic comparisons in processes of their own, which are killed at a time limit.

No signals, no threads and no multiprocessing in this process, so it works alike in threads, in
daemonic processes and after a fork (the child starts its own workers).
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from typing import NamedTuple

log = logging.getLogger(__name__)

SECONDS = 3.0
"""Processor time of one comparison: by the clock, a busy machine would grade otherwise."""
CLOCK_SECONDS = 120.0
"""Until a worker that got no processor, or hangs, is given up."""
START_SECONDS = 120.0
"""Limit for starting a worker, which imports sympy."""
MEMORY_MB = 2048
"""Address space of a worker."""


class Comparison(NamedTuple):
    """An answer, a gold answer, the relative tolerance, and how '8,221' is read."""

    answer: str
    gold: str
    tolerance: float
    lists: bool = False


class WorkerError(Exception):
    """A worker could not be started, or ended by itself."""


class _CutError(Exception):
    """A comparison has taken more than SECONDS."""


class _DiedError(WorkerError):
    """A worker that had started ended by itself."""


class Worker:
    """A process that compares; started at the first job, one job at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False

    def compare(self, job: Comparison) -> bool | None:
        """Whether answer and gold answer are equivalent; None if that takes more than SECONDS.

        One that dies in it is replaced once: what killed it may have meant another process.

        Raises:
            WorkerError: there is no worker, or it died (memory, or killed from outside).
        """
        try:
            return self._compare(job)
        except _DiedError as error:
            log.info("%s; asked again", error)
            return self._compare(job)

    def _compare(self, job: Comparison) -> bool | None:
        with self._lock:
            try:
                if self._process is None:
                    self._start()
                reply = self._ask(job)
            except _CutError:
                self.stop()
                return None
            except (OSError, ValueError) as error:
                kind = _DiedError if self._ready and not _ending else WorkerError
                self.stop()
                raise kind(f"the worker for symbolic grading ended: {error}") from error
            except BaseException:  # Ctrl-C: a reply that nobody reads must not answer the next job
                self.stop()
                raise
            if reply["last"]:
                self.stop()
            return reply["same"]

    def stop(self) -> None:
        """Kill the process, if there is one, and wait for its end."""
        process, self._process, self._ready = self._process, None, False
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        process.wait()

    def forget(self) -> None:
        """Let go of the parent's process in a forked child."""
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout):
                if stream:
                    stream.close()
            self._process.returncode = 0  # not ours to wait for
        self._process, self._ready, self._lock = None, False, threading.Lock()

    def _start(self) -> None:
        command = [sys.executable or "python3", "-P", "-m", "gainrl.grading._symbols"]
        command += [str(os.getpid()), str(MEMORY_MB)]
        # The same modules as here, and the same order of sets in every run.
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"},
        )
        begun = self._read(START_SECONDS)
        if "error" in begun:
            raise ValueError(begun["error"])
        self._ready = True

    def _ask(self, job: Comparison) -> dict:
        assert self._process is not None
        assert self._process.stdin is not None
        line = json.dumps([*job, SECONDS, CLOCK_SECONDS + 1])
        self._process.stdin.write(line.encode("ascii") + b"\n")
        return self._read(CLOCK_SECONDS)

    def _read(self, seconds: float) -> dict:
        """One line of the worker; raises _CutError, or ValueError if it has ended or is late."""
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor, end, text = self._process.stdout.fileno(), time.monotonic() + seconds, b""
        poll = select.poll()  # select() refuses descriptors above 1023
        poll.register(descriptor, select.POLLIN)
        while not text.endswith(b"\n"):
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                raise ValueError(f"no reply in {seconds:.0f} s")
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                status = self._process.wait()
                if status == -signal.SIGPROF:
                    raise _CutError
                raise ValueError(f"exit status {status}")
            text += chunk
        return json.loads(text)


_workers: list[Worker] = []
_lock = threading.Lock()
_ending = False
"""Whether Python ends, and no worker is to be replaced."""


def workers(count: int) -> list[Worker]:
    """The first workers of this process; the same ones every time."""
    with _lock:
        while len(_workers) < count:
            _workers.append(Worker())
        return _workers[:count]


def _stop_all() -> None:
    for worker in _workers:
        worker.stop()


def _forget_all() -> None:
    global _lock
    _lock = threading.Lock()  # another thread may have held it at the fork
    for worker in _workers:
        worker.forget()


def _end() -> None:
    global _ending
    _ending = True
    _stop_all()


atexit.register(_end)
os.register_at_fork(after_in_child=_forget_all)
