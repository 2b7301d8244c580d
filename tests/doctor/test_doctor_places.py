"""`gainrl doctor` on environments, the tracking store and the hub, which is a server of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from doctored import PAPER, REPOSITORY, TINY, by_name

from gainrl import plan
from gainrl.doctor import needs, places, sources
from gainrl.doctor.check import Check
from gainrl.plan import Layout

# --- environment and store -----------------------------------------------------------------------


def _built(folder: Path, **versions: str) -> None:
    """A pretend environment of verl, with packages of some versions."""
    packages = folder / ".environments" / "verl-auto" / "lib" / "python3.11" / "site-packages"
    for name, version in versions.items():
        info = packages / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (folder / ".environments" / "verl-auto" / "ready").touch()
    (folder / ".environments" / "verl-auto" / "kind").write_text("cuda\n")
    (folder / "envs").mkdir()
    (folder / "envs" / "verl-cuda.txt").write_text("verl==0.9.1\nvllm==0.24.0\ntorch==2.11.0\n")


@pytest.mark.parametrize(("vllm", "status"), [("0.24.0", "ok"), ("0.23.0", "failed")])
def test_versions_of_a_built_environment(tmp_path, monkeypatch, paper, vllm, status):
    monkeypatch.chdir(tmp_path)
    _built(tmp_path, verl="0.9.1", torch="2.11.0+cu130", vllm=vllm)
    (check,) = places.check_environment(paper)
    assert check.status == status
    assert vllm in check.saw


@pytest.mark.parametrize(
    ("environment", "flash", "status", "words"),
    [
        ("auto", "none", "failed", "verl.environment: cuda or cu129"),
        ("cuda", None, "failed", "set FLASH_ATTN"),
        ("cuda", "none", "warning", "Snakemake builds it"),
        ("cpu", None, "warning", "Snakemake builds it"),
    ],
)
def test_an_environment_that_is_not_built(tmp_path, monkeypatch, environment, flash, status, words):
    data = {"extends": str(PAPER), "verl": {"environment": environment}}
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "preset.yaml").write_text(yaml.safe_dump(data))
    found = needs.needs_of(plan.load(tmp_path / "preset.yaml"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("FLASH_ATTN", raising=False)
    if flash:
        monkeypatch.setenv("FLASH_ATTN", flash)
    (check,) = places.check_environment(found)
    assert (check.status, check.name) == (status, "verl")
    assert words in check.do


@pytest.mark.parametrize(
    ("kind", "nodes", "status", "words"),
    [
        ("nfs4", False, "warning", "where its locks do not hold"),
        ("lustre", True, "ok", "from the journals of jobs"),
        ("ext4", True, "ok", "from the journals of jobs"),
    ],
)
def test_sqlite_where_its_locks_do_not_hold_is_for_one_process(
    tmp_path, monkeypatch, programs, kind, nodes, status, words
):
    monkeypatch.setattr(places, "filesystem", lambda _path: kind)
    (check,) = places.check_tracking(None, tmp_path, nodes)
    assert check.status == status
    assert kind in check.saw
    assert words in check.saw


def test_sqlite_on_a_local_disk_is_fine_for_local_jobs(tmp_path, programs):
    (check,) = places.check_tracking(None, tmp_path, nodes=False)
    assert check.status == "ok"


# --- the hub -------------------------------------------------------------------------------------


class _Hub(BaseHTTPRequestHandler):
    """Knows open/model and gated/model, and lets nobody read the second without its token."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(200, {})

    def do_GET(self):
        path = self.path.partition("?")[0]
        allowed = self.headers.get("Authorization") == "Bearer right"
        if path.startswith("/api/models/gated/model") and path.endswith("auth-check"):
            self._answer(200 if allowed else 403, {}, None if allowed else "GatedRepo")
        elif path.startswith(("/api/models/open/model", "/api/models/gated/model")):
            self._answer(200, {"id": "open/model", "gated": "manual", "tags": [], "siblings": []})
        else:
            self._answer(404, {"error": "Repository not found"}, "RepoNotFound")

    def _answer(self, status, content, code=None):
        body = json.dumps(content).encode() if self.command == "GET" else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def ask(folder: Path, endpoint: str, token: str | None = None) -> dict[str, Check]:
    """What a process with an empty cache says of three models."""
    models = {name: {"source": "hub", "id": f"{name}/model"} for name in ("open", "gated", "no")}
    data = yaml.safe_load(Path(TINY).read_text()) | {"extends": str(REPOSITORY / _extends())}
    data["models"] |= models
    (folder / "preset.yaml").write_text(yaml.safe_dump(data))
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hub")}
    environment.pop("HF_TOKEN", None)
    environment.pop("HF_HUB_OFFLINE", None)
    environment |= {"HF_TOKEN": token} if token else {}
    command = [sys.executable, "-m", "gainrl.cli", "doctor", "--json", "--root", str(folder)]
    command += ["--preset", str(folder / "preset.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return by_name(Check(**each) for each in json.loads(done.stdout))


def _extends() -> str:
    return yaml.safe_load(Path(TINY).read_text()).get("extends", "workflow/definitions.yaml")


def test_the_hub_is_asked_for_each_model_and_its_terms(tmp_path, hub):
    found = ask(tmp_path, hub)
    assert "no token" in found["hub"].saw
    assert found["models.open"].status == "ok"
    assert found["models.gated"].status == "failed"
    assert f"{hub}/gated/model" in found["models.gated"].do
    assert "HF_TOKEN" in found["models.gated"].do
    assert "the hub has no no/model" in found["models.no"].saw
    assert ask(tmp_path, hub, token="right")["models.gated"].status == "ok"


def test_a_hub_that_is_out_of_reach_is_said_once(tmp_path):
    found = ask(tmp_path, "http://127.0.0.1:9")
    assert found["hub"].status == "warning"
    assert "snakemake fetch" in found["hub"].do
    assert found["models.open"].status == "failed"
    assert len(found["models.open"].saw) < 80


def test_what_is_in_the_cache_is_not_asked_for(tmp_path):
    home = tmp_path / "hub" / "hub" / "models--open--model"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("abc")
    folder = home / "snapshots" / "abc"
    folder.mkdir(parents=True)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("config.json", "model-1.safetensors"):
        (folder / name).touch()
    assert ask(tmp_path, "http://127.0.0.1:9")["models.open"].status == "failed"  # half of it
    (folder / "model-2.safetensors").touch()
    assert ask(tmp_path, "http://127.0.0.1:9")["models.open"].status == "ok"


def test_local_copies_and_tables_count(tmp_path, monkeypatch, programs):
    preset = plan.load(PAPER)
    copies, layout = tmp_path / "copies", Layout("paper", tmp_path)
    copies.mkdir()
    (copies / "amc_train.parquet").touch()
    monkeypatch.setenv(plan.DATA_DIR, str(copies))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for split in ("train", "eval"):
        layout.split("gsm8k", split).parent.mkdir(parents=True, exist_ok=True)
        layout.split("gsm8k", split).touch()
    found = [each for each in sources._datasets(preset, layout) if isinstance(each, Check)]
    assert {each.name: each.status for each in found} == {
        "datasets.gsm8k": "ok",
        "datasets.amc": "ok",
    }


def test_published_difficulties_are_looked_for_too(tmp_path, monkeypatch, programs):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    preset, layout = plan.load(PAPER), Layout("paper", tmp_path)
    found = {
        each.id
        for each in sources._datasets(preset, layout)
        if isinstance(each, sources.Wanted) and each.name == "datasets.deepscaler"
    }
    assert found == {"agentica-org/DeepScaleR-Preview-Dataset", "lime-nlp/DeepScaleR_Difficulty"}
