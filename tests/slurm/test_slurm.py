"""The cluster profile on a real SLURM with pretend GPUs (cluster.sh): `pytest -m slurm`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from pretend import REPOSITORY, call, edit, pretend, snakemake

pytestmark = pytest.mark.slurm


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
    snakemake(cluster, folder)
    kinds = ("cpu", "gpu", "training")
    return {each: [_job(folder / f"{each}.1"), _job(folder / f"{each}.txt")] for each in kinds}


def test_each_kind_of_job_gets_what_the_profile_says_and_a_retry_more(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    edit(
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
    done = call([*doctor, f"--root={tmp_path}"], 120, cwd=tmp_path, env=cluster)
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert (done.returncode, found["job states"]["status"]) == (1, "failed")  # no accounting
    assert "slurm-status-command: squeue" in found["job states"]["do"]
    assert found["GPU partition"]["saw"] == "gpu, 1 nodes"
    assert {"node, GPUs", "node, host memory", "node, open files"} <= set(found)


def test_gpus_whose_model_has_a_hyphen(tmp_path: Path) -> None:
    edit(tmp_path, gpu_model="a100-sxm4-80gb")
    with pretend(1, "a100-sxm4-80gb") as cluster:
        got = _kinds(cluster, tmp_path)
    for gpus, kind in ((1, "gpu"), (8, "training")):
        first, second = got[kind]
        assert first["TresPerNode"] == second["TresPerNode"] == f"gres:gpu:a100-sxm4-80gb:{gpus}"
        assert second["Visible"] == ",".join(map(str, range(gpus)))


def test_a_failed_job_is_submitted_again(cluster: dict[str, str], tmp_path: Path) -> None:
    edit(tmp_path)  # as shipped: without partition and account the cluster's defaults hold
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
    log = snakemake(cluster, tmp_path)
    first, second = (tmp_path / "done.txt").read_text().split()
    assert first != second
    assert "Trying to restart job" in log
    assert (tmp_path / "train.log").read_text() == f"words of {second}\n"
    (kept,) = (tmp_path / ".snakemake" / "log").glob("*.log")
    assert f"words of {first}\n" in kept.read_text()  # what the first attempt wrote to its log
    assert (tmp_path / ".snakemake" / "slurm_logs" / "rule_train" / f"{first}.log").exists()
