"""Processes of other environments: started for one piece of work, and ended with it."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MARK = "GAINRL_RUN"
"""Environment variable by which the processes of a piece of work are found again."""
ERROR = re.compile(r"\b\w*(Error|Exception)\b: ")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def end_with_parent() -> None:
    """In the child: SIGTERM when the launcher is killed; Ray's daemons end with their driver."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM (a cluster's time limit) raises, so that `finally` ends what was started."""

    def stop(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_marked(mark: str) -> None:
    """End what is left of a run: Ray's daemons leave the process group, but keep the variable."""
    for kind, grace in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        for member in marked(mark):
            with suppress(ProcessLookupError):
                os.kill(member, kind)
        deadline = time.monotonic() + grace
        while marked(mark) and time.monotonic() < deadline:
            time.sleep(0.2)


def marked(mark: str) -> list[int]:
    """Live processes whose environment holds `mark`; not those that wait to be reaped."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:  # it has ended, or belongs to somebody else
            continue
        if mark.encode() in variables:
            found.append(int(path.parent.name))
    return found


def allocation() -> dict[str, str]:
    """SLURM's variables of the job that we are in; none outside of one.

    Snakemake removes them from the environment of what it starts; the batch script still has them.
    """
    process = os.getpid()
    while process > 1:
        folder = Path("/proc") / str(process)
        try:
            text = (folder / "environ").read_bytes().decode(errors="replace")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # somebody else's
            return {}
        found = dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
        if "SLURM_JOB_NUM_NODES" in found:
            return {key: value for key, value in found.items() if key.startswith("SLURM")}
        process = parent
    return {}


def error_of(log: Path, start: int) -> str:
    """The last error that a log names after byte `start`, else its last line, and which it is."""
    found, line = last_error(log, start)
    return f"{'error' if found else 'last line'}: {line}"


def last_error(log: Path, start: int = 0) -> tuple[bool, str]:
    """Whether a log names an error after byte `start`; the last one, else the last line."""
    with open(log, "rb") as file:
        file.seek(start)
        text = file.read().decode("utf-8", errors="replace")
    lines = [ESCAPES.sub("", line).strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.search(line)]
    return bool(errors), (errors or lines or ["(empty)"])[-1][:300]
