"""`gainrl doctor`: for real on this machine, and with programs that say what machines say.

nvidia-smi, sinfo, sacct, sacctmgr and srun are scripts here (this machine has no GPUs and no
cluster); the hub is a server of our own. tests/slurm has the same on a real SLURM.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from gainrl import cli, plan
from gainrl.doctor import cluster, machine, needs, places, sources
from gainrl.doctor.check import Check, at_least, size
from gainrl.plan import Layout

REPOSITORY = Path(__file__).resolve().parents[2]
PAPER = str(REPOSITORY / "experiments" / "paper.yaml")
TINY = str(REPOSITORY / "experiments" / "tiny.yaml")
A100 = "NVIDIA A100-SXM4-80GB, 81920, 580.95.05\n"
SINFO = "main*|up|4|32|256000|(null)|1-00:00:00\ngpu|up|16|128|1031000|gpu:a100:8(S:0-1)|infinite\n"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Puts programs on PATH that print a text and end with a status."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    for variable in ("SLURM_JOB_ID", "TMUX", "STY", "MLFLOW_TRACKING_URI", "GAINRL_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)

    def put(name: str, text: str, status: int = 0) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{text.strip()}\nEND\nexit {status}\n")
        path.chmod(0o755)

    return put


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    return needs.needs_of(plan.load(PAPER))


def by_name(checks) -> dict[str, Check]:
    return {each.name: each for each in checks}


# --- the command ---------------------------------------------------------------------------------


def test_this_machine_is_looked_at_and_a_line_is_a_check(capsys, tmp_path, programs):
    programs("nvidia-smi", "no devices", 9)
    assert cli.main(["doctor", "--root", str(tmp_path)]) in (0, 1)
    *lines, last = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warning", "failed"}
    names = [line.split(None, 1)[1].partition(":")[0] for line in lines]
    assert names[:3] == ["GPUs", "cores", "host memory"]
    assert {"open files", "sandbox", "disk", "tracking"} <= set(names)
    failures = sum(line.startswith("failed") for line in lines)
    assert last.startswith(f"{failures} failed, ")


def test_a_preset_that_this_machine_cannot_run_ends_with_1_and_an_error_with_2(
    capsys, tmp_path, programs, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    programs("nvidia-smi", "no devices", 9)
    monkeypatch.chdir(REPOSITORY)
    assert cli.main(["doctor", "--preset", PAPER, "--root", str(tmp_path), "--json"]) == 1
    found = by_name(Check(**each) for each in json.loads(capsys.readouterr().out))
    assert found["GPUs"].status == "failed"
    assert found["models.llama-3.2-1b"].status == "failed"
    assert all(each.do for each in found.values() if each.status != "ok")
    assert cli.main(["doctor", "--preset", "nowhere.yaml"]) == 2


def test_a_local_preset_asks_for_nothing(tmp_path, programs):
    programs("nvidia-smi", "no devices", 9)
    found = by_name(list(_examine(TINY, tmp_path)))
    assert "/dev/shm" not in found
    assert found["GPUs"].status == "ok"
    assert "no devices" in found["GPUs"].saw


def _examine(source, root, **more):
    from gainrl.doctor.make import examine

    return examine(source, root, **more)


def test_a_job_looks_at_its_machine_alone(tmp_path, programs, monkeypatch):
    programs("nvidia-smi", A100)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # a server of the login node
    monkeypatch.chdir(REPOSITORY)
    found = by_name(_examine(PAPER, tmp_path))
    assert "1 x NVIDIA A100-SXM4-80GB" in found["GPUs"].saw
    assert found["GPUs"].status == "ok"  # it was given one of the node's eight
    assert {"sandbox", "network"} <= set(found)
    assert found["tracking"].status == "failed"  # nodes have to reach it
    assert not {"disk", "hub"} & set(found)


# --- GPUs ----------------------------------------------------------------------------------------


def with_environment(paper, kind):
    verl = paper.preset.verl.model_copy(update={"environment": kind})
    return replace(paper, preset=paper.preset.model_copy(update={"verl": verl}))


def test_eight_gpus_of_80_gb_do_for_the_paper(programs, paper):
    programs("nvidia-smi", 8 * A100)
    found = by_name(machine.check_gpus(with_environment(paper, "cuda")))
    assert {each.status for each in found.values()} == {"ok"}
    assert "CUDA 13.0" in found["driver"].saw
    assert len(found) == 2 + len(paper.jobs) == 7


def test_an_old_driver_is_told_what_the_environment_needs(programs, paper):
    programs("nvidia-smi", A100.replace("580.95.05", "550.54.15"))
    found = by_name(machine.check_gpus(with_environment(paper, "cuda")))
    assert found["driver"].status == "failed"
    assert "580 or newer" in found["driver"].do
    assert found["GPUs"].status == "failed"
    assert "verl.gpus_per_node to 1" in found["GPUs"].do


@pytest.mark.parametrize("kind", ["auto", "cu129"])
def test_a_driver_of_cuda_12_does_for_its_environment(programs, paper, kind):
    programs("nvidia-smi", A100.replace("580.95.05", "550.54.15"))
    driver = by_name(machine.check_gpus(with_environment(paper, kind)))["driver"]
    assert (driver.status, "CUDA 12.9" in driver.saw) == ("ok", True)


@pytest.mark.parametrize(
    ("memory", "words"),
    [(10, "even with offloading"), (40, "set verl.gpu_memory_gib to 40: it says 80")],
)
def test_memory_that_is_too_small_says_what_helps(memory, words, paper):
    job = next(each for each in paper.jobs if each.model == "qwen2.5-math-7b")
    check = machine._memory(memory << 30, job, paper)
    assert check.status == "failed"
    assert words in check.do


def test_memory_is_counted_as_the_runs_settings_are(paper):
    job = next(each for each in paper.jobs if each.model == "qwen2.5-math-7b")
    check = machine._memory(int(79.6 * 2**30), job, paper)
    assert check.status == "ok"
    assert "tokens, weights and moments" in check.saw


def test_an_unreadable_nvidia_smi_is_a_failure_where_gpus_are_needed(programs, paper):
    programs("nvidia-smi", "Failed to initialize NVML: Driver/library version mismatch", 18)
    (check,) = machine.check_gpus(paper)
    assert check.status == "failed"
    assert "NVML" in check.saw


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("nvidia-cuda-runtime==13.0.96\n", (13, 0)),
        ("torch==2.1\nnvidia-cuda-runtime-cu12==12.9.79\n", (12, 9)),
        ("torch==2.13.0\n", None),
    ],
)
def test_the_cuda_version_of_a_list(tmp_path, text, version):
    (tmp_path / "list.txt").write_text(text)
    assert needs.cuda_of(tmp_path / "list.txt") == version


# --- the rest of the machine ---------------------------------------------------------------------


def test_bounds():
    assert [at_least("x", "", have, (2, 5), "help").status for have in (1, 2, 4, 5)] == [
        "failed",
        "warning",
        "warning",
        "ok",
    ]
    assert [size(each) for each in (5, 1536, 3 << 30, 5000 << 30)] == [
        "5 B",
        "1.5 KiB",
        "3.0 GiB",
        "5,000 GiB",
    ]


def test_a_full_disk_fails(tmp_path, paper, monkeypatch):
    one, everything = paper.disk
    assert one < everything
    for free, status in ((one - 1, "failed"), (one, "warning"), (everything, "ok")):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _path, usage=usage: usage)
        (check,) = machine.check_disk(tmp_path / "results" / "deep", paper)
        assert check.status == status


def test_few_open_files_are_a_warning():
    code = "import resource\nfrom gainrl.doctor import machine\n"
    code += "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))\n"
    code += "print(*machine.check_files())\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("warning  open files: 1,024 (may be raised to 4,096); ")


@pytest.mark.parametrize(("unsafe", "status"), [(False, "failed"), (True, "warning")])
def test_a_place_without_namespaces(unsafe, status):
    """In a user namespace that may make none of its own, and without bwrap, as in containers."""
    code = "from gainrl.doctor import machine\n"
    code += f"print(*machine.check_sandbox({unsafe}))\n"
    limits = "".join(f"echo 0 > /proc/sys/user/max_{kind}_namespaces; " for kind in ("user", "mnt"))
    python = shlex.join([sys.executable, "-c", code])
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", f"{limits}PATH= exec {python}"]
    if subprocess.run([*command[:3], "true"], check=False).returncode:
        pytest.skip("this machine makes no user namespaces either")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"{status:<7}  sandbox: "), (done.stdout, done.stderr)
    assert "docs/evaluation.md" in done.stdout


def test_tmpdir_that_is_no_folder(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/nowhere/at/all")
    (check,) = machine.check_scratch(None)
    assert check.status == "failed"


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


@pytest.mark.parametrize(("kind", "nodes"), [("nfs4", False), ("lustre", True), ("ext4", True)])
def test_sqlite_where_several_machines_write_is_a_warning(
    tmp_path, monkeypatch, programs, kind, nodes
):
    monkeypatch.setattr(places, "filesystem", lambda _path: kind)
    (check,) = places.check_tracking(None, tmp_path, nodes)
    assert check.status == "warning"
    assert kind in check.saw


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


# --- the cluster ---------------------------------------------------------------------------------


@pytest.fixture
def profile(tmp_path):
    """The repository's profile, with choices of a user."""

    def write(**choices) -> Path:
        text = (REPOSITORY / "slurm" / "config.yaml").read_text()
        data = yaml.safe_load(text)
        data["site"] |= {"gpu_partition": "gpu", "cpu_partition": "main", **choices}
        data |= choices.pop("settings", {})
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(data))
        return tmp_path

    return write


def test_a_cluster_that_fits(programs, profile, paper):
    programs("sinfo", SINFO)
    programs("sacct", "")
    programs("sacctmgr", "physics\nchemistry\n")
    found = by_name(cluster.check_cluster(profile(account="physics"), paper))
    assert {each.status for each in found.values()} == {"ok"}
    assert list(found) == [
        "CPU partition",
        "GPU partition",
        "training job",
        "account",
        "job states",
    ]


@pytest.mark.parametrize(
    ("choices", "name", "words"),
    [
        ({"gpu_partition": "gpus"}, "GPU partition", "did you mean 'gpu'?"),
        ({"gpu_model": "h100"}, "training job", "site.gpu_model is h100, nodes have gpu:a100:8"),
        ({"train_cpus": 200}, "training job", "train_cpus 200 of 128"),
        ({"train_mem_mb": 2_000_000}, "training job", "train_mem_mb 2,000,000 of 1,031,000"),
        ({"account": "physic"}, "account", "did you mean 'physics'?"),
    ],
)
def test_what_does_not_fit_is_named(programs, profile, paper, choices, name, words):
    programs("sinfo", SINFO)
    programs("sacct", "")
    programs("sacctmgr", "physics\n")
    check = by_name(cluster.check_cluster(profile(**choices), paper))[name]
    assert check.status == "failed"
    assert words in check.saw
    assert "config.yaml" in check.do


def test_without_accounting_squeue_has_to_be_named(programs, profile, paper):
    programs("sinfo", SINFO)
    programs("sacct", "Slurm accounting storage is disabled", 1)
    programs("sacctmgr", "You are not running a supported accounting_storage plugin", 1)
    found = by_name(cluster.check_cluster(profile(), paper))
    assert found["job states"].status == "failed"
    assert "slurm-status-command: squeue" in found["job states"].do
    assert found["account"].status == "ok"
    told = profile(settings={"slurm-status-command": "squeue"})
    assert by_name(cluster.check_cluster(told, paper))["job states"].status == "ok"


def test_a_time_limit_below_the_jobs(programs, profile, paper):
    programs("sinfo", SINFO.replace("infinite", "12:00:00"))
    programs("sacct", "")
    programs("sacctmgr", "")
    check = by_name(cluster.check_cluster(profile(), paper))["training job"]
    assert "train_minutes 1,440 of 720" in check.saw


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("infinite", None), ("30:00", 30), ("12:00:00", 720), ("2-00:30:00", 2910)],
)
def test_time_limits(limit, expected):
    assert cluster.minutes(limit) == expected


def test_no_cluster_is_one_failure(programs, profile, paper):
    programs("sinfo", "sinfo: fatal: Could not establish a configuration source", 1)
    (check,) = cluster.check_cluster(profile(), paper)
    assert check.status == "failed"
    assert "login node" in check.do


def test_a_node_is_looked_at_by_this_program_in_a_job(programs, profile, tmp_path):
    seen = [{"name": "driver", "status": "failed", "saw": "550", "do": "renew it"}]
    programs("srun", json.dumps(seen), 1)  # the program's own exit code when a check failed
    (check,) = cluster.check_node(profile(), None, tmp_path)
    assert (check.name, check.status) == ("node, driver", "failed")
    programs("srun", "srun: error: Unable to allocate resources: busy", 2)
    (check,) = cluster.check_node(profile(), None, tmp_path)
    assert check.status == "failed"
    assert "busy" in check.saw


def test_a_node_is_looked_at_in_the_container_of_the_jobs(programs, profile, tmp_path):
    choices = {"software-deployment-method": "apptainer", "apptainer-args": "--nv --bind /a"}
    folder = profile(settings=choices)
    container = cluster.container_of(folder)
    (check,) = cluster.check_container(container)
    assert check.status == "failed"
    assert "gainrl.sif" in check.saw
    (folder / "gainrl.sif").touch()
    programs("apptainer", "")
    (check,) = cluster.check_container(container)
    assert check.status == "ok"
    (tmp_path / "programs" / "srun").write_text('#!/bin/sh\necho "$@" >&2\nexit 3\n')
    (tmp_path / "programs" / "srun").chmod(0o755)
    (check,) = cluster.check_node(folder, "p.yaml", tmp_path)
    image = f"--nv --bind /a {folder}/gainrl.sif gainrl doctor --json"
    assert image in check.saw
    assert "--preset=p.yaml" in check.saw
    assert list(cluster.check_container(cluster.container_of(profile()))) == []
