"""Adapters on verl: in its training worker, and what is sent and kept of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess

import place as places
import pytest
import torch

from gainrl.config.models import Nano
from gainrl.models.loading import load_model
from gainrl.models.nano import build_model, build_tokenizer

pytestmark = [pytest.mark.verl, pytest.mark.timeout(900)]
LORA = {"lora_rank": 4, "lora_alpha": 8, "target_modules": "all-linear", "lora": {"merge": True}}


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """Runs worker_steps.py with adapters: steps from one to another, or on from a checkpoint."""
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = tmp_path_factory.mktemp("lora")
    tokenizer = build_tokenizer()
    spec = Nano(source="nano", hidden=32, layers=2, heads=2, feed_forward=64)
    build_model(spec, len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")

    def steps(name, first, last, checkpoint=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        variables = places.preset(folder)["verl"]["variables"]
        variables |= {"GAINRL_PROBE": str(folder / name / "probe"), "MASTER_PORT": str(port)}
        variables |= {"WORLD_SIZE": "1", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}
        variables |= {"LORA": json.dumps(LORA), "GAINRL_EXPORTS": "[2]"}
        (folder / name).mkdir(exist_ok=True)
        command = [places.PYTHON, places.SHIMS / "worker_steps.py", folder / "model"]
        command += [folder / name, str(first), str(last), *([checkpoint] if checkpoint else [])]
        with open(folder / f"{name}.log", "wb") as log:
            environment = {**os.environ, **variables}
            said = {"stdout": log, "stderr": subprocess.STDOUT}
            done = subprocess.run(command, check=False, env=environment, timeout=600, **said)
        assert done.returncode == 0, (folder / f"{name}.log").read_text()[-4000:]
        return {
            step: torch.load(folder / name / f"step-{step}" / "weights.pt", weights_only=True)
            for step in range(first, last + 1)
        }

    steps.folder = folder
    return steps


@pytest.fixture(scope="module")
def whole(worker):
    return worker("whole", 1, 3)


def test_the_rollouts_get_whole_weights_that_moved(worker, whole):
    start = load_model(worker.folder / "model", trained=True).state_dict()
    sent = whole[2]["sent"]
    assert sent.keys() == start.keys() - {"lm_head.weight"}  # tied to the embedding
    assert all(weight.dtype == torch.float32 for weight in sent.values())
    moved = {name for name, weight in sent.items() if not torch.equal(weight, start[name])}
    assert moved == {name for name in sent if "_proj" in name}


def test_what_is_kept_is_what_the_rollouts_got(worker, whole):
    kept = load_model(worker.folder / "whole/step-2/huggingface", trained=True).state_dict()
    for name, weight in whole[2]["sent"].items():
        torch.testing.assert_close(kept[name], weight, rtol=0, atol=1e-6)
    others = [worker.folder / "whole" / f"step-{step}" / "huggingface" for step in (1, 3)]
    assert not any(list(each.glob("*.safetensors")) for each in others)


def test_a_checkpoint_has_the_adapters_alone_and_is_gone_on_from(worker, whole):
    saved = torch.load(
        worker.folder / "whole/step-2/model_world_size_1_rank_0.pt", weights_only=False
    )
    assert saved
    assert all("lora_" in name for name in saved)
    own = {name: weight.to_local() for name, weight in saved.items()}
    start = load_model(worker.folder / "model", trained=True).state_dict()
    stem = "model.layers.0.mlp.up_proj"
    low, high = (own[f"base_model.model.{stem}.lora_{half}.default.weight"] for half in "AB")
    merged = start[f"{stem}.weight"] + 8 / 4 * high @ low
    torch.testing.assert_close(whole[2]["sent"][f"{stem}.weight"], merged, rtol=0, atol=1e-6)
    again = worker("again", 3, 3, worker.folder / "whole/step-2")
    for name, weight in whole[3]["sent"].items():
        torch.testing.assert_close(again[3]["sent"][name], weight, rtol=0, atol=1e-6)
