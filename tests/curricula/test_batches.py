"""The curricula as any training loop has them: rows out, rewards in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from outcomes import build, outcome, setting

from gainrl.curricula import REGISTRY, Groups, compose, make
from gainrl.errors import CheckpointError, ConfigError, DataError

POLICIES = sorted(name for name in REGISTRY if not compose(name).goes_by)
SIZE, BATCH, GROUP = 40, 6, 8


def made(name, batch=BATCH, **more):
    """A curriculum of `make` with all that the tests' setting has."""
    has = setting()
    known = {key: getattr(has, key) for key in ("order", "difficulty", "categories", "features")}
    return make({"name": name, **more}, size=SIZE, batch=batch, rollouts=GROUP, **known)


def rewards_of(rows, rollouts, step):
    """Rewards of 0 and 1 that depend on the row and the step alone."""
    return [
        (np.random.default_rng([row, step]).random(n) < row % 5 / 4).astype(float)
        for row, n in zip(rows.tolist(), np.broadcast_to(rollouts, len(rows)), strict=True)
    ]


def told(curriculum, rows):
    """What `observe` is to be given besides rewards."""
    return {"signal": rows / SIZE} if curriculum.reads_signal else {}


def played(curriculum, draws, start=0):
    """What is drawn and trained on over some batches."""
    seen = []
    for draw in range(start, start + draws):
        rows = curriculum.next_batch()
        rewards = rewards_of(rows, curriculum.rollouts, draw)
        trained = curriculum.observe(rows, rewards, **told(curriculum, rows))
        seen.append((rows.tolist(), None if trained is None else trained.tolist()))
    return seen


@pytest.mark.parametrize("name", [n for n in POLICIES if not made(n).several_draws])
def test_a_batch_a_step_is_what_the_policy_draws_in_the_pipeline(name):
    curriculum, policy = made(name), build(name, {}, setting())
    for draw in range(12):
        rows = curriculum.next_batch()
        asked = policy.draw(Groups.none(), None)
        assert rows.tolist() == asked.rows.tolist()
        rewards = np.array(rewards_of(rows, GROUP, draw))
        assert curriculum.observe(rows, rewards, **told(curriculum, rows)).tolist() == rows.tolist()
        spread = rewards.std(1, ddof=1)
        advantage = np.abs(rewards - rewards.mean(1, keepdims=True)).mean(1) / (spread + 1e-6)
        seen = outcome(rows, rewards.mean(1), rows / SIZE)
        policy.observe(type(seen)(**{**vars(seen), "advantage": advantage}))
        assert curriculum.metrics() == pytest.approx(policy.metrics())


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("draws", [0, 1, 5, 6])
def test_every_policy_goes_on_exactly_where_it_was_saved(name, draws):
    one, other = made(name), made(name)
    played(one, draws)
    state = json.loads(json.dumps(one.state_dict(), allow_nan=False))
    played(other, 3, start=50)
    if not other.several_draws:
        other.next_batch()  # a batch that is out belongs to what is replaced
    other.load_state_dict(state)
    assert played(one, 9, start=draws) == played(other, 9, start=draws)


@pytest.mark.parametrize("name", POLICIES)
def test_a_batch_that_is_out_is_saved(name):
    one, other = made(name), made(name)
    played(one, 3)
    rows = one.next_batch()
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert other.rollouts.tolist() == one.rollouts.tolist()
    rewards = rewards_of(rows, one.rollouts, 9)
    found = [each.observe(rows, rewards, **told(each, rows)) for each in (one, other)]
    assert str(found[0]) == str(found[1])
    assert played(one, 6) == played(other, 6)


@pytest.mark.parametrize("name", POLICIES)
def test_the_order_of_the_rows_is_none_of_the_policys_business(name):
    one, other = made(name), made(name)
    rng = np.random.default_rng(0)
    for draw in range(12):
        rows = one.next_batch()
        assert rows.tolist() == other.next_batch().tolist()
        rewards = rewards_of(rows, one.rollouts, draw)
        mixed = rng.permutation(len(rows))
        one.observe(rows, rewards, **told(one, rows))
        shuffled = [rewards[i] for i in mixed]
        other.observe(rows[mixed], shuffled, **told(other, rows[mixed]))
        assert json.dumps(one.state_dict()) == json.dumps(other.state_dict())


@pytest.mark.parametrize("name", [n for n in POLICIES if made(n).several_draws])
def test_a_policy_that_draws_again_says_when_the_step_is_whole(name):
    curriculum = made(name)
    steps = [trained for _, trained in played(curriculum, 60)]
    whole = [trained for trained in steps if trained is not None]
    assert 5 < len(whole) < len(steps)
    assert all(len(set(rows)) == len(rows) > 0 for rows in whole)
    curriculum.next_batch()
    with pytest.raises(ConfigError, match=f"'{name}' draws again within a step"):
        curriculum.next_batch()


def test_dapo_trains_on_mixed_groups_alone():
    curriculum = made("dapo")
    for draw in range(30):
        rows = curriculum.next_batch()
        right = np.repeat((rows % 4)[:, None], 4, axis=1) > np.arange(4)  # 0, 1, 2 or 3 of 4
        trained = curriculum.observe(rows, right)
        if trained is not None:
            assert (trained % 4 > 0).all(), draw
            assert len(trained) == BATCH


def test_what_a_policy_needs_is_named():
    for name, said in (
        ("gain", "'gain' needs order=, (N,) rows from rank 0 on"),
        ("adarft", "'adarft' needs difficulty=, (N,) values in [0, 100]"),
        ("sec", "'sec' needs categories=, (N,) whole numbers from 0 on"),
        ("pcl", "'pcl' needs features=, a mapping of (N,) values by name"),
    ):
        with pytest.raises(ConfigError) as caught:
            make(name, size=40, batch=4)
        assert str(caught.value) == f"curriculum {said}"
    curriculum = make("gain", size=4, batch=2, order=[3, 2, 1, 0])
    with pytest.raises(DataError, match="'gain' needs signal=, "):
        curriculum.observe(curriculum.next_batch(), np.ones((2, 8)))
    curriculum = make("gain", size=4, batch=2, order=[3, 2, 1, 0], use_signal=False)
    curriculum.observe(curriculum.next_batch(), np.ones((2, 8)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"batch": 41}, "batch is 41, but there are 40 prompts"),
        ({"rollouts": 0}, "rollouts is 0"),
        ({"order": np.zeros(40, dtype=int)}, "order is no permutation of the rows 0 to 39"),
        ({"order": np.arange(40.0)}, "order are float64 of shape"),
        ({"difficulty": np.zeros(39)}, r"difficulty has shape \(39,\), not \(40,\)"),
        ({"difficulty": np.full(40, 200)}, r"difficulty of row 0 is 200.0, not in \[0, 100\]"),
        ({"difficulty": np.full(40, np.nan)}, r"difficulty of row 0 is nan"),
        ({"difficulty": np.arange(40) / 40}, r"at most 0.975: they are in \[0, 100\]"),
        ({"size": 40.0}, "size is 40.0, not a whole number"),
        ({"features": {"tokens": np.zeros(2)}}, r"features\['tokens'\] has shape"),
        ({"poool": 4}, "has no parameter 'poool'; did you mean 'pool'"),
    ],
)
def test_arguments_that_cannot_be(arguments, said):
    with pytest.raises(ConfigError, match=said):
        make("mopps", **{"size": 40, "batch": 4, **arguments})


@pytest.mark.parametrize(
    ("rewards", "more", "said"),
    [
        ([[0, 1], [0, np.nan]], {}, "rewards 1 of row {1} is nan"),
        ([[0, 1], [0, 1.5]], {}, "reward 1 of row {1} is 1.5, not in [0, 1]; give correct="),
        ([[0, 9], [0, 9]], {"correct": [[0, 1], [0, 2]]}, "correct 1 of row {1} is 2.0"),
        ([[0, 9], [0, 9]], {"correct": [[0, 1], [0]]}, "row {1} has 2 rewards and 1 of correct="),
        ([[0, 1]], {}, "rewards of 1 rows, not 2"),
        ([[[0]], [[1]]], {}, "rewards are not (B, G)"),
        ([[0, 1], [0, 1]], {"advantage": [0, np.inf]}, "advantage of row {1} is inf"),
        ([[0, 1], [0, 1]], {"tokens": [1]}, "tokens has shape (1,), not (2,)"),
    ],
)
def test_rewards_that_cannot_be_are_named_and_nothing_is_learned(rewards, more, said):
    curriculum = make("mopps", size=40, batch=2)
    rows = curriculum.next_batch()
    before = json.dumps(curriculum.state_dict())
    with pytest.raises(DataError) as caught:
        curriculum.observe(rows, rewards, **more)
    assert said.replace("{1}", str(rows[1])) in str(caught.value)
    assert json.dumps(curriculum.state_dict()) == before
    curriculum.observe(rows, np.ones((2, 3)))


def test_rows_that_are_no_batch_are_named():
    curriculum = make("uniform", size=40, batch=3)
    with pytest.raises(DataError, match="no batch is out"):
        curriculum.observe([1], [[1.0]])
    rows = curriculum.next_batch()
    strange = next(row for row in range(40) if row not in rows)
    for told_of, said in (
        ([rows[0], rows[1], strange], f"row {strange} was observed, which is not in the batch"),
        ([rows[0], rows[1]], f"row {rows[2]} of the batch was not observed"),
        ([rows[0], rows[1], rows[2], rows[2]], "a row was observed twice"),
    ):
        with pytest.raises(DataError, match=said):
            curriculum.observe(told_of, [[1.0]] * len(told_of))


def test_a_group_without_a_response_teaches_nothing():
    curriculum = make("mopps", size=40, batch=3)
    rows = curriculum.next_batch()
    assert curriculum.observe(rows, [[1.0, 0.0], [], [1.0]]).tolist() == rows[[0, 2]].tolist()
    assert (curriculum.curriculum.sampler.a + curriculum.curriculum.sampler.b > 2).sum() == 2
    rows = curriculum.next_batch()
    assert curriculum.observe(rows, [[], [], []]).tolist() == []


def test_rewards_beside_the_share_that_is_correct():
    one, other = (make("mopps", size=40, batch=2) for _ in range(2))
    rows = one.next_batch()
    other.next_batch()
    one.observe(rows, [[1, 0], [1, 1]])
    other.observe(rows, [[2.5, -1], [2.5, 2.5]], correct=[[1, 0], [1, 1]])
    assert json.dumps(one.state_dict()) == json.dumps(other.state_dict())


def test_a_state_of_another_policy_or_table_is_refused():
    state = make("mopps", size=40, batch=3).state_dict()
    with pytest.raises(CheckpointError, match="the saved policy is 'mopps', not 'uniform'"):
        make("uniform", size=40, batch=3).load_state_dict(state)
    with pytest.raises(CheckpointError, match="the saved size is 40, not 41"):
        make("mopps", size=41, batch=3).load_state_dict(state)
