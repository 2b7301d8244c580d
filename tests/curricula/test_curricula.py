"""The curricula: what they draw, how they move, and that they continue exactly."""

import json
import math

import numpy as np
import pytest
from outcomes import BATCH, SIZE, build, next_batch, outcome, play, setting
from scipy.stats import chisquare

from gainrl.curricula import REGISTRY
from gainrl.errors import ConfigError

ORDER = np.random.default_rng(5).permutation(SIZE)
DIFFICULTY = np.random.default_rng(6).integers(0, 9, SIZE) * 12.5


def moved(policy, accuracy, signal=0.0):
    """mu after one batch with this outcome."""
    policy.observe(outcome(next_batch(policy), accuracy, signal))
    return policy.metrics()["mu"]


# --- uniform -------------------------------------------------------------------------------------


def test_uniform_shows_every_prompt_once_an_epoch_when_batches_divide_it():
    policy = build("uniform", {}, setting(size=12, batch=4))
    epochs = []
    for epoch in range(3):
        rows = []
        for _ in range(3):
            rows += next_batch(policy).tolist()
            assert policy.metrics() == {"epoch": epoch}
        assert sorted(rows) == list(range(12))
        epochs.append(rows)
    assert epochs[0] != epochs[1] != epochs[2]
    assert list(range(12)) not in epochs


@pytest.mark.parametrize(("size", "batch"), [(10, 4), (7, 5), (5, 5), (9, 2)])
def test_uniform_across_the_end_of_an_epoch_repeats_nothing_within_a_batch(size, batch):
    policy = build("uniform", {}, setting(size=size, batch=batch))
    drawn = []
    for _ in range(4 * size):  # 4 * batch epochs
        rows = next_batch(policy).tolist()
        assert len(set(rows)) == batch
        drawn += rows
        counts = np.bincount(drawn, minlength=size)
        assert counts.max() - counts.min() <= 2  # nobody waits longer than one epoch more
    assert set(np.bincount(drawn)) == {4 * batch}


def test_uniform_depends_on_the_seed_alone():
    first, same, other = (
        next_batch(build("uniform", {}, setting(seed=seed))).tolist() for seed in (3, 3, 4)
    )
    assert first == same != other


# --- gain: draws (Eq. 8) -------------------------------------------------------------------------


def gaussian(size, mu, sigma):
    """P(i) of Eq. 8, written out."""
    weights = [math.exp(-((i - mu) ** 2) / (2 * sigma**2)) for i in range(size)]
    return np.array(weights) / sum(weights)


@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 3.0), (7.3, 2.0), (19.0, 8.0)])
def test_the_first_draw_of_gain_follows_the_gaussian(mu, sigma):
    size, draws = 20, 20_000
    policy = build("gain", {"sigma": sigma / size}, setting(size=size, batch=3, seed=17))
    policy.sampler.mu = mu
    counts = np.bincount([next_batch(policy)[0] for _ in range(draws)], minlength=size)
    expected = draws * gaussian(size, mu, sigma)
    common = expected >= 5
    assert counts[~common].sum() <= 5 * expected[~common].sum() + 5
    got = np.append(counts[common], counts[~common].sum())
    want = np.append(expected[common], expected[~common].sum())
    if want[-1] == 0:
        got, want = got[:-1], want[:-1]
    assert chisquare(got, want).pvalue > 0.01


def test_the_second_draw_of_gain_is_without_replacement():
    """P(j second | i first) = P(j) / (1 - P(i)), summed over i."""
    size, draws, mu, sigma = 6, 20_000, 1.0, 1.5
    policy = build("gain", {"sigma": sigma / size}, setting(size=size, batch=2, seed=3))
    policy.sampler.mu = mu
    counts = np.bincount([next_batch(policy)[1] for _ in range(draws)], minlength=size)
    p = gaussian(size, mu, sigma)
    second = [sum(p[i] * p[j] / (1 - p[i]) for i in range(size) if i != j) for j in range(size)]
    assert chisquare(counts, draws * np.array(second)).pvalue > 0.01


def test_gain_walks_ranks_of_the_order_not_rows():
    policy = build("gain", {"sigma": 0.02}, setting(order=ORDER))
    policy.sampler.mu = 10.0
    batch = next_batch(policy)
    assert len(set(batch.tolist())) == BATCH
    ranks = np.argsort(ORDER)[batch]
    assert abs(ranks - 10).max() <= 5


def test_a_whole_table_as_batch_is_a_permutation_of_it():
    rows = next_batch(build("gain", {}, setting(size=6, batch=6)))
    assert sorted(rows.tolist()) == list(range(6))


@pytest.mark.parametrize("mu", [0.0, 20_000.0, 39_999.0])
def test_gain_does_not_underflow_far_from_mu(mu):
    """With sigma 1 of N = 40,000 most of the batch's weights are below the smallest float."""
    size = 40_000
    policy = build("gain", {"sigma": 1 / size}, setting(size=size, batch=64))
    policy.sampler.mu = mu
    batch = next_batch(policy)
    assert len(set(batch.tolist())) == 64
    assert abs(batch - mu).max() <= 70  # the nearest 64 ranks or all but; no stray draws


# --- gain: mu (Eq. 10) ---------------------------------------------------------------------------


def test_mu_moves_as_in_a_hand_worked_example():
    """N = 40, n = 6: h = 3; Acc = .75, C = 1.2: 3 tanh(.5) + 3 tanh(.6) = 1.38635 + 1.61115."""
    policy = build("gain", {}, setting())
    rows = next_batch(policy)
    accuracy, signal = [1, 1, 1, 0.5, 0.5, 0.5], [1.0, 1.1, 1.2, 1.2, 1.3, 1.4]
    policy.observe(outcome(rows, accuracy, signal))
    assert policy.metrics()["mu"] == pytest.approx(2.99750, abs=1e-5)
    assert policy.metrics()["mu_share"] == pytest.approx(2.99750 / 39, abs=1e-6)
    assert moved(policy, 0.25, -0.4) == pytest.approx(  # 3 tanh(-.5) + 3 tanh(-.2)
        2.99750 - 1.38635 - 0.59213, abs=1e-5
    )


def test_the_parameters_of_the_update_are_used():
    policy = build("gain", {"alpha": 1.0, "beta": 0.2, "gamma": 2.0}, setting())
    expected = 3 * math.tanh(0.6) + 3 * math.tanh(1.0)
    assert moved(policy, 0.8, 0.5) == pytest.approx(expected)


def test_mu_stays_between_the_first_and_the_last_rank():
    policy = build("gain", {"step": 0.4}, setting())
    assert moved(policy, 0.0, 0.0) == 0.0
    seen = [moved(policy, 1.0, 2.0) for _ in range(4)]
    assert seen[0] < 39
    assert seen[-1] == 39.0
    assert policy.metrics()["mu_share"] == 1.0
    assert moved(policy, 0.0, 0.0) == pytest.approx(39 - 16 * math.tanh(1))


def test_step_and_sigma_are_fractions_of_the_table():
    metrics = build("gain", {"step": 0.25, "sigma": 0.125}, setting()).metrics()
    assert (metrics["step"], metrics["sigma"]) == (10.0, 5.0)
    metrics = build("gain", {}, setting()).metrics()
    assert (metrics["step"], metrics["sigma"]) == (BATCH / 2, BATCH)


@pytest.mark.parametrize(
    ("accuracy_on", "signal_on", "expected"),
    [(True, False, 3 * math.tanh(1)), (False, True, 3 * math.tanh(0.5)), (False, False, 0.0)],
)
def test_each_term_of_the_update_can_be_left_out(accuracy_on, signal_on, expected):
    policy = build("gain", {"use_accuracy": accuracy_on, "use_signal": signal_on}, setting())
    assert moved(policy, 1.0, 1.0) == pytest.approx(expected)


# --- gain: released variant ----------------------------------------------------------------------


def released(size=5000, batch=50, **extra):
    return build("gain", {"variant": "released", **extra}, setting(size=size, batch=batch))


def test_released_has_its_own_constants_and_sorts_the_batch_by_rank():
    order = np.random.default_rng(1).permutation(5000)
    policy = build("gain", {"variant": "released"}, setting(size=5000, batch=50, order=order))
    assert policy.metrics()["sigma"] == 1000.0
    assert policy.metrics()["step"] == 500.0
    ranks = np.argsort(order)[next_batch(policy)]
    assert (np.diff(ranks) > 0).all()
    with pytest.raises(ConfigError, match="constants of the variant 'released'"):
        released(sigma=0.1)


def test_released_halves_the_accuracy_and_takes_two_for_gamma():
    """Acc .8, C .3: 500 tanh(2 (.4 - .5)) + 500 tanh(.6) = -98.6877 + 268.5248."""
    assert moved(released(), 0.8, 0.3) == pytest.approx(169.8371, abs=1e-3)


def test_released_never_moves_back_and_never_more_than_a_thousand():
    policy = released()
    policy.sampler.mu = 700.0
    assert moved(policy, 0.0, 0.1) == 700.0  # 500 tanh(-1) + 500 tanh(.2) < 0
    assert moved(policy, 1.0, 9.0) == pytest.approx(1200.0)  # 500 tanh(0) + 500
    generous = released(alpha=100.0, beta=0.0)
    assert moved(generous, 1.0, 9.0) == pytest.approx(1000.0)
    policy.sampler.mu = 4900.0
    assert moved(policy, 1.0, 9.0) == 4999.0


# --- ADARFT --------------------------------------------------------------------------------------


def test_adarft_takes_the_nearest_in_stable_order_and_repeats_while_the_target_stands():
    policy = build("adarft", {}, setting(size=6, batch=3, difficulty=[50, 0, 25, 0, 25, 100]))
    assert next_batch(policy).tolist() == [1, 3, 2]  # ties by row
    assert next_batch(policy).tolist() == [1, 3, 2]
    policy.observe(outcome([1, 3, 2], 0.5))  # tanh(0): the target stands
    assert next_batch(policy).tolist() == [1, 3, 2]
    policy.observe(outcome([1, 3, 2], [1, 1, 0.25]))  # 50 tanh(2 * .25) = 23.1059
    assert policy.metrics()["target"] == pytest.approx(23.1059, abs=1e-4)
    assert next_batch(policy).tolist() == [2, 4, 1]


def test_adarft_keeps_its_target_between_0_and_100():
    policy = build("adarft", {"target": 90.0}, setting())
    policy.observe(outcome(next_batch(policy), 1.0))
    assert policy.metrics()["target"] == 100.0
    policy.observe(outcome(next_batch(policy), 0.0))
    assert policy.metrics()["target"] == pytest.approx(100 - 50 * math.tanh(1))
    for _ in range(3):
        policy.observe(outcome(next_batch(policy), 0.0))
    assert policy.metrics()["target"] == 0.0


def test_adarft_parameters_are_used():
    policy = build("adarft", {"eta": 10.0, "alpha": 1.0, "beta": 0.2, "target": 30.0}, setting())
    policy.observe(outcome(next_batch(policy), 1.0))
    assert policy.metrics()["target"] == pytest.approx(30 + 10 * math.tanh(0.8))


# --- state ---------------------------------------------------------------------------------------


OF_SEVERAL_DRAWS = {"adaptive_uniform", "hive", "oracle", "predicted", "speed"}
"""Their draws have another size than a batch or are asked for: test_predicted, _hive, _2026."""
POLICIES = [
    *((name, {}) for name in sorted(set(REGISTRY) - OF_SEVERAL_DRAWS)),
    ("predicted", {"adaptive": False}),
    ("gain", {"step": 0.1, "sigma": 0.2}),
    ("gain", {"variant": "released"}),
    ("adarft", {"eta": 20.0}),
    ("adcl", {"chunks": 11}),
    ("sec", {"tau": 0.05}),
]


@pytest.mark.parametrize(("name", "parameters"), POLICIES)
@pytest.mark.parametrize(("size", "batch"), [(40, 6), (7, 5), (6, 6), (5, 1)])
def test_every_batch_of_every_policy_has_its_size_and_repeats_nothing(
    name, parameters, size, batch
):
    policy = build(name, parameters, setting(size, batch))
    for rows, metrics in play(policy, 30):
        assert len(set(rows)) == len(rows) == batch
        assert set(rows) <= set(range(size))
        assert all(isinstance(value, float) for value in metrics.values())
        assert all(map(math.isfinite, metrics.values()))


@pytest.mark.parametrize(("name", "parameters"), POLICIES)
@pytest.mark.parametrize("steps", [0, 5])
def test_state_through_json_continues_exactly(name, parameters, steps):
    where = setting(order=ORDER, difficulty=DIFFICULTY)
    policy = build(name, parameters, where)
    play(policy, steps)
    state = json.loads(json.dumps(policy.state_dict()))
    expected = play(policy, 20)
    again = build(name, parameters, where)
    play(again, 3)  # whatever it did before must not matter
    again.load_state_dict(state)
    assert play(again, 20) == expected
    assert len({str(rows) for rows, _ in expected}) > 3
