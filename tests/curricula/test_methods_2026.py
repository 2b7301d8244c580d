"""Curricula of 2025 and 2026 against numbers worked by hand."""

from itertools import product
from math import log

import numpy as np
import pytest
from outcomes import build, groups, next_batch, outcome
from scipy.special import betaln, gammaln, psi
from scipy.stats import beta, binom, chisquare, kstest, norm

from gainrl import curricula
from gainrl.curricula import Groups, Setting, insight
from gainrl.errors import ConfigError

# --- DPS -----------------------------------------------------------------------------------------


def test_dps_predicts_a_prompts_next_state_from_its_own_transitions():
    policy = build("dps", {}, Setting(2, 1, 0))
    policy.observe(outcome([0], [0.5]))
    # xi is 1/3 in the row "partly": P has (1, 4/3, 1) / (10/3) in every column.
    assert policy.sampler.belief[0] == pytest.approx([0.3, 0.4, 0.3])
    assert policy.sampler.belief[1] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert next_batch(policy).tolist() == [0]
    policy.observe(outcome([1], [0.0]))
    # Not rolled out: 4/3 fades to .7 * 4/3 + .3 = 37/30, and P mu is its column, 1 : 37/30 : 1.
    assert policy.sampler.belief[0] == pytest.approx([30 / 97, 37 / 97, 30 / 97])
    assert policy.sampler.belief[1] == pytest.approx([0.4, 0.3, 0.3])
    policy.observe(outcome([0], [1.0]))
    # After (.3, .4, .3) it is solved: xi is these in the row "solved". The column "solved" of
    # alpha: 1, .7 * 37/30 + .3 = 349/300, 1.3.
    column = np.array([1, 349 / 300, 1.3])
    assert policy.sampler.belief[0] == pytest.approx(column / column.sum())


def test_dps_takes_the_most_probably_partly_solved():
    policy = build("dps", {"pool": 100}, Setting(40, 4, 0))
    right = np.where(np.arange(40) < 4, 0.5, np.arange(40) % 2)
    policy.observe(outcome(np.arange(40), right))
    assert sorted(next_batch(policy).tolist()) == [0, 1, 2, 3]
    drawn = {tuple(next_batch(build("dps", {}, Setting(40, 4, seed)))) for seed in range(9)}
    assert len(drawn) == 9  # all alike: by chance


# --- Thompson sampling by category ---------------------------------------------------------------


def arms(*sizes, batch, seed=0, rollouts=8):
    """A setting with categories of these sizes, their prompts one after another."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    return Setting(len(codes), batch, seed, rollouts=rollouts, categories=codes)


@pytest.mark.parametrize(
    ("weight", "value"),
    [
        ("group", lambda p: 1 - p**8 - (1 - p) ** 8),
        ("variance", lambda p: p * (1 - p)),
        ("mixed", lambda p: p),
    ],
)
def test_bins_weigh_a_draw_from_the_posterior_of_their_counts(weight, value):
    policy = build("thompson_bins", {"weight": weight, "reversion": 2.0}, arms(9, 9, batch=3))
    first = outcome([0, 1, 9], [0.25, 1.0, 0.5])
    policy.observe(first)
    state = policy.sampler.rng.bit_generator.state
    policy.observe(first)
    # A step of the first bin: 10 of 16 responses, 1 of 2 groups mixed; of the second 4 of 8, 1 of
    # 1. Twice, the first faded by .95; and 1 of 2 of reversion likewise.
    hits, trials = ([1, 1], [2, 1]) if weight == "mixed" else ([10, 4], [16, 8])
    hits, trials = 1.95 * (np.array(hits) + 1), 1.95 * (np.array(trials) + 2)
    assert policy.sampler.hits == pytest.approx(hits)
    assert policy.sampler.trials == pytest.approx(trials)
    rng = np.random.default_rng(0)
    rng.bit_generator.state = state
    found = value(rng.beta(1 + hits, 1 + trials - hits))
    assert policy.sampler.weights == pytest.approx(found / found.sum())


def test_bins_are_drawn_by_weight_and_their_prompts_uniformly():
    policy = build("thompson_bins", {}, arms(100, 300, batch=1))
    policy.sampler.weights = np.array([0.75, 0.25])
    drawn = np.array([next_batch(policy)[0] for _ in range(4000)])
    assert chisquare(np.bincount(drawn >= 100), [3000, 1000]).pvalue > 0.01
    assert chisquare(np.bincount(drawn[drawn >= 100] // 50)[2:]).pvalue > 0.01


def test_bins_never_fall_below_their_floor():
    policy = build("thompson_bins", {"weight": "variance"}, arms(9, 9, batch=3))
    for _ in range(40):
        policy.observe(outcome([0, 9], [0.0, 0.5], rollouts=800))
    # Nearly all on the second, the other raised to .05 / 2, and both divided by their sum.
    low, high = policy.sampler.weights
    assert low == pytest.approx(0.025 / 1.025, rel=0.02)
    assert low + high == pytest.approx(1)


# --- ScaleRL's no-positive-resampling ------------------------------------------------------------


def test_what_is_right_nine_times_in_ten_of_all_rollouts_is_not_drawn_again():
    spec = {"sampler": "uniform", "filter": "no_positive_resampling"}
    policy = curricula.build(spec, Setting(6, 2, 0))
    policy.observe(outcome([0, 1, 2], [7 / 8, 1.0, 0.5], rollouts=8))
    assert policy.filter.solved.tolist() == [False, True, False, False, False, False]
    policy.observe(outcome([0, 2], [11 / 12, 1.0], rollouts=12))  # 18 of 20; 16 of 20
    assert np.flatnonzero(policy.filter.solved).tolist() == [0, 1]
    policy.observe(outcome([1], [0.0]))  # it fell to 8 of 16, but what is dropped stays so
    drawn = {row for _ in range(9) for row in next_batch(policy).tolist()}
    assert drawn == {2, 3, 4, 5}
    assert policy.metrics()["dropped_share"] == pytest.approx(1 / 3)


# --- InSight -------------------------------------------------------------------------------------


def test_mutual_information_of_one_response_and_a_flat_prior():
    # H(1, 1) = 0; either reward leaves a density 2 x, whose entropy is 1/2 - log 2.
    told = insight.mutual_information(np.array([1.0]), np.array([1.0]), 1)
    assert told == pytest.approx([log(2) - 0.5], abs=1e-12)


@pytest.mark.parametrize(("a", "b", "n"), [(1.0, 1.0, 8), (3.5, 0.7, 4), (90.0, 31.0, 8)])
def test_mutual_information_is_the_entropy_that_pass_rates_explain(a, b, n):
    """I = H(s) - E[H(s | pass rate)], by integrating over pass rates."""
    p = (np.arange(200_000) + 0.5) / 200_000
    density = beta.pdf(p, a, b)
    density /= density.sum()
    given = np.stack([binom.pmf(s, n, p) for s in range(n + 1)])
    marginal = given @ density
    inside = np.where(given > 0, given * np.log(np.where(given > 0, given, 1)), 0).sum(axis=0)
    expected = -(marginal * np.log(marginal)).sum() + inside @ density
    told = insight.mutual_information(np.array([a]), np.array([b]), n)
    assert told == pytest.approx([expected], rel=1e-4)


def test_the_special_functions_are_scipys():
    x = np.concatenate([[1e-3, 0.5, 1.0, 2.0], np.geomspace(0.01, 1e4, 60)])
    assert insight._log_gamma(x) == pytest.approx(gammaln(x), rel=1e-11, abs=1e-11)
    assert insight._digamma(x) == pytest.approx(psi(x), rel=1e-11, abs=1e-11)
    assert insight._log_beta(x, x[::-1]) == pytest.approx(betaln(x, x[::-1]), rel=1e-9, abs=1e-9)


def test_insight_prefers_what_is_undecided_little_known_and_rather_hard():
    policy = build("insight", {}, Setting(4, 1, 0))
    # Each of these three is at 1/2: seen least, it is most informative.
    policy.observe(outcome([1, 2, 3], [0.5, 0.5, 0.5], rollouts=[8, 16, 32]))
    assert policy.sampler.a.tolist() == [1, 5, 9, 17]
    ranked = build("insight", {}, Setting(4, 4, 0))
    ranked.observe(outcome([1, 2, 3], [0.5, 0.5, 0.5], rollouts=[8, 16, 32]))
    assert next_batch(ranked).tolist() == [0, 1, 2, 3]
    # Means 3/10 and 7/10 are equally informative; w is .21 and .21 exp(-3 * .16).
    other = build("insight", {}, Setting(2, 1, 0))
    other.observe(outcome([0, 1], [0.75, 0.25]))
    assert [next_batch(other)[0] for _ in range(5)] == [1] * 5


# --- BOTS ----------------------------------------------------------------------------------------


def test_bots_learns_of_every_prompt_by_interpolation():
    difficulty = np.array([100.0, 50.0, 0.0])  # the start model is right 0, 1/2 and 1 of the time
    policy = build("bots", {}, Setting(3, 1, 0, difficulty=difficulty, rollouts=10))
    policy.observe(outcome([0], [0.4], rollouts=10))
    # k = (.4 - 0) / (1 - 0): .4 of the errors are mended, q of the second is .5 + .4 * .5 = .7.
    # a = .9 + .1 + 4, .9 + .1 + .1 * 10 * .7, .9 + .1 + .1 * 10 * 1; b likewise with 1 - q
    assert policy.metrics()["progress"] == pytest.approx(0.4)
    assert policy.sampler.a == pytest.approx([5.0, 1.7, 2.0])
    assert policy.sampler.b == pytest.approx([7.0, 1.3, 1.0])
    policy.observe(outcome([1], [0.6], rollouts=10))
    # ratio (.6 - .5) / .5 = .2, k = .9 * .4 + .1 * .2 = .38
    assert policy.metrics()["progress"] == pytest.approx(0.38)
    assert policy.sampler.a == pytest.approx([4.6 + 0.38, 1.63 + 6, 1.9 + 1])
    policy.observe(outcome([2], [0.5], rollouts=10))  # no room above the start model: k stays
    assert policy.metrics()["progress"] == pytest.approx(0.38)


def test_bots_takes_the_draws_nearest_to_the_target():
    difficulty = np.linspace(0, 100, 50)
    policy = build("bots", {"implicit": 0.0}, Setting(50, 5, 0, difficulty=difficulty))
    policy.sampler.a = np.where(np.arange(50) < 5, 1e6, 1.0)
    policy.sampler.b = np.where(np.arange(50) < 5, 1e6, 1e6)
    assert sorted(next_batch(policy).tolist()) == [0, 1, 2, 3, 4]


# --- SPEED ---------------------------------------------------------------------------------------


def test_speed_screens_four_times_the_batch_and_finishes_the_first_mixed():
    policy = build("speed", {"first": 4}, Setting(40, 2, 0))
    asked = policy.draw(Groups.none(), None)
    assert (len(asked.rows), set(asked.rollouts.tolist())) == (8, {4})
    right = np.array([0, 4, 2, 4, 1, 3, 0, 2])
    seen = groups(asked.rows, right, np.full(8, 4))
    rest = policy.draw(seen, None)  # the third and the fifth; two more are mixed and are dropped
    assert rest.rows.tolist() == asked.rows[[2, 4]].tolist()
    assert rest.rollouts.tolist() == [4, 4]
    full = np.where(np.isin(np.arange(8), [2, 4]), 8, 4)
    seen = groups(asked.rows, right, full)
    assert policy.draw(seen, None) is None
    assert policy.keep(seen).tolist() == [2, 4]


def test_speed_draws_on_until_there_are_enough():
    policy = build("speed", {"pool": 1}, Setting(40, 2, 0, rollouts=12))
    asked = policy.draw(Groups.none(), None)
    more = policy.draw(groups(asked.rows, np.array([0, 3]), np.full(2, 3)), None)
    assert (more.rollouts.tolist(), set(more.rows) & set(asked.rows)) == ([3, 3], set())


def test_a_screening_needs_rollouts_beyond_it():
    with pytest.raises(ConfigError, match=r"takes 4 rollouts first, but training\.rollouts is 4"):
        build("speed", {"first": 4}, Setting(40, 2, 0, rollouts=4))


# --- prioritised problems ------------------------------------------------------------------------


def test_the_most_undecided_are_drawn_and_a_share_is_retested():
    policy = build("prioritized", {"retest": 0.5}, Setting(6, 2, 0))
    policy.observe(outcome(range(6), [0.5, 0.25, 1.0, 0.0, 1.0, 0.75]))
    # w is .25, .1875 and .1875; 2, 3 and 4 wait. The one place is the solved's or the unsolved's.
    drawn = np.array([next_batch(policy) for _ in range(400)])
    assert set(drawn[:, 0].tolist()) == {0}
    assert set(drawn[:, 1].tolist()) == {2, 3}
    assert (drawn[:, 1] == 2).mean() == pytest.approx(0.5, abs=0.1)
    policy.observe(outcome([0, 3], [1.0, 0.0]))  # 0 is solved, its average .75
    assert policy.sampler.p[[0, 3]].tolist() == [0.75, 0.0]
    assert policy.metrics() == {"unseen_share": 0, "solved_share": 0.5, "unsolved_share": 1 / 6}
    rows = next_batch(policy).tolist()
    assert rows[0] in (1, 5)
    policy.observe(outcome([1, 3], [0.25, 0.5]))  # 3 came within reach: no unsolved are left
    assert policy.sampler.p[3] == 0.25
    assert next_batch(policy)[1] == 2  # of the solved 2 and 4 wait longest, 0 came later


def test_retested_are_half_solved_and_half_unsolved_and_a_place_is_a_chance():
    policy = build("prioritized", {"retest": 0.5}, Setting(12, 8, 0))
    policy.observe(outcome(range(8), [1.0, 1.0, 1.0, 0.0, 0.0, 0.5, 0.5, 0.5]))
    rows = next_batch(policy).tolist()
    assert sorted(rows[:4]) == [8, 9, 10, 11]  # what was never rolled out comes first
    assert rows[4:] == [0, 1, 3, 4]
    rare = build("prioritized", {"retest": 0.125}, Setting(12, 2, 0))
    rare.observe(outcome(range(12), [1.0, 1.0, 0.0, 0.0] + 8 * [0.5]))
    retested = sum(int((next_batch(rare) < 4).sum()) for _ in range(4000))
    assert retested == pytest.approx(1000, abs=90)  # .125 of 2 places


# --- the Gaussian over pass rates -----------------------------------------------------------------


def test_the_mean_pass_rate_of_a_batch_falls_linearly():
    difficulty = np.repeat([0.0, 25.0, 50.0, 75.0, 100.0], 2)  # pass rates 1, .75, .5, .25, 0
    parameters = {"steps": 3, "first": 0.8, "last": 0.2, "sigma": 0.0}
    policy = build("gaussian", parameters, Setting(10, 2, 0, difficulty=difficulty))
    drawn = []
    for _ in range(6):
        drawn.append(sorted(next_batch(policy).tolist()))
        policy.observe(outcome(drawn[-1], 0.5))
    # Then what is nearest to 1/5 and free, and all anew before what was always right.
    assert drawn == [[2, 3], [4, 5], [6, 7], [8, 9], [6, 7], [8, 9]]
    assert policy.metrics() == {"mean": pytest.approx(0.2), "free_share": 0.6}


def test_further_draws_of_a_step_have_its_mean():
    spec = {"sampler": {"name": "gaussian", "steps": 3, "sigma": 0.0}, "filter": "mixed"}
    policy = curricula.build(spec, Setting(40, 2, 0, difficulty=np.linspace(0, 100, 40)))
    first = policy.draw(Groups.none(), None)
    policy.draw(groups(first.rows, np.zeros(2, dtype=int), first.rollouts), None)
    assert policy.metrics()["mean"] == 0.8
    policy.observe(outcome(first.rows, 0.0))
    assert policy.metrics()["mean"] == pytest.approx(0.5)


def test_the_pass_rates_of_a_batch_are_normally_distributed():
    rng = np.random.default_rng(5)
    rates = rng.beta(0.3, 0.3, 20_000)  # mostly near 0 and 1
    policy = build(
        "gaussian", {"first": 0.6}, Setting(20_000, 400, 0, difficulty=100 - 100 * rates)
    )
    drawn = rates[next_batch(policy)]
    assert kstest(drawn, norm(0.6, 0.15).cdf).pvalue > 0.05


# --- VIP ------------------------------------------------------------------------------------------


def line(*places, batch=2, rollouts=4):
    """A setting with prompts whose state is a number."""
    states = {"state00": np.array(places, dtype=float)}
    return Setting(len(places), batch, 0, rollouts=rollouts, features=states)


def test_vip_gives_rollouts_where_they_lessen_the_variance_most():
    policy = build("vip_uniform", {}, line(0, 1))
    policy.allocation.latent = np.array([0.0, -np.log(9)])  # p of 1/2 and 1/10
    # Three each, and two more: the first's 4th and 5th lessen it by 1/4 (2/9 - 3/16) = .0087 and
    # 1/4 (3/16 - 4/25) = .0069, the second's 4th by .09 (2/9 - 3/16) = .0031.
    asked = policy.allocation.begin(np.array([0, 1]))
    assert asked.rollouts.tolist() == [5, 3]


def test_vip_is_the_optimum_over_whole_numbers():
    rng = np.random.default_rng(0)
    policy = build("vip_uniform", {"highest": 9}, line(*range(4), batch=4, rollouts=6))
    choices = np.array([n for n in product(range(3, 10), repeat=4) if sum(n) == 24])
    for _ in range(20):
        p = rng.beta(0.5, 0.5, 4)
        policy.allocation.latent = np.log(p / (1 - p))
        asked = policy.allocation.begin(np.arange(4))
        variance = (p * (1 - p) * (choices - 1) / choices**2).sum(axis=1)
        best = (p * (1 - p) * (asked.rollouts - 1) / asked.rollouts**2).sum()
        assert best == pytest.approx(variance.min(), rel=1e-9)


def test_vip_predicts_a_prompt_from_those_near_it():
    policy = build("vip_uniform", {}, line(0, 2, 4, 1000))
    # Distances 2, 2, 4, 996, 998, 1000: the median is 500.
    assert policy.allocation.bandwidth == pytest.approx(500)
    policy.allocation.bandwidth = 2.0
    policy.observe(outcome([0], [0.75], rollouts=4))
    near, far = np.exp(-0.5) * np.log(3), np.exp(-2) * np.log(3)
    assert policy.allocation.latent == pytest.approx([np.log(3), near, far, 0], abs=1e-3)
    policy.observe(outcome([1], [1.0], rollouts=4))  # clipped to .95
    assert policy.allocation.latent[1] == pytest.approx(np.log(19))
    moved = np.log(3) + np.exp(-0.5) * (np.log(19) - near)
    assert policy.allocation.latent[0] == pytest.approx(moved, abs=1e-3)


def test_vip_needs_states_and_rollouts_within_its_limits():
    with pytest.raises(ConfigError, match="needs the prompts' states: take the sampler"):
        curricula.build({"sampler": "uniform", "rollouts": "vip"}, Setting(9, 2, 0))
    with pytest.raises(ConfigError, match=r"gives 3 to 32 rollouts, but training\.rollouts is 2"):
        build("vip_uniform", {}, line(0, 1, rollouts=2))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "gaussian", "last": 1.2}, "last is 1.2, not in"),
        ({"name": "vip_uniform", "lowest": 2}, "lowest is 2, not at least 3"),
        ({"name": "dps", "decay": 1.5}, "decay is 1.5, not in"),
        ({"name": "dps", "prior": 0.0}, "prior is 0.0, not above 0"),
        ({"name": "thompson_bins", "reversion": -1.0}, "reversion is -1.0, below 0"),
        ({"name": "thompson_bins", "weight": "grade"}, "'weight' is 'grade': must be"),
        ({"name": "insight", "mu": 3.0}, "mu is 3.0, not in"),
        ({"name": "bots", "forget": -0.1}, "forget is -0.1, not in"),
        ({"name": "speed", "first": 1}, "first is 1, not at least 2"),
        ({"name": "prioritized", "decay": 1.0}, "decay is 1.0, not in"),
        ({"name": "prioritized", "retest": 1.5}, "retest is 1.5, not in"),
        (
            {"sampler": "uniform", "filter": {"name": "no_positive_resampling", "threshold": 0.0}},
            "threshold is 0.0, not above 0",
        ),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(spec, said):
    with pytest.raises(ConfigError, match=said):
        curricula.build(spec, Setting(40, 2, 0, categories=np.zeros(40, dtype=int)))
