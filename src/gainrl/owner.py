"""Who is at a piece of work, such as a run: never two at a time.

A controller that is killed (a crash of the login node, an out-of-memory kill) leaves its jobs
running, and the next call starts them again. What is left behind is ended first, and the new job
goes on from what it has kept; what somebody runs on purpose is left alone.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from gainrl.errors import BackendError
from gainrl.files import alone, read_json, write_json
from gainrl.processes import allocation

GRACE_SECONDS = 120
"""To save a checkpoint in, before a process that was left behind is killed."""
END_SECONDS = 600
"""For the scheduler to end a job."""


@dataclass(frozen=True)
class Owner:
    """A process at work, with the time at which it began, as its machine knows it.

    controller: the Snakemake that started it, likewise, 0 if none did. job: of the scheduler, if
    there is one.
    """

    host: str
    process: int
    began: float
    controller: int
    controller_began: float
    job: str | None

    @classmethod
    def this(cls) -> Owner:
        """This process."""
        own, controller = psutil.Process(), (0, 0.0)
        for above in own.parents():
            if any(Path(word).name == "snakemake" for word in above.cmdline()[:3]):
                controller = (above.pid, above.create_time())
                break
        # A job of one node is a step, which knows its job; of several, the batch script alone does.
        job = os.environ.get("SLURM_JOB_ID") or allocation().get("SLURM_JOB_ID")
        return cls(socket.gethostname(), own.pid, own.create_time(), *controller, job)

    @property
    def here(self) -> psutil.Process | None:
        """Its process, if it is on this machine and lives."""
        return self._living(self.process, self.began)

    @property
    def orphaned(self) -> bool:
        """Whether Snakemake started it and is gone, so that nobody waits for it."""
        gone = self._living(self.controller, self.controller_began) is None
        return bool(self.controller) and gone

    def _living(self, number: int, began: float) -> psutil.Process | None:
        if self.host != socket.gethostname():
            return None
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(number)
            if found.create_time() == began and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None


@contextmanager
def owned(note: Path) -> Iterator[None]:
    """Own the work that `note` stands for and lies beside; whoever was left behind at it is ended.

    Raises:
        BackendError: somebody else is at this work, or what was left behind does not end.
    """
    this = Owner.this()
    with alone(note):  # of two who begin at once, the second finds the first
        if note.exists():
            _succeed(Owner(**read_json(note)), this, note)
        write_json(note, asdict(this))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)
        with suppress(OSError):  # refused before anything was begun, its folder is empty
            os.removedirs(note.parent)


def _succeed(before: Owner, this: Owner, note: Path) -> None:
    """End a job or process that is still at work, if nobody waits for it."""
    if before.job and before.job != this.job:  # a job that was put back into the queue is this one
        _end_job(before.job, note)
        return
    process = before.here
    if process is None or process.pid == this.process:
        return
    if not before.orphaned:
        raise BackendError(
            f"{note}: process {process.pid} is at this work already; wait for it or end it"
        )
    print(f"ending process {process.pid}, which was left behind at this work", flush=True)
    process.terminate()
    with suppress(psutil.TimeoutExpired):
        process.wait(GRACE_SECONDS)
        return
    process.kill()
    process.wait(GRACE_SECONDS)


def _end_job(job: str, note: Path) -> None:
    if shutil.which("squeue") is None or not _queued(job):
        return
    print(f"cancelling job {job}, which was left behind at this work", flush=True)
    subprocess.run(["scancel", job], check=False, capture_output=True)
    deadline = time.monotonic() + END_SECONDS
    while _queued(job):
        if time.monotonic() > deadline:
            raise BackendError(f"{note}: job {job} is at this work and does not end: scancel it")
        time.sleep(2)


def _queued(job: str) -> bool:
    """Whether the scheduler still has a job; one that it has forgotten has ended."""
    command = ["squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T"]
    # The environment of a job's step names another job.
    plain = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_JOB")}
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    ended = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
    ended |= {"PREEMPTED", "BOOT_FAIL", "DEADLINE"}
    return bool(set(done.stdout.split()) - ended)
