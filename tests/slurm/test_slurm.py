"""The cluster profile on a real SLURM with pretend GPUs (cluster.sh): `pytest -m slurm`."""

from __future__ import annotations

import contextlib
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
def _pretend(nodes: int) -> Iterator[dict[str, str]]:
    if reason := _why_not():
        pytest.skip(reason)
    os.environ["NODES"] = str(nodes)
    # A socket's path must be short, which pytest's folders are not.
    folder = Path(tempfile.mkdtemp(prefix="gainrl-slurm-", dir="/tmp"))
    try:
        started = _run([str(CLUSTER), "start", str(folder)], START_SECONDS)
        assert started.returncode == 0, started.stdout
        yield {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.pathsep.join(
                (str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
            ),
        }
    finally:
        stopped = _run([str(CLUSTER), "stop", str(folder)], STOP_SECONDS)
        del os.environ["NODES"]
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
    return dict(item.split("=", 1) for item in path.read_text().split() if "=" in item)


def test_settings_of_the_profile_reach_the_jobs(cluster: dict[str, str], tmp_path: Path) -> None:
    _edit(
        tmp_path, gpu_partition="gpu", account="project", train_minutes="90", train_mem_mb="123000"
    )
    (tmp_path / "Snakefile").write_text(
        """
rule all:
    input: "train.txt", "evaluate.txt", "tables.txt"
rule train:
    output: "train.txt", gpus="gpus.txt"
    resources: gpu=8, nodes=1
    shell:
        "scontrol show job $SLURM_JOB_ID > {output[0]}; "
        "echo $CUDA_VISIBLE_DEVICES > {output.gpus}"
rule evaluate:
    output: "evaluate.txt"
    shell: "scontrol show job $SLURM_JOB_ID > {output}"
rule tables:
    output: "tables.txt"
    shell: "scontrol show job $SLURM_JOB_ID > {output}"
"""
    )
    _snakemake(cluster, tmp_path)

    train = _job(tmp_path / "train.txt")
    assert train["TresPerJob"] == "gres:gpu:a100:8"
    assert (tmp_path / "gpus.txt").read_text().strip() == "0,1,2,3,4,5,6,7"
    assert (train["Partition"], train["Account"]) == ("gpu", "project")
    assert (train["TimeLimit"], train["MinMemoryNode"]) == ("01:30:00", "123000M")
    assert (train["CPUs/Task"], train["Requeue"]) == ("64", "1")

    evaluate = _job(tmp_path / "evaluate.txt")
    assert (evaluate["TresPerJob"], evaluate["Partition"]) == ("gres:gpu:a100:1", "gpu")

    tables = _job(tmp_path / "tables.txt")
    assert "TresPerJob" not in tables
    assert (tables["Partition"], tables["TimeLimit"]) == ("main", "01:00:00")


def test_a_failed_job_is_submitted_again(cluster: dict[str, str], tmp_path: Path) -> None:
    _edit(tmp_path)  # as shipped: without partition and account the cluster's defaults hold
    (tmp_path / "Snakefile").write_text(
        """
rule train:
    output: "done.txt"
    params: kept="kept"
    shell:
        "mkdir -p {params.kept}; echo $SLURM_JOB_ID >> {params.kept}/jobs; "
        "test $(wc -l < {params.kept}/jobs) -eq 2; cp {params.kept}/jobs {output}"
"""
    )
    log = _snakemake(cluster, tmp_path)
    first, second = (tmp_path / "done.txt").read_text().split()
    assert first != second
    assert "Trying to restart job" in log


@pytest.mark.timeout(1800)
def test_the_pipeline_makes_its_table(cluster: dict[str, str], tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    preset = yaml.safe_load((folder / "experiments" / "tiny.yaml").read_text())
    preset["seeds"] = [0]  # every rule still runs, in half as many jobs
    preset["experiments"]["table1"]["methods"] = ["grpo", "gain"]
    (folder / "few.yaml").write_text(yaml.safe_dump(preset, sort_keys=False))
    # The node claims more processors than there are, so the number of jobs is what holds it back.
    _snakemake(
        cluster,
        folder,
        "--jobs=2",
        "--retries=0",  # a fault of the pipeline must show
        "--configfile=few.yaml",
        "results/table1.csv",
        seconds=1500,
    )
    header, *rows = (folder / "results" / "table1.csv").read_text().splitlines()
    assert header
    assert rows
    assert list((folder / "results").rglob("done.json"))


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
