"""Muon in a warm-up: which weights it trains, and what its first step is."""

from __future__ import annotations

import pytest
import torch

from gainrl.config.models import Nano, Warmup
from gainrl.models import nano
from gainrl.training.packing import Suffix
from gainrl.training.supervised import train_supervised

SPEC = Nano(source="nano", hidden=16, layers=2, heads=2, feed_forward=32, context=64)
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LR, MUON_LR, DECAY = 1e-3, 0.02, 0.1
CORPUS = ([5, 6], [Suffix(k, [7 + k, 8, 9 + k, 1], 1) for k in range(8)])


@pytest.fixture
def network():
    return nano.build_model(SPEC, len(nano.build_tokenizer()))


def trained(network, steps, **phase):
    """Named weights before and after, of a warm-up whose learning rates stay the highest."""
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    settings = {"datasets": ["x"], "steps": steps, "batch": 8, "lr": LR, "warmup_steps": 0}
    warmup = Warmup(
        phases=[{**settings, "final_lr_share": 1, **phase}], weight_decay=DECAY, row_tokens=32
    )
    train_supervised(network, [CORPUS], warmup, pad=0, report=lambda step: None)
    return before, dict(network.named_parameters())


def is_matrix(name):
    return name.split(".")[-2] in MATRICES


def test_the_first_step_has_singular_values_near_its_rate_in_the_blocks_matrices(network):
    before, after = trained(network, 1, muon_lr=MUON_LR)
    found = [name for name in before if is_matrix(name)]
    assert len(found) == len(MATRICES) * SPEC.layers
    for name in found:
        moved = before[name] * (1 - MUON_LR * DECAY) - after[name]
        rows, columns = moved.shape
        values = torch.linalg.svdvals(moved) / (MUON_LR * max(1, rows / columns) ** 0.5)
        assert values.max() < 1.4, name
        assert values.median() > 0.5, name


def test_embeddings_and_norms_stay_with_adamw(network):
    before, after = trained(network, 1, muon_lr=MUON_LR)
    others = [name for name in before if not is_matrix(name)]
    assert "model.embed_tokens.weight" in others
    for name in others:
        moved = (before[name] * (1 - LR * DECAY) - after[name]).abs()
        assert moved.max() <= LR * 1.001, name
        assert moved.max() > 0.9 * LR, name


def test_learned_positions_are_embeddings():
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=32, bos_token_id=0, eos_token_id=1, **sizes))
    before, after = trained(gpt2, 1, muon_lr=MUON_LR)
    for name in ("transformer.wpe.weight", "transformer.wte.weight"):
        moved = (before[name] * (1 - LR * DECAY) - after[name]).abs()
        assert moved.max() <= LR * 1.001, name


def test_without_it_all_weights_are_adamws(network):
    before, after = trained(network, 1)
    for name in before:
        moved = (before[name] * (1 - LR * DECAY) - after[name]).abs()
        assert moved.max() <= LR * 1.001, name


def test_it_is_a_phases_own_and_absent_from_hashes_without(network):
    plain = Warmup(phases=[{"datasets": ["x"], "steps": 1}])
    with_muon = Warmup(phases=[{"datasets": ["x"], "steps": 1, "muon_lr": 0.02}])
    assert "muon_lr" not in plain.fingerprint()["phases"][0]
    assert with_muon.fingerprint()["phases"][0]["muon_lr"] == 0.02
