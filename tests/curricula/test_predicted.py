"""The predicted curriculum by hand, what it draws and rolls out, and its controls."""

import json
import time
import tracemalloc

import numpy as np
import pytest
from outcomes import build, groups, next_batch, outcome
from scipy.stats import chisquare, spearmanr

from gainrl.curricula import Outcome, Setting, compose
from gainrl.curricula.adaptive import Adaptive
from gainrl.curricula.base import Groups
from gainrl.curricula.logistic import logistic
from gainrl.errors import ConfigError


def step(policy, truth, rng):
    """One step of a policy on prompts of known pass rates; returns its outcome."""
    answers, estimates = {}, None
    seen = Groups.none()
    while request := policy.draw(seen, estimates):
        got = rng.binomial(request.rollouts, truth[request.rows])
        estimates = groups(request.rows, got, request.rollouts)
        if request.purpose != "group":
            continue
        for row, right, size in zip(request.rows, got, request.rollouts, strict=True):
            before = answers.get(row, (0, 0))
            answers[row] = (before[0] + right, before[1] + size)
        seen, estimates = groups(list(answers), *zip(*answers.values(), strict=True)), None
    assert policy.keep(seen).tolist() == list(range(len(seen.rows)))
    found = outcome(seen.rows, seen.accuracy, rollouts=seen.rollouts)
    policy.observe(found)
    return found


# --- one step by hand ----------------------------------------------------------------------------


def test_estimates_and_weights_are_as_in_a_hand_worked_example():
    """Two groups of four, 3 right and 0 right, no features.

    p's model: 3 w = 4 (.75 - m) + 4 (0 - m), w = -.20027, m = .45010.
    v's model: 3 w = (.75 - u) + (0 - u), w = -.07143, u = .48215.
    """
    policy = build("predicted", {"features": "none"}, Setting(3, 2, 0))
    assert policy.sampler.weights().tolist() == [0.25, 0.25, 0.25]
    policy.observe(outcome([0, 1], [0.75, 0.0], rollouts=4))
    rate, variance = policy.sampler.estimates()
    assert rate == pytest.approx([(1.8004 + 3) / 8, 1.8004 / 8, 0.45010], abs=1e-5)
    assert variance == pytest.approx([(0.48215 + 0.75) / 2, 0.48215 / 2, 0.48215], abs=1e-5)
    # 4 p (1 - p) v = .59142, .16818, .47734, squared
    assert policy.sampler.weights() == pytest.approx([0.34978, 0.02829, 0.22785], abs=1e-4)
    policy.observe(outcome([0], [1.0], rollouts=8))  # p's record: .95 * 3 + 8 of .95 * 4 + 8
    model, other = (
        m.predict(np.ones((1, 1)))[0] for m in (policy.sampler.pass_rate, policy.sampler.variance)
    )
    rate, variance = policy.sampler.estimates(np.array([0, 1]))
    assert rate == pytest.approx([(4 * model + 10.85) / 15.8, 4 * model / 7.8])
    assert variance == pytest.approx([(other + 0.7125) / 2.95, other / 1.95])


def test_weights_have_a_floor_and_a_power():
    policy = build("predicted", {"features": "none", "floor": 0.3, "power": 1.0}, Setting(3, 2, 0))
    policy.observe(outcome([0, 1], [0.75, 0.0], rollouts=4))
    assert policy.sampler.weights() == pytest.approx([0.59142, 0.3 * 0.59142, 0.47734], abs=1e-4)


# --- drawing -------------------------------------------------------------------------------------


def known(variance, floor=0.05, **where):
    """A policy that is sure of p = .5 and of these variances: weights are their squares."""
    size = len(variance)
    policy = build("predicted", {"features": "none", "floor": floor}, Setting(size, 2, 0, **where))
    policy.sampler.tried[:], policy.sampler.right[:] = 1e9, 0.5e9
    policy.sampler.groups[:], policy.sampler.spread[:] = 1e9, 1e9 * np.array(variance)
    return policy


def test_draws_are_without_replacement_in_proportion_to_the_floored_squares():
    policy = known([1.0, 0.8, 0.5, 0.1, 0.0])
    share = np.array([1.0, 0.64, 0.25, 0.05, 0.05])
    share /= share.sum()
    draws = np.array([policy.sampler.draw(2) for _ in range(20_000)])
    assert (draws[:, 0] != draws[:, 1]).all()
    assert chisquare(np.bincount(draws[:, 0]), 20_000 * share).pvalue > 0.01
    second = [sum(share[i] * share[j] / (1 - share[i]) for i in range(5) if i != j)
              for j in range(5)]  # fmt: skip
    assert chisquare(np.bincount(draws[:, 1]), 20_000 * np.array(second)).pvalue > 0.01


def test_a_whole_table_can_be_drawn():
    assert sorted(known([1.0, 0.5, 0.0]).sampler.draw(3).tolist()) == [0, 1, 2]


def test_where_nothing_teaches_any_more_all_are_alike():
    policy = known([0.0, 0.0, 0.0, 0.0])
    policy.sampler.right[:] = 0.0
    counts = np.bincount([policy.sampler.draw(1)[0] for _ in range(4000)], minlength=4)
    assert chisquare(counts).pvalue > 0.01


# --- learning ------------------------------------------------------------------------------------


def pool(size=2000):
    """Pass rates that fall with the length, and three in ten prompts that nobody solves."""
    rng = np.random.default_rng(4)
    tokens = rng.integers(10, 110, size).astype(float)
    truth = logistic((40 - tokens) / 8)
    truth[rng.random(size) < 0.3] = 0.0
    features = {"tokens": tokens, "c_intra": rng.normal(size=size), "c_inter": np.ones(size)}
    return truth, features


def run(features, steps=12, name="predicted", seed=1, **parameters):
    truth, given = pool()
    if name == "predicted":
        parameters["features"] = features
    policy = build(name, parameters, Setting(len(truth), 16, seed, rollouts=8, features=given))
    rng = np.random.default_rng(seed)
    return policy, truth, [step(policy, truth, rng) for _ in range(steps)]


def test_a_feature_tells_of_prompts_that_were_never_rolled_out():
    policy, truth, _ = run("length")
    unseen = policy.sampler.tried == 0
    assert unseen.mean() > 0.8
    live = unseen & (truth > 0)
    assert spearmanr(policy.sampler.estimates()[0][live], truth[live]).statistic > 0.95
    blind = run("none")[0]
    assert np.ptp(blind.sampler.estimates()[0][blind.sampler.tried == 0]) < 1e-9


def test_mixed_groups_become_more_frequent_most_with_a_feature():
    """From step 5 to 12, over three seeds: about 20% without a choice, 25% without features."""

    def late(features, name):
        found = [run(features, name=name, seed=seed)[2][4:] for seed in range(3)]
        return np.mean([step.mixed.mean() for steps in found for step in steps])

    share = [late("length", "predicted"), late("none", "predicted"), late(None, "adaptive_uniform")]
    assert share[0] > share[1] + 0.05
    assert share[1] > share[2] + 0.02


def test_the_right_feature_is_found_among_others_and_a_constant_one_is_harmless():
    policy, _, _ = run("length_c")
    weights = {k: v for k, v in policy.metrics().items() if k.startswith("weight/")}
    assert list(weights) == [f"weight/{n}" for n in ("intercept", "tokens", "c_intra", "c_inter")]
    assert weights["weight/tokens"] < -1
    assert abs(weights["weight/c_intra"]) < 0.3
    assert weights["weight/c_inter"] == 0


def test_features_are_standardised():
    truth, given = pool()
    scaled = {**given, "tokens": 7 + 1000 * given["tokens"]}
    first, second = (
        build("predicted", {"features": "length"}, Setting(len(truth), 16, 1, features=features))
        for features in (given, scaled)
    )
    assert first.sampler.inputs == pytest.approx(second.sampler.inputs, abs=1e-9)
    assert first.sampler.inputs[:, 1].mean() == pytest.approx(0, abs=1e-9)
    assert first.sampler.inputs[:, 1].std() == pytest.approx(1)


def test_all_features_are_the_components_too():
    truth, given = pool()
    setting = Setting(len(truth), 16, 1, features=given)
    with pytest.raises(ConfigError, match="needs the feature 'state00'"):
        build("predicted", {"features": "all"}, setting)
    given |= {"state01": truth, "state00": -truth}
    policy = build("predicted", {"features": "all"}, setting)
    assert policy.sampler.names[-2:] == ["state00", "state01"]
    assert policy.sampler.inputs.shape == (2000, 6)


def test_what_is_needed_goes_by_the_features():
    assert build("predicted", {"features": "none"}, Setting(9, 2, 0)).sampler.needs == frozenset()
    with pytest.raises(ConfigError, match="curriculum 'predicted' needs prefill scores"):
        build("predicted", {}, Setting(9, 2, 0))
    with pytest.raises(ConfigError, match="needs the feature 'c_intra'"):
        build("predicted", {}, Setting(9, 2, 0, features={"tokens": np.arange(9.0)}))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("predicted", {"features": "angle"}, "'features' is 'angle'"),
        ("predicted", {"ridge": 0.0}, "ridge must be above 0"),
        ("predicted", {"floor": 0.0}, "floor must be above 0 and at most 1"),
        ("predicted", {"model_decay": 1.5}, "model_decay must be above 0 and at most 1"),
        ("predicted", {"power": -1.0}, "power must be at least 0"),
        ("predicted", {"first": 1}, "first is 1, not at least 2"),
        ("adaptive_uniform", {"first": 0}, "first is 0, not at least 2"),
        ("oracle", {"samples": 0}, "samples is 0, not at least 1"),
        ("oracle", {"pool": 2, "every": 3}, "a pool of 2 batches is used up before 3 steps"),
    ],
)
def test_wrong_parameters_are_named(name, parameters, message):
    with pytest.raises(ConfigError, match=message):
        compose({"name": name, **parameters}, "methods.x")


# --- adaptive rollouts ---------------------------------------------------------------------------


def test_mixed_groups_get_as_many_rollouts_again_and_no_more():
    """A budget of 128: 128 / (4 * 1.5) = 21 prompts, and 4 rollouts each."""
    setting = Setting(100, 16, 0, rollouts=8)
    policy = build("predicted", {"features": "none"}, setting)
    request = policy.draw(Groups.none(), None)
    assert (len(request.rows), set(request.rollouts.tolist())) == (21, {4})
    rows = request.rows
    right = np.resize([0, 1, 4], 21)
    again = policy.draw(groups(rows, right, np.full(21, 4)), None)
    assert again.purpose == "group"
    assert again.rows.tolist() == rows[right == 1].tolist()
    assert set(again.rollouts.tolist()) == {4}
    whole = groups(rows, right, np.where(right == 1, 8, 4))
    assert policy.draw(whole, None) is None
    assert policy.draw(groups(rows, 0 * right, np.full(21, 4)), None) is None
    policy.observe(outcome(rows, whole.accuracy, rollouts=whole.rollouts))
    assert policy.metrics()["mixed_share"] == pytest.approx(0.9 * 0.5 + 0.1 / 3)


@pytest.mark.parametrize(
    ("budget", "size", "share", "prompts"),
    [(128, 999, 0.0, 32), (128, 999, 1.0, 16), (128, 20, 0.0, 20), (3, 999, 0.5, 1)],
)
def test_the_number_of_prompts_goes_by_the_budget(budget, size, share, prompts):
    allocation = Adaptive(4)
    allocation.bind(Setting(size, budget, 0, rollouts=1))
    allocation.mixed_share = share
    assert allocation.prompts() == prompts


@pytest.mark.parametrize("name", ["predicted", "adaptive_uniform"])
def test_the_budget_is_kept_on_average(name):
    _, _, found = run("length_c", steps=60, name=name)
    spent = np.array([outcome.rollouts.sum() for outcome in found])
    assert spent[10:].mean() == pytest.approx(128, rel=0.05)
    assert {int(n) for outcome in found for n in outcome.rollouts} == {4, 8}
    assert all((outcome.mixed == (outcome.rollouts == 8)).all() for outcome in found)


def test_adaptive_uniform_shows_every_prompt_once_an_epoch():
    _, _, found = run(None, steps=40, name="adaptive_uniform")
    rows = np.concatenate([outcome.rows for outcome in found])
    assert len(rows) < 2000
    assert len(set(rows.tolist())) == len(rows)


def test_without_adaptive_rollouts_a_step_is_one_batch():
    policy, _, found = run("length_c", steps=3, adaptive=False)
    assert not policy.several_draws
    assert [outcome.rollouts.tolist() for outcome in found] == [[8] * 16] * 3
    assert run("length_c", steps=1)[0].several_draws


# --- state ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("predicted", {"features": "none"}),
        ("predicted", {"features": "length_c"}),
        ("predicted", {"features": "length", "adaptive": False}),
        ("adaptive_uniform", {}),
        ("oracle", {"every": 2}),
    ],
)
@pytest.mark.parametrize("steps", [0, 5])
def test_state_through_json_continues_exactly(name, parameters, steps):
    truth, given = pool(200)
    setting = Setting(200, 8, 5, rollouts=8, features=given)

    def play(policy, count, seed):
        rng, told = np.random.default_rng(seed), []
        for _ in range(count):
            seen = step(policy, truth, rng)
            told.append((seen.rows.tolist(), seen.rollouts.tolist(), policy.metrics()))
        return told

    policy = build(name, parameters, setting)
    play(policy, steps, 1)
    state = json.loads(json.dumps(policy.state_dict()))
    expected = play(policy, 9, 2)
    again = build(name, parameters, setting)
    play(again, 3, 3)  # whatever it did before must not matter
    again.load_state_dict(state)
    assert play(again, 9, 2) == expected
    assert len({str(rows) for rows, _, _ in expected}) > 3


# --- cost ----------------------------------------------------------------------------------------

LARGE, BATCH = 40_000, 1024


@pytest.fixture
def large():
    """A policy with all 19 features, and an outcome of a step."""
    rng = np.random.default_rng(0)
    names = ["tokens", "c_intra", "c_inter", *(f"state{i:02d}" for i in range(16))]
    features = {name: rng.normal(size=LARGE) for name in names}
    setting = Setting(LARGE, BATCH, 0, features=features)
    policy = build("predicted", {"features": "all", "adaptive": False}, setting)
    truth = logistic(features["tokens"] - 1)

    def observed(rows) -> Outcome:
        return outcome(rows, rng.binomial(8, truth[rows]) / 8)

    policy.observe(observed(next_batch(policy)))
    return policy, observed


def test_a_step_takes_milliseconds(large):
    """The median is about 3 ms on one core; the best of several, whatever else the machine does."""
    policy, observed = large
    taken = []
    for _ in range(15):
        began = time.thread_time()
        rows = next_batch(policy)
        drawn = time.thread_time() - began
        seen = observed(rows)
        began = time.thread_time()
        policy.observe(seen)
        taken.append(drawn + time.thread_time() - began)
    assert min(taken) < 0.01


def test_a_step_copies_no_features(large):
    """Less than one (N, F) array at the most, all of a step's (N,) arrays together."""
    policy, observed = large
    rows = next_batch(policy)
    seen = observed(rows)
    tracemalloc.start()
    next_batch(policy)
    policy.observe(seen)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < policy.sampler.inputs.nbytes / 2
