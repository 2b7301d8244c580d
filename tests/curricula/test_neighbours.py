"""The neighbouring published curricula, each against numbers worked by hand."""

import json
import time
from math import exp

import numpy as np
import pytest
from outcomes import build, next_batch, outcome
from scipy.stats import chisquare

from gainrl.curricula import Setting, base, compose
from gainrl.errors import ConfigError


def arms(*sizes, batch, seed=0):
    """A setting with categories of these sizes, their prompts one after another."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    return Setting(len(codes), batch, seed, categories=codes)


# --- SEC -----------------------------------------------------------------------------------------


def test_sec_moves_q_by_the_mean_absolute_advantage_of_an_arms_rollouts():
    policy = build("sec", {}, arms(2, 2, 2, batch=3))
    # |A| of accuracy .5, .25 and 1 (2 p (1 - p)): .5, .375 and 0. r = (.4375, 0, 0), alpha = .5.
    policy.observe(outcome([0, 1, 2], [0.5, 0.25, 1.0]))
    assert [policy.metrics()[f"q_{arm}"] for arm in range(3)] == [0.21875, 0.0, 0.0]
    # 4 rollouts with .5 and 12 with .375: r = (0, 6.5 / 16 = .40625, 0).
    policy.observe(outcome([2, 3], [0.5, 0.25], rollouts=[4, 12]))
    assert [policy.metrics()[f"q_{arm}"] for arm in range(3)] == [0.109375, 0.203125, 0.0]
    other = build("sec", {"alpha": 0.1}, arms(2, 2, 2, batch=3))
    other.observe(outcome([0, 1, 2], [0.5, 0.25, 1.0]))
    assert other.metrics()["q_0"] == pytest.approx(0.04375)


def test_sec_draws_arms_from_the_softmax():
    policy = build("sec", {"tau": 0.4}, arms(100, 150, 200, batch=10))
    policy.sampler.q = np.array([0.4, 0.2, 0.0])
    # exp(1), exp(.5), exp(0) over their sum, 5.36700: .50648, .30720, .18632
    weights = np.array([exp(1), exp(0.5), 1])
    assert weights / weights.sum() == pytest.approx([0.50648, 0.30720, 0.18632], abs=1e-5)
    drawn = np.concatenate([next_batch(policy) for _ in range(1000)])
    counts = np.bincount(policy.sampler.arm_of[drawn])
    assert chisquare(counts, 10_000 * weights / weights.sum()).pvalue > 0.01
    policy.sampler.q[:] = 0.0
    assert policy.metrics()["entropy"] == pytest.approx(np.log(3))


def test_sec_shows_every_prompt_of_an_arm_before_any_again():
    policy = build("sec", {}, arms(6, 9, batch=1))
    drawn = np.concatenate([next_batch(policy) for _ in range(400)])
    for rows in (drawn[drawn < 6], drawn[drawn >= 6]):
        size = len(set(rows.tolist()))
        rounds = rows[: len(rows) // size * size].reshape(-1, size)
        assert len(rounds) > 10
        assert all(len(set(each)) == size for each in rounds.tolist())
        assert len({tuple(each) for each in rounds.tolist()}) > 10


@pytest.mark.parametrize("tau", [1.0, 0.01])
def test_sec_passes_draws_beyond_an_arms_prompts_on_to_the_others(tau):
    policy = build("sec", {"tau": tau}, arms(2, 6, batch=5))
    policy.sampler.q = np.array([50.0, 0.0])  # all five draws want the first arm, which has two
    for _ in range(20):
        rows = sorted(next_batch(policy).tolist())
        assert rows[:2] == [0, 1]
        assert rows[2] >= 2


def test_sec_knows_only_categories_that_have_prompts():
    policy = build("sec", {}, Setting(4, 2, 0, categories=np.array([7, 3, 3, 7])))
    policy.observe(outcome([1], 0.5))
    assert {"q_3": 0.25, "q_7": 0.0}.items() <= policy.metrics().items()


# --- MoPPS ---------------------------------------------------------------------------------------


def posterior(policy, row):
    state = policy.state_dict()["sampler"]
    return state["a"][row], state["b"][row]


def test_mopps_discounts_the_past_and_adds_successes_and_failures():
    policy = build("mopps", {}, Setting(4, 2, 0))
    # a = .5 * 1 + .5 + 6 = 7, b = .5 * 1 + .5 + 2 = 3
    policy.observe(outcome([2], 0.75))
    assert posterior(policy, 2) == (7.0, 3.0)
    # a = .5 * 7 + .5 + 0 = 4, b = .5 * 3 + .5 + 4 = 6
    policy.observe(outcome([2], 0.0, rollouts=4))
    assert posterior(policy, 2) == (4.0, 6.0)
    assert posterior(policy, 0) == (1.0, 1.0)
    # means: .5, .5, .4, .5
    assert policy.metrics() == {"expected_accuracy": pytest.approx(0.475), "seen_share": 0.25}
    keeping = build("mopps", {"decay": 1.0}, Setting(4, 2, 0))
    for accuracy in (0.75, 0.5):
        keeping.observe(outcome([2], accuracy))
    assert posterior(keeping, 2) == (11.0, 7.0)


def certain(parameters, accuracy, batch):
    """A policy that is sure of every prompt's accuracy."""
    policy = build("mopps", parameters, Setting(len(accuracy), batch, 0))
    policy.sampler.a, policy.sampler.b = 1e9 * np.array(accuracy), 1e9 * (1 - np.array(accuracy))
    return policy


def test_mopps_takes_the_nearest_to_the_target():
    accuracy = [0.01, 0.1, 0.45, 0.52, 0.8, 0.99]
    assert next_batch(certain({}, accuracy, 2)).tolist() == [3, 2]
    assert next_batch(certain({"target": 0.9}, accuracy, 2)).tolist() == [5, 4]


def test_mopps_chooses_within_a_pool():
    accuracy = np.linspace(0.01, 0.99, 40)
    every = certain({"pool": 1}, accuracy, 4)
    assert len({row for _ in range(100) for row in next_batch(every).tolist()}) == 40
    some = certain({"pool": 5}, accuracy, 4)  # the best 4 of 20, from all over the table
    rows = np.concatenate([next_batch(some) for _ in range(100)])
    assert 0.05 < abs(accuracy[rows] - 0.5).mean() < 0.15
    whole = certain({}, accuracy, 4)
    assert {row for _ in range(9) for row in next_batch(whole).tolist()} == {18, 19, 20, 21}


# --- GRESO ---------------------------------------------------------------------------------------


def test_greso_counts_runs_of_each_kind():
    policy = build("greso", {}, Setting(3, 1, 0))
    seen = []
    for accuracy in (1, 1, 0.5, 0, 0, 1, 0.875):
        policy.observe(outcome([1], accuracy))
        seen.append(policy.state_dict()["sampler"]["run"])
    assert [run[1] for run in seen] == [1, 2, 0, -1, -2, 1, 0]
    assert {run[row] for run in seen for row in (0, 2)} == {0}


def test_greso_skips_by_the_length_of_the_run():
    """p_easy .5: .5^1, .5^3 = .125, .5^9 = .002 but at least .01; p_hard .9: .9^2 = .81."""
    policy = build("greso", {}, Setting(5, 1, 0))
    policy.sampler.p_hard = 0.9
    policy.sampler.run = np.array([0, 1, 3, 9, -2])
    assert policy.sampler._chance(np.arange(5)) == pytest.approx([1, 0.5, 0.125, 0.01, 0.81])


def test_greso_shows_a_quarter_of_what_was_right_twice():
    policy = build("greso", {}, Setting(4000, 100, 0))
    policy.sampler.run[:2000] = 2
    batches = [next_batch(policy) for _ in range(24)]  # 500 and 2000 of an epoch's prompts
    rows = np.concatenate(batches)
    assert policy.metrics()["epoch"] == 0
    assert len(set(rows.tolist())) == len(rows)
    walked = 4000 - len(policy.state_dict()["sampler"]["queue"])
    solved = int((rows < 2000).sum())
    assert solved / (walked / 2) == pytest.approx(0.25, abs=0.03)
    assert (len(rows) - solved) / (walked / 2) == pytest.approx(1, abs=0.05)


def test_greso_moves_its_probabilities_towards_the_shares():
    """Of 10 groups; targets .25 / 3 = .083 easy and .167 hard."""
    policy = build("greso", {}, Setting(10, 10, 0))

    def step(easy, hard):
        rows = next_batch(policy)
        policy.sampler.run[:] = 0  # so that no epoch is skipped in the next batch
        accuracy = [1.0] * easy + [0.0] * hard + [0.5] * (10 - easy - hard)
        policy.observe(outcome(rows, accuracy))
        policy.sampler.run[:] = 0
        return policy.metrics()["p_easy"], policy.metrics()["p_hard"]

    assert step(5, 5) == (0.5, 0.5)  # the first epoch
    assert step(1, 1) == pytest.approx((0.49, 0.51))
    assert step(0, 2) == pytest.approx((0.50, 0.50))
    assert step(0, 1) == pytest.approx((0.51, 0.51))
    policy.sampler.step = 0.3
    assert step(1, 1) == pytest.approx((0.21, 0.81))
    assert step(1, 1) == (0.05, 0.95)


@pytest.mark.parametrize(("size", "batch"), [(10, 4), (7, 5), (9, 2)])
def test_greso_is_uniform_while_every_group_is_mixed(size, batch):
    policy = build("greso", {}, Setting(size, batch, 0))
    drawn = []
    for _ in range(4 * size):  # 4 * batch epochs
        rows = next_batch(policy)
        policy.observe(outcome(rows, 0.5))
        drawn += rows.tolist()
        counts = np.bincount(drawn, minlength=size)
        assert counts.max() - counts.min() <= 2
        assert policy.metrics()["skipped"] == 0
    assert set(np.bincount(drawn)) == {4 * batch}


# --- PCL -----------------------------------------------------------------------------------------


def by_feature(values, parameters, batch, **more):
    features = {"tokens": np.array(values, dtype=float), **more}
    return build("pcl", parameters, Setting(len(values), batch, 0, features=features))


def test_pcl_fits_as_in_a_hand_worked_example():
    policy = by_feature([0, 0, 2, 2], {"decay": 0.5}, 2)  # z = -1, -1, 1, 1
    # Gram [[2, 0], [0, 2]], moments [1, .5]: w0 = 1 / 2, w = .5 / (2 + ridge 1) = 1/6
    policy.observe(outcome([0, 2], [0.25, 0.75]))
    assert policy.sampler.weights == pytest.approx([1 / 2, 1 / 6])
    assert policy.metrics() == {"expected_accuracy": 0.5, "error": 0.25}  # V was .5 for both
    # V = 1/3 and 2/3 against 0 and .5: errors 1/3 and 1/6. Then Gram 2 / 2 + 2 = 3 in both places,
    # moments 1 / 2 + .5 = 1 and .5 / 2 + .5 = .75: w0 = 1/3, w = .75 / 4
    policy.observe(outcome([1, 3], [0.0, 0.5]))
    assert policy.metrics()["error"] == pytest.approx(0.25)
    assert policy.sampler.weights == pytest.approx([1 / 3, 3 / 16])


@pytest.mark.parametrize(("tau", "wanted"), [(0.3, {0, 1}), (0.7, {2, 3})])
def test_pcl_keeps_the_candidates_nearest_to_tau(tau, wanted):
    policy = by_feature([0, 0, 2, 2], {"tau": tau, "k": 2}, 2)
    first = [set(next_batch(policy).tolist()) for _ in range(20)]
    assert len(set(map(frozenset, first))) > 2  # V is tau for all
    policy.observe(outcome([0, 2], [0.25, 0.75]))  # V = 1/3 and 2/3
    assert all(set(next_batch(policy).tolist()) == wanted for _ in range(20))


def test_pcl_finds_the_prompts_of_middle_accuracy():
    accuracy = np.random.default_rng(3).permutation(np.linspace(0, 1, 400))
    policy = by_feature(50 + 20 * accuracy, {}, 20, c_intra=np.full(400, 0.7))
    distances = []
    for _ in range(20):
        rows = next_batch(policy)
        policy.observe(outcome(rows, accuracy[rows]))
        distances.append(abs(accuracy[rows] - 0.5).mean())
    assert distances[0] > 0.2  # uniform: .25
    assert np.mean(distances[10:]) < 0.09  # the nearest quarter of the candidates: .0625
    assert policy.sampler.weights[1] == 0  # a constant says nothing


def test_pcl_names_a_feature_that_is_not_finite():
    with pytest.raises(ConfigError, match="'pcl': feature 'tokens' of row 2 is not finite"):
        by_feature([1, 2, np.nan, 4], {}, 2)


# --- ADCL ----------------------------------------------------------------------------------------


def walk(policy, accuracy, steps):
    """Steps with `draw`: (rows estimated, rows trained on) of each, and its metrics."""
    seen = []
    for _ in range(steps):
        groups, estimates, estimated = base.Groups.none(), None, []
        while (request := policy.draw(groups, estimates)) is not None:
            rows = request.rows
            answer = base.Groups(
                rows, request.rollouts, accuracy[rows], accuracy[rows] % 1 > 0, request.rollouts
            )
            if request.purpose == "group":
                groups = answer
            else:
                estimates = answer
                estimated.append(rows.tolist())
        trained = groups.rows[policy.keep(groups)]
        policy.observe(outcome(trained, accuracy[trained]))
        seen.append((estimated, trained.tolist(), policy.metrics()))
    return seen


def test_adcl_sorts_each_chunk_anew_before_its_turn():
    """Eight prompts, row 7 the easiest: chunks {7, 6}, {5, 4}, {3, 2}, {1, 0}."""
    setting = Setting(8, 2, 0, difficulty=np.arange(70, -10, -10.0))
    accuracy = np.array([0.5, 0.25, 0.0, 0.125, 0.75, 0.25, 1.0, 0.875])
    steps = walk(build("adcl", {}, setting), accuracy, 6)
    assert [rows for _, rows, _ in steps] == [[7, 6], [4, 5], [3, 2], [0, 1], [6, 7], [4, 5]]
    assert [rows for rows, _, _ in steps[:4]] == [[], [[5, 4]], [[3, 2]], [[1, 0]]]
    assert [sorted(rows[0]) for rows, _, _ in steps[4:]] == [[6, 7], [4, 5]]
    # Rows 5 and 4 from 20 and 30 to 75 and 25: (55 + 5) / 2. Rows 6 and 7: from 10 and 0 to 0 and
    # 12.5. In the second round rows 4 and 5 are estimated as before.
    assert steps[1][2] == {"chunk": 1.0, "epoch": 0.0, "shift": 30.0}
    assert steps[4][2] == {"chunk": 0.0, "epoch": 1.0, "shift": 11.25}
    assert steps[5][2] == {"chunk": 1.0, "epoch": 1.0, "shift": 0.0}


def test_adcl_completes_a_batch_from_the_next_chunk():
    """Six prompts in two chunks, batches of two: the second holds the last of {0, 1, 2}."""
    setting = Setting(6, 2, 0, difficulty=np.arange(0, 60, 10.0))
    accuracy = np.array([1, 1, 1, 0.0, 0.5, 0.25])
    steps = walk(build("adcl", {"chunks": 2}, setting), accuracy, 3)
    assert [rows for _, rows, _ in steps] == [[0, 1], [2, 4], [5, 3]]
    assert [rows for rows, _, _ in steps] == [[], [[3, 4, 5]], []]


def test_adcl_estimates_every_chunk_that_a_large_batch_reaches():
    setting = Setting(6, 4, 0, difficulty=np.arange(0, 60, 10.0))
    steps = walk(build("adcl", {"chunks": 3}, setting), np.full(6, 0.5), 30)
    assert steps[0][0] == [[2, 3]]
    assert steps[1][0] == [[4, 5], [0, 1]]
    assert all(len(set(rows)) == 4 for _, rows, _ in steps)
    assert set(np.bincount(np.concatenate([rows for _, rows, _ in steps]))) == {20}


def test_adcl_takes_as_many_answers_as_it_is_told():
    setting = Setting(4, 2, 0, difficulty=np.arange(4.0), rollouts=5)
    for parameters, wanted in (({}, 5), ({"rollouts": 3}, 3)):
        policy = build("adcl", {"chunks": 2, **parameters}, setting)
        first = policy.draw(base.Groups.none(), None)
        assert (first.purpose, first.rollouts.tolist()) == ("group", [5, 5])
        second = policy.draw(base.Groups.none(), None)
        assert (second.purpose, second.rollouts.tolist()) == ("estimate", [wanted] * 2)


def test_adcl_without_estimates_is_a_fixed_order():
    setting = Setting(6, 2, 0, difficulty=np.array([50, 0, 40, 10, 30, 20.0]))
    policy = build("adcl", {"rollouts": 0}, setting)
    assert not policy.several_draws
    assert build("adcl", {}, setting).several_draws
    batches = [next_batch(policy).tolist() for _ in range(4)]
    assert batches == [[1, 3], [5, 4], [2, 0], [1, 3]]


def test_adcl_orders_equal_difficulties_by_the_seed():
    settings = [Setting(40, 4, seed, difficulty=np.zeros(40)) for seed in (0, 0, 1)]
    easy = [next_batch(build("adcl", {}, each)).tolist() for each in settings]
    assert easy[0] == easy[1] != easy[2]


def test_adcl_continues_exactly_with_estimates():
    rng = np.random.default_rng(0)
    setting = Setting(40, 6, 0, difficulty=rng.random(40) * 100)
    accuracy = rng.integers(0, 9, 40) / 8
    policy, other = (build("adcl", {}, setting) for _ in range(2))
    walk(policy, accuracy, 3)
    walk(other, 1 - accuracy, 7)
    other.load_state_dict(json.loads(json.dumps(policy.state_dict())))
    assert walk(policy, accuracy, 20) == walk(other, accuracy, 20)


# --- parameters and pace -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("sec", {"alpha": 0.0}, r"alpha is 0.0, not in \(0, 1\]"),
        ("sec", {"tau": 0.0}, "tau must be above 0"),
        ("mopps", {"pool": 0}, "pool is 0, not at least 1"),
        ("mopps", {"target": 1.5}, r"target is 1.5, not in \[0, 1\]"),
        ("mopps", {"decay": -0.1}, r"decay is -0.1, not in \[0, 1\]"),
        ("greso", {"p": 0.01}, r"p is 0.01, not in \[0.05, 0.95\]"),
        ("greso", {"target": 2.0}, "target is 2.0"),
        ("greso", {"step": -1.0}, "step is -1.0, below 0"),
        ("pcl", {"k": 0}, "k is 0, not at least 1"),
        ("pcl", {"tau": -1.0}, "tau is -1.0"),
        ("pcl", {"decay": 1.1}, "decay is 1.1"),
        ("pcl", {"ridge": 0.0}, "ridge must be above 0"),
        ("adcl", {"chunks": 0}, "chunks is 0, not at least 1"),
        ("adcl", {"rollouts": -1}, "rollouts is -1, below 0"),
    ],
)
def test_a_parameter_out_of_range_is_refused(name, parameters, message):
    with pytest.raises(ConfigError, match=f"methods.x: curriculum '{name}': {message}"):
        compose({"name": name, **parameters}, "methods.x")


@pytest.mark.parametrize("name", ["sec", "mopps", "greso", "pcl", "adcl"])
def test_a_step_at_the_size_of_deepscaler_takes_milliseconds(name):
    rng, size = np.random.default_rng(0), 40_000
    features = {key: rng.random(size) for key in ("tokens", "c_intra", "c_inter")}
    categories = rng.integers(0, 20, size)
    difficulty = rng.random(size) * 100
    policy = build(
        name,
        {},
        Setting(size, 128, 0, difficulty=difficulty, categories=categories, features=features),
    )
    seconds = []
    for _ in range(20):
        began = time.process_time()
        rows = next_batch(policy)
        policy.observe(outcome(rows, rng.integers(0, 9, 128) / 8))
        seconds.append(time.process_time() - began)
    assert np.median(seconds) < 0.005
