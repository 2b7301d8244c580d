"""RL-Extra on verl: jumps inside the engine, killed between two of them and resumed."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import place as places
import pytest
import torch

from gainrl.models.loading import load_model
from gainrl.records import read_lines

pytestmark = [pytest.mark.verl, pytest.mark.timeout(900)]
STEPS, RL, JUMP = 6, 2, 3


@dataclass
class Jumped:
    """A run that was killed after its first checkpoint, and resumed."""

    folder: Path
    saved: Path
    began: int
    jumps: list[dict[str, Any]]


@pytest.fixture(scope="module")
def jumped(tmp_path_factory):
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = tmp_path_factory.mktemp("extra")
    content = places.preset(folder, steps=STEPS, save_every=RL)
    training = {"extra": {"rl": RL, "jump": JUMP}}
    content["methods"] = {"grpo-extra": {"curriculum": "uniform", "training": training}}
    content["experiments"]["table1"] |= {"methods": ["grpo-extra"], "baseline": "grpo-extra"}
    place = places.Place(folder, content)
    place.prepare(measured=False)
    run = place.run("grpo-extra")
    pointer = run / "checkpoints" / "latest_checkpointed_iteration.txt"
    process = place.start(*place.train("grpo-extra"))
    places.kill_when(
        process, lambda: pointer.exists() and len(read_lines(run / "steps.jsonl")) > RL, 400
    )
    deadline = time.monotonic() + 180
    while places.processes_of(run) and time.monotonic() < deadline:
        time.sleep(0.5)
    began = int(pointer.read_text())
    shutil.copytree(run / "checkpoints" / f"global_step_{began}", folder / "saved")
    place.gainrl(*place.train("grpo-extra"))
    paths = sorted((folder / "probe").glob("jump-*.pt"))
    found = [torch.load(path, weights_only=True) for path in paths]
    return Jumped(run, folder / "saved" / "actor" / "huggingface", began, found)


def trained(folder):
    return [weight.detach() for weight in load_model(folder).parameters()]


def assert_close(left, right):
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_every_jump_is_on_the_line_and_leaves_no_moments(jumped):
    assert jumped.began % RL == 0
    assert len(jumped.jumps) >= STEPS // RL
    for jump in jumped.jumps:
        for start, before, after in zip(jump["start"], jump["before"], jump["after"], strict=True):
            expected = start + (RL + JUMP) / RL * (before - start)
            torch.testing.assert_close(after, expected, rtol=1e-6, atol=1e-7)
        assert any(
            not torch.equal(a, b) for a, b in zip(jump["before"], jump["after"], strict=True)
        )
        assert jump["moments"] == 0


def test_a_jump_starts_where_the_last_one_ended_also_after_a_resume(jumped):
    last = jumped.jumps[(jumped.began - STEPS) // RL :]
    assert_close(last[0]["start"], trained(jumped.saved))
    for one, other in pairwise(last):
        assert_close(one["after"], other["start"])


def test_what_is_kept_is_the_policy_after_its_last_jump(jumped):
    assert_close(trained(jumped.folder / "model"), jumped.jumps[-1]["after"])


def test_the_records_say_where_it_jumped(jumped):
    rows = read_lines(jumped.folder / "steps.jsonl")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert [row["jumped"] for row in rows] == [int(step % RL == 0) for step in range(1, STEPS + 1)]
