"""Every key that we set, against what verl's configuration and code make of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import place as places
import pytest

from gainrl.config.evaluation import Evaluation
from gainrl.config.models import Nano
from gainrl.config.ppo import PPO
from gainrl.config.training import Lora, Training
from gainrl.config.verl import Verl
from gainrl.models.nano import build_model, build_tokenizer
from gainrl.models.shapes import KNOWN
from gainrl.training import algorithms
from gainrl.training.verl.settings import Place, overrides

pytestmark = [pytest.mark.verl, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Algorithm -> key -> what we gave, what verl has, and whether its code reads such a key."""
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = tmp_path_factory.mktemp("keys")
    tokenizer, model = build_tokenizer(), folder / "model"
    spec = Nano(source="nano", hidden=32, layers=1, heads=2, feed_forward=64)
    build_model(spec, len(tokenizer)).save_pretrained(model)
    tokenizer.save_pretrained(model)
    place = Place(folder / "run", model, folder / "train.parquet", (folder / "test.parquet",))
    training = Training(kl=0.1, mini_batch=256, weight_decay=0.01, lora=Lora())
    given = {
        name: overrides(
            Verl(), training, Evaluation(), place, algorithm, PPO(), 3,
            architecture=KNOWN["Qwen/Qwen2.5-Math-1.5B"], context=4096,
        )
        for name, algorithm in algorithms.REGISTRY.items()
    }  # fmt: skip
    given["unread"] = [*given["grpo"], "actor_rollout_ref.actor.grad_clip=2.0"]
    (folder / "given.json").write_text(json.dumps(given))
    script = Path(__file__).with_name("config_keys.py")
    arguments = [script, folder / "given.json", folder / "found.json"]
    done = subprocess.run([places.PYTHON, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("name", sorted(algorithms.REGISTRY))
def test_verl_has_what_we_said_and_reads_it(keys, name):
    found = keys[name]
    assert len(found) > 50
    assert {k: (v["given"], v["value"]) for k, v in found.items() if v["given"] != v["value"]} == {}
    assert [key for key, each in found.items() if not each["read"]] == []


def test_a_key_that_verl_never_reads_is_found(keys):
    assert [key for key, each in keys["unread"].items() if not each["read"]] == [
        "actor_rollout_ref.actor.grad_clip"
    ]
