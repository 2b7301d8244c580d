"""D3S: which rollouts and tokens are kept, by hand; the update on them against a masked loss."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from presets import changed, error_of
from run_folders import TRAINING, write_run
from trainers import (
    Fixed,
    nudge,
    odd,
    plain_log_probabilities,
    same,
    through_a_file,
    trainer_for,
    weights,
)

from gainrl import plan
from gainrl.config.training import Downsample
from gainrl.results.flops import per_token
from gainrl.results.runs import collect
from gainrl.results.speed import run_flops
from gainrl.signals import prefill
from gainrl.training.downsample import counted, extreme, highest

pytestmark = pytest.mark.usefixtures("one_thread")
HALF = {"rollouts": [0.5, 0.5], "tokens": [0.4, 0.4]}
PLACE = np.tile(np.arange(4), 4)
"""Of sixteen responses in their groups of four."""


@pytest.fixture
def make(tokenizer, prompts, table):
    def made(downsample=HALF, **options):
        return trainer_for(tokenizer, prompts, table, downsample=downsample, **options)

    return made


# --- the choice ----------------------------------------------------------------------------------


def chosen(advantages, count, place=None):
    place = np.zeros(len(advantages)) if place is None else np.array(place)
    return np.flatnonzero(extreme(np.array(advantages), place, count)).tolist()


def test_the_schedule_is_linear_from_the_first_step_to_the_last():
    section = Downsample(rollouts=(0.2, 0.8), tokens=(0.1, 1.0))
    assert section.at(0.0) == (0.2, 0.1)
    assert section.at(0.5) == pytest.approx((0.5, 0.55))
    assert section.at(1.0) == (0.8, 1.0)


@pytest.mark.parametrize(
    ("share", "whole", "count"), [(0.3, 10, 3), (0.7, 10, 7), (0.25, 10, 3), (0.01, 9, 1)]
)
def test_a_share_is_the_nearest_number(share, whole, count):
    assert counted(share, whole) == count


def test_the_split_is_that_of_greatest_variance():
    advantages = [2.0, 1.0, 0.9, -0.1, -0.3, 0.0]
    # of two: {2, 1} 0.25, {2, -0.3} 1.3225, {-0.1, -0.3} 0.01
    assert chosen(advantages, 2) == [0, 4]
    # of three: {2, 1, -0.3} 0.887, {2, -0.3, -0.1} 1.082
    assert chosen(advantages, 3) == [0, 3, 4]
    # of four: {2, 1, 0.9, -0.3} 0.665, {2, 1, -0.1, -0.3} 0.853
    assert chosen(advantages, 4) == [0, 1, 3, 4]
    assert chosen(advantages, 5) == [0, 1, 2, 3, 4]


def test_the_split_maximises_the_variance_over_all_splits():
    rng = np.random.default_rng(4)
    for _ in range(20):
        advantages = rng.normal(size=9)
        high, low = np.sort(advantages[advantages > 0])[::-1], np.sort(advantages[advantages < 0])
        for count in range(1, 10):
            best = max(
                np.var([*high[:p], *low[: count - p]])
                for p in range(count + 1)
                if p <= len(high) and count - p <= len(low)
            )
            kept = extreme(advantages, np.zeros(9), count)
            assert kept.sum() == count
            assert advantages[kept].var() == pytest.approx(best)


def test_advantages_of_zero_are_never_kept():
    assert chosen([0.0, 1.0, 0.0, -1.0], 4) == [1, 3]
    assert chosen([0.0, 0.0], 2) == []
    assert chosen([0.0, 2.0, 1.0], 2) == [1, 2]
    assert chosen([-1.0, -2.0, -3.0], 1) == [2]


def test_groups_take_turns_where_advantages_are_equal():
    # two groups of three rollouts, one right answer each, then a third group with two
    advantages = [1.2, -0.6, -0.6, -0.6, 1.2, -0.6, 0.6, 0.6, -1.2]
    place = [0, 1, 2] * 3
    # -1.2, then the -0.6 at place 0 of the second group, then those at place 1 or 2
    assert chosen(advantages, 4, place) == [0, 3, 4, 8]
    assert chosen(advantages, 5, place) == [0, 1, 3, 4, 8]  # of 2 + 3 it is 1.008, of 3 + 2 0.950


def test_tokens_are_compared_over_the_whole_step():
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    scores = torch.tensor([[0.1, 0.5, 9.0], [0.7, 0.5, 0.6], [9.0, 9.0, 9.0]])
    assert highest(scores, mask, 0.4).tolist() == [[False] * 3, [True, False, True], [False] * 3]
    # 0.5 is there twice: the earlier token is kept
    assert highest(scores, mask, 0.6).tolist()[:2] == [[False, True, False], [True, False, True]]
    assert torch.equal(highest(scores, mask, 1.0), mask)
    assert highest(scores, mask, 0.01).sum() == 1
    assert not highest(scores, mask & False, 0.5).any()


# --- the update ----------------------------------------------------------------------------------


def masked_gradient(model, start, prompts, rollouts, members, options):
    """Gradient of GRPO over the kept tokens of some responses, one sequence at a time."""
    tokens = sum(int(rollouts.mask[k].sum()) for k in members)
    total = torch.zeros(())
    for k in members:
        prompt, response = prompts.tokens[rollouts.rows[k // 4]], rollouts.responses[k]
        now, _ = plain_log_probabilities(model, prompt, response, options.temperature)
        kept = rollouts.mask[k, : len(response)]
        total = total - ((now - now.detach()).exp() * rollouts.advantages[k])[kept].sum()
        if options.kl:
            with torch.no_grad():
                before, _ = plain_log_probabilities(start, prompt, response, options.temperature)
            gap = before - now
            total = total + options.kl * (gap.exp() - gap - 1)[kept].sum()
    model.zero_grad()
    (total / tokens).backward()
    return {key: value.grad.clone() for key, value in model.named_parameters()}


@pytest.mark.parametrize(
    "changes", [{}, {"kl": 0.3}, {"temperature": 0.6, "micro_batch_tokens": 120}]
)
def test_the_gradient_is_that_of_the_tokens_with_the_highest_scores(
    make, prompts, gradients, changes
):
    trainer = make(**changes)
    start = copy.deepcopy(trainer.model)
    nudge(trainer.model)
    plain, whole = copy.deepcopy(trainer.model), trainer._roll_out()
    rollouts, said = trainer._credit(whole.trained)
    kept = set(np.flatnonzero(extreme(whole.advantages.double().numpy().round(5), PLACE, 8)))
    scores = {}
    for k in kept:
        prompt, response = prompts.tokens[whole.rows[k // 4]], whole.responses[k]
        with torch.no_grad():
            _, entropy = plain_log_probabilities(
                plain, prompt, response, trainer.settings.temperature
            )
        for t, value in enumerate(entropy.tolist()):
            scores[k, t] = value * abs(whole.advantages[k].item())
    wanted = {(k, t) for k, t in rollouts.mask.nonzero().tolist()}
    assert len(wanted) == counted(0.4, len(scores))
    rest = max(scores[at] for at in scores.keys() - wanted)
    assert min(scores[at] for at in wanted) >= rest - 1e-5
    assert 0 < said["kept_rollouts"] <= 0.5
    assert said["measured_rollout_tokens"] == len(scores)
    assert said["kept_tokens"] == len(wanted) / whole.lengths.sum()

    _, losses = trainer._update(rollouts)
    members = sorted({k for k, _ in wanted})
    expected = masked_gradient(plain, start, prompts, rollouts, members, trainer.settings)
    assert len(gradients) == 1
    for (name, _), grad in zip(trainer.model.named_parameters(), gradients[0], strict=True):
        torch.testing.assert_close(grad, expected[name], atol=2e-6, rtol=1e-4, msg=name)
    norm = torch.stack([grad.norm() for grad in expected.values()]).norm()
    assert losses["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    assert losses["grad_norm"] > 0


def test_each_mini_batch_averages_over_its_own_tokens(make, prompts, gradients):
    trainer = make(mini_batch=2)
    plain = copy.deepcopy(trainer.model)
    rollouts, _ = trainer._credit(trainer._roll_out().trained)
    trainer._update(rollouts)
    assert len(gradients) == 2
    members = [k for k in range(8) if rollouts.mask[k].any()]
    expected = masked_gradient(plain, None, prompts, rollouts, members, trainer.settings)
    for (name, _), grad in zip(trainer.model.named_parameters(), gradients[0], strict=True):
        torch.testing.assert_close(grad, expected[name], atol=2e-6, rtol=1e-4, msg=name)


def by_turns():
    """A reward by which every group has variance."""
    number = iter(range(1000))
    return lambda response, gold: float(next(number) % 2)


def test_all_of_the_rollouts_and_tokens_are_grpo(make):
    """Where every group has variance."""
    everything = {"rollouts": [1.0, 1.0], "tokens": [1.0, 1.0]}
    left, right = make(everything, reward=by_turns()), make(None, reward=by_turns())
    (one, _), (other, _) = left.step(), right.step()
    assert one["kept_tokens"] == one["kept_rollouts"] == 1.0
    assert one["trained_rollout_tokens"] == other["rollout_tokens"]
    for key, value in other.items():
        assert one[key] == pytest.approx(value, rel=1e-4, abs=1e-6)
    others = weights(right)
    close = torch.cat([((w - others[n]).abs() < 1e-4).flatten() for n, w in weights(left).items()])
    assert close.double().mean() > 0.99  # Adam divides tiny gradients by themselves


def test_the_signal_is_that_of_every_prompt(make, prompts, table):
    varied = {table["answer"][0]}  # one group with variance: the others have only a prefix
    policy = Fixed([[0, 1, 2, 3]])
    trainer = make(
        curriculum=policy,
        reward=lambda response, gold: odd(response, gold) if gold in varied else 1.0,
    )
    nudge(trainer.model)
    frame = prefill.score(trainer.model, prompts, 500)
    record, _ = trainer.step()
    wanted = (frame["c_intra"] + frame["c_inter"]).to_numpy()[:4]
    np.testing.assert_allclose(policy.outcome.signal, wanted, atol=1e-5, rtol=0)
    assert policy.outcome.trained.tolist() == [True, False, False, False]
    assert policy.outcome.tokens.sum() == record["rollout_tokens"]
    sizes = trainer.prompts.lengths[:4]
    assert record["measured_prompt_tokens"] == record["prompt_tokens"] == sizes.sum()
    assert record["trained_prompt_tokens"] == sizes[0]
    assert 0 < record["trained_rollout_tokens"] <= policy.outcome.tokens[0]


def test_a_step_without_any_variance_changes_nothing_at_first(make):
    trainer = make(reward=lambda response, gold: 0.0)
    before = weights(trainer)
    record, _ = trainer.step()
    assert same(before, weights(trainer))
    assert (record["kept_rollouts"], record["loss"], record["grad_norm"]) == (0.0, 0.0, 0.0)
    assert record["signal"] > 0


def test_the_shares_grow_with_the_steps_of_the_run(make):
    trainer = make({"rollouts": [0.125, 0.5], "tokens": [1.0, 1.0]}, steps=3, reward=by_turns())
    found = [trainer.step()[0]["kept_rollouts"] for _ in range(3)]
    assert found == [2 / 16, 5 / 16, 8 / 16]


@pytest.mark.parametrize("changes", [{}, {"mini_batch": 2, "kl": 0.05}])
def test_a_state_in_the_middle_continues_bit_for_bit(make, changes):
    shares = {"rollouts": [0.25, 1.0], "tokens": [0.3, 0.9]}
    trainer = make(shares, **changes)
    for _ in range(2):
        trainer.step()
    state = through_a_file(trainer.state_dict())
    expected = [trainer.step()[0] for _ in range(2)]
    again = make(shares, **changes)
    again.load_state_dict(state)
    assert [again.step()[0] for _ in range(2)] == expected
    assert same(weights(trainer), weights(again))


# --- its cost ------------------------------------------------------------------------------------


def test_only_what_is_run_costs_flop(tmp_path):
    folder = write_run(
        tmp_path, "d3s", 0, [0.1, 0.2, 0.5], tokens=100, training={**TRAINING, "downsample": HALF}
    )
    (run,) = collect([folder])
    parts = {"trained_prompt_tokens": 15, "trained_rollout_tokens": 30}
    parts |= {"measured_prompt_tokens": 20, "measured_rollout_tokens": 50}
    for key, value in parts.items():
        run.steps[key] = value
    # rollout 2 x (20 + 100), entropies 2 x (20 + 50), update 6 x (15 + 30)
    assert run_flops(run, 1).tolist() == [240 + 140 + 270] * 4


def test_where_a_prompt_is_run_for_each_rollout_it_costs_as_often(tmp_path):
    training = {**TRAINING, "backend": "verl", "downsample": HALF}
    (run,) = collect([write_run(tmp_path, "d3s", 0, [0.1, 0.5], tokens=100, training=training)])
    parts = {"trained_prompt_tokens": 15, "trained_rollout_tokens": 30}
    parts |= {"measured_prompt_tokens": 20, "measured_rollout_tokens": 50}
    for key, value in parts.items():
        run.steps[key] = value
    n = TRAINING["rollouts"]
    expected = 2 * (n * 20 + 100) + 2 * (n * 20 + 50) + 6 * (n * 15 + 30)
    assert run_flops(run, 1).tolist() == [expected] * len(run.steps)
    # without D3S: what was not admitted was rolled out alone, the rest has the old pass besides
    run.config["training"]["downsample"] = None
    plain = run.steps.drop(columns=["measured_prompt_tokens", "measured_rollout_tokens"])
    expected = 2 * (n * 20 + 100) + 8 * (n * 15 + 30)
    plain = dataclasses.replace(run, steps=plain)
    assert run_flops(plain, 1).tolist() == [expected] * len(run.steps)


def test_the_old_log_probabilities_of_several_updates_are_in_the_pass_that_measures():
    several = {**TRAINING, "mini_batch": 1}
    assert per_token({**several, "downsample": HALF}, "grpo") == 2 + 6
    assert per_token(several, "grpo") == 2 + 2 + 6


# --- in a preset ---------------------------------------------------------------------------------


def test_a_method_may_down_sample_by_itself():
    data = changed("methods", "d3s", to={"curriculum": "uniform", "training": {"downsample": HALF}})
    data["experiments"]["table1"]["methods"].append("d3s")
    preset = plan.load(data)
    assert preset.training_for("chain", "nano", "d3s").downsample == Downsample(**HALF)
    assert preset.training_for("chain", "nano", "grpo").downsample is None
    assert plan.load(preset.model_dump(mode="json")) == preset


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"rollouts": [0.5, 0.5]}, "training.downsample.tokens"),
        ({**HALF, "tokens": [0.0, 1.0]}, "training.downsample.tokens.0"),
        ({**HALF, "rollouts": [0.5, 1.5]}, "training.downsample.rollouts.1"),
        ({**HALF, "rollouts": 0.5}, "training.downsample.rollouts"),
        ({**HALF, "token": [1, 1]}, "did you mean 'tokens'?"),
    ],
)
def test_wrong_shares_are_refused(value, words):
    assert words in error_of(changed("training", "downsample", to=value))


def test_ppo_cannot_down_sample():
    data = changed("training", "downsample", to=HALF)
    data["methods"]["grpo"]["algorithm"] = "ppo"
    assert error_of(data).endswith(
        "methods.grpo: training.downsample goes by the advantages of whole responses: "
        "it needs an algorithm without a critic"
    )


def test_not_every_backend_can_down_sample():
    data = changed("training", "downsample", to=HALF)
    data["training"]["backend"] = "verl"
    plan.load(data)
    data["training"]["backend"] = "plain_backend:PlainBackend"
    message = error_of(data)
    assert "training.backend 'plain' cannot train it (nano on chain)" in message
    assert message.endswith("training.downsample is an option of backend 'local'")
