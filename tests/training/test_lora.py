"""Adapters in place of the weights: what moves, what is saved, what is kept of a run."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from presets import changed, error_of
from trainers import network, trainer_for

from gainrl.config.training import Lora
from gainrl.errors import ConfigError
from gainrl.results.flops import per_token
from gainrl.training.local.lora import Adapter

LORA = {"lora": {"rank": 4, "alpha": 8}}
TOKENS = torch.arange(5, 25)[None]


def logits(model):
    with torch.no_grad():
        return model(input_ids=TOKENS).logits


def test_only_adapters_move_and_the_policy_starts_where_the_model_was(tokenizer, prompts, table):
    model = network(tokenizer)
    start, before = logits(model), copy.deepcopy(model.state_dict())
    trainer = trainer_for(tokenizer, prompts, table, model=model, **LORA)
    assert torch.equal(logits(model), start)  # B is 0
    for _ in range(3):
        trainer.step()
    assert not torch.equal(logits(model), start)
    after = {name.replace(".base_layer", ""): each for name, each in model.state_dict().items()}
    assert before.keys() <= after.keys()
    assert all(torch.equal(after[name], each) for name, each in before.items())
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    # four linear maps of attention, 32 x 32, and three of the MLP, 32 x 64, in two layers
    assert trained == 2 * 4 * (4 * (32 + 32) + 3 * (32 + 64))


def test_a_step_is_the_gradient_step_of_the_adapters(tokenizer, prompts, table):
    """W + alpha / rank B A by hand: after one step of AdamW each entry of B is -lr times a sign."""
    trainer = trainer_for(tokenizer, prompts, table, weight_decay=0.0, **LORA)
    trainer.step()
    layer = trainer.model.model.layers[0].mlp.up_proj
    low, high = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    moved = high[high != 0].abs()
    assert len(moved)
    assert moved.max() <= 1e-2 * 1.01
    whole = trainer.trained_model().model.layers[0].mlp.up_proj.weight
    assert torch.allclose(whole, layer.base_layer.weight + 2.0 * high @ low, atol=1e-7)


def test_what_is_kept_is_the_merged_model_with_the_same_answers(tokenizer, prompts, table):
    trainer = trainer_for(tokenizer, prompts, table, **LORA)
    trainer.step()
    kept = trainer.trained_model()
    assert type(kept) is type(trainer.model)
    assert not any("lora" in name for name in kept.state_dict())
    assert torch.allclose(logits(kept), logits(trainer.model), atol=1e-5)
    assert any("lora" in name for name in trainer.model.state_dict())  # and it can go on


def test_the_reference_is_the_policy_without_adapters(tokenizer, prompts, table):
    whole = trainer_for(tokenizer, prompts, table, kl=0.1, **LORA)
    assert whole.reference is None
    first, _ = whole.step()
    second, _ = whole.step()
    assert first["kl"] == pytest.approx(0, abs=1e-7)
    assert second["kl"] > 1e-6


def test_a_run_goes_on_exactly_and_its_checkpoint_is_small(tokenizer, prompts, table):
    trainer = trainer_for(tokenizer, prompts, table, kl=0.1, **LORA)
    trainer.step()
    state = copy.deepcopy(trainer.state_dict())
    assert all("lora" in name for name in state["model"])
    wanted = [trainer.step()[0] for _ in range(2)]
    other = trainer_for(tokenizer, prompts, table, kl=0.1, **LORA)
    other.load_state_dict(state)
    assert [other.step()[0] for _ in range(2)] == wanted


def test_the_adapter_is_drawn_by_the_seed_alone(tokenizer):
    def drawn(seed):
        torch.manual_seed(np.random.default_rng().integers(1000))  # whatever went before
        return Adapter(network(tokenizer), Lora(rank=2), seed).state_dict()

    one, same, other = drawn(0), drawn(0), drawn(1)
    name = next(name for name in one if "lora_A" in name)
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])


def test_modules_that_are_not_there_are_named(tokenizer):
    with pytest.raises(ConfigError, match=r"training\.lora\.targets: .*nothing_like_it"):
        Adapter(network(tokenizer), Lora(targets=("nothing_like_it",)), 0)


def test_an_update_has_no_gradients_of_frozen_weights():
    training = {"backend": "local", "prompts": 4, "mini_batch": None, "kl": 0.0}
    assert per_token(training, "grpo") == 2 + 6
    assert per_token({**training, "lora": {"rank": 4}}, "grpo") == 2 + 4
    assert per_token({**training, "lora": {"rank": 4}}, "ppo") == 2 + 4 + 2 + 6


def test_jumps_of_frozen_weights_are_refused():
    extra = {"rl": 2, "jump": 3}
    said = error_of(changed("training", to={"steps": 4, "lora": {}, "extra": extra}))
    assert "extra moves all weights, and with lora they stand still" in said
