"""`gainrl doctor` on a cluster: programs print what those of SLURM do (tests/slurm: a real one)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from doctored import REPOSITORY, SINFO, by_name

from gainrl.doctor import cluster

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
