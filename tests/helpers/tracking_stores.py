"""Tracking stores, their runs and what stands in them, for the tests of tracking."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient

from gainrl.tracking.names import store_uri
from gainrl.tracking.parents import initialise, read_index
from gainrl.tracking.record import TrackedRun

PARENT = "nano/chain/gain"
TRAIN, OTHER = "gainrl/small/table1", "gainrl/small/preparation"


def set_up(folder: Path) -> Path:
    index = folder / "tracking.json"
    uri = store_uri(None, folder)
    parents = {PARENT: (TRAIN, {"gainrl.method": "gain"})}
    initialise(uri, folder, index, [OTHER, TRAIN], parents)
    return index


def opened(index: Path, note: str = "note.json", config_hash: str = "abc", **changes) -> TrackedRun:
    arguments = {
        "experiment": TRAIN,
        "name": "gain seed0",
        "parent": PARENT,
        "tags": {"gainrl.seed": "0"},
        "params": {"training.lr": 1e-4, "order": "angle"},
    }
    return TrackedRun(
        index, index.parent / note, config_hash=config_hash, **{**arguments, **changes}
    )


def client_of(index: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=read_index(index)["uri"])


def points(index: Path, run_id: str, key: str) -> list[tuple[int, float]]:
    history = client_of(index).get_metric_history(run_id, key)
    return [(point.step, point.value) for point in history]


def steps(first: int, last: int) -> list[dict]:
    return [{"step": step, "accuracy": step / 10} for step in range(first, last + 1)]
