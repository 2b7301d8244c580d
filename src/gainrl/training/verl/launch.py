"""Starts verl in its own environment for one run, watches it, and leaves our records behind.

Whatever happens, every process that verl started is ended, by its id: on success, on failure, and
when no step was recorded for `patience` seconds (a failed weight push hangs for ever).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gainrl.data.prompts import Prompts, conversation
from gainrl.errors import BackendError
from gainrl.records import atomic_write, write_json

MARK = "GAINRL_RUN"
"""Environment variable by which a run's processes are found again."""


def write_prompts(
    path: Path,
    name: str,
    ids: Sequence[str],
    questions: Sequence[str],
    answers: Sequence[str],
    template: str,
    system: str | None,
) -> None:
    """A data set as verl reads it: messages, gold answer, and which row it is."""
    frame = pd.DataFrame(
        {
            "data_source": name,
            "prompt": [conversation(question, template, system) for question in questions],
            "reward_model": [{"style": "rule", "ground_truth": gold} for gold in answers],
            "extra_info": [{"index": row, "id": key} for row, key in enumerate(ids)],
        }
    )
    with atomic_write(path) as file:
        frame.to_parquet(file)


def write_segments(path: Path, prompts: Prompts, weight: float, offdiagonal: bool) -> None:
    """What the engine plugin needs to know of each prompt, found by its tokens."""
    with atomic_write(path) as file:
        np.savez(
            file,
            n_prefix=prompts.n_prefix,
            weight=weight,
            offdiagonal=offdiagonal,
            tokens=np.array([token for row in prompts.tokens for token in row], dtype=np.int64),
            lengths=prompts.lengths,
            n_question=prompts.n_question,
        )


def run(
    python: Path,
    job: Mapping[str, Any],
    environment: Mapping[str, str],
    patience: float,
    limit: float,
) -> None:
    """Train; returns when verl has ended well.

    Args:
        python: the interpreter of verl's environment.
        job: what `entry` reads; job['folder'] is the run's folder, the log is verl.log in it.
        environment: variables in addition to this process's.
        patience: seconds without a new step record after which verl is ended.
        limit: seconds for the whole run.

    Raises:
        BackendError: naming the log and its last line.
    """
    folder = Path(job["folder"])
    write_json(folder / "job.json", job)
    log, steps = folder / "verl.log", folder / "steps.jsonl"
    command = [str(python), "-m", "gainrl.training.verl.entry", str(folder / "job.json")]
    mark = f"{MARK}={uuid.uuid4().hex}"
    with open(log, "ab") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment, MARK: mark.partition("=")[2]},
            start_new_session=True,
        )
        try:
            reason = _watch(process, steps, patience, limit)
        finally:
            _end(process, mark)
    if reason:
        raise BackendError(f"{log}: {reason}; last line: {_last_line(log)}")


def _watch(
    process: subprocess.Popen[bytes], steps: Path, patience: float, limit: float
) -> str | None:
    """Why the run failed, or None; returns when it has ended or has to be ended."""
    began = moved = time.monotonic()
    size = -1
    while process.poll() is None:
        now = time.monotonic()
        current = steps.stat().st_size if steps.exists() else 0
        if current != size:
            size, moved = current, now
        if now - moved > patience:
            return f"no step in {patience:.0f} s"
        if now - began > limit:
            return f"not done in {limit:.0f} s"
        time.sleep(0.5)
    return f"verl exited with code {process.returncode}" if process.returncode else None


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """End what is left of a run: Ray's daemons leave the process group, but keep the variable."""
    for kind, grace in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        for member in _marked(mark):
            with suppress(ProcessLookupError):
                os.kill(member, kind)
        deadline = time.monotonic() + grace
        while _marked(mark) and time.monotonic() < deadline:
            process.poll()
            time.sleep(0.2)
    process.wait()


def _marked(mark: str) -> list[int]:
    """Live processes whose environment holds `mark`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:  # it has ended, or belongs to somebody else
            continue
        if mark.encode() in variables:
            found.append(int(path.parent.name))
    return found


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else "(empty)"
