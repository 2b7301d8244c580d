"""Journals of jobs that share no database with each other, against a real SQLite store."""

from __future__ import annotations

import fcntl
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tracking_stores import PARENT, TRAIN, client_of, points, set_up, steps

from gainrl.config.tracking import Tracking
from gainrl.errors import TrackingError
from gainrl.records import read_json
from gainrl.tracking.journal import LOCK, SUFFIX, JournaledRun, sync
from gainrl.tracking.names import URI
from gainrl.tracking.parents import COMPLETE, read_index


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv(URI, raising=False)
    return set_up(tmp_path)


def journaled(index: Path, note: str = "note.json", **changes) -> JournaledRun:
    opened = {
        "experiment": TRAIN, "name": "gain seed0", "parent": PARENT, "config_hash": "abc",
        "tags": {"gainrl.seed": "0"}, "params": {"lr": 1e-4, "nothing": None, "list": [1, 2]},
    }  # fmt: skip
    return JournaledRun(index, index.parent / note, **{**opened, **changes})


def run_of(index: Path, note: str = "note.json"):
    return client_of(index).get_run(read_json(index.parent / note)["run_id"])


def whole(index: Path, file: Path) -> JournaledRun:
    """A run that says everything that a stage can say."""
    run = journaled(index)
    run.dataset("chain", "0123", file, 3)
    run.metrics(steps(1, 3))
    run.metrics([{"step": 3, "accuracy": 0.5}], prefix="eval/chain/")
    run.artifact(file)
    run.tag("gainrl.zero_variance_steps", "0")
    run.finish()
    return run


def test_a_job_does_not_touch_the_store_and_what_it_said_is_replayed(index, tmp_path):
    file = tmp_path / "steps.jsonl"
    file.write_text("here")
    before = (tmp_path / "mlflow.db").read_bytes()
    whole(index, file)
    assert (tmp_path / "mlflow.db").read_bytes() == before
    assert not (tmp_path / "note.json").exists()

    assert sync(index, tmp_path) == 1
    run = run_of(index)
    assert run.data.tags[COMPLETE] == "yes"
    assert run.data.tags["gainrl.zero_variance_steps"] == "0"
    assert run.data.tags["mlflow.parentRunId"] == read_index(index)["parents"][PARENT]
    assert run.data.params == {"lr": "0.0001", "nothing": "None", "list": "[1, 2]"}
    assert points(index, run.info.run_id, "accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert points(index, run.info.run_id, "eval/chain/accuracy") == [(3, 0.5)]
    (artifact,) = client_of(index).list_artifacts(run.info.run_id)
    assert artifact.path == "steps.jsonl"
    assert run.inputs.dataset_inputs[0].dataset.name == "chain"
    assert sync(index, tmp_path) == 0


def test_a_run_that_is_replayed_while_it_goes_on_and_resumes_stays_one_run(index, tmp_path):
    run = journaled(index)
    run.metrics(steps(1, 3))
    assert sync(index, tmp_path) == 1
    first = read_json(tmp_path / "note.json")["run_id"]
    run.metrics(steps(4, 5))
    assert sync(index, tmp_path) == 1
    again = journaled(index, resumes=True)  # after a kill: it says some again
    again.metrics(steps(4, 7))
    again.finish()
    assert sync(index, tmp_path) == 1
    assert read_json(tmp_path / "note.json")["run_id"] == first
    assert [step for step, _ in points(index, first, "accuracy")] == [1, 2, 3, 4, 5, 6, 7]
    assert run_of(index).data.tags[COMPLETE] == "yes"


def test_a_run_of_another_configuration_is_another_run(index, tmp_path):
    whole(index, Path(__file__))
    sync(index, tmp_path)
    first = read_json(tmp_path / "note.json")["run_id"]
    journaled(index, config_hash="def").finish()
    sync(index, tmp_path)
    assert read_json(tmp_path / "note.json")["run_id"] != first


def test_a_line_that_a_kill_has_torn_is_not_joined_to_the_next(index, tmp_path):
    journaled(index).metrics(steps(1, 2))
    path = tmp_path / f"note.json{SUFFIX}"
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"call": "metrics", "argu')
    assert sync(index, tmp_path) == 1
    again = journaled(index, resumes=True)
    again.metrics(steps(3, 3))
    again.finish()
    sync(index, tmp_path)
    assert [step for step, _ in points(index, run_of(index).info.run_id, "accuracy")] == [1, 2, 3]


def test_what_the_store_did_not_take_is_replayed_again(index, tmp_path):
    whole(index, Path(__file__))
    store = tmp_path / "mlflow.db"
    kept = store.read_bytes()
    with sqlite3.connect(store) as held:
        held.execute("DROP TABLE metrics")
    with pytest.raises(TrackingError):
        sync(index, tmp_path)
    held.close()
    store.write_bytes(kept)
    (tmp_path / "note.json").unlink(missing_ok=True)
    assert sync(index, tmp_path) == 1
    assert len(points(index, run_of(index).info.run_id, "accuracy")) == 3


def test_without_a_store_there_is_no_journal(tmp_path):
    with pytest.raises(TrackingError, match="run 'gainrl tracking init' first"):
        journaled(tmp_path / "tracking.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("uri", "variable", "file"),
    [
        (None, None, True),
        ("sqlite:///results/mlflow.db", None, True),
        ("http://head:5000", None, False),
        ("postgresql://u@head/db", None, False),
        (None, "https://head", False),
        ("http://head:5000", "sqlite:////scratch/mlflow.db", True),
    ],
)
def test_a_server_needs_no_journals(uri, variable, file):
    assert Tracking(uri=uri).is_file(variable) == file


def test_a_second_replay_waits_for_the_first(index, tmp_path):
    file = tmp_path / "steps.jsonl"
    file.write_text("here")
    whole(index, file)
    with open(index.with_name(index.name + LOCK), "a") as first, ThreadPoolExecutor() as pool:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = pool.submit(sync, index, tmp_path)
        with pytest.raises(TimeoutError):
            second.result(0.5)
        assert not (tmp_path / "note.json").exists()
        fcntl.flock(first, fcntl.LOCK_UN)
        assert second.result(60) == 1
    assert run_of(index).data.tags[COMPLETE] == "yes"
