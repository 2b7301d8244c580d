"""The cluster profile on a real SLURM with pretend GPUs (cluster.sh): `pytest -m slurm`."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slurm

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "verl"))
import place as places  # noqa: E402

from gainrl.records import read_lines  # noqa: E402

CLUSTER = Path(__file__).with_name("cluster.sh")
START_SECONDS, STOP_SECONDS = 420, 60
# What the profile leaves to its users: this cluster has no accounting, and tests do not wait for
# a network file system.
FLAGS = (
    "--slurm-status-command=squeue",
    "--slurm-init-seconds-before-status-checks=2",
    "--latency-wait=10",
)


def _why_not() -> str | None:
    if os.name != "posix" or os.geteuid() != 0:
        return "needs root, to start SLURM's daemons"
    programs = ("slurmctld", "slurmd", "munged", "sbatch", "srun")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if all(shutil.which(program, path=path) for program in programs):
        return None
    if not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        return "SLURM is not installed, and only Debian's apt-get is known here to install it"
    # Lists may be old or empty on a fresh machine; without a network neither command helps.
    subprocess.run(["apt-get", "-q", "update"], capture_output=True, timeout=120, check=False)
    command = ["apt-get", "-q", "-s", "install", "slurmctld", "slurmd", "munge", "slurm-client"]
    trial = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return f"apt-get cannot install SLURM: {trial.stderr.strip()}" if trial.returncode else None


def _run(
    command: list[str], seconds: float, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command; at the time limit interrupt it, so that Snakemake cancels its jobs."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            log.seek(0)
            pytest.fail(f"{command[0]} ran past {seconds} s:\n{log.read()[-8000:]}")
        except BaseException:  # an interrupt, or pytest-timeout
            _end(process)
            raise
        log.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, log.read())


def _end(process: subprocess.Popen[bytes]) -> None:
    # Its own session: the group is the process and what it started, and nothing of ours.
    for number, grace in ((signal.SIGINT, 20), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, str]]:
    """The environment of a user of the cluster; the cluster ends with the session."""
    with _pretend(1) as environment:
        yield environment


@contextlib.contextmanager
def _pretend(nodes: int, gpu_model: str = "a100") -> Iterator[dict[str, str]]:
    if reason := _why_not():
        pytest.skip(reason)
    shape = {**os.environ, "NODES": str(nodes), "GPU_MODEL": gpu_model}
    # A socket's path must be short, which pytest's folders are not.
    folder = Path(tempfile.mkdtemp(prefix="gainrl-slurm-", dir="/tmp"))
    try:
        started = _run([str(CLUSTER), "start", str(folder)], START_SECONDS, env=shape)
        assert started.returncode == 0, started.stdout
        yield {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.pathsep.join(
                (str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
            ),
        }
    finally:
        stopped = _run([str(CLUSTER), "stop", str(folder)], STOP_SECONDS, env=shape)
        assert stopped.returncode == 0, stopped.stdout
        shutil.rmtree(folder)


def _snakemake(cluster: dict[str, str], folder: Path, *arguments: str, seconds: float = 150) -> str:
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *FLAGS, *arguments]
    done = _run(command, seconds, cwd=folder, env=cluster)
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def _edit(folder: Path, **choices: str) -> None:
    """Copy the profile and fill in its block as a user does."""
    text = (REPOSITORY / "slurm" / "config.yaml").read_text()
    for key, value in choices.items():
        text, count = re.subn(rf"(?m)^(  {key}: &{key}) \S+", rf"\1 {value}", text)
        assert count == 1, f"the profile has no '{key}' to edit"
    (folder / "slurm").mkdir(exist_ok=True)
    (folder / "slurm" / "config.yaml").write_text(text)
    (folder / "experiments").mkdir(exist_ok=True)  # the profile names the paper's preset
    shutil.copy(REPOSITORY / "experiments" / "paper.yaml", folder / "experiments")


def _copy(folder: Path) -> Path:
    """The repository without what its .gitignore names, so that results/ there stays as it is."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "mlruns", "results")
    return Path(shutil.copytree(REPOSITORY, folder / "copy", ignore=ignored))


def _job(path: Path) -> dict[str, str]:
    """What `scontrol show job` printed, by name."""
    found = dict(item.split("=", 1) for item in path.read_text().split() if "=" in item)
    size, unit = found["MinMemoryNode"][:-1], found["MinMemoryNode"][-1]
    return {**found, "memory": f"{float(size) * {'M': 1, 'G': 1024}[unit]:.0f}"}


KINDS = """
include: "kinds.smk"
rule all:
    input: expand("{kind}.txt", kind=["cpu", "gpu", "training"])
rule cpu_job:
    output: "cpu.txt"
    resources: **needs("cpu")
    shell: "sh show.sh cpu && mv cpu.2 {output}"
rule gpu_job:
    output: "gpu.txt"
    resources: **needs("gpu")
    shell: "sh show.sh gpu && mv gpu.2 {output}"
rule run:
    output: "training.txt"
    resources: **needs("training", gpu=lambda w: 8, nodes=1)
    shell: "sh show.sh training && mv training.2 {output}"
"""
SHOW = """
# What SLURM gave to a job of a kind; its first attempt fails.
test -e $1.1 && attempt=2 || attempt=1
scontrol show job $SLURM_JOB_ID > $1.$attempt
echo Visible=$CUDA_VISIBLE_DEVICES >> $1.$attempt
test $attempt = 2
"""


def _kinds(cluster: dict[str, str], folder: Path) -> dict[str, list[dict[str, str]]]:
    """What the first and the second attempt of a job of each kind got."""
    shutil.copy(REPOSITORY / "rules" / "kinds.smk", folder)
    (folder / "Snakefile").write_text(KINDS)
    (folder / "show.sh").write_text(SHOW)
    _snakemake(cluster, folder)
    kinds = ("cpu", "gpu", "training")
    return {each: [_job(folder / f"{each}.1"), _job(folder / f"{each}.txt")] for each in kinds}


def test_each_kind_of_job_gets_what_the_profile_says_and_a_retry_more(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    _edit(
        tmp_path,
        gpu_partition="gpu",
        account="project",
        train_minutes="90",
        train_mem_mb="700000",
        max_minutes="300",
    )
    got = _kinds(cluster, tmp_path)

    def of(kind: str, *keys: str) -> list[tuple[str, ...]]:
        return [tuple(attempt[key] for key in keys) for attempt in got[kind]]

    limits = ("TimeLimit", "memory")
    assert of("cpu", *limits) == [("02:00:00", "16000"), ("04:00:00", "32000")]
    assert of("gpu", *limits) == [("04:00:00", "64000"), ("05:00:00", "128000")]
    assert of("training", *limits) == [("01:30:00", "700000"), ("03:00:00", "1000000")]
    assert of("cpu", "Partition", "Account", "CPUs/Task") == [("main", "project", "8")] * 2
    assert of("gpu", "Partition", "Account", "CPUs/Task") == [("gpu", "project", "8")] * 2
    assert of("training", "Partition", "Account", "CPUs/Task") == [("gpu", "project", "64")] * 2
    assert all("TresPerJob" not in attempt for attempt in got["cpu"])
    assert of("gpu", "TresPerJob") == [("gres:gpu:a100:1",)] * 2
    assert of("training", "TresPerJob", "Requeue") == [("gres:gpu:a100:8", "1")] * 2
    assert of("training", "Visible") == [("0,1,2,3,4,5,6,7",)] * 2

    doctor = [sys.executable, "-m", "gainrl.cli", "doctor", "--profile=slurm", "--node", "--json"]
    done = _run([*doctor, f"--root={tmp_path}"], 120, cwd=tmp_path, env=cluster)
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert (done.returncode, found["job states"]["status"]) == (1, "failed")  # no accounting
    assert "slurm-status-command: squeue" in found["job states"]["do"]
    assert found["GPU partition"]["saw"] == "gpu, 1 nodes"
    assert {"node, GPUs", "node, host memory", "node, open files"} <= set(found)


def test_gpus_whose_model_has_a_hyphen(tmp_path: Path) -> None:
    _edit(tmp_path, gpu_model="a100-sxm4-80gb")
    with _pretend(1, "a100-sxm4-80gb") as cluster:
        got = _kinds(cluster, tmp_path)
    for gpus, kind in ((1, "gpu"), (8, "training")):
        first, second = got[kind]
        assert first["TresPerNode"] == second["TresPerNode"] == f"gres:gpu:a100-sxm4-80gb:{gpus}"
        assert second["Visible"] == ",".join(map(str, range(gpus)))


def test_a_failed_job_is_submitted_again(cluster: dict[str, str], tmp_path: Path) -> None:
    _edit(tmp_path)  # as shipped: without partition and account the cluster's defaults hold
    (tmp_path / "Snakefile").write_text(
        """
rule train:
    output: "done.txt"
    log: "train.log"
    params: kept="kept"
    shell:
        "echo words of $SLURM_JOB_ID > {log}; "
        "mkdir -p {params.kept}; echo $SLURM_JOB_ID >> {params.kept}/jobs; "
        "test $(wc -l < {params.kept}/jobs) -eq 2; cp {params.kept}/jobs {output}"
"""
    )
    log = _snakemake(cluster, tmp_path)
    first, second = (tmp_path / "done.txt").read_text().split()
    assert first != second
    assert "Trying to restart job" in log
    assert (tmp_path / "train.log").read_text() == f"words of {second}\n"
    (kept,) = (tmp_path / ".snakemake" / "log").glob("*.log")
    assert f"words of {first}\n" in kept.read_text()  # what the first attempt wrote to its log
    assert (tmp_path / ".snakemake" / "slurm_logs" / "rule_train" / f"{first}.log").exists()


@pytest.mark.timeout(1800)
def test_a_rehearsal_of_the_pipeline_passes(cluster: dict[str, str], tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    preset = yaml.safe_load((folder / "experiments" / "tiny.yaml").read_text())
    preset["experiments"] = {"table1": preset["experiments"]["table1"]}
    preset["claims"] = {"overhead": preset["claims"]["overhead"]}
    del preset["studies"], preset["linearity"]
    (folder / "few.yaml").write_text(yaml.safe_dump(preset, sort_keys=False))
    # The node claims more processors than there are, so the number of jobs is what holds it back.
    _snakemake(
        cluster,
        folder,
        "--jobs=2",
        "--retries=0",  # a fault of the pipeline must show
        "--configfile=few.yaml",
        "rehearse",
        seconds=1500,
    )
    with open(folder / "results" / "rehearsal.csv", newline="") as file:
        states = {(row["stage"], row["of"]): row["state"] for row in csv.DictReader(file)}
    assert set(states.values()) == {"passed"}
    assert {"train", "score", "difficulty", "evaluate", "make_table1", "report"} <= {
        stage for stage, _ in states
    }
    home = folder / "results" / "tiny-rehearsal"
    assert len(list(home.rglob("done.json"))) == 3
    assert (home / "measured.csv").exists()
    assert not (folder / "results" / "tiny").exists()


@pytest.mark.timeout(900)
def test_a_killed_controller_loses_nothing(cluster: dict[str, str], tmp_path: Path) -> None:
    """Its job stays in the queue; the next call's job ends that one and goes on where it was."""
    folder = _copy(tmp_path)
    preset = yaml.safe_load((folder / "experiments" / "tiny.yaml").read_text())
    preset |= {"seeds": [0], "evaluation": {"every": 300}}
    preset["training"] |= {"steps": 300, "save_every": 5}
    preset["experiments"] = {"table1": {**preset["experiments"]["table1"], "methods": ["grpo"]}}
    for part in ("studies", "linearity", "claims"):
        del preset[part]
    (folder / "long.yaml").write_text(yaml.safe_dump(preset, sort_keys=False))
    arguments = ("--jobs=2", "--retries=0", "--configfile=long.yaml", "results/table1.csv")
    run = folder / "results/tiny/runs/nano/chain/grpo/seed0"

    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *FLAGS, *arguments]
    with open(folder / "first.log", "wb") as log:
        first = subprocess.Popen(command, cwd=folder, env=cluster, stdout=log, stderr=log)
        deadline = time.monotonic() + 400
        while not list(run.glob("checkpoints/step-*")) and time.monotonic() < deadline:
            assert first.poll() is None, (folder / "first.log").read_text()[-4000:]
            time.sleep(0.2)
        first.kill()
        first.wait()
    left = json.loads((run / "owner.json").read_text())["job"]
    assert left

    _snakemake(cluster, folder, "--unlock", *arguments)
    _snakemake(cluster, folder, *arguments, seconds=600)
    (written,) = (folder / "results/tiny/logs/train").glob("*grpo-seed0.log")
    assert f"cancelling job {left}" in written.read_text()
    assert int(re.search(r"going on from step (\d+)", written.read_text())[1]) >= 5
    assert [row["step"] for row in read_lines(run / "steps.jsonl")] == list(range(1, 301))
    assert not (run / "owner.json").exists()


def _up_to_training(folder: Path, preset: dict[str, Any]) -> None:
    """Everything that one GAIN-RL run starts from, without a cluster."""
    preset["seeds"] = [0]
    preset["evaluation"]["every"] = preset["training"]["steps"]
    preset["experiments"]["table1"] |= {"methods": ["gain"], "baseline": "gain"}
    (folder / "verl.json").write_text(json.dumps(preset))
    home = "results/verl-cpu"
    needed = [f"{home}/signals/nano/sevens/order/angle.parquet", f"{home}/evals/nano/sevens.json"]
    snakemake = [sys.executable, "-m", "snakemake", "--cores=2", "--configfile=verl.json"]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = _run([*snakemake, *needed], 300, cwd=folder, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stdout[-8000:]


@pytest.mark.timeout(1200)
def test_a_run_on_verl_goes_on_after_its_time_limit(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = _copy(tmp_path)
    _up_to_training(folder, places.preset(folder, steps=40))
    run = folder / "results/verl-cpu/runs/nano/sevens/gain/seed0"
    pointer = run / "checkpoints" / "latest_checkpointed_iteration.txt"
    cut: list[str] = []

    def meet_the_limit() -> None:
        """Once there is a checkpoint, give the job less time than it has already taken."""
        while not pointer.exists():
            time.sleep(0.5)
        jobs = ["squeue", "--noheader", "--states=running", "--format=%i"]
        found = subprocess.run(jobs, env=cluster, capture_output=True, text=True, check=True)
        cut.extend(found.stdout.split())
        for job in cut:
            command = ["scontrol", "update", f"JobId={job}", "TimeLimit=1"]
            subprocess.run(command, env=cluster, check=True)

    threading.Thread(target=meet_the_limit, daemon=True).start()
    log = _snakemake(
        cluster, folder, "--jobs=2", "--configfile=verl.json", "results/table1.csv", seconds=1100
    )
    assert len(cut) == 1
    assert "Trying to restart job" in log
    (written,) = (folder / "results/verl-cpu/logs/train").glob("*gain-seed0.log")
    resumed = re.search(r"going on from step (\d+)", written.read_text())
    assert resumed
    assert int(resumed[1]) >= 4
    steps = [row["step"] for row in read_lines(run / "steps.jsonl")]
    assert steps == list(range(1, 41))
    assert places.processes_of(run) == []


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_on_verl_over_two_nodes(tmp_path: Path) -> None:
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = _copy(tmp_path)
    preset = places.preset(folder, steps=4, save_every=4)
    preset["verl"] |= {"nodes": 2, "gpus_per_node": 1}
    for key in ("ray_kwargs.ray_init.num_cpus", "+ray_kwargs.ray_init.num_gpus"):
        del preset["verl"]["keys"][key]  # a running Ray already knows
    _up_to_training(folder, preset)
    _edit(folder, train_cpus="8", train_mem_mb="20000")
    arguments = ("--jobs=2", "--retries=0", "--configfile=verl.json", "results/table1.csv")
    with _pretend(2) as cluster:
        _snakemake(cluster, folder, *arguments, seconds=1200)
    run = folder / "results/verl-cpu/runs/nano/sevens/gain/seed0"
    assert [row["step"] for row in read_lines(run / "steps.jsonl")] == [1, 2, 3, 4]
    assert places.processes_of(run) == []
