"""A disk that fills up in the middle of a run: one line, nothing half-written, and it goes on."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient
from stage_calls import CHAIN, NANO

from gainrl.records import read_json, read_lines

STEPS = 200
RUN = {"steps": STEPS, "prompts": 4, "rollouts": 2, "max_response": 8, "save_every": 1}
TRAIN = ("train", *NANO, *CHAIN, "--method", "grpo", "--seed", "0")


@pytest.fixture
def disk(made, place):
    """Everything before training, on a file system of 24 MiB."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    place.root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place.root)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    shutil.copytree(made / "results", place.root, dirs_exist_ok=True)
    index = place.home / "tracking.json"
    index.write_text(index.read_text().replace(str(made), str(place.folder)))
    yield place
    subprocess.run(["umount", "--lazy", str(place.root)], check=True)


def fill(root: Path) -> Path:
    """Take all that is left, down to the last page, and what a run gives back meanwhile."""
    ballast, more, full = root / "ballast", root / "one more", False
    while not full:
        with open(ballast, "ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                with suppress(OSError):
                    while True:
                        file.write(b"\0" * size)
        try:
            more.write_bytes(b"\0" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            full = True
        more.unlink(missing_ok=True)
    return ballast


def test_a_run_whose_disk_fills_up_says_so_and_goes_on_when_there_is_room(disk):
    disk.succeed("evaluate", *NANO, "--benchmark", "chain")
    run = disk.home / "runs/nano/chain/grpo/seed0"
    preset = str(disk.preset(training=RUN, evaluation={"every": 20}))
    command = [sys.executable, "-m", "gainrl.cli", *TRAIN, "--preset", preset]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--root", str(disk.root)], **streams) as process:
        deadline = time.monotonic() + 240
        while not list(run.glob("checkpoints/step-*")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        ballast = fill(disk.root)
        said = process.communicate(timeout=240)[1]
    assert process.returncode == 2, said
    last = said.splitlines()[-1]
    assert last.startswith("gainrl: "), said
    assert str(run) in last
    assert last.endswith("No space left on device"), said
    assert "Traceback" not in said

    assert not (run / "done.json").exists()
    assert not (run / "model").exists()
    assert not [path for path in run.rglob("*") if path.name.startswith(".")]
    kept = sorted(run.glob("checkpoints/step-*"))
    assert kept
    assert all((folder / "state.sha256").stat().st_size == 64 for folder in kept)
    for name in ("run.json", "tracking.json"):
        assert read_json(run / name)
    for name in ("steps.jsonl", "timing.jsonl", "eval.jsonl"):
        read_lines(run / name)

    ballast.unlink()
    changes = {"training": RUN, "evaluation": {"every": 20}}
    again = disk.process(*TRAIN, **changes)
    assert again.code == 0, again.err
    step = int(kept[-1].name.removeprefix("step-"))
    assert f"going on from step {step}" in again.out
    steps = read_lines(run / "steps.jsonl")
    assert [row["step"] for row in steps] == list(range(1, STEPS + 1))
    assert read_json(run / "done.json")["steps"] == STEPS
    client = MlflowClient(f"sqlite:///{disk.root / 'mlflow.db'}")
    history = client.get_metric_history(read_json(run / "tracking.json")["run_id"], "accuracy")
    assert sorted(point.step for point in history) == list(range(1, STEPS + 1))
