"""MLflow, and nothing else but `tracking_store` imports it.

One experiment a table, a parent run for each (model, data, method), a child for each seed. A single
process creates the store and the parents (`initialise`) before anything writes, because a fresh
SQLite store does not survive two openers at once. A run's status proves nothing (a killed run stays
RUNNING), so completion is a tag.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from gainrl.errors import TrackingError
from gainrl.models.imports import uncollected
from gainrl.records import read_json, write_json
from gainrl.tracking import store as tracking_store
from gainrl.tracking.names import URI, legal_name

log = logging.getLogger(__name__)
LOCAL_PAGES = "http://127.0.0.1:5000"
"""Where `make ui` shows a store that has no server."""
KEY = "gainrl.key"
COMPLETE = "gainrl.complete"
CHUNK = 900  # a batch takes 1,000 metrics at most
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}
"""A server whose port is closed is noticed in 15 s, one that takes connections and never answers in
75; with MLflow's own values a run would stand still for 4 to 20 minutes."""
GONE = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
"""What MLflow says where a store does not answer; all else is said of one thing that it refuses."""


def pages(uri: str) -> str:
    """Where a store's runs can be looked at: the server itself, or what `make ui` starts.

    A user and password in the URI are left out.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return LOCAL_PAGES
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def _import_mlflow() -> None:
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # else usage is reported to MLflow
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for name in ("mlflow.store.db.utils", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # we say in one line what they raise
    with uncollected():
        import mlflow  # noqa: F401


def _client(uri: str) -> Any:
    _import_mlflow()
    tracking_store.need_whole(uri)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _failures() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError  # MLflow lets those of a store's making through

    return (MlflowException, SQLAlchemyError, OSError)


def _failed(uri: str, reason: str) -> str:
    """What went wrong with a store, without a user and password in its URI."""
    parts = urlsplit(uri)
    user = parts.netloc.rpartition("@")[0]
    line = f"tracking store {uri}: {reason}"
    return line.replace(f"{user}@", "") if user else line


def initialise(
    uri: str,
    root: Path,
    path: Path,
    experiments: Iterable[str],
    parents: Mapping[str, tuple[str, Mapping[str, str]]],
) -> None:
    """Create the store, the experiments and the parent runs, and note their ids in `path`.

    Args:
        experiments: names.
        parents: key -> (experiment, tags) of each parent run. What exists already is kept.

    Raises:
        TrackingError: the store cannot be reached or created.
    """
    _import_mlflow()
    try:
        with tracking_store.made(uri):
            client = _client(uri)
            ids = {name: _experiment(client, uri, root, name) for name in experiments}
            runs = {
                key: _parent(client, ids[experiment], key, tags)
                for key, (experiment, tags) in parents.items()
            }
    except _failures() as error:
        raise TrackingError(_failed(uri, _first_line(error))) from error
    write_json(path, {"uri": uri, "experiments": ids, "parents": runs})


def _experiment(client: Any, uri: str, root: Path, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return found.experiment_id
    local = (root / "mlartifacts").resolve().as_uri() if uri.startswith("sqlite") else None
    place = f"{local}/{name}" if local else None
    return client.create_experiment(name, artifact_location=place)


def _parent(client: Any, experiment: str, key: str, tags: Mapping[str, str]) -> str:
    found = client.search_runs([experiment], f"tags.`{KEY}` = '{key}'", max_results=1)
    run_id = (
        found[0].info.run_id
        if found
        else client.create_run(experiment, run_name=key, tags={KEY: key, **tags}).info.run_id
    )
    client.set_tag(run_id, COMPLETE, "parent")
    client.set_terminated(run_id)
    return run_id


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
        if not index.exists():
            raise TrackingError(f"{index}: no such file; run 'gainrl tracking init' first")
        known = read_json(index)
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
            self.client = _client(self.uri)
            self.run_id, self.resumed = self._open(note, config_hash, resumes)
            if self.run_id is None:
                linked = {"mlflow.parentRunId": known["parents"][parent]} if parent else {}
                created = self.client.create_run(
                    known["experiments"][experiment],
                    run_name=name,
                    tags={**tags, **linked, COMPLETE: "no", "gainrl.config_hash": config_hash},
                )
                self.run_id = created.info.run_id
                write_json(note, {"run_id": self.run_id, "config_hash": config_hash})
        except KeyError as error:
            raise TrackingError(
                f"{index}: knows no {error}; delete this file to renew it"
            ) from error
        except _failures() as error:
            raise TrackingError(_failed(self.uri, _first_line(error))) from error
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
        from mlflow.entities import Metric

        def write() -> None:
            now = _now()
            points = []
            for row in rows:
                for key, value in row.items():
                    if key == "step" or not isinstance(value, int | float):
                        continue
                    name = legal_name(prefix + key)
                    if row["step"] not in self._steps(name):
                        points.append(Metric(name, float(value), now, row["step"]))
            for start in range(0, len(points), CHUNK):
                part = points[start : start + CHUNK]
                self.client.log_batch(self.run_id, metrics=part)
                for point in part:
                    self._seen[point.key].add(point.step)

        self._guard(f"metrics {prefix}".rstrip(), write)

    def _steps(self, key: str) -> set[int]:
        if key not in self._seen:
            history = self.client.get_metric_history(self.run_id, key) if self.resumed else []
            self._seen[key] = {point.step for point in history}
        return self._seen[key]

    def dataset(self, name: str, digest: str, path: Path, rows: int) -> None:
        """Record a data set as the run's input."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entry = Dataset(
            name, digest, "local", f'{{"uri": "{path}"}}', profile=f'{{"rows": {rows}}}'
        )
        tag = InputTag("mlflow.data.context", "training")
        self._guard(
            f"data set {name}",
            lambda: self.client.log_inputs(self.run_id, [DatasetInput(entry, [tag])]),
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
        except _failures() as error:
            self._gone = _unanswered(error)
            if self.failure is None:
                self.failure = _first_line(error)
                log.error(
                    "%s; the run goes on and will fail at its end",
                    _failed(self.uri, f"{what} not recorded: {self.failure}"),
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
            raise TrackingError(_failed(self.uri, f"{lost}; rerun to record the rest"))


def missing(uri: str, notes: Iterable[tuple[str, Path, int | None]]) -> list[str]:
    """Compare run folders with the store.

    Args:
        notes: (name, note file, number of steps that must be recorded, if any) of finished work.

    Returns:
        One line for each thing that the store lacks.
    """
    client, problems = _client(uri), []
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
        except _failures() as error:
            problems.append(f"{name}: {_first_line(error)}")
    return problems


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _unanswered(error: Exception) -> bool:
    """Whether the store is gone, rather than one thing refused or a file not there."""
    if isinstance(error, OSError):
        return error.filename is None  # of a connection
    return getattr(error, "error_code", None) in GONE


def _now() -> int:
    import time

    return int(time.time() * 1000)
