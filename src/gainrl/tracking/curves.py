"""Learning curves of an MLflow experiment, gainrl's own or another's, for `gainrl compare`."""

from __future__ import annotations

import os
from typing import Any

from gainrl.compare.curves import Log
from gainrl.errors import TrackingError, nearest
from gainrl.tracking.client import client_of, failures, first_line
from gainrl.tracking.names import URI
from gainrl.tracking.parents import COMPLETE, PARENT

PLACE = ("model", "dataset", "method", "seed")
OWN = {f"gainrl.{name}" for name in PLACE}
"""Tags of gainrl's own training runs."""


def read_logs(experiment: str, uri: str | None = None) -> list[Log]:
    """What the runs of an experiment have logged; parents and runs without metrics are left out.

    gainrl's training runs say model and data set (as the task), method and seed by their tags, and
    the tokens of each step. Of other runs the parameters or tags `method` and `seed` do, else
    their names (`compare.curves.points_of`). A step that was logged twice has its latest value.

    Args:
        uri: of the store; else MLFLOW_TRACKING_URI.

    Raises:
        TrackingError: no store is named or it does not answer, or it has no such experiment.
    """
    uri = uri or os.environ.get(URI)
    if not uri:
        raise TrackingError(f"set {URI} to the store, such as sqlite:///results/mlflow.db")
    client = client_of(uri)
    try:
        found = client.get_experiment_by_name(experiment)
        if found is None:
            names = [each.name for each in client.search_experiments()]
            hint = nearest(experiment, names)
            raise TrackingError(f"store {uri} has no experiment '{experiment}'{hint}")
        runs = client.search_runs([found.experiment_id], max_results=50_000)
        logs = [_log(client, run) for run in reversed(runs) if _is_single(run)]
    except failures() as error:
        raise TrackingError(f"store {uri}: {first_line(error)}") from error
    if not logs:
        raise TrackingError(f"experiment '{experiment}' of store {uri} has no run with metrics")
    return logs


def _is_single(run: Any) -> bool:
    """Whether a run has curves of its own, and not the mean of its seeds'."""
    return bool(run.data.metrics) and run.data.tags.get(COMPLETE) != PARENT


def _log(client: Any, run: Any) -> Log:
    metrics = {
        name: {
            point.step: point.value
            for point in sorted(
                client.get_metric_history(run.info.run_id, name), key=lambda each: each.timestamp
            )
        }
        for name in run.data.metrics
    }
    said = {**run.data.params, **run.data.tags}
    source = f"MLflow run '{run.info.run_name}'"
    if said.keys() >= OWN:
        model, dataset, method, seed = (said[f"gainrl.{name}"] for name in PLACE)
        identity = (method, int(seed), f"{model}/{dataset}")
        return Log(run.info.run_name, source, metrics, "rollout_tokens", True, identity)
    if "method" in said and said.get("seed", "").isdecimal():
        identity = (said["method"], int(said["seed"]), said.get("task", ""))
        return Log(run.info.run_name, source, metrics, run=identity)
    return Log(run.info.run_name, source, metrics)
