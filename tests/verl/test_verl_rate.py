"""The learning rate's schedule in the engine that verl's workers build."""

import json
import subprocess

import place as places
import pytest

from gainrl.training.rate import share_of_rate

pytestmark = [pytest.mark.verl, pytest.mark.timeout(300)]

SCHEDULES = ("constant", "linear", "rex")
SCRIPT = """
import json, os, sys, torch
from verl.workers.config.optimizer import FSDPOptimizerConfig
from gainrl.training.verl.engine import SignalEngine

for given in sys.argv[1:]:
    os.environ.pop("GAINRL_RATE", None)
    if given != "constant":
        os.environ["GAINRL_RATE"] = json.dumps([given, 4])
    engine = object.__new__(SignalEngine)
    engine.rank, engine.optimizer_config = 0, FSDPOptimizerConfig(lr=0.5, total_training_steps=8)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    schedule, rates = engine._build_lr_scheduler(optimizer), []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    print(json.dumps([given, rates]))
"""


def test_verls_engine_has_the_rate_of_the_schedule():
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    done = subprocess.run(
        [places.PYTHON, "-c", SCRIPT, *SCHEDULES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = dict(json.loads(line) for line in done.stdout.splitlines()[-len(SCHEDULES) :])
    assert set(found) == set(SCHEDULES)
    for name, rates in found.items():
        assert rates == pytest.approx([0.5 * share_of_rate(name, step, 4) for step in range(4)])
