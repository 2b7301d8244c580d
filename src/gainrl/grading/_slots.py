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


@contextmanager
def slot() -> Iterator[None]:
    """One of as many places as this process has processors, shared with all other graders.

    verl grades in several processes of many threads each: without it hundreds of programs run at a
    time, and meet their limits because of each other. A place is a locked file, so the kernel frees
    that of a process that is killed.

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

    places = list(range(len(os.sched_getaffinity(0))))
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
                return descriptor
        time.sleep(0.01)
