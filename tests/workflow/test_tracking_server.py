"""An MLflow server that dies in the middle of a run, and the rerun that mends the record."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest
from mlflow import MlflowClient
from stage_calls import CHAIN, NANO, PRESET, Place

from gainrl.records import append_lines, read_json, read_lines
from gainrl.stages import runs
from gainrl.tracking.names import URI
from gainrl.tracking.parents import COMPLETE, read_index

STEPS = 4
SIZES = {"training": {**PRESET["training"], "steps": STEPS}, "evaluation": {"every": 1}}
TRAIN = ("train", *NANO, *CHAIN, "--method", "grpo", "--seed", "0")
RUN = Path("runs/nano/chain/grpo/seed0")


class Server:
    """`mlflow server` over one store, on a port of its own, for five minutes at most."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        store = f"sqlite:///{self.folder / 'server.db'}"
        command = ["timeout", "300", sys.executable, "-m", "mlflow", "server"]
        command += ["--backend-store-uri", store, "--host", "127.0.0.1", "--workers", "1"]
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)],
                cwd=self.folder,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # starts faster
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ends = time.monotonic() + 180
        while not self._answers():
            said = (self.folder / "server.log").read_text()
            assert self.process.poll() is None, said
            assert time.monotonic() < ends, said
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return answer.status == 200
        except (URLError, OSError):
            return False

    def kill(self) -> None:
        """The server and its workers: they are a process group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)


@pytest.fixture(scope="module")
def server(made, tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("server"))
    shutil.copy(made / "results" / "mlflow.db", started.folder / "server.db")
    started.start()
    yield started
    started.kill()


@pytest.fixture
def tracked(ready, server, monkeypatch):
    """A place that is ready to train and records at the server."""
    monkeypatch.setenv(URI, server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    (ready.home / "tracking.json").unlink()
    for stage in (("tracking", "init"), ("evaluate", *NANO, "--benchmark", "chain")):
        ready.succeed(*stage, **SIZES)
    return ready


def record(place: Place) -> dict:
    """All that the store has of the run that the folder names, but what differs by attempt."""
    client = MlflowClient(tracking_uri=read_index(place.home / "tracking.json")["uri"])
    run = client.get_run(read_json(place.home / RUN / "tracking.json")["run_id"])
    curves = {
        key: sorted((at.step, at.value) for at in client.get_metric_history(run.info.run_id, key))
        for key in run.data.metrics
    }
    files = sorted(item.path for item in client.list_artifacts(run.info.run_id))
    inputs = [(each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs]
    tags = {key: value for key, value in run.data.tags.items() if key.startswith("gainrl.")}
    return {
        "status": run.info.status,
        "tags": tags,
        "params": run.data.params,
        "curves": curves,
        "files": files,
        "inputs": inputs,
    }


def test_a_server_that_dies_in_mid_run(tracked, server, tmp_path, monkeypatch, caplog):
    whole = Place(tmp_path / "whole", tracked.capture)
    shutil.copytree(tracked.root, whole.root)
    whole.succeed(*TRAIN, **SIZES)

    def append(path, rows):
        append_lines(path, rows)
        if Path(path).name == "steps.jsonl" and list(rows)[-1]["step"] == 2:
            server.kill()

    with monkeypatch.context() as patched:
        patched.setattr(runs, "append_lines", append)
        died = tracked.gainrl(*TRAIN, **SIZES)
    assert died.code == 2
    assert f"step {STEPS}/{STEPS}" in died.out  # it went on
    (noticed,) = caplog.messages  # at once, and once
    last = died.message
    assert f"tracking store {server.uri}: metrics" in noticed
    assert noticed.endswith("; the run goes on and will fail at its end")
    assert last.startswith(f"tracking store {server.uri}: not recorded: metrics")
    assert "steps.jsonl, eval.jsonl, run.json" in last
    assert last.endswith("; rerun to record the rest")
    folder = tracked.home / RUN
    results = ("steps.jsonl", "eval.jsonl", "timing.jsonl", "model/model.safetensors")
    before = {name: (folder / name).read_bytes() for name in results}
    assert not (folder / "done.json").exists()

    again = tracked.gainrl(*TRAIN, **SIZES)  # the server is still gone: said before anything else
    assert again.message.startswith(f"tracking store {server.uri}: ")
    assert {name: (folder / name).read_bytes() for name in results} == before

    server.start()
    mended = tracked.gainrl(*TRAIN, **SIZES)
    assert (mended.code, mended.err) == (0, "")
    assert f"going on from step {STEPS}" in mended.out
    assert f"step {STEPS}/{STEPS}" not in mended.out  # nothing was trained again
    assert {name: (folder / name).read_bytes() for name in results} == before
    found = record(tracked)
    assert found["tags"][COMPLETE] == "yes"
    assert [step for step, _ in found["curves"]["accuracy"]] == list(range(1, STEPS + 1))
    assert len(found["curves"]["eval/chain/accuracy"]) == len(read_lines(folder / "eval.jsonl"))
    assert found == record(whole)
    assert tracked.gainrl("tracking", "check", **SIZES).code == 0
