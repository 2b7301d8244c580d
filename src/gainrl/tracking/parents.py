"""The experiments of a store, and their parent runs: one for each (model, data, method).

An experiment a table; the seeds are a parent's children. A single process creates the store and the
parents (`initialise`) before anything writes, because a fresh SQLite store does not survive two
openers at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gainrl.errors import TrackingError
from gainrl.files import alone
from gainrl.records import read_json, write_json
from gainrl.tracking import store as tracking_store
from gainrl.tracking.client import (
    client_of,
    failed,
    failures,
    first_line,
    import_mlflow,
    log_inputs,
    log_points,
)
from gainrl.tracking.view import VIEW, view

KEY = "gainrl.key"
ARTIFACTS = "mlartifacts"
"""Folder below the results, of what the default store keeps as files."""
COMPLETE, PARENT = "gainrl.complete", "parent"
"""A tag of runs that have ended, and its value at parents."""
SUMMARY = "gainrl.summary"
"""Of a parent: the hash of the rows that were written into it."""
BESIDE = "sqlite:"
"""How the index begins to name a store that lies among the results: by its path from there."""
CHILD_OF = "mlflow.parentRunId"
KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
"""Which of its two views MLflow opens; without the tag it guesses, and may take that of agents."""


def initialise(
    uri: str,
    root: Path,
    path: Path,
    experiments: Iterable[str],
    parents: Mapping[str, tuple[str, Mapping[str, str]]],
    curves: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Create the store, experiments and parent runs, and note their ids in `path`.

    What exists already is kept, and so is what `path` notes of the same store.

    Args:
        experiments: names.
        parents: key -> (experiment, tags) of each parent run.
        curves: experiment -> metrics of tests that its comparison shows first.

    Raises:
        TrackingError: the store cannot be reached or created.
    """
    import_mlflow()
    try:
        with tracking_store.made(uri), alone(path):
            tracking_store.settle_artifacts(uri, root / ARTIFACTS)
            client = client_of(uri)
            ids = {name: _experiment(client, uri, root, name) for name in experiments}
            for name in (curves or {}).keys() & ids:
                client.set_experiment_tag(ids[name], VIEW, view((curves or {})[name]))
            runs = {
                key: _parent(client, ids[experiment], key, tags)
                for key, (experiment, tags) in parents.items()
            }
            noted = read_index(path) if path.exists() else {}
            if noted.get("uri") == uri:
                ids, runs = {**noted["experiments"], **ids}, {**noted["parents"], **runs}
            place = _movable(uri, root, path)
            write_json(path, {"uri": place, "experiments": ids, "parents": runs})
    except failures() as error:
        raise TrackingError(failed(uri, first_line(error))) from error


def read_index(path: Path) -> dict[str, Any]:
    """What `initialise` noted: `uri` of the store, ids of `experiments` and of `parents`.

    Raises:
        TrackingError: there is no such file.
        DataError: it is damaged.
    """
    if not path.exists():
        raise TrackingError(f"{path}: no such file; run 'gainrl tracking init' first")
    noted: dict[str, Any] = read_json(path)
    if noted["uri"].startswith(BESIDE) and not noted["uri"].startswith(f"{BESIDE}/"):
        file = path.parent / noted["uri"].removeprefix(BESIDE)
        noted["uri"] = f"sqlite:///{file.resolve()}"
    return noted


def _movable(uri: str, root: Path, path: Path) -> str:
    """A store among the results by its place there, so that results can be moved as a whole."""
    file = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not file.is_relative_to(root.resolve()):
        return uri
    return f"{BESIDE}{os.path.relpath(file, path.parent.resolve())}"


def _experiment(client: Any, uri: str, root: Path, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        local = (root / ARTIFACTS).resolve().as_uri() if uri.startswith("sqlite") else None
        place = f"{local}/{name}" if local else None
        try:
            return client.create_experiment(name, artifact_location=place, tags={KIND: TRAINING})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another call has just made it
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if KIND not in found.tags:
        client.set_experiment_tag(found.experiment_id, KIND, TRAINING)
    return found.experiment_id


def _parent(client: Any, experiment: str, key: str, tags: Mapping[str, str]) -> str:
    found = client.search_runs([experiment], f"tags.`{KEY}` = '{key}'", max_results=1)
    run_id = (
        found[0].info.run_id
        if found
        else client.create_run(experiment, run_name=key, tags={KEY: key, **tags}).info.run_id
    )
    client.set_tag(run_id, COMPLETE, PARENT)
    client.set_terminated(run_id)
    return run_id


def summarise(
    client: Any,
    index: Path,
    parent: str,
    rows: Sequence[Mapping[str, Any]],
    tags: Mapping[str, str],
) -> None:
    """Write into a parent run what its seeds have in common; the same again changes nothing.

    MLflow takes no point back, so that other rows than those of before make a new parent, which
    takes over the children; the old one is deleted. The data sets are those of the children.

    Args:
        index: the file that `initialise` wrote.
        parent: its key there.
        rows: numbers with a 'step'.

    Raises:
        TrackingError: the index knows no such parent.
    """
    with alone(index):  # tables of several experiments have parents in common
        runs = read_index(index)["parents"]
        if parent not in runs:
            raise TrackingError(f"{index}: knows no '{parent}'; run 'gainrl tracking init'")
        run, mark = client.get_run(runs[parent]), _mark(rows)
        if run.data.tags.get(SUMMARY, mark) != mark:
            run = _renewed(client, index, parent, run)
        run_id = run.info.run_id
        client.set_tag(run_id, SUMMARY, mark)
        log_points(client, run_id, rows, {})
        for key, value in tags.items():
            client.set_tag(run_id, key, value)
        _adopt(client, run, parent)
        inputs = [each for child in _children(client, run) for each in child.inputs.dataset_inputs]
        if inputs:
            log_inputs(
                client, run_id, list({each.dataset.digest: each for each in inputs}.values())
            )
        client.set_terminated(run_id)


def _mark(rows: Sequence[Mapping[str, Any]]) -> str:
    written = json.dumps(list(rows), sort_keys=True)
    return hashlib.sha256(written.encode()).hexdigest()[:12]


def _renewed(client: Any, index: Path, parent: str, old: Any) -> Any:
    """A new run in place of an old parent."""
    kept = {key: value for key, value in old.data.tags.items() if key != SUMMARY}
    run = client.create_run(old.info.experiment_id, run_name=parent, tags=kept)
    noted = read_json(index)
    write_json(index, {**noted, "parents": {**noted["parents"], parent: run.info.run_id}})
    return run


def _adopt(client: Any, run: Any, parent: str) -> None:
    """Take over the children of the runs that were this parent before, and delete these."""
    from mlflow.entities import ViewType

    # Deleted ones too: a seed that began meanwhile may have been given one.
    for other in _search(client, run, KEY, parent, ViewType.ALL):
        if other.info.run_id == run.info.run_id:
            continue
        for child in _children(client, other):
            client.set_tag(child.info.run_id, CHILD_OF, run.info.run_id)
        if other.info.lifecycle_stage != "deleted":
            client.delete_run(other.info.run_id)


def _children(client: Any, run: Any) -> list[Any]:
    return _search(client, run, CHILD_OF, run.info.run_id)


def _search(client: Any, beside: Any, tag: str, value: str, *view: int) -> list[Any]:
    """The runs of an experiment that have a tag; view: MLflow's, of living ones if not given."""
    place = [beside.info.experiment_id]
    return list(client.search_runs(place, f"tags.`{tag}` = '{value}'", *view, max_results=10_000))
