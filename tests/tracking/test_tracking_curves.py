"""Curves read back from an MLflow store: gainrl's own runs and others'."""

from __future__ import annotations

import pytest
from tracking_stores import OTHER, PARENT, TRAIN, client_of, opened, set_up

from gainrl.compare import read_curves
from gainrl.errors import TrackingError
from gainrl.tracking.curves import read_logs
from gainrl.tracking.parents import read_index


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a run of gainrl's own, and one that somebody else wrote."""
    index = set_up(tmp_path_factory.mktemp("store"))
    place = {"model": "nano", "dataset": "chain", "method": "gain", "seed": "0"}
    run = opened(index, tags={f"gainrl.{key}": value for key, value in place.items()})
    run.metrics([{"step": step, "rollout_tokens": 100.0} for step in range(1, 5)])
    run.metrics([{"step": 0, "accuracy": 0.25}, {"step": 4, "accuracy": 0.5}], "eval/chain/")
    run.finish()
    table = opened(index, "table.json", experiment=OTHER, name="table1", parent=None)
    table.summary(PARENT, [{"step": 4, "eval/chain/accuracy": 0.4}], {})
    table.finish()
    client = client_of(index)
    theirs = client.create_experiment("theirs")
    for name, parameters in (("mopps-seed3", {}), ("happy-fox", {"method": "gain", "seed": "1"})):
        made = client.create_run(theirs, run_name=name)
        for key, value in parameters.items():
            client.log_param(made.info.run_id, key, value)
        for step, value in ((0, 0.1), (10, 0.2), (10, 0.3)):
            client.log_metric(made.info.run_id, "acc", value, step=step, timestamp=int(value * 10))
    return read_index(index)["uri"]


def test_gainrls_own_runs_say_their_task_and_their_tokens(store):
    logs = read_logs(TRAIN, store)
    (curve,) = read_curves([], logged=logs, metric="eval/chain/accuracy")
    assert (curve.method, curve.seed, curve.task) == ("gain", 0, "nano/chain")
    assert curve.tokens.tolist() == [0, 400]
    assert curve.accuracies.tolist() == [0.25, 0.5]


def test_other_runs_say_method_and_seed_by_parameters_or_by_name(store):
    curves = read_curves([], logged=read_logs("theirs", store), metric="acc")
    assert {(each.method, each.seed) for each in curves} == {("mopps", 3), ("gain", 1)}
    assert all(each.accuracies.tolist() == [0.1, 0.3] for each in curves)


def test_a_missing_experiment_or_store_is_said(store, monkeypatch):
    with pytest.raises(TrackingError, match=r"no experiment 'thiers'; did you mean 'theirs'\?"):
        read_logs("thiers", store)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match="set MLFLOW_TRACKING_URI to the store"):
        read_logs("theirs")
