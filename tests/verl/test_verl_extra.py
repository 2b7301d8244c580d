"""RL-Extra on verl: jumps inside the engine, in its training worker and in a whole run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import place as places
import pytest
import torch
from worker import worker_in

from gainrl.models.loading import load_model
from gainrl.records import read_lines
from gainrl.training.verl import launch, saving

pytestmark = [pytest.mark.verl, pytest.mark.timeout(1800)]
STEPS, RL, JUMP = 6, 2, 3


def jumps_below(folder):
    return [torch.load(path, weights_only=True) for path in sorted(folder.glob("jump-*.pt"))]


def assert_close(left, right):
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def assert_on_the_line(jump):
    for start, before, after in zip(jump["start"], jump["before"], jump["after"], strict=True):
        expected = start + (RL + JUMP) / RL * (before - start)
        torch.testing.assert_close(after, expected, rtol=1e-6, atol=1e-7)
    pairs = zip(jump["before"], jump["after"], strict=True)
    assert not all(torch.equal(*pair) for pair in pairs)


# --- the training worker alone: two epochs of two mini-batches are one RL step -------------------


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """Runs worker_steps.py: steps from one to another, from a checkpoint or from the start."""
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = tmp_path_factory.mktemp("worker")
    made = worker_in(folder)

    def steps(name, first, last, checkpoint=None, moments="reset"):
        extra = json.dumps({"rl": RL, "jump": JUMP, "moments": moments})
        states = made(name, first, last, checkpoint, GAINRL_EXTRA=extra, GAINRL_EXPORTS="[2, 3]")
        return states, jumps_below(folder / name / "probe")

    steps.folder = folder
    return steps


@pytest.fixture(scope="module")
def whole(worker):
    return worker("whole", 1, 4)


def test_a_tied_head_is_not_pushed_beside_the_embedding(whole):
    """In another bucket of the transfer vLLM would refuse it; any real vocabulary fills one."""
    states, _ = whole
    pushed = states[1]["pushed"]
    assert "model.embed_tokens.weight" in pushed
    assert "lm_head.weight" not in pushed
    assert len(pushed) == len(set(pushed)) == len(states[1]["weights"])


def test_the_worker_jumps_after_the_last_update_of_every_mth_step(worker, whole):
    states, jumps = whole
    assert len(jumps) == 2
    for jump, step in zip(jumps, (2, 4), strict=True):
        assert_on_the_line(jump)
        assert_close(jump["after"], states[step]["weights"])
    assert_close(jumps[0]["start"], trained(worker.folder / "model"))
    assert_close(jumps[1]["start"], jumps[0]["after"])
    updates = {step: set(state["counts"]) for step, state in states.items()}
    assert updates == {1: {4}, 2: set(), 3: {4}, 4: set()}  # Adam's count of its steps


def test_weights_are_exported_at_the_steps_that_are_wanted(worker, whole):
    """A checkpoint of every step has the worker's own state."""
    folders = [worker.folder / "whole" / f"step-{step}" for step in (1, 2, 3, 4)]
    assert [bool(list(each.glob("huggingface/*.safetensors"))) for each in folders] == [
        False, True, True, False,
    ]  # fmt: skip
    assert all(list(each.glob("model_world_size_1_rank_0.pt")) for each in folders)
    assert_close(trained(folders[1] / "huggingface"), whole[0][2]["weights"])


def test_the_worker_goes_on_from_where_it_jumped(worker, whole):
    states, jumps = whole
    again, (jump,) = worker("again", 3, 4, worker.folder / "whole" / "step-2")
    for name in ("start", "before", "after"):
        assert_close(jump[name], jumps[1][name])
    assert_close(again[4]["weights"], states[4]["weights"])


def test_moments_that_are_kept_are_kept(worker, whole):
    states, jumps = worker("kept", 1, 3, moments="kept")
    assert_close(jumps[0]["after"], whole[1][0]["after"])
    assert [set(states[step]["counts"]) for step in (1, 2, 3)] == [{4}, {8}, {12}]


def test_a_full_disk_ends_the_worker_and_takes_nothing_that_was_saved_before(worker):
    """The checkpoint that was cut off is not the newest, and the next start removes it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    place = worker.folder / "full"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("cannot mount a small file system")
    try:
        with pytest.raises(subprocess.CalledProcessError):
            worker("full", 1, 40)
        assert launch.refused(place) == f"{place}: No space left on device"
        last = max(int(each.name.removeprefix("step-")) for each in place.glob("step-*"))
        assert last > 2
        shutil.rmtree(place / "step-1")  # room for a note
        for step in range(2, last + 1):
            (place / f"step-{step}").rename(place / f"global_step_{step}")
        (place / saving.NEWEST).write_text(str(last - 1))
        assert saving.prune(place, keep=1) == [*range(2, last - 1), last]
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


# --- a run that is killed between two jumps and resumed: minutes, so with `make test-slow` --------


@dataclass
class Jumped:
    """A run that was killed after its first checkpoint, and resumed."""

    folder: Path
    saved: Path
    began: int
    jumps: list[dict[str, Any]]


@pytest.fixture(scope="module")
def jumped(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("extra")
    content = places.preset(folder, steps=STEPS, save_every=RL)
    training = {"extra": {"rl": RL, "jump": JUMP}}
    content["methods"] = {"grpo-extra": {"curriculum": "uniform", "training": training}}
    content["experiments"]["table1"] |= {"methods": ["grpo-extra"], "baseline": "grpo-extra"}
    place = places.Place.like(prepared, folder, content)
    run = place.run("grpo-extra")
    pointer = run / "checkpoints" / "latest_checkpointed_iteration.txt"
    process = place.start(*place.train("grpo-extra"))
    places.kill_when(
        process, lambda: pointer.exists() and len(read_lines(run / "steps.jsonl")) > RL, 900
    )
    deadline = time.monotonic() + 180
    while places.processes_of(run) and time.monotonic() < deadline:
        time.sleep(0.5)
    began = int(pointer.read_text())
    shutil.copytree(run / "checkpoints" / f"global_step_{began}", folder / "saved")
    place.gainrl(*place.train("grpo-extra"))
    found = jumps_below(folder / "probe")
    return Jumped(run, folder / "saved" / "actor" / "huggingface", began, found)


def trained(folder):
    return [weight.detach() for weight in load_model(folder).parameters()]


@pytest.mark.slow
def test_every_jump_is_on_the_line_and_leaves_no_moments(jumped):
    assert jumped.began % RL == 0
    assert len(jumped.jumps) >= STEPS // RL
    for jump in jumped.jumps:
        assert_on_the_line(jump)
        assert jump["moments"] == 0


@pytest.mark.slow
def test_a_jump_starts_where_the_last_one_ended_also_after_a_resume(jumped):
    last = jumped.jumps[(jumped.began - STEPS) // RL :]
    assert_close(last[0]["start"], trained(jumped.saved))
    for one, other in pairwise(last):
        assert_close(one["after"], other["start"])


@pytest.mark.slow
def test_what_is_kept_is_the_policy_after_its_last_jump(jumped):
    assert_close(trained(jumped.folder / "model"), jumped.jumps[-1]["after"])


@pytest.mark.slow
def test_the_records_say_where_it_jumped(jumped):
    rows = read_lines(jumped.folder / "steps.jsonl")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert [row["jumped"] for row in rows] == [int(step % RL == 0) for step in range(1, STEPS + 1)]
