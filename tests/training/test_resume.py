"""A training run that is killed, wherever that happens, ends as if it had not been.

The commands are those of the command line; they run in forks of one process that has imported
everything, since imports take longer than the runs do. One run goes through the installed script.
"""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from killed_runs import Runner

from gainrl.records import read_json, read_lines
from gainrl.results.runs import read_run
from gainrl.results.speed import TOKENS
from gainrl.tracking.parents import read_index
from gainrl.training.local import checkpoint

TINY = Path(__file__).parents[2] / "experiments" / "tiny.yaml"
RUN = Path("tiny/runs/nano/chain/gain/seed0")
NAMED = ["--model", "nano", "--dataset", "chain"]
TRAIN = ["train", *NAMED, "--method", "gain", "--seed", "0"]
STEPS = 5
RESULTS = [
    "steps.jsonl",
    "eval.jsonl",
    "done.json",
    "run.json",
    "model/model.safetensors",
    "samples/chain.parquet",
]


def preset():
    """The tiny preset with short answers that are right often enough for groups to vary."""
    changed = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    changed["models"]["nano"]["warmup"]["phases"][0].update(solutions="noisy", steps=120)
    changed["datasets"]["chain"].update(levels=[1], direct=1.0)
    changed["training"].update(
        steps=STEPS, prompts=8, rollouts=8, max_response=4, lr=3e-3, kl=0.01, save_every=2
    )
    changed["evaluation"]["every"] = 1
    changed["methods"]["ppo"] = {**changed["methods"]["gain"], "algorithm": "ppo"}
    changed["experiments"]["table1"]["methods"].append("ppo")
    changed["ppo"] = {"critic_lr": 3e-3}
    return changed


@pytest.fixture(scope="session")
def runner(tmp_path_factory):
    return Runner(tmp_path_factory.mktemp("resume"), preset())


@pytest.fixture(scope="session")
def prepared(runner):
    """A root with everything that a training run reads."""
    root = runner.folder / "prepared"
    for argv in (
        ["tracking", "init"],
        ["data", "--dataset", "chain"],
        ["model", "--model", "nano"],
        ["prompts", *NAMED],
        ["score", *NAMED],
        ["order", *NAMED, "--order", "angle"],
        ["evaluate", "--model", "nano", "--benchmark", "chain"],
    ):
        assert runner(root, *argv) == 0, runner.said
    return root


@pytest.fixture
def new_root(prepared, tmp_path):
    """A copy of the prepared root; both record into the same store."""
    return Path(shutil.copytree(prepared, tmp_path / "root"))


@pytest.fixture(scope="session")
def uninterrupted(runner, prepared):
    """The results of a run that nothing disturbed."""
    root = shutil.copytree(prepared, runner.folder / "uninterrupted")
    assert runner(root, *TRAIN) == 0, runner.said
    return root


def assert_same_results(root, uninterrupted):
    for name in RESULTS:
        same = (root / RUN / name).read_bytes() == (uninterrupted / RUN / name).read_bytes()
        assert same, f"{name} differs"
    left = {path.name for path in (root / RUN).iterdir()} - {"redone.jsonl"}
    assert left == {path.name for path in (uninterrupted / RUN).iterdir()}


def assert_tracked_once(root, monkeypatch):
    """The run that the folder names is complete and has each point once, with the file's value."""
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = MlflowClient(tracking_uri=read_index(root / "tiny" / "tracking.json")["uri"])
    run = client.get_run(read_json(root / RUN / "tracking.json")["run_id"])
    assert run.data.tags["gainrl.complete"] == "yes"
    assert run.info.status == "FINISHED"
    steps, tests = read_lines(root / RUN / "steps.jsonl"), read_lines(root / RUN / "eval.jsonl")
    for key, rows, field in (
        ("accuracy", steps, "accuracy"),
        ("signal", steps, "signal"),
        ("curriculum/mu", steps, "curriculum/mu"),
        ("eval/chain/accuracy", tests, "accuracy"),
    ):
        points = client.get_metric_history(run.info.run_id, key)
        got = sorted((point.step, point.value) for point in points)
        assert got == [(row["step"], pytest.approx(row[field])) for row in rows], key


def test_the_uninterrupted_run_learns_and_records_every_step(uninterrupted, monkeypatch):
    """Otherwise equality with it would prove little."""
    folder = uninterrupted / RUN
    steps = read_lines(folder / "steps.jsonl")
    assert [row["step"] for row in steps] == list(range(1, STEPS + 1))
    assert sum(row["grad_norm"] > 0 for row in steps) >= 3
    assert len({row["curriculum/mu"] for row in steps}) > 1
    tests = read_lines(folder / "eval.jsonl")
    assert [row["step"] for row in tests] == list(range(STEPS + 1))
    start = uninterrupted / "tiny/models/nano/model.safetensors"
    assert (folder / "model/model.safetensors").read_bytes() != start.read_bytes()
    assert not (folder / "checkpoints").exists()
    assert_tracked_once(uninterrupted, monkeypatch)


def test_a_run_killed_again_and_again_ends_like_the_uninterrupted_one(
    runner, new_root, uninterrupted, monkeypatch
):
    """Before the first checkpoint, while one is written, between two, and at the very end."""
    notes = set()
    for moment in (
        "line 1",
        "taken 1",
        "renaming 2",
        "line 3",
        "writing 4",
        "exporting",
        "recorded",
    ):
        assert runner(new_root, *TRAIN, moment=moment) == -signal.SIGKILL, runner.said
        assert not (new_root / RUN / "done.json").exists()
        notes.add((new_root / RUN / "tracking.json").read_bytes())
    assert runner(new_root, *TRAIN) == 0, runner.said
    assert notes == {(new_root / RUN / "tracking.json").read_bytes()}  # one MLflow run
    redone = read_lines(new_root / RUN / "redone.jsonl")
    again = [(0, 1), (0, 1), (0, 2), (2, 3), (2, 3), (2, 4)]  # after which step, which
    assert [(row["after"], row["step"]) for row in redone] == again
    whole = {row["step"]: row for row in read_lines(new_root / RUN / "steps.jsonl")}
    assert all(row["rollout_tokens"] == whole[row["step"]]["rollout_tokens"] for row in redone)
    timed = [row["seconds_step"] is not None for row in redone]
    assert timed == [False, True, True, False, True, True]
    extra = sum(row["rollout_tokens"] for row in redone)
    spent = TOKENS.at_tests(read_run(new_root / RUN), 0)
    assert spent[-1] == sum(row["rollout_tokens"] for row in whole.values()) + extra
    assert_same_results(new_root, uninterrupted)
    assert_tracked_once(new_root, monkeypatch)


def test_a_run_killed_in_its_last_test_has_its_steps_counted_twice(runner, new_root):
    """Without a checkpoint it begins anew, and what was generated before is not forgotten."""
    content = preset()
    content["training"]["save_every"] = 100
    changed = runner.write_preset("once.json", content)
    killed = runner(new_root, *TRAIN, moment=f"testing {STEPS}", preset=changed)
    assert killed == -signal.SIGKILL, runner.said
    assert runner(new_root, *TRAIN, preset=changed) == 0, runner.said
    redone = read_lines(new_root / RUN / "redone.jsonl")
    assert [row["step"] for row in redone] == [1, 2, 3, 4, 5]


def test_a_run_with_a_critic_goes_on_as_exactly(runner, prepared, new_root, tmp_path):
    argv, run = [*TRAIN[:-4], "--method", "ppo", "--seed", "0"], RUN.parents[1] / "ppo" / "seed0"
    whole = Path(shutil.copytree(prepared, tmp_path / "whole"))
    assert runner(whole, *argv) == 0, runner.said
    assert runner(new_root, *argv, moment="line 3") == -signal.SIGKILL, runner.said
    assert runner(new_root, *argv) == 0, runner.said
    assert "going on from step 2" in runner.said
    for name in RESULTS:
        same = (whole / run / name).read_bytes() == (new_root / run / name).read_bytes()
        assert same, f"{name} differs"
    steps = read_lines(whole / run / "steps.jsonl")
    assert {"value_loss", "explained_variance"} <= set(steps[-1])
    assert all(row["grad_norm"] > 0 for row in steps)  # of groups of equal rewards too


def test_a_run_by_tokens_ends_and_is_tested_at_the_same_ones_after_a_kill(
    runner, prepared, new_root, tmp_path
):
    content = preset()
    content["training"].update(tokens=900, tests=3, steps=50, prompts=4)
    for key in ("studies", "linearity", "claims"):
        del content[key]
    changed = runner.write_preset("tokens.json", content)
    whole = Path(shutil.copytree(prepared, tmp_path / "whole"))
    assert runner(whole, *TRAIN, preset=changed) == 0, runner.said
    assert runner(new_root, *TRAIN, preset=changed, moment="line 5") == -signal.SIGKILL
    assert runner(new_root, *TRAIN, preset=changed) == 0, runner.said
    assert "going on from step 4" in runner.said
    assert_same_results(new_root, whole)
    spent = np.cumsum([row["rollout_tokens"] for row in read_lines(whole / RUN / "steps.jsonl")])
    assert spent[-1] >= 900 > spent[-2]
    wanted = [0, *(int(np.argmax(spent >= part)) + 1 for part in (300, 600, 900))]
    assert [row["step"] for row in read_lines(whole / RUN / "eval.jsonl")] == wanted
    assert read_run(whole / RUN).evaluated.tolist() == wanted


def test_a_checkpoint_by_the_clock_is_gone_on_from(runner, new_root):
    """Every step takes longer than the clock's limit, and `save_every` says never."""
    content = preset()
    content["training"].update(save_every=100, save_minutes=1e-9)
    changed = runner.write_preset("clock.json", content)
    killed = runner(new_root, *TRAIN, moment="line 4", preset=changed)
    assert killed == -signal.SIGKILL, runner.said
    assert runner(new_root, *TRAIN, preset=changed) == 0, runner.said
    assert "going on from step 3" in runner.said


def test_the_installed_script_killed_from_outside(runner, new_root, uninterrupted, monkeypatch):
    """Whatever it is doing when the first line is seen, it goes on from there or starts anew."""
    argv = [*TRAIN, "--preset", str(runner.preset), "--root", str(new_root)]
    script = Path(sys.executable).parent / "gainrl"
    lines = new_root / RUN / "steps.jsonl"
    with subprocess.Popen(
        [script, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        ends = time.monotonic() + 300
        while not lines.exists() and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(read_lines(lines)) < STEPS
    assert runner(new_root, *TRAIN) == 0, runner.said
    assert_same_results(new_root, uninterrupted)
    assert_tracked_once(new_root, monkeypatch)


@pytest.fixture(scope="module")
def half_done(runner, prepared):
    """A root whose run was killed after step 3, one step after a checkpoint."""
    root = Path(shutil.copytree(prepared, runner.folder / "half"))
    assert runner(root, *TRAIN, moment="line 3") == -signal.SIGKILL, runner.said
    folder = root / RUN
    assert len(read_lines(folder / "steps.jsonl")) == 3
    assert [path.name for path in checkpoint.complete(folder / "checkpoints")] == ["step-000002"]
    return root


def test_a_torn_last_line_is_dropped(runner, half_done, uninterrupted, tmp_path):
    root = Path(shutil.copytree(half_done, tmp_path / "root"))
    for name in ("steps.jsonl", "timing.jsonl", "eval.jsonl"):
        with open(root / RUN / name, "ab") as file:
            file.write(b'{"accuracy": 0.25, "st')
    assert runner(root, *TRAIN) == 0, runner.said
    assert "going on from step 2" in runner.said
    assert_same_results(root, uninterrupted)
    timing = read_lines(root / RUN / "timing.jsonl")
    assert [row["step"] for row in timing] == list(range(1, STEPS + 1))


def test_another_learning_rate_does_not_go_on_from_the_checkpoint(runner, half_done, tmp_path):
    root = Path(shutil.copytree(half_done, tmp_path / "root"))
    changed = preset()
    changed["training"]["lr"] = 1e-3
    before = {
        p: p.read_bytes() for p in (root / RUN).rglob("*") if p.is_file() and p.name != "owner.json"
    }
    path = runner.write_preset("changed.json", changed)
    assert runner(root, *TRAIN, preset=path) == 2
    said = runner.said.strip()
    assert said.startswith("gainrl: ")
    assert "\n" not in said
    assert "step-000002: written under another configuration" in said
    assert {
        p: p.read_bytes() for p in (root / RUN).rglob("*") if p.is_file() and p.name != "owner.json"
    } == before


def test_a_damaged_checkpoint_is_an_error_of_one_line(runner, half_done, tmp_path):
    root = Path(shutil.copytree(half_done, tmp_path / "root"))
    file = root / RUN / "checkpoints" / "step-000002" / checkpoint.FILE
    file.write_bytes(file.read_bytes()[:-100])
    assert runner(root, *TRAIN) == 2
    assert runner.said.strip().endswith("step-000002: damaged checkpoint; delete it to go on")
    assert "\n" not in runner.said.strip()


def test_seeds_that_are_trained_together_are_not_lost_with_a_later_one(
    runner, new_root, uninterrupted
):
    """Snakemake takes away the done.json of every run of a job that failed."""
    both = [*TRAIN, "1"]
    assert runner(new_root, *both) == 0, runner.said
    second = new_root / RUN.with_name("seed1")
    assert_same_results(new_root, uninterrupted)
    whole = {name: (second / name).read_bytes() for name in RESULTS}
    shutil.rmtree(new_root / RUN)
    shutil.rmtree(second)

    assert runner(new_root, *both, moment="second 3") != 0
    assert (new_root / RUN / "checkpoints").exists()
    (new_root / RUN / "done.json").unlink()
    assert runner(new_root, *both) == 0
    assert "going on from step 5" in runner.said  # the end of the first
    assert "going on from step 2" in runner.said  # the second
    assert_same_results(new_root, uninterrupted)
    assert {name: (second / name).read_bytes() for name in RESULTS} == whole
    assert not list(new_root.rglob("checkpoints"))
