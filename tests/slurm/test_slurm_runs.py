"""Whole pipelines on a real SLURM with pretend GPUs: rehearsed, killed, ended, gone on with."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import place as places
import pytest
import yaml
from pretend import FLAGS, REPOSITORY, call, copy, edit, pretend, snakemake

from gainrl.records import read_lines

pytestmark = pytest.mark.slurm


@dataclass
class Rehearsed:
    """The cut of the rehearsal, one of whose runs was ended by SLURM after its first checkpoint."""

    folder: Path
    log: str
    ended: list[str]

    @property
    def home(self) -> Path:
        return self.folder / "results/cut-rehearsal/cut"

    @property
    def run(self) -> Path:
        return self.home / "runs/qwen2.5-math-1.5b/deepscaler/gain/seed0"


@pytest.fixture(scope="module")
def rehearsed(cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Rehearsed:
    """tests/rehearsal/cut.yaml: models and data of the paper's forms through verl and vLLM."""
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = copy(tmp_path_factory.mktemp("rehearsed"))
    inputs = folder / "results" / "rehearsal-inputs"
    script = REPOSITORY / "tests" / "rehearsal" / "inputs.py"
    path = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    names = ("qwen2.5-math-1.5b", "llama-3.2-1b")
    made = call([str(places.PYTHON), str(script), str(inputs), *names], 600, env=path)
    assert made.returncode == 0, made.stdout[-4000:]
    found = Rehearsed(folder, "", [])
    # The node claims more than there is, so this holds jobs back. One on a GPU at a time: two
    # runs on verl, and one of `make test-verl` beside them, are 22 GB.
    arguments = ("--jobs=2", "--resources=gpu=1", "--retries=1")
    arguments += ("--configfile=tests/rehearsal/cut.yaml", "rehearse")
    environment = {**cluster, "GAINRL_DATA_DIR": str(inputs / "data"), "HF_HUB_OFFLINE": "1"}
    ending = threading.Thread(target=_end_when_saved, args=(cluster, found), daemon=True)
    ending.start()
    found.log = snakemake(environment, folder, *arguments, seconds=2400)
    ending.join(10)
    return found


def _end_when_saved(cluster: dict[str, str], rehearsed: Rehearsed) -> None:
    """Once a run has a checkpoint, end its job, as SLURM does at a time limit."""
    pointer = rehearsed.run / "checkpoints" / "latest_checkpointed_iteration.txt"
    while not pointer.exists():
        time.sleep(0.2)
    job = json.loads((rehearsed.run / "owner.json").read_text())["job"]
    subprocess.run(["scancel", job], env=cluster, check=True)
    rehearsed.ended.append(job)


@pytest.mark.timeout(3000)
def test_each_rule_and_shape_of_a_rehearsal_passes(rehearsed: Rehearsed) -> None:
    with open(rehearsed.folder / "results" / "rehearsal.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["state"] for row in rows} == {"passed"}
    assert {row["stage"] for row in rows} >= {
        "data", "take_model", "prompts", "score_shard", "gather_scores", "difficulty", "order",
        "evaluate", "train", "benchmark_shard", "benchmark", "probe",
        "study_layers", "study_answers", "study_gradients", "make_benchmarks", "make_signal",
        "make_claims", "make_table1", "make_table2_cost", "make_figures_figure2",
        "make_figures_figure7", "report",
    }  # fmt: skip
    results = rehearsed.folder / "results"
    assert (results / "cut-rehearsal" / "measured.csv").exists()
    assert not (results / "cut").exists()
    note = json.loads(
        (rehearsed.home / "signals/qwen2.5-math-1.5b/deepscaler/prompts.json").read_text()
    )
    assert note["longest"] > 3000 > note["limit"]  # the prompt of 3,300 tokens is among the few
    assert len(note["overlong"]) == 1


def test_a_run_on_verl_that_slurm_ends_goes_on_from_its_checkpoint(rehearsed: Rehearsed) -> None:
    assert len(rehearsed.ended) == 1
    assert "Trying to restart job" in rehearsed.log
    (written,) = (rehearsed.home / "logs/train").glob("*gain-seed0.log")
    assert int(re.search(r"going on from step (\d+)", written.read_text())[1]) >= 1
    steps = [row["step"] for row in read_lines(rehearsed.run / "steps.jsonl")]
    assert steps == [1, 2, 3, 4]
    assert len(list(rehearsed.home.rglob("done.json"))) == 2
    assert places.processes_of(rehearsed.run) == []


@pytest.mark.timeout(900)
def test_a_killed_controller_loses_nothing(cluster: dict[str, str], tmp_path: Path) -> None:
    """Its job stays in the queue; the next call's job ends that one and goes on where it was."""
    folder = copy(tmp_path)
    preset = yaml.safe_load((folder / "experiments" / "tiny.yaml").read_text())
    steps = 2000  # a minute: the job has to be there still when the next call's begins
    preset |= {"seeds": [0], "evaluation": {"every": steps}}
    preset["training"] |= {"steps": steps, "save_every": 5}
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

    snakemake(cluster, folder, "--unlock", *arguments)
    snakemake(cluster, folder, *arguments, seconds=600)
    (written,) = (folder / "results/tiny/logs/train").glob("*grpo-seed0.log")
    assert f"cancelling job {left}" in written.read_text()
    assert int(re.search(r"going on from step (\d+)", written.read_text())[1]) >= 5
    assert [row["step"] for row in read_lines(run / "steps.jsonl")] == list(range(1, steps + 1))
    assert not (run / "owner.json").exists()


def _up_to_training(folder: Path, preset: dict[str, Any]) -> None:
    """Everything that one GAIN-RL run starts from, without a cluster."""
    preset["seeds"] = [0]
    preset["evaluation"]["every"] = preset["training"]["steps"]
    preset["experiments"]["table1"] |= {"methods": ["gain"], "baseline": "gain"}
    (folder / "verl.json").write_text(json.dumps(preset))
    home = "results/verl-cpu"
    needed = [f"{home}/signals/nano/sevens/order/angle.parquet", f"{home}/evals/nano/sevens.json"]
    command = [sys.executable, "-m", "snakemake", "--cores=2", "--configfile=verl.json"]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = call([*command, *needed], 300, cwd=folder, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stdout[-8000:]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_on_verl_goes_on_after_its_time_limit(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = copy(tmp_path)
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
            subprocess.call(command, env=cluster, check=True)

    threading.Thread(target=meet_the_limit, daemon=True).start()
    log = snakemake(
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
    folder = copy(tmp_path)
    preset = places.preset(folder, steps=4, save_every=4)
    preset["verl"] |= {"nodes": 2, "gpus_per_node": 1}
    for key in ("ray_kwargs.ray_init.num_cpus", "+ray_kwargs.ray_init.num_gpus"):
        del preset["verl"]["keys"][key]  # a running Ray already knows
    _up_to_training(folder, preset)
    edit(folder, train_cpus="8", train_mem_mb="20000")
    arguments = ("--jobs=2", "--retries=0", "--configfile=verl.json", "results/table1.csv")
    with pretend(2) as cluster:
        snakemake(cluster, folder, *arguments, seconds=1200)
    run = folder / "results/verl-cpu/runs/nano/sevens/gain/seed0"
    assert [row["step"] for row in read_lines(run / "steps.jsonl")] == [1, 2, 3, 4]
    assert places.processes_of(run) == []
