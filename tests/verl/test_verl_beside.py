"""Two runs on one node at once, and one that is asked to save (`make test-slow`)."""

from __future__ import annotations

import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import place as places
import pytest

from gainrl.records import read_json, read_lines

pytestmark = [pytest.mark.verl, pytest.mark.slow, pytest.mark.timeout(1500)]
STEPS = 6
DIFFERENCE = re.compile(r"training/rollout_probs_diff_max:([0-9.e+-]+)")


@dataclass
class Beside:
    """Runs of seeds 0 and 1; the first was asked to save after its second step, and went on."""

    folders: list[Path]
    said: list[str]
    codes: list[int]
    again: str


@pytest.fixture(scope="module")
def beside(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    content = places.preset(folder, steps=STEPS, save_every=100)
    content["evaluation"] = {"every": 100, "temperature": 1.0, "samples": 1}
    place = places.Place.like(prepared, folder, content)
    runs = [place.run("grpo", seed) for seed in (0, 1)]
    started = [place.start(*place.train("grpo", seed)) for seed in (0, 1)]
    deadline = time.monotonic() + 600
    while len(read_lines(runs[0] / "steps.jsonl")) < 2 and started[0].poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    started[0].send_signal(signal.SIGUSR1)
    said = [process.communicate(timeout=600)[0] for process in started]
    codes = [process.returncode for process in started]
    (runs[0] / "checkpoints" / "global_step_99").mkdir()  # as if it had been cut off
    again = place.gainrl(*place.train("grpo", 0), seconds=600)
    return Beside(runs, said, codes, again)


def test_each_samples_from_its_own_weights(beside):
    """Weights of the other run would give the trainer other probabilities than the sampler."""
    for folder in beside.folders:
        logs = sorted(folder.glob("verl*.log"))
        found = [float(each) for log in logs for each in DIFFERENCE.findall(log.read_text())]
        assert len(found) >= STEPS - 1
        assert max(found) < 1e-4


def test_a_run_that_is_asked_to_saves_and_goes_on_from_there(beside):
    assert beside.codes == [2, 0], beside.said  # 2: an error of one line
    saved = re.search(r"saved at step (\d+) and ended, since its job ends soon", beside.said[0])
    assert saved, beside.said[0][-2000:]
    assert f"going on from step {saved.group(1)}" in beside.again
    for folder in beside.folders:
        steps = [row["step"] for row in read_lines(folder / "steps.jsonl")]
        assert steps == list(range(1, STEPS + 1))
        assert read_json(folder / "done.json")["steps"] == STEPS
    assert (beside.folders[0] / "verl-1.log").exists()


def test_nothing_is_left_in_tmp(beside):
    numbers = {read_json(folder / "job.json")["ray_job"] for folder in beside.folders}
    assert len(numbers) == 2
    for number in numbers:
        assert not list(Path("/tmp").glob(f"rl-colocate-zmq-{number.to_bytes(4, 'little').hex()}*"))
