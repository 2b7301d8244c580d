"""How many programs run at a time on a machine, counted over all graders of a user."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gainrl.errors import GradingError

LOOK_SECONDS = 1.0
"""After which one that waits looks whether a process that has a place is stopped."""


@contextmanager
def slot() -> Iterator[None]:
    """One of as many places as this process has processors, shared with all other graders.

    verl grades in several processes of many threads each: without it hundreds of programs run at a
    time, and meet their limits because of each other. A place is a locked file, so the kernel frees
    that of a process that is killed. One that is stopped (Ctrl-Z) keeps its place and needs none:
    there is another one for it.

    Raises:
        GradingError: the folder of the places cannot be used.
    """
    import fcntl

    folder = Path(tempfile.gettempdir()) / f"gainrl-programs-{os.geteuid()}"
    try:
        descriptor = _taken(folder)
    except OSError as error:
        raise GradingError(f"{folder}: cannot count running programs: {error.strerror}") from error
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a fork may have it open too
        os.close(descriptor)


def _taken(folder: Path) -> int:
    """The descriptor of a place, once there is one; closing it leaves the place."""
    import fcntl

    processors, looked = len(os.sched_getaffinity(0)), time.monotonic()
    places = list(range(processors))
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        random.shuffle(places)
        for place in places:
            descriptor = os.open(folder / str(place), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                os.pwrite(descriptor, b"%-10d" % os.getpid(), 0)
                return descriptor
        time.sleep(0.01)
        if time.monotonic() - looked > LOOK_SECONDS:
            places = list(range(processors + sum(map(_stopped, folder.iterdir()))))
            looked = time.monotonic()


def _stopped(place: Path) -> bool:
    """Whether the process that had a place last is stopped."""
    try:
        state = Path(f"/proc/{int(place.read_text())}/stat").read_text()
    except (OSError, ValueError):  # it has ended, or has not written its number yet
        return False
    return state.rpartition(")")[2].split()[0] == "T"
