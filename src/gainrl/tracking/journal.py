"""Tracking where machines share no database: into files, and from these to a store.

SQLite has no locks on network file systems. So a job on a cluster's node writes what it would say
to MLflow into a journal, a file of its own beside its note, a call a line; and one process, on the
machine that has the store, replays what is new in them (`sync`). A server needs no journals.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gainrl.errors import TrackingError
from gainrl.records import append_lines, read_json, read_lines, write_json
from gainrl.tracking.record import TrackedRun

JOURNAL = "GAINRL_JOURNAL"
"""Environment variable: set for the jobs of a cluster, which are to write journals."""
SUFFIX, REPLAYED = ".journal.jsonl", ".replayed"
OPEN = "open"
LOCK = ".lock"
"""What the name of the index ends with in the file that only one replay at a time holds."""


def switch_on() -> None:
    """From now on the jobs that this process starts write journals."""
    os.environ[JOURNAL] = "1"


class JournaledRun:
    """Takes the calls of a `TrackedRun`, and writes them down."""

    def __init__(self, index: Path, note: Path, **opened: Any) -> None:
        """Begin, or go on with, the journal of `note`; arguments as for `TrackedRun`.

        Raises:
            TrackingError: nobody has made the store.
            DataError: the disk is full; so do all calls.
        """
        if not index.exists():
            raise TrackingError(f"{index}: no such file; run 'gainrl tracking init' first")
        self._path = note.with_name(note.name + SUFFIX)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _cut(self._path)
        params = {key: str(value) for key, value in opened.pop("params").items()}
        self._write(OPEN, **{**opened, "params": params})

    def _write(self, call: str, **arguments: Any) -> None:
        append_lines(self._path, [{"call": call, "arguments": arguments}])

    def metrics(self, rows: Sequence[Mapping[str, Any]], prefix: str = "") -> None:
        """As `TrackedRun.metrics`."""
        self._write("metrics", rows=[dict(row) for row in rows], prefix=prefix)

    def dataset(self, name: str, digest: str, path: Path, rows: int) -> None:
        """As `TrackedRun.dataset`."""
        self._write("dataset", name=name, digest=digest, path=str(path), rows=rows)

    def summary(
        self, parent: str, rows: Sequence[Mapping[str, Any]], tags: Mapping[str, str]
    ) -> None:
        """As `TrackedRun.summary`."""
        self._write("summary", parent=parent, rows=list(rows), tags=dict(tags))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """As `TrackedRun.artifact`; the file is stored as it is when the journal is replayed."""
        self._write("artifact", path=os.path.relpath(path, self._path.parent), folder=folder)

    def tag(self, key: str, value: str) -> None:
        """As `TrackedRun.tag`."""
        self._write("tag", key=key, value=value)

    def finish(self) -> None:
        """As `TrackedRun.finish`; what the store refuses is known when the journal is replayed."""
        self._write("finish")


Tracked = TrackedRun | JournaledRun


def sync(index: Path, folder: Path) -> int:
    """Replay what is new in the journals below a folder into the store; returns their number.

    What was interrupted is replayed again: the store keeps each step of a metric once. A second
    call waits for the first, or both would open the same runs.

    Raises:
        TrackingError: the store cannot be reached or has refused something.
    """
    if not _behind(folder):
        return 0
    with _alone(index.with_name(index.name + LOCK)):
        behind = _behind(folder)
        for path in behind:
            _replay(index, path)
    return len(behind)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with ExitStack() as opened:
        try:
            fcntl.flock(opened.enter_context(open(path, "a")), fcntl.LOCK_EX)
        except OSError as error:
            reason = f"{path}: cannot be locked, so no journal was replayed: {error.strerror}"
            raise TrackingError(reason) from error
        yield


def _behind(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob(f"*{SUFFIX}")) if _is_behind(path)]


def _is_behind(path: Path) -> bool:
    return len(read_lines(path)) > _replayed(path)


def _replayed(path: Path) -> int:
    mark = path.with_name(path.name + REPLAYED)
    return read_json(mark)["lines"] if mark.exists() else 0


def _replay(index: Path, path: Path) -> None:
    note, lines = path.with_name(path.name.removesuffix(SUFFIX)), read_lines(path)
    done = _replayed(path)
    run = _going_on(index, note, lines[:done])
    for line in lines[done:]:
        arguments = line["arguments"]
        if line["call"] == OPEN:
            run = TrackedRun(index, note, **arguments)
            continue
        assert run is not None  # a journal begins with an opening
        if line["call"] == "dataset":
            arguments = {**arguments, "path": Path(arguments["path"])}
        if line["call"] == "artifact":
            arguments = {**arguments, "path": path.parent / arguments["path"]}
        getattr(run, line["call"])(**arguments)
    if run and run.failure:
        raise TrackingError(f"{path}: not replayed: {run.failure}")
    write_json(path.with_name(path.name + REPLAYED), {"lines": len(lines)})


def _going_on(index: Path, note: Path, replayed: Iterable[Mapping[str, Any]]) -> TrackedRun | None:
    """The run that the calls before belong to."""
    opened = [line["arguments"] for line in replayed if line["call"] == OPEN]
    return TrackedRun(index, note, **{**opened[-1], "resumes": True}) if opened else None


def _cut(path: Path) -> None:
    """Take away a last line that a kill has torn: the next one would be joined to it."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
