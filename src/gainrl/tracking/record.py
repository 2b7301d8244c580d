"""The run of a piece of work in MLflow: opened, resumed, written, checked.

A run's status proves nothing (a killed run stays RUNNING), so completion is a tag.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gainrl.errors import TrackingError
from gainrl.records import read_json, write_json
from gainrl.tracking.client import (
    client_of,
    failed,
    failures,
    first_line,
    log_inputs,
    log_points,
    unanswered,
)
from gainrl.tracking.names import URI, legal_name
from gainrl.tracking.parents import CHILD_OF, COMPLETE, read_index, summarise

log = logging.getLogger(__name__)


class TrackedRun:
    """One MLflow run, resumed if its note in `folder` says so.

    The first failure to write is logged at once and raised by `finish`, so that a run is never
    silently untracked, and never lost to a hiccup of the store either: rerun, and it continues. A
    store that does not answer is not asked again; one that refuses a thing is given the others.
    """

    def __init__(
        self,
        index: Path,
        note: Path,
        *,
        experiment: str,
        name: str,
        parent: str | None,
        config_hash: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        resumes: bool = False,
    ) -> None:
        """Open the run; `index` is the file that `initialise` wrote, `note` keeps the run's id.

        Args:
            resumes: the work goes on where it was left, so its record does too, complete or not;
                else a complete record is kept as it is, and a new one made.

        Raises:
            TrackingError: the store cannot be reached, or is not the one of `index`.
        """
        self.index, known = index, read_index(index)
        self.uri = known["uri"]
        wanted = os.environ.get(URI)
        if wanted and wanted != self.uri:
            raise TrackingError(
                f"{index}: tracking was set up at {self.uri}, but {URI} is {wanted}; delete this "
                "file to set it up there"
            )
        self.failure: str | None = None
        self._lost: dict[str, None] = {}
        self._gone = False
        self._seen: dict[str, set[int]] = {}
        try:
            self.client = client_of(self.uri)
            noted, self.resumed = self._open(note, config_hash, resumes)
            if noted is None:
                linked = {CHILD_OF: known["parents"][parent]} if parent else {}
                created = self.client.create_run(
                    known["experiments"][experiment],
                    run_name=name,
                    tags={**tags, **linked, COMPLETE: "no", "gainrl.config_hash": config_hash},
                )
                noted = created.info.run_id
                write_json(note, {"run_id": noted, "config_hash": config_hash})
                # A table that has renewed the parent meanwhile may not have seen this run.
                if parent and (now := read_index(index)["parents"][parent]) != linked[CHILD_OF]:
                    self.client.set_tag(noted, CHILD_OF, now)
            self.run_id = str(noted)
        except KeyError as error:
            raise TrackingError(f"{index}: knows no {error}; run 'gainrl tracking init'") from error
        except failures() as error:
            raise TrackingError(failed(self.uri, first_line(error))) from error
        self._params(params)

    def _open(self, note: Path, config_hash: str, resumes: bool) -> tuple[str | None, bool]:
        """The id to go on with, if the noted run is of this configuration and to be gone on."""
        if not note.exists():
            return None, False
        noted = read_json(note)
        if noted["config_hash"] != config_hash:
            return None, False
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(noted["run_id"])
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None, False  # the store was replaced: record the run anew
        complete = run.data.tags.get(COMPLETE) == "yes" and not resumes
        if complete or run.info.lifecycle_stage == "deleted":
            return None, False
        self.client.set_terminated(noted["run_id"], status="RUNNING")
        return noted["run_id"], True

    def _params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        entries = [
            Param(legal_name(key), str(value)[:6000]) for key, value in sorted(params.items())
        ]

        def write() -> None:
            for start in range(0, len(entries), 100):
                self.client.log_batch(self.run_id, params=entries[start : start + 100])

        self._guard("params", write)

    def metrics(self, rows: Sequence[Mapping[str, Any]], prefix: str = "") -> None:
        """Log rows with a 'step'; points that the store already has are left alone."""

        def write() -> None:
            log_points(self.client, self.run_id, rows, self._seen, prefix, fresh=not self.resumed)

        self._guard(f"metrics {prefix}".rstrip(), write)

    def dataset(self, name: str, digest: str, path: Path, rows: int) -> None:
        """Record a data set as the run's input."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entry = Dataset(
            name, digest, "local", f'{{"uri": "{path}"}}', profile=f'{{"rows": {rows}}}'
        )
        tag = InputTag("mlflow.data.context", "training")
        self._guard(
            f"data set {name}",
            lambda: log_inputs(self.client, self.run_id, [DatasetInput(entry, [tag])]),
        )

    def summary(
        self, parent: str, rows: Sequence[Mapping[str, Any]], tags: Mapping[str, str]
    ) -> None:
        """Write into a parent run what its seeds have in common, as `parents.summarise`."""
        self._guard(
            f"summary of {parent}",
            lambda: summarise(self.client, self.index, parent, rows, tags),
        )

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file with the run."""
        self._guard(path.name, lambda: self.client.log_artifact(self.run_id, str(path), folder))

    def tag(self, key: str, value: str) -> None:
        """Set a tag (values that vary by attempt belong here, not into params)."""
        self._guard(f"tag {key}", lambda: self.client.set_tag(self.run_id, legal_name(key), value))

    def _guard(self, what: str, write: Callable[[], object]) -> None:
        """Write, and note that `what` is lost if that fails."""
        try:
            if not self._gone:
                write()
                return
        except failures() as error:
            self._gone = unanswered(error)
            if self.failure is None:
                self.failure = first_line(error)
                log.error(
                    "%s; the run goes on and will fail at its end",
                    failed(self.uri, f"{what} not recorded: {self.failure}"),
                )
        self._lost[what] = None

    def finish(self) -> None:
        """Mark the run complete: last of all, so that one that is killed here is gone on with.

        Raises:
            TrackingError: anything was not recorded.
        """
        self._guard("its end", lambda: self.client.set_terminated(self.run_id))
        if self.failure is None:
            self.tag(COMPLETE, "yes")
        if self.failure is not None:
            lost = f"not recorded: {', '.join(self._lost)} ({self.failure})"
            raise TrackingError(failed(self.uri, f"{lost}; rerun to record the rest"))


def missing(uri: str, notes: Iterable[tuple[str, Path, int | None]]) -> list[str]:
    """Compare run folders with the store.

    Args:
        notes: (name, note file, number of steps that must be recorded, if any) of finished work.

    Returns:
        One line for each thing that the store lacks.
    """
    client, problems = client_of(uri), []
    for name, note, steps in notes:
        if not note.exists():
            problems.append(f"{name}: never tracked ({note} is missing)")
            continue
        run_id = read_json(note)["run_id"]
        try:
            run = client.get_run(run_id)
            if run.info.lifecycle_stage == "deleted":
                problems.append(f"{name}: run {run_id} was deleted")
                continue
            if run.data.tags.get(COMPLETE) != "yes":
                problems.append(f"{name}: run {run_id} is not marked complete")
            if steps is not None:
                found = {point.step for point in client.get_metric_history(run_id, "accuracy")}
                lost = sorted(set(range(1, steps + 1)) - found)
                if lost:
                    problems.append(
                        f"{name}: run {run_id} lacks {len(lost)} steps, first {lost[0]}"
                    )
        except failures() as error:
            problems.append(f"{name}: {first_line(error)}")
    return problems
