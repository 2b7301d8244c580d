"""Groups of any size, gathered in one draw or in several, and what the curriculum then sees."""

import json

import numpy as np
import pytest
import torch
from outcomes import build, next_batch
from scripted_policy import Script
from trainers import odd, same, trainer_for, weights

from gainrl.curricula import Setting
from gainrl.curricula.dapo import Mixed
from gainrl.training import algorithms
from gainrl.training.rollouts import Rollouts, advantages_by_group, by_group, gather

GRPO = algorithms.named("grpo")


def scripted(rewards):
    """Responses of as many tokens as their number among the row's, and rewards from a script."""
    given = {row: list(values) for row, values in rewards.items()}
    counts = dict.fromkeys(rewards, 0)

    def respond(rows, rollouts):
        responses, values = [], []
        for row in rows.tolist():
            for _ in range(rollouts):
                counts[row] += 1
                responses.append([row] * counts[row])
                values.append(given[row].pop(0))
        return responses, values

    return respond


def test_more_rollouts_of_a_prompt_join_its_group():
    policy = Script([([7, 2], [2, 2]), ([2, 5], [2, 3])], [1, 2])
    found = gather(policy, scripted({7: [0, 0], 2: [1, 0, 0, 0], 5: [1, 1, 0]}), GRPO)
    assert found.rows.tolist() == [7, 2, 5]
    assert found.sizes.tolist() == [2, 4, 3]
    assert found.rewards.tolist() == [0, 0, 1, 0, 0, 0, 1, 1, 0]
    assert found.tokens.tolist() == [1 + 2, 1 + 2 + 3 + 4, 1 + 2 + 3]
    first, second, last = (seen for seen, _ in policy.seen)
    assert not len(first.rows)
    assert second.accuracy.tolist() == [0, 0.5]
    assert second.mixed.tolist() == [False, True]
    np.testing.assert_allclose(last.accuracy, [0, 0.25, 2 / 3], rtol=1e-6)

    trained = found.trained
    assert trained.rows.tolist() == [2, 5]
    assert trained.responses == found.responses[2:]
    # mean 1/4 and unbiased deviation 1/2; mean 2/3 and deviation sqrt(1/3)
    expected = [1.5, -0.5, -0.5, -0.5, 3**-0.5, 3**-0.5, -2 * 3**-0.5]
    torch.testing.assert_close(trained.advantages, torch.tensor(expected), atol=1e-5, rtol=0)


def test_estimates_join_no_group_and_their_tokens_are_counted_unless_free():
    script = {1: [1, 0], 2: [1, 1, 0, 0, 0]}
    policy = Script([([2], [3], "estimate"), ([1], [2]), ([2], [2], "free")], [0])
    found = gather(policy, scripted(script), GRPO)
    assert found.rows.tolist() == [1]
    assert (found.estimated, found.free) == (1 + 2 + 3, 4 + 5)
    estimates = [given for _, given in policy.seen]
    assert estimates[0] is estimates[2] is None
    assert estimates[1].rows.tolist() == [2]
    np.testing.assert_allclose(estimates[1].accuracy, [2 / 3], rtol=1e-6)
    assert estimates[3].accuracy.tolist() == [0]


def test_groups_of_one_size_have_the_advantages_of_a_table():
    rewards = torch.rand(12, generator=torch.Generator().manual_seed(1))
    assert torch.equal(
        advantages_by_group(GRPO, rewards, np.full(3, 4)),
        GRPO.advantages(rewards.view(3, 4)).flatten(),
    )


def test_groups_of_several_sizes_are_computed_apart():
    values = torch.tensor([1.0, 2, 3, 4, 5, 6])
    sums = by_group(values, np.array([1, 3, 2]), lambda group: group.sum(1))
    assert sums.tolist() == [1, 9, 11]


# --- dynamic sampling ----------------------------------------------------------------------------


def dapo(size=12, batch=3, **parameters):
    return build("dapo", parameters, Setting(size, batch, 0, rollouts=2))


def test_dapo_draws_until_a_batch_of_groups_is_mixed():
    policy, twin = dapo(), build("uniform", {}, Setting(12, 3, 0))
    order = np.concatenate([next_batch(twin) for _ in range(4)]).tolist()
    # of the first nine prompts the 2nd, 6th, 7th and 9th are mixed: three batches, four groups
    mixed = {order[i] for i in (1, 5, 6, 8)}
    script = {row: [1, 0] if row in mixed else [0, 0] for row in order}
    found = gather(policy, scripted(script), GRPO)
    assert found.rows.tolist() == order[:9]
    assert found.trained.rows.tolist() == [order[i] for i in (1, 5, 6)]
    assert policy.metrics()["batches"] == 3


@pytest.mark.parametrize("mixed", [0, 1])
def test_dapo_stops_at_its_limit_with_what_there_is(mixed):
    policy, twin = dapo(limit=2), build("uniform", {}, Setting(12, 3, 0))
    order = np.concatenate([next_batch(twin) for _ in range(4)]).tolist()
    script = {row: [0, 0] for row in order}
    if mixed:
        script[order[4]] = [0, 1]
    found = gather(policy, scripted(script), GRPO)
    assert len(found.rows) == 6
    assert found.trained.rows.tolist() == ([order[4]] if mixed else order[:3])


def test_dapo_ends_when_every_prompt_has_been_drawn():
    policy = dapo(size=7)
    next_batch(policy)  # so that batches run over the end of the epoch
    found = gather(policy, scripted({row: [0, 0] for row in range(7)}), GRPO)
    assert sorted(found.rows.tolist()) == list(range(7))


def test_the_limit_of_dapo_is_checked():
    with pytest.raises(ValueError, match="limit is 0"):
        Mixed(limit=0)


# --- in the trainer ------------------------------------------------------------------------------


@pytest.fixture
def make(tokenizer, prompts, table):
    return lambda **named: trainer_for(tokenizer, prompts, table, **named)


def test_a_step_of_several_draws_is_recorded_whole(make):
    policy = Script([([3, 1], [4, 2]), ([3, 0], [2, 3]), ([5], [2], "estimate")], [0, 2])
    outcomes = []
    policy.observe, policy.metrics = outcomes.append, dict
    trainer = make(curriculum=policy)
    before = weights(trainer)
    record, _ = trainer.step()
    (outcome,) = outcomes
    assert outcome.rows.tolist() == [3, 1, 0]
    assert outcome.rollouts.tolist() == [6, 2, 3]
    assert outcome.trained.tolist() == [True, False, True]
    assert np.isnan(outcome.signal).tolist() == [False, True, False]
    assert record["groups"] == 3
    assert record["trained_groups"] == 2
    assert record["rollout_tokens"] == outcome.tokens.sum() + record["estimate_tokens"]
    assert record["trained_rollout_tokens"] == outcome.tokens[[0, 2]].sum()
    assert record["estimate_tokens"] > 0
    assert record["accuracy"] == pytest.approx(outcome.accuracy.mean())
    assert same(before, weights(trainer)) == (not outcome.mixed[[0, 2]].any())


def test_groups_that_are_not_kept_change_nothing(make):
    """Training on two of three groups is training on a batch of these two."""
    answers = {}

    def remember(trainer):
        respond = trainer._respond

        def answer(rows, rollouts):
            responses, rewards = respond(rows, rollouts)
            for i, row in enumerate(rows.tolist()):
                mine = slice(4 * i, 4 * i + 4)
                responses[mine], rewards[mine] = answers.setdefault(
                    row, (responses[mine], rewards[mine])
                )
            return responses, rewards

        trainer._respond = answer
        return trainer

    found = []
    for rows, kept in (([3, 1, 0], [0, 2]), ([3, 0], [0, 1])):
        policy = Script([(rows, [4] * len(rows))], kept)
        policy.observe, policy.metrics = (lambda outcome: None), dict
        trainer = remember(make(curriculum=policy))
        record, _ = trainer.step()
        found.append((weights(trainer), record["loss"], record["grad_norm"]))
    (left, *losses), (right, *others) = found
    assert losses == pytest.approx(others, rel=1e-5)
    assert losses[1] > 0
    for name, weight in left.items():
        torch.testing.assert_close(weight, right[name], atol=1e-6, rtol=1e-5)


def test_a_run_with_several_draws_goes_on_exactly(make, prompts):
    def trainer():
        setting = Setting(len(prompts.ids), 2, 3, rollouts=4)
        return make(curriculum=build("dapo", {"limit": 3}, setting), prompts=2, reward=odd)

    whole, first, second = trainer(), trainer(), trainer()
    records = [whole.step()[0] for _ in range(4)]
    for _ in range(2):
        first.step()
    state = first.state_dict()
    json.loads(state["curriculum"])
    second.load_state_dict(state)
    assert [second.step()[0] for _ in range(2)] == records[2:]
    assert same(weights(whole), weights(second))


def test_a_part_of_the_rollouts_keeps_its_responses():
    rewards = torch.arange(6.0)
    whole = Rollouts(
        np.array([4, 9, 2]), np.array([1, 3, 2]), [[k] for k in range(6)], rewards, -rewards
    )
    part = whole.take(np.array([2, 0]))
    assert part.rows.tolist() == [2, 4]
    assert part.responses == [[4], [5], [0]]
    assert part.advantages.tolist() == [-4, -5, 0]
    assert part.starts.tolist() == [0, 2]


def test_adaptive_rollouts_ask_again_where_the_first_were_mixed(make, prompts):
    outcomes = []
    setting = Setting(len(prompts.ids), 4, 3, rollouts=4)
    policy = build("adaptive_uniform", {"first": 2}, setting)
    observe = policy.observe
    policy.observe = lambda outcome: (outcomes.append(outcome), observe(outcome))
    trainer = make(curriculum=policy)
    for _ in range(4):
        trainer.step()
    sizes = np.concatenate([outcome.rollouts for outcome in outcomes])
    mixed = np.concatenate([outcome.mixed for outcome in outcomes])
    assert set(sizes) == {2, 4}
    assert mixed[sizes == 4].all()  # the first two differed already
    assert not mixed[sizes == 2].any()
