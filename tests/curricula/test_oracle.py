"""The oracle, a control that knows every pass rate: what it asks for, and what it takes."""

import numpy as np
from outcomes import build, groups

from gainrl.curricula import Setting
from gainrl.curricula.base import Groups


def test_the_oracle_takes_what_is_nearest_to_a_half():
    policy = build("oracle", {"pool": 3, "samples": 4}, Setting(40, 4, 2, rollouts=6))
    asked = policy.draw(Groups.none(), None)
    assert (asked.purpose, len(set(asked.rows.tolist()))) == ("free", 12)
    assert set(asked.rollouts.tolist()) == {4}
    right = np.array([0, 4, 2, 0, 1, 4, 4, 3, 2, 0, 0, 0])
    request = policy.draw(Groups.none(), groups(asked.rows, right, asked.rollouts))
    assert request.purpose == "group"
    assert set(request.rows[:2].tolist()) == set(asked.rows[[2, 8]].tolist())
    assert set(request.rows[2:].tolist()) == set(asked.rows[[4, 7]].tolist())
    assert set(request.rollouts.tolist()) == {6}
    assert policy.draw(groups(request.rows, [3] * 4, request.rollouts), None) is None
    assert policy.metrics() == {"pool_accuracy": right.mean() / 4, "distance": 0.125}


def test_the_oracles_ties_go_by_the_seed():
    def first(seed):
        policy = build("oracle", {"pool": 9}, Setting(40, 5, seed))
        asked = policy.draw(Groups.none(), None)
        assert len(asked.rows) == 40  # the whole table
        told = groups(np.arange(40), np.full(40, 4), np.full(40, 8))
        return policy.draw(Groups.none(), told).rows.tolist()

    assert first(1) == first(1) != first(2)
    assert sorted(first(1)) != list(range(5))


def test_a_pool_of_the_oracle_serves_several_steps_without_repeats():
    truth = np.linspace(0, 1, 60)
    policy, rng = build("oracle", {"pool": 4, "every": 3}, Setting(60, 5, 0)), None
    rng = np.random.default_rng(3)
    asked = []
    for _ in range(6):
        request = policy.draw(Groups.none(), None)
        asked.append(request.purpose)
        if request.purpose == "free":
            right = rng.binomial(8, truth[request.rows])
            request = policy.draw(Groups.none(), groups(request.rows, right, request.rollouts))
            shown = set()
        assert not shown & set(request.rows.tolist())
        shown |= set(request.rows.tolist())
    assert asked == ["free", "group", "group"] * 2
