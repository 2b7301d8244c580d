"""Every registered policy in the real trainer: steps, records, an exact restart."""

import json

import numpy as np
import pytest
from outcomes import build
from trainers import nudge, plain_log_probabilities, same, trainer_for, weights

from gainrl.curricula import REGISTRY, Setting


@pytest.fixture
def make(tokenizer, prompts, table):
    size = len(prompts.ids)
    setting = Setting(
        size,
        4,
        3,
        np.arange(size)[::-1].copy(),
        np.linspace(0, 100, size),
        rollouts=4,
        categories=np.arange(size) % 3,
        features={
            "tokens": np.asarray(prompts.lengths, dtype=float),
            "c_intra": np.linspace(0, 1, size),
            "c_inter": np.cos(np.arange(size)),
            "state00": np.sin(np.arange(size)),
        },
    )

    def trainer(name):
        return trainer_for(tokenizer, prompts, table, curriculum=build(name, {}, setting))

    return trainer


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_policy_trains_and_goes_on_exactly(make, name):
    whole, first, second = make(name), make(name), make(name)
    before = weights(whole)
    records = [whole.step()[0] for _ in range(4)]
    assert not same(before, weights(whole))
    for record in records:
        assert record["rollout_tokens"] > 0
        assert all(np.isfinite(value) for value in record.values())
        assert any(key.startswith("curriculum/") for key in record)
    for _ in range(2):
        first.step()
    state = first.state_dict()
    json.loads(state["curriculum"])
    second.load_state_dict(state)
    assert [second.step()[0] for _ in range(2)] == records[2:]
    assert same(weights(whole), weights(second))


def test_prompts_are_read_under_the_policy_of_the_step(make, monkeypatch):
    """Their entropy is that of each prompt alone, after every update; its tokens are recorded."""
    trainer, told = make("hive"), []
    sampler = trainer.curriculum.sampler
    take = sampler.prefilled
    monkeypatch.setattr(sampler, "prefilled", lambda found: (told.append(found), take(found)))
    for step in range(2):
        if step:
            nudge(trainer.model)
        expected = {
            row: plain_log_probabilities(trainer.model, tokens[:1], tokens[1:], 1.0)[1]
            .mean()
            .item()
            for row, tokens in enumerate(trainer.prompts.tokens)
        }
        record, _ = trainer.step()
        found = told[step]
        assert len(found.rows) == 8
        assert found.entropy == pytest.approx([expected[row] for row in found.rows], rel=1e-4)
        assert record["prefill_tokens"] == trainer.prompts.lengths[found.rows].sum()
    assert not np.array_equal(told[0].entropy, told[1].entropy)
