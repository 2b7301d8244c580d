"""Experiment tracking against a real SQLite store."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tracking_stores import OTHER, PARENT, TRAIN, client_of, opened, points, set_up, steps

from gainrl.errors import TrackingError
from gainrl.records import read_json
from gainrl.tracking.names import URI, store_uri
from gainrl.tracking.parents import COMPLETE, KIND, initialise, read_index
from gainrl.tracking.record import missing


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv(URI, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A store made once; tests take copies, because making one takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    set_up(folder)
    return folder


@pytest.fixture
def index(fresh, tmp_path):
    """The index of a store of the test's own."""
    content = read_index(fresh / "tracking.json")
    (tmp_path / "mlflow.db").write_bytes((fresh / "mlflow.db").read_bytes())
    content["uri"] = store_uri(None, tmp_path)
    path = tmp_path / "tracking.json"
    path.write_text(json.dumps(content))
    return path


# --- setting up ----------------------------------------------------------------------------------


def test_setting_up_twice_gives_the_same_store(tmp_path):
    index = set_up(tmp_path)
    first = index.read_bytes()
    index.unlink()
    assert set_up(tmp_path).read_bytes() == first
    client, known = client_of(index), read_index(index)
    runs = client.search_runs(list(known["experiments"].values()))
    assert [run.info.run_id for run in runs] == [known["parents"][PARENT]]
    parent = runs[0]
    assert parent.data.tags["gainrl.method"] == "gain"
    assert parent.info.status == "FINISHED"


def test_setting_up_again_keeps_runs_and_adds_what_is_new(index):
    run = opened(index)
    run.metrics(steps(1, 3))
    run.finish()
    before = read_index(index)
    new = {PARENT: (TRAIN, {}), "nano/chain/grpo": ("gainrl/small/table2", {})}
    initialise(before["uri"], index.parent, index, [OTHER, TRAIN, "gainrl/small/table2"], new)
    after = read_index(index)
    assert after["parents"][PARENT] == before["parents"][PARENT]
    assert set(after["parents"]) == set(new)
    assert len(points(index, run.run_id, "accuracy")) == 3


def test_what_the_index_knows_of_the_same_store_is_kept_and_of_another_is_not(index, tmp_path):
    before = read_index(index)
    new = {"nano/chain/grpo": ("gainrl/small/table2", {})}
    initialise(before["uri"], index.parent, index, ["gainrl/small/table2"], new)
    after = read_index(index)
    assert after["parents"].keys() == {PARENT, *new}
    assert after["parents"][PARENT] == before["parents"][PARENT]
    assert after["experiments"].keys() == {OTHER, TRAIN, "gainrl/small/table2"}
    index.write_text(json.dumps({**before, "uri": "http://elsewhere"}))
    initialise(before["uri"], index.parent, index, [OTHER], {})
    assert read_index(index)["parents"] == {}
    assert read_index(index)["experiments"].keys() == {OTHER}


def test_experiments_open_as_training_and_old_ones_are_told_so(index):
    known, client = read_index(index), client_of(index)
    names = known["experiments"]
    assert client.get_experiment(names[TRAIN]).tags[KIND] == "custom_model_development"
    client.delete_experiment_tag(names[TRAIN], KIND)  # as gainrl made them before
    client.set_experiment_tag(names[OTHER], KIND, "genai_development")  # chosen by a user
    initialise(known["uri"], index.parent, index, [OTHER, TRAIN], {})
    assert client.get_experiment(names[TRAIN]).tags[KIND] == "custom_model_development"
    assert client.get_experiment(names[OTHER]).tags[KIND] == "genai_development"


def test_a_deleted_experiment_is_restored(index):
    known = read_index(index)
    client_of(index).delete_experiment(known["experiments"][TRAIN])
    initialise(known["uri"], index.parent, index, [OTHER, TRAIN], {PARENT: (TRAIN, {})})
    opened(index).finish()


def test_the_environment_wins_over_the_preset_and_the_preset_over_sqlite(monkeypatch, tmp_path):
    assert store_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert store_uri("http://there", tmp_path) == "http://there"
    monkeypatch.setenv(URI, "http://elsewhere")
    assert store_uri("http://there", tmp_path) == "http://elsewhere"


def test_a_store_that_cannot_be_made_is_named(tmp_path):
    uri = f"sqlite:///{tmp_path / 'none' / 'mlflow.db'}"
    (tmp_path / "none").touch()  # a file where a folder has to be
    with pytest.raises(TrackingError) as caught:
        initialise(uri, tmp_path, tmp_path / "tracking.json", [TRAIN], {})
    assert str(caught.value).startswith(f"tracking store {uri}: ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "tracking.json").exists()


# --- one run -------------------------------------------------------------------------------------


def test_a_run_is_recorded_with_its_parent_params_points_inputs_and_files(index):
    run = opened(index)
    client = client_of(index)
    assert client.get_run(run.run_id).data.tags[COMPLETE] == "no"
    run.metrics([{"step": 1, "accuracy": 0.5, "note": "text", "none": None}], prefix="eval/chain/")
    run.metrics(steps(1, 4))
    run.tag("gainrl.zero_variance_steps", "2")
    data = index.parent / "train.parquet"
    data.write_bytes(b"rows")
    run.dataset("chain", "0123456789ab", data, 32)
    run.artifact(data)
    run.finish()

    found = client.get_run(run.run_id)
    known = read_index(index)
    assert found.info.experiment_id == known["experiments"][TRAIN]
    assert found.info.status == "FINISHED"
    assert found.data.tags["mlflow.parentRunId"] == known["parents"][PARENT]
    assert found.data.tags[COMPLETE] == "yes"
    assert found.data.tags["gainrl.seed"] == "0"
    assert found.data.tags["gainrl.zero_variance_steps"] == "2"
    assert found.data.params == {"training.lr": "0.0001", "order": "angle"}
    assert set(found.data.metrics) == {"accuracy", "eval/chain/accuracy"}
    assert points(index, run.run_id, "accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    (given,) = found.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("chain", "0123456789ab")
    assert json.loads(given.dataset.source) == {"uri": str(data)}
    assert json.loads(given.dataset.profile) == {"rows": 32}
    assert [item.path for item in client.list_artifacts(run.run_id)] == ["train.parquet"]


def test_more_params_and_points_than_a_batch_takes_and_a_long_value(index):
    params = {f"key{number:03d}": number for number in range(150)}
    run = opened(index, params={**params, "long": "x" * 7000})
    run.metrics([{"step": step, **{f"m{n}": 1.0 for n in range(40)}} for step in range(1, 31)])
    run.finish()
    found = client_of(index).get_run(run.run_id)
    assert len(found.data.params) == 151
    assert len(points(index, run.run_id, "m39")) == 30


def test_a_resumed_run_goes_on_and_records_each_step_once(index):
    first = opened(index)
    first.metrics(steps(1, 4))
    second = opened(index)  # the first was killed
    assert (second.run_id, second.resumed) == (first.run_id, True)
    second.metrics(steps(3, 6))
    second.metrics(steps(5, 7))
    assert [step for step, _ in points(index, first.run_id, "accuracy")] == [1, 2, 3, 4, 5, 6, 7]
    assert client_of(index).get_run(first.run_id).info.status == "RUNNING"
    second.finish()


def test_another_configuration_is_another_run(index):
    first = opened(index)
    second = opened(index, config_hash="def", params={"training.lr": 2e-4})
    assert second.run_id != first.run_id
    assert read_json(index.parent / "note.json")["run_id"] == second.run_id


def test_a_complete_run_that_is_done_again_is_another_run(index):
    first = opened(index)
    first.finish()
    assert opened(index).run_id != first.run_id


def test_a_deleted_run_is_recorded_anew(index):
    first = opened(index)
    client_of(index).delete_run(first.run_id)
    assert opened(index).run_id != first.run_id


def test_a_run_is_recorded_anew_when_the_store_was_replaced(index, fresh):
    first = opened(index)
    first.metrics(steps(1, 2))
    (index.parent / "mlflow.db").write_bytes((fresh / "mlflow.db").read_bytes())
    second = opened(index)
    assert second.run_id != first.run_id
    second.metrics(steps(1, 3))
    second.finish()
    assert missing(second.uri, [("run", index.parent / "note.json", 3)]) == []


# --- what goes wrong -----------------------------------------------------------------------------


def break_store(index: Path) -> None:
    """Replace the database by something that is none."""
    (index.parent / "mlflow.db").unlink()
    (index.parent / "mlflow.db").write_bytes(b"this is not a database" * 100)


def test_a_store_that_fails_in_mid_run_is_logged_at_once_and_raised_at_the_end(index, caplog):
    run = opened(index)
    run.metrics(steps(1, 2))
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = run.client._tracking_client.store
    assert isinstance(store, SqlAlchemyStore)
    store.engine.dispose()  # or the open connection would keep the deleted file
    break_store(index)
    with caplog.at_level(logging.ERROR, logger="gainrl.tracking.record"):
        run.metrics(steps(3, 4))  # training goes on
        run.metrics(steps(5, 6))
        run.tag("x", "y")
        run.artifact(index)
    assert run.failure
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    start = f"tracking store {run.uri}: "
    (said,) = errors  # once, not at every step, and in one line
    assert said.startswith(f"{start}metrics not recorded: ")
    assert "\n" not in said
    with pytest.raises(TrackingError) as caught:
        run.finish()
    lost = "metrics, tag x, tracking.json, its end"
    assert str(caught.value).startswith(f"{start}not recorded: {lost} (")
    assert str(caught.value).endswith("; rerun to record the rest")
    assert "\n" not in str(caught.value)


def test_after_a_failure_a_rerun_records_the_rest(index, monkeypatch):
    run = opened(index)
    run.metrics(steps(1, 2))

    def refuse(*_args, **_kwargs):
        raise OSError("the cable was pulled")

    with monkeypatch.context() as patched:
        patched.setattr(run.client, "log_batch", refuse)
        run.metrics(steps(3, 4))
    with pytest.raises(TrackingError, match="the cable was pulled"):
        run.finish()
    assert client_of(index).get_run(run.run_id).data.tags[COMPLETE] == "no"
    again = opened(index)
    assert again.run_id == run.run_id
    again.metrics(steps(1, 4))
    again.finish()
    assert missing(again.uri, [("run", index.parent / "note.json", 4)]) == []


def test_a_file_that_is_not_there_is_not_recorded_silently(index):
    run = opened(index)
    run.artifact(index.parent / "none.json")
    with pytest.raises(TrackingError, match=r"none\.json"):
        run.finish()


def test_what_a_store_refuses_is_named_and_all_else_recorded(index):
    run = opened(index)
    run.dataset("x" * 1000, "0123456789ab", index, 32)  # a longer name than MLflow takes
    run.metrics(steps(1, 4))
    with pytest.raises(TrackingError) as caught:
        run.finish()
    assert str(caught.value).startswith(f"tracking store {run.uri}: not recorded: data set xxx")
    assert "\n" not in str(caught.value)
    assert len(points(index, run.run_id, "accuracy")) == 4
    found = client_of(index).get_run(run.run_id)
    assert (found.info.status, found.data.tags[COMPLETE]) == ("FINISHED", "no")
    again = opened(index)
    again.finish()
    assert again.run_id == run.run_id


def test_work_that_goes_on_from_its_end_keeps_its_record(index):
    run = opened(index)
    run.metrics(steps(1, 4))
    run.finish()
    again = opened(index, resumes=True)
    again.metrics(steps(1, 4))
    again.finish()
    assert again.run_id == run.run_id
    assert len(points(index, run.run_id, "accuracy")) == 4


@pytest.fixture
def dead_server():
    """The address of a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_server_that_is_down_is_named(index, dead_server):
    content = read_index(index)
    index.write_text(json.dumps({**content, "uri": dead_server}))
    with pytest.raises(TrackingError) as caught:
        opened(index)
    assert str(caught.value).startswith(f"tracking store {dead_server}: ")
    with pytest.raises(TrackingError) as caught:
        initialise(dead_server, index.parent, index, [TRAIN], {})
    assert str(caught.value).startswith(f"tracking store {dead_server}: ")
    assert "\n" not in str(caught.value)


def test_a_password_in_the_address_of_a_server_is_not_said(index, dead_server):
    uri = dead_server.replace("//", "//me:secret@")
    with pytest.raises(TrackingError, match=f"tracking store {dead_server}: ") as caught:
        initialise(uri, index.parent, index, [TRAIN], {})
    assert "secret" not in str(caught.value)


def test_a_server_that_goes_down_in_mid_run(index, dead_server, caplog):
    run = opened(index)
    run.client = MlflowClient(tracking_uri=dead_server)
    with caplog.at_level(logging.ERROR, logger="gainrl.tracking.record"):
        run.metrics(steps(1, 2))
    assert f"tracking store {run.uri}: metrics not recorded: " in caplog.text
    with pytest.raises(TrackingError):
        run.finish()


def test_another_store_in_the_environment_is_a_clear_error(index, monkeypatch):
    monkeypatch.setenv(URI, "http://elsewhere")
    with pytest.raises(TrackingError) as caught:
        opened(index)
    message = str(caught.value)
    assert message.startswith(f"{index}: tracking was set up at sqlite:///")
    assert f"{URI} is http://elsewhere" in message
    assert "delete this file" in message


def test_a_parent_or_experiment_that_the_index_lacks(index):
    init = "run 'gainrl tracking init'"
    with pytest.raises(TrackingError, match=f"knows no 'nano/chain/new'; {init}"):
        opened(index, parent="nano/chain/new")
    with pytest.raises(TrackingError, match=f"knows no 'gainrl/small/new'; {init}"):
        opened(index, experiment="gainrl/small/new")


# --- the check -----------------------------------------------------------------------------------


def test_the_check_names_each_thing_that_the_store_lacks(index, fresh):
    folder = index.parent
    whole = opened(index, "whole.json")
    whole.metrics(steps(1, 4))
    whole.finish()
    opened(index, "open.json").metrics(steps(1, 4))
    gap = opened(index, "gap.json")
    gap.metrics([*steps(1, 1), *steps(4, 4)])
    gap.finish()
    notes = [(n, folder / f"{n}.json", 4) for n in ("whole", "open", "gap", "never")]
    problems = missing(whole.uri, notes)
    ids = {n: read_json(folder / f"{n}.json")["run_id"] for n in ("open", "gap")}
    assert problems == [
        f"open: run {ids['open']} is not marked complete",
        f"gap: run {ids['gap']} lacks 2 steps, first 2",
        f"never: never tracked ({folder / 'never.json'} is missing)",
    ]
    (folder / "mlflow.db").write_bytes((fresh / "mlflow.db").read_bytes())
    (line,) = missing(store_uri(None, folder), notes[:1])
    assert line.startswith("whole: ")
    assert whole.run_id in line


def test_a_deleted_run_is_missing(index):
    run = opened(index)
    run.finish()
    client_of(index).delete_run(run.run_id)
    (line,) = missing(run.uri, [("run", index.parent / "note.json", None)])
    assert "deleted" in line
