"""Adapters on verl: in its training worker, and what is sent and kept of them."""

from __future__ import annotations

import json

import place as places
import pytest
import torch
from worker import worker_in

from gainrl.models.loading import load_model

pytestmark = [pytest.mark.verl, pytest.mark.timeout(900)]
LORA = {"lora_rank": 4, "lora_alpha": 8, "target_modules": "all-linear", "lora": {"merge": True}}


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """Runs worker_steps.py with adapters: steps from one to another, or on from a checkpoint."""
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = tmp_path_factory.mktemp("lora")
    made = worker_in(folder)

    def steps(*asked):
        return made(*asked, LORA=json.dumps(LORA), GAINRL_EXPORTS="[2]")

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
