"""`gainrl doctor`: for real on this machine, and with programs that say what machines say.

nvidia-smi, sinfo, sacct, sacctmgr and srun are scripts here (this machine has no GPUs and no
cluster); the hub is a server of our own. tests/slurm has the same on a real SLURM.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest
from doctored import A100, PAPER, REPOSITORY, TINY, by_name

from gainrl import cli
from gainrl.doctor import machine, needs
from gainrl.doctor.check import Check, at_least, size

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
