"""Pools and answers that are not as they should be: all solved, all alike, in flight, lost."""

import numpy as np
import pytest
from outcomes import build, groups, next_batch, outcome
from scipy.special import gammaln, psi

from gainrl import curricula
from gainrl.curricula import Groups, Setting, insight


def test_prompts_that_are_always_solved_come_only_if_there_are_too_few_others():
    rates = np.r_[np.ones(50), np.full(50, 0.5)]
    policy = build("gaussian", {}, Setting(100, 10, 0, difficulty=100 * (1 - rates)))
    for _ in range(20):
        rows = next_batch(policy)
        assert rates[rows].max() == 0.5
        policy.observe(outcome(rows, 0.5))
    few = build("gaussian", {}, Setting(100, 60, 0, difficulty=100 * (1 - rates)))
    assert (rates[next_batch(few)] == 0.5).sum() == 50


def test_of_levels_that_are_equally_near_one_is_taken_by_chance():
    difficulty = np.repeat([25.0, 75.0], 10)
    middle = {"first": 0.5, "last": 0.5, "sigma": 0.0}
    settings = [Setting(20, 1, seed, difficulty=difficulty) for seed in range(20)]
    hard = [next_batch(build("gaussian", middle, setting))[0] >= 10 for setting in settings]
    assert 3 < sum(hard) < 17


@pytest.mark.parametrize("alike", [80, 100])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_vip_bears_prompts_of_one_state(alike, scale):
    states = np.random.default_rng(0).normal(size=(100, 4))
    states[:alike] = states[0]
    features = {f"state{i}": scale * states[:, i] for i in range(4)}
    policy = build("vip_uniform", {}, Setting(100, 8, 0, features=features))
    rng, fresh = np.random.default_rng(1), np.arange(100) < alike
    for _ in range(5):
        rows = next_batch(policy)
        fresh[rows] = False
        policy.observe(outcome(rows, rng.binomial(8, 0.5, len(rows)) / 8))
    vip = policy.allocation
    assert np.isfinite(vip.latent).all()
    assert np.ptp(vip.latent[fresh]) < 1e-6  # alike, so predicted alike
    far = states[alike:]
    if len(far):
        apart = np.linalg.norm(scale * (states[0] - far), axis=1)
        assert 0.2 * apart.min() < vip.bandwidth < 2 * apart.max()


def lost(request, rows, count):
    """What is left of a request without `count` responses of each of these rows; one is right."""
    left = request.rollouts - np.where(np.isin(request.rows, rows), count, 0)
    return request.rows, np.minimum(1, left), left


def test_a_group_that_lost_a_response_of_its_screening_gets_the_rest():
    policy = build("speed", {"first": 4}, Setting(40, 4, 0, rollouts=24))
    first = policy.draw(Groups.none(), None)
    row = first.rows[1]
    screened = groups(*lost(first, [row], 1))
    again = policy.draw(screened, None)
    assert row in again.rows
    assert len(again.rows) == 4


@pytest.mark.parametrize("name", ["speed", "adaptive_uniform"])
def test_what_is_lost_twice_is_not_asked_for_again_and_again(name):
    policy = build(name, {"first": 4}, Setting(40, 4, 0, rollouts=16))
    first = policy.draw(Groups.none(), None)
    screened = groups(*lost(first, [], 0))
    assert policy.draw(screened, None) is not None
    assert policy.draw(screened, None) is None  # nothing of it came back
    policy.observe(outcome(first.rows, 0.25, rollouts=4))
    later = policy.draw(Groups.none(), None)
    assert policy.draw(groups(*lost(later, [], 0)), None) is not None  # the next step asks anew


@pytest.mark.parametrize("filter", ["unsolved", "no_positive_resampling"])
@pytest.mark.parametrize("flying", [6, 10])
def test_rows_in_flight_are_drawn_where_there_are_too_few_others(filter, flying):
    policy = curricula.build({"sampler": "uniform", "filter": filter}, Setting(10, 6, 0))
    policy.observe(outcome([0, 1, 7], 1.0))
    drawn = policy.draw(Groups.none(), None, np.arange(10) < flying)
    assert len(np.unique(drawn.rows)) == 6


def test_a_constant_feature_is_no_feature():
    """0.1 has no exact mean: what rounding leaves is not standardised."""
    names = ("flat", "noisy")
    flat = dict(
        zip(names, (np.full(30, 0.1), np.nextafter(0.1, np.arange(30) % 3 - 1)), strict=True)
    )
    policy = curricula.build("pcl", Setting(30, 4, 0, features=flat))
    assert np.array_equal(policy.sampler.inputs[:, 1:], np.zeros((30, 2)))


def test_the_special_functions_are_exact_from_small_numbers_on():
    x = np.geomspace(1e-8, 1e5, 400)
    bound = 2e-13 * np.maximum(1, np.abs(gammaln(x)))
    assert (np.abs(insight._log_gamma(x) - gammaln(x)) < bound).all()
    assert np.allclose(insight._digamma(x), psi(x), rtol=2e-13, atol=2e-13)
