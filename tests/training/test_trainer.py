"""The local trainer against plain, unpacked GRPO, and its exact continuation."""

import copy
import re

import numpy as np
import pytest
import torch
from architectures import tiny
from outcomes import next_batch
from trainers import (
    END,
    ENDS,
    Fixed,
    nudge,
    odd,
    plain_log_probabilities,
    reference_update,
    same,
    through_a_file,
    trainer_for,
    weights,
)

from gainrl.config.ppo import PPO
from gainrl.signals import prefill

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def make(tokenizer, prompts, table):
    return lambda **options: trainer_for(tokenizer, prompts, table, **options)


# --- the update ----------------------------------------------------------------------------------

OTHERS = ["window", "caps", "scales", "state space"]
"""Builds that are not packed."""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kl": 0.3},
        {"temperature": 0.6},
        {"row_tokens": 1},
        {"entropy": 0.2, "temperature": 0.6},
    ],
)
def test_the_gradient_equals_that_of_unpacked_grpo(make, prompts, gradients, changes):
    trainer = make(**changes)
    start = copy.deepcopy(trainer.model)
    nudge(trainer.model)
    plain = copy.deepcopy(trainer.model)
    rollouts = trainer._roll_out()
    assert rollouts.advantages.any()
    _, losses = trainer._update(rollouts)
    expected, divergence = reference_update(
        plain, start, prompts, rollouts, range(4), trainer.settings
    )
    names = [name for name, _ in trainer.model.named_parameters()]
    assert len(gradients) == 1
    for name, grad in zip(names, gradients[0], strict=True):
        torch.testing.assert_close(grad, expected[name], atol=2e-6, rtol=1e-4, msg=name)
    norm = torch.stack([grad.norm() for grad in expected.values()]).norm()
    assert losses["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    assert losses["kl"] == pytest.approx(divergence, rel=1e-3, abs=1e-7)


def test_the_optimiser_takes_the_clipped_step_of_adamw(make):
    trainer = make(weight_decay=0.1, max_grad_norm=0.01)
    plain = copy.deepcopy(trainer.model)
    rollouts = trainer._roll_out()
    trainer._update(rollouts)
    expected, _ = reference_update(
        plain, None, trainer.prompts, rollouts, range(4), trainer.settings
    )
    norm = torch.stack([grad.norm() for grad in expected.values()]).norm()
    assert norm > 0.01
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.1, eps=1e-8)
    for name, weight in plain.named_parameters():
        weight.grad = expected[name] * 0.01 / (norm + 1e-6)
    optimizer.step()
    wanted = dict(plain.named_parameters())
    for name, weight in trainer.model.named_parameters():
        close = (weight - wanted[name]).abs() < 1e-4  # Adam divides tiny gradients by themselves
        assert close.double().mean() > 0.99, name


@pytest.mark.parametrize("name", OTHERS)
def test_models_that_are_not_packed_have_the_same_gradient_and_signal(
    make, prompts, gradients, name
):
    """Also where rows are measured first, of prompts without a response too."""
    trainer = make(model=tiny(name), kl=0.1)
    plain, rollouts = copy.deepcopy(trainer.model), trainer._roll_out()
    assert rollouts.advantages.any()
    wanted = prefill.score(plain, prompts, 400).loc[rollouts.rows]
    signal, _ = trainer._update(rollouts)
    expected, _ = reference_update(
        plain, trainer.reference, prompts, rollouts, range(4), trainer.settings
    )
    for (name, _), grad in zip(trainer.model.named_parameters(), gradients[0], strict=True):
        torch.testing.assert_close(grad, expected[name], atol=1e-4, rtol=1e-3, msg=name)
    np.testing.assert_allclose(signal, wanted["c_intra"] + wanted["c_inter"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("ppo", [None, PPO()])
def test_models_that_are_not_packed_learn_whatever_the_method(make, prompts, name, ppo):
    parts = {} if ppo else {"downsample": {"rollouts": (0.4, 0.4), "tokens": (0.5, 0.5)}}
    trainer = make(model=tiny(name), ppo=ppo, mini_batch=2, **parts)
    before = copy.deepcopy(trainer.model)
    record, _ = trainer.step()
    assert all(np.isfinite(value) for value in record.values())
    assert record["grad_norm"] > 0
    assert not same(before.state_dict(), trainer.model.state_dict())


def test_the_signal_costs_no_forward_pass_and_equals_the_prefill_score(
    make, prompts, tokenizer, monkeypatch
):
    trainer = make(micro_batch_tokens=120)
    nudge(trainer.model)
    frame = prefill.score(trainer.model, prompts, 500)
    rollouts = trainer._roll_out()
    packs = list(trainer._packs(trainer._rows_of(rollouts, range(4)), rollouts))
    assert len(packs) > 2
    decoder, calls = trainer.model.get_decoder(), []
    plain = decoder.forward

    def counted(*args, **kwargs):
        calls.append(kwargs["input_ids"].shape)
        return plain(*args, **kwargs)

    monkeypatch.setattr(decoder, "forward", counted)
    signal, _ = trainer._update(rollouts)
    assert calls == [packed.inputs.shape for packed in packs]
    wanted = (frame["c_intra"] + frame["c_inter"]).to_numpy()[rollouts.rows]
    np.testing.assert_allclose(signal, wanted, atol=1e-5, rtol=0)
    assert np.ptp(wanted) > 1e-3


def test_the_recorded_signal_is_that_of_the_weights_before_the_update(make, prompts):
    trainer = make()
    for _ in range(2):
        scores = prefill.score(trainer.model, prompts, 500)
        rows = next_batch(copy.deepcopy(trainer.curriculum))
        record, _ = trainer.step()
        wanted = (scores["c_intra"] + scores["c_inter"]).to_numpy()[rows].mean()
        assert record["signal"] == pytest.approx(wanted, abs=1e-5)


def test_all_updates_of_a_step_have_the_rate_of_the_schedule(make, monkeypatch):
    trainer = make(lr_schedule="linear", steps=4, mini_batch=2, lr=4e-4)
    used, step = [], trainer.optimizer.step
    monkeypatch.setattr(
        trainer.optimizer,
        "step",
        lambda: used.append(trainer.optimizer.param_groups[0]["lr"]) or step(),
    )
    for _ in range(4):
        trainer.step()
    assert used == pytest.approx([4e-4, 4e-4, 3e-4, 3e-4, 2e-4, 2e-4, 1e-4, 1e-4])


def test_several_updates_a_step_start_from_the_same_old_policy(make, prompts, gradients):
    """The first is plain GRPO on its part; later ones use ratios to the policy before the step."""
    trainer, whole = make(mini_batch=2, lr=0.05), make(lr=0.05)
    plain, rollouts = copy.deepcopy(trainer.model), trainer._roll_out()
    expected, _ = reference_update(plain, None, prompts, rollouts, range(2), trainer.settings)
    signal, _ = trainer._update(rollouts)
    assert len(gradients) == 2
    names = [name for name, _ in plain.named_parameters()]
    for name, grad in zip(names, gradients[0], strict=True):
        torch.testing.assert_close(grad, expected[name], atol=2e-6, rtol=1e-4, msg=name)

    # the second update, by hand: weights after the first, ratios to the weights before it
    middle = make(mini_batch=2, lr=0.05)
    middle._update(rollouts.take(np.arange(2)))
    model, total = middle.model, 0
    model.zero_grad()
    tokens = sum(len(rollouts.responses[k]) for k in range(8, 16))
    outside = 0
    for k in range(8, 16):
        prompt = prompts.tokens[rollouts.rows[k // 4]]
        now, _ = plain_log_probabilities(model, prompt, rollouts.responses[k], 1.0)
        with torch.no_grad():
            old, _ = plain_log_probabilities(plain, prompt, rollouts.responses[k], 1.0)
        ratio, advantage = (now - old).exp(), rollouts.advantages[k]
        outside += int(((ratio - 1).abs() > 0.2).sum())
        bound = ratio.clamp(0.8, 1.2) * advantage
        total = total - torch.minimum(ratio * advantage, bound).sum() / tokens
    total.backward()
    assert outside > 5
    for (name, weight), grad in zip(model.named_parameters(), gradients[1], strict=True):
        torch.testing.assert_close(grad, weight.grad, atol=1e-5, rtol=1e-3, msg=name)

    # the signal is that of one update
    once = whole._update(whole._roll_out())[0]
    np.testing.assert_allclose(signal, once, atol=1e-6, rtol=0)


def test_a_second_epoch_is_over_the_same_rollouts_and_the_policy_before_both(make, gradients):
    """Two epochs of two mini-batches are the four mini-batches one after another."""
    trainer, plain = make(mini_batch=2, lr=0.05, epochs=2), make(mini_batch=2, lr=0.05)
    rollouts = trainer._roll_out()
    trainer._update(rollouts)
    assert len(gradients) == 4
    first = [gradient.clone() for gradient in gradients[0]]
    gradients.clear()
    rollouts.old = plain._measure(rollouts)
    plain._update(rollouts)
    plain._update(rollouts)
    assert all(torch.equal(one, two) for one, two in zip(first, gradients[0], strict=True))
    assert same(weights(trainer), weights(plain))


# --- groups without variance ---------------------------------------------------------------------


def good_prompts(table, rows):
    """1 for odd answers to some prompts, 1 always for the rest: those groups have no variance."""
    golds = {table["answer"][row] for row in rows}
    return lambda response, gold: odd(response, gold) if gold in golds else 1.0


def test_groups_without_variance_get_no_gradient_and_are_counted(make, table, prompts, gradients):
    assert table["answer"].is_unique or len(set(table["answer"][:4])) == 4
    reward = good_prompts(table, [0, 2])
    trainer = make(curriculum=Fixed([[0, 1, 2, 3]]), reward=reward)
    alone = make(curriculum=Fixed([[0, 1, 2, 3]]), reward=reward)
    rollouts = trainer._roll_out()
    assert (~rollouts.zero_advantage).tolist() == [True, False, True, False]
    trainer._update(rollouts)
    expected, _ = reference_update(alone.model, None, prompts, rollouts, range(4), trainer.settings)
    for (name, _), grad in zip(trainer.model.named_parameters(), gradients[0], strict=True):
        torch.testing.assert_close(grad, expected[name], atol=2e-6, rtol=1e-4, msg=name)
    record, _ = alone.step()
    assert record["zero_variance"] == 0.5
    assert record["accuracy"] > 0.5


@pytest.mark.parametrize("changes", [{"kl": 0.5}, {"entropy": -0.5}])
def test_groups_without_variance_still_feel_kl_and_entropy(
    make, table, prompts, gradients, changes
):
    trainer = make(curriculum=Fixed([[0, 1, 2, 3]]), reward=good_prompts(table, [2]), **changes)
    start = copy.deepcopy(trainer.model)
    nudge(trainer.model)
    plain, rollouts = copy.deepcopy(trainer.model), trainer._roll_out()
    assert (~rollouts.zero_advantage).tolist() == [False, False, True, False]
    trainer._update(rollouts)
    expected, _ = reference_update(plain, start, prompts, rollouts, range(4), trainer.settings)
    for (name, _), grad in zip(trainer.model.named_parameters(), gradients[0], strict=True):
        torch.testing.assert_close(grad, expected[name], atol=2e-6, rtol=1e-4, msg=name)


def test_groups_without_variance_are_run_without_a_graph(make, table, monkeypatch):
    trainer = make(curriculum=Fixed([[0, 1, 2, 3]]), reward=good_prompts(table, [0, 2]))
    rollouts = trainer._roll_out()
    idle = sum(len(row.suffixes) for row in trainer._rows_of(rollouts, [1, 3]))
    assert idle == 8
    decoder, graph = trainer.model.get_decoder(), []
    plain = decoder.forward
    monkeypatch.setattr(
        decoder, "forward", lambda **kw: graph.append(torch.is_grad_enabled()) or plain(**kw)
    )
    signal, _ = trainer._update(rollouts)
    assert set(graph) == {True, False}
    assert np.isfinite(signal).all()


def test_a_step_in_which_no_group_varies_changes_nothing_at_first(make):
    trainer = make(reward=lambda response, gold: 0.0)
    before = weights(trainer)
    record, _ = trainer.step()
    assert same(before, weights(trainer))
    assert (record["zero_variance"], record["grad_norm"], record["loss"]) == (1.0, 0.0, 0.0)
    assert record["signal"] > 0


# --- records -------------------------------------------------------------------------------------


def test_the_record_and_the_outcome_say_what_happened(make, tokenizer, table):
    policy = Fixed([[3, 1, 0, 7]])
    trainer = make(curriculum=policy)
    twin = make(curriculum=Fixed([[3, 1, 0, 7]]))
    rollouts = twin._roll_out()
    record, seconds = trainer.step()
    lengths = np.array([len(response) for response in rollouts.responses]).reshape(4, 4)
    cut = np.array([response[-1] not in ENDS for response in rollouts.responses])
    assert 0 < cut.mean() < 1
    assert record["step"] == 1
    assert record["accuracy"] == record["reward"] == rollouts.rewards.double().mean().item()
    assert record["rollout_tokens"] == lengths.sum()
    assert record["prompt_tokens"] == sum(len(trainer.prompts.tokens[i]) for i in (3, 1, 0, 7))
    assert record["response_length"] == lengths.mean()
    assert record["truncated"] == cut.mean()
    outcome = policy.outcome
    assert outcome.rows.tolist() == [3, 1, 0, 7]
    assert outcome.tokens.tolist() == lengths.sum(1).tolist()
    rewards, advantages = (v.double().view(4, 4) for v in (rollouts.rewards, rollouts.advantages))
    np.testing.assert_array_equal(outcome.accuracy, rewards.mean(1))
    np.testing.assert_allclose(outcome.advantage, advantages.abs().mean(1), rtol=1e-6)
    assert outcome.signal.mean() == pytest.approx(record["signal"])
    assert all(re.fullmatch(r"seconds_(rollout|train|step|curriculum)", key) for key in seconds)
    assert all(isinstance(value, int | float) for value in record.values())


def test_an_answer_that_ends_at_the_limit_is_not_truncated(make):
    trainer = make(curriculum=Fixed([[0, 1, 2, 3]]), max_response=3)
    rollouts = trainer._roll_out()
    rollouts.responses = [[5, 6, END], [5, 6, 7], [5, END], [5, 6, 8]] * 4
    record = trainer._record(rollouts, rollouts, np.zeros(4))
    assert record["truncated"] == 0.5


# --- determinism and continuation ----------------------------------------------------------------


def test_the_seed_decides_everything(make):
    first, second, other = make(), make(), make(seed=6)
    records = [[trainer.step()[0] for _ in range(3)] for trainer in (first, second, other)]
    assert records[0] == records[1] != records[2]
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(other))


@pytest.mark.parametrize("changes", [{}, {"mini_batch": 2}, {"kl": 0.05, "temperature": 0.8}])
@pytest.mark.parametrize("at", [0, 2])
def test_a_state_in_the_middle_continues_bit_for_bit(make, changes, at):
    trainer = make(**changes)
    for _ in range(at):
        trainer.step()
    state = through_a_file(trainer.state_dict())
    expected = [trainer.step()[0] for _ in range(3)]
    again = make(**changes)  # the reference policy is the start model, as in a restarted run
    again.load_state_dict(state)
    assert [again.step()[0] for _ in range(3)] == expected
    assert [record["step"] for record in expected] == [at + 1, at + 2, at + 3]
    assert same(weights(trainer), weights(again))


def test_a_step_without_gradient_after_a_restart_is_the_same_step(make, table):
    """AdamW moves on by its momentum with zero gradients, but skips missing ones."""
    batches = [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]
    varied = {table["answer"][row] for row in range(4)}
    assert not varied & {table["answer"][row] for row in range(4, 8)}

    def new():
        return make(curriculum=Fixed(batches), reward=good_prompts(table, range(4)))

    trainer = new()
    trainer.step()
    state = through_a_file(trainer.state_dict())
    expected = [trainer.step()[0], trainer.step()[0]]
    assert expected[0]["zero_variance"] == 1.0
    again = new()
    again.load_state_dict(state)
    assert [again.step()[0], again.step()[0]] == expected
    assert same(weights(trainer), weights(again))
