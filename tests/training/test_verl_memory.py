"""What fits on which GPUs, by hand and by the table of docs/verl.md."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from gainrl import plan
from gainrl.config.preset import load_preset
from gainrl.config.training import Training
from gainrl.config.verl import Verl
from gainrl.errors import ConfigError
from gainrl.models.shapes import KNOWN, Architecture
from gainrl.training.verl.memory import GIB, needs, settings

ROOT = Path(__file__).resolve().parents[2]
SEVEN = KNOWN["Qwen/Qwen2.5-Math-7B-Instruct"]
LONG = Training(max_prompt=1024, max_response=8192)
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def test_needs_by_hand():
    """Two layers of width 4, a vocabulary of 10, one key-value head of 2; 5 tokens, two GPUs."""
    model = Architecture(
        layers=2, hidden=4, feed_forward=6, heads=2, kv_heads=1, head=2, vocabulary=10, tied=True
    )
    layer = 4 * (4 + 2 * 2) + 4 * 4 + 3 * 4 * 6 + 2 * 4
    assert model.parameters == 40 + 2 * layer + 4
    need = needs(model, Training(max_prompt=3, max_response=4), Verl(gpus_per_node=2), tokens=5)
    assert need.shard == model.parameters / 2
    assert need.gathered == 2 * (2 * (layer + 2) + 40)  # the last norm is counted to the layers
    assert need.activations == 5 * (2 * 4 * 2 + 2 * (8 * 4 + 4 * 6) + 8 * 10)
    assert need.cache == 4 * 7 * 2 * 2 * 2 * 2  # 4 sequences of 7, 2 layers, keys and values, bf16
    assert need.engine == 2 * model.parameters + 3 * GIB
    passes = need.gathered + need.activations
    assert need.update(False, False) == 16 * need.shard + passes
    assert need.update(False, True) == 28 * need.shard + passes
    assert need.update(True, True) == max(16 * need.shard, 8 * need.shard + passes)
    assert need.resident(True, True) == 0
    assert need.resident(False, True) == 24 * need.shard


def test_the_papers_settings_hold_where_there_is_room():
    found = settings(SEVEN, LONG, Verl())
    assert found == {
        f"{ROLLOUT}.gpu_memory_utilization": 0.6,
        f"{ACTOR}.fsdp_config.param_offload": False,
        f"{ACTOR}.fsdp_config.optimizer_offload": False,
        f"{ACTOR}.ppo_max_token_len_per_gpu": 16384,
        "actor_rollout_ref.ref.log_prob_max_token_len_per_gpu": 16384,
        f"{ROLLOUT}.log_prob_max_token_len_per_gpu": 16384,
    }


def test_micro_batches_shrink_first_and_then_the_state_leaves():
    forty = settings(SEVEN, LONG, Verl(gpu_memory_gib=40))
    assert forty[f"{ACTOR}.ppo_max_token_len_per_gpu"] == 1024 + 8192
    assert forty[f"{ACTOR}.fsdp_config.optimizer_offload"] is False
    four = settings(SEVEN, LONG, Verl(gpus_per_node=4, gpu_memory_gib=40))
    assert four[f"{ACTOR}.fsdp_config.optimizer_offload"] is True
    assert four[f"{ACTOR}.fsdp_config.param_offload"] is True


def test_vllm_gets_less_where_the_state_stays():
    found = settings(SEVEN, LONG, Verl(gpus_per_node=2), critic=False)
    assert 0.3 < found[f"{ROLLOUT}.gpu_memory_utilization"] < 0.6
    ppo = settings(SEVEN, LONG, Verl(), critic=True)
    assert ppo["critic.fsdp.optimizer_offload"] is False
    assert ppo["+critic.ppo_infer_max_token_len_per_gpu"] == 16384


def test_what_cannot_fit_is_refused_in_one_line_before_anything_starts():
    data = copy.deepcopy(load_preset(ROOT / "experiments" / "paper.yaml").model_dump(mode="json"))
    data["verl"]["gpus_per_node"] = 1
    with pytest.raises(ConfigError) as caught:
        plan.load(data)
    said = str(caught.value)
    assert "\n" not in said
    assert "7.6B parameters on 1 x 1 GPUs of 80 GiB: an update takes 113 GiB of each" in said
    data["verl"]["environment"] = "cpu"  # where nothing is known of the memory
    plan.load(data)


def test_the_table_of_the_docs_is_computed():
    text = (ROOT / "docs" / "verl.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w./-]+)` \| (\d+) x (\d+) \|(.+)\|$", text, re.MULTILINE)
    assert len(rows) >= 6
    for name, gpus, memory, rest in rows:
        verl = Verl(gpus_per_node=int(gpus), gpu_memory_gib=float(memory))
        model = KNOWN[name]
        response = 8192 if model is SEVEN else 3000
        training = Training(max_prompt=1024, max_response=response)
        try:
            found = settings(model, training, verl)
        except ConfigError:
            assert rest.split("|")[-1].strip() == "refused", name
            continue
        tokens = found[f"{ACTOR}.ppo_max_token_len_per_gpu"]
        offloaded = found[f"{ACTOR}.fsdp_config.param_offload"]
        need = needs(model, training, verl, tokens)
        expected = [
            f"{tokens:,}",
            f"{need.update(offloaded, False) / GIB:.0f}",
            f"{need.resident(offloaded, False) / GIB:.0f}",
            f"{(need.engine + need.cache) / GIB:.0f}",
            f"{found[f'{ROLLOUT}.gpu_memory_utilization']:g}",
            "yes" if offloaded else "no",
        ]
        assert [each.strip() for each in rest.split("|")] == expected, (name, gpus, memory)
