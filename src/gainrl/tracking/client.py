"""MLflow's client of a store, and in one line what it says when it fails."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from gainrl.models.imports import uncollected
from gainrl.tracking import store as tracking_store
from gainrl.tracking.names import legal_name

LOCAL_PAGES = "http://127.0.0.1:5000"
"""Where `make ui` shows a store that has no server."""
CHUNK = 900  # a batch takes 1,000 metrics at most
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}
"""A server whose port is closed is noticed in 15 s, one that takes connections and never answers in
75; with MLflow's own values a run would stand still for 4 to 20 minutes."""
GONE = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
"""What MLflow says where a store does not answer; all else is said of one thing that it refuses."""
REFUSED = "BAD_REQUEST"
"""What it says where the database has refused a row."""


def is_server(uri: str) -> bool:
    """Whether a store is a server, and no file or database that we open ourselves."""
    return urlsplit(uri).scheme in ("http", "https")


def pages(uri: str) -> str:
    """Where a store's runs can be looked at: the server itself, or what `make ui` starts.

    A user and password in the URI are left out.
    """
    if not is_server(uri):
        return LOCAL_PAGES
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def import_mlflow() -> None:
    """Import MLflow, silent and patient as we want it."""
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # else usage is reported to MLflow
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for name in ("mlflow.store.db.utils", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # we say in one line what they raise
    with uncollected():
        import mlflow  # noqa: F401


def client_of(uri: str) -> Any:
    """A client of a store that is there (TrackingError: it is not, or half-made)."""
    import_mlflow()
    tracking_store.need_whole(uri)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def failures() -> tuple[type[Exception], ...]:
    """What MLflow raises."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError  # MLflow lets those of a store's making through

    return (MlflowException, SQLAlchemyError, OSError)


def failed(uri: str, reason: str) -> str:
    """What went wrong with a store, without a user and password in its URI."""
    parts = urlsplit(uri)
    user = parts.netloc.rpartition("@")[0]
    line = f"tracking store {uri}: {reason}"
    return line.replace(f"{user}@", "") if user else line


def first_line(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def unanswered(error: Exception) -> bool:
    """Whether the store is gone, rather than one thing refused or a file not there."""
    if isinstance(error, OSError):
        return error.filename is None  # of a connection
    return getattr(error, "error_code", None) in GONE


def log_points(
    client: Any,
    run_id: str,
    rows: Sequence[Mapping[str, Any]],
    seen: dict[str, set[int]],
    prefix: str = "",
    *,
    fresh: bool = False,
) -> None:
    """Log the numbers of rows with a 'step', but for points that the store has already.

    Args:
        seen: by metric the steps that the store has; it is asked for those that are not in it,
            unless the run is `fresh`.
    """
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    points = []
    for row in rows:
        for key, value in row.items():
            if key == "step" or not isinstance(value, int | float):
                continue
            name = legal_name(prefix + key)
            if name not in seen:
                history = [] if fresh else client.get_metric_history(run_id, name)
                seen[name] = {point.step for point in history}
            if row["step"] not in seen[name]:
                points.append(Metric(name, float(value), now, row["step"]))
    for start in range(0, len(points), CHUNK):
        part = points[start : start + CHUNK]
        client.log_batch(run_id, metrics=part)
        for point in part:
            seen[point.key].add(point.step)


def log_inputs(client: Any, run_id: str, inputs: Sequence[Any]) -> None:
    """Give a run its data sets; the same again changes nothing.

    MLflow looks whether its store has a data set and then adds it, so that of two runs that begin
    side by side one is refused. Then the other's is there, and is found the next time.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.log_inputs(run_id, inputs)
    except MlflowException as error:
        if error.error_code != REFUSED:
            raise
        client.log_inputs(run_id, inputs)
