"""Intervals, smoothed curves, steps to a target and speed-ups, against examples worked by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from gainrl.compare.statistics import (
    SHARES,
    Reach,
    cost_to_reach,
    mean_interval,
    median_cost,
    paired_difference,
    smooth,
    speedup,
    target_accuracy,
)
from gainrl.compare.style import within_seeds

STEPS = [0, 5, 10, 15, 20]


def rng(seed=0):
    return np.random.default_rng(seed)


def reached(costs, spent):
    """One Reach a seed; None is a seed that was censored when it had spent so much."""
    return [Reach(spent, math.inf) if cost is None else Reach(cost, cost) for cost in costs]


def test_the_interval_of_a_mean_is_students_t():
    # mean 0.5, standard deviation 0.3, t of two degrees of freedom 4.303: 4.303 * 0.3 / sqrt(3)
    found = mean_interval([0.2, 0.5, 0.8], 0.95)
    assert (found.mean, found.n) == (pytest.approx(0.5), 3)
    assert found.error == pytest.approx(0.3 / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx((0.5 - 0.7452, 0.5 + 0.7452), abs=1e-4)
    theirs = stats.ttest_1samp([0.2, 0.5, 0.8], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_few_normal_seeds_are_covered_95_percent_of_the_time(n):
    draw = rng(n).normal(3.0, 2.0, (2000, n))  # the percentile bootstrap: 75, 84 and 90%
    found = [mean_interval(values, 0.95) for values in draw]
    assert 0.935 <= np.mean([each.low <= 3.0 <= each.high for each in found]) <= 0.965


def test_a_lower_confidence_gives_a_narrower_interval():
    values = rng(2).normal(size=30)
    wide, narrow = (mean_interval(values, level) for level in (0.95, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wide.mean == pytest.approx(values.mean())


def test_limits_stay_within_what_a_mean_can_be():
    found = mean_interval([0.8, 0.9, 1.0], 0.95, SHARES)
    assert found.high == 1
    assert found.low == pytest.approx(0.9 - 4.30265 * 0.1 / math.sqrt(3))


def test_one_seed_has_no_interval():
    interval = mean_interval([0.4], 0.95)
    assert (interval.mean, interval.n) == (0.4, 1)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert math.isnan(interval.p())


def test_the_p_value_is_that_of_the_interval():
    values = [0.02, 0.05, 0.01, 0.04, 0.06]
    found = mean_interval(values, 0.95)
    for threshold in (0.0, 0.02, -0.1):
        assert found.p(threshold) == pytest.approx(stats.ttest_1samp(values, threshold).pvalue)
    assert found.p(found.low) == pytest.approx(0.05)
    equal = mean_interval([0.1 + 0.2, 0.3, 0.3], 0.95)  # what rounding leaves is no spread
    assert (equal.low, equal.high, equal.p(0.0)) == (*[pytest.approx(0.3)] * 2, 0)
    assert mean_interval([0.3] * 3, 0.95).p(0.3) == 1


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], [1.0, math.nan]])
def test_values_that_have_no_mean_are_refused(values):
    with pytest.raises(ValueError, match="values must"):
        mean_interval(values, 0.95)


def test_pairing_removes_what_the_seeds_share():
    baseline = np.array([0.1, 0.5, 0.9])
    difference = paired_difference(baseline + 0.02, baseline, 0.95)
    assert (difference.low, difference.mean, difference.high) == pytest.approx((0.02,) * 3)
    with pytest.raises(ValueError, match="lengths differ: 3 and 2"):
        paired_difference(baseline, baseline[:2], 0.95)


def test_smooth_is_a_trailing_mean_with_short_windows_at_the_start():
    assert smooth([1, 3, 5, 10], 3) == pytest.approx([1, 2, 3, 6])
    assert smooth([1, 3, 5], 1) == pytest.approx([1, 3, 5])
    assert smooth([2, 4], 9) == pytest.approx([2, 3])
    with pytest.raises(ValueError, match="at least 1"):
        smooth([1.0], 0)


def test_target_is_the_mean_of_the_smoothed_ends():
    curves = [[0.0, 0.2, 0.4], [0.0, 0.6, 0.8]]
    assert target_accuracy(curves, 2) == pytest.approx((0.3 + 0.7) / 2)
    assert target_accuracy(curves, 1) == pytest.approx(0.6)


def test_a_curve_that_dips_again_has_reached_the_target_only_after_the_dip():
    dips = [0.1, 0.6, 0.4, 0.5, 0.7]
    assert cost_to_reach(STEPS, dips, 0.5, 1) == (15, 15)
    assert cost_to_reach(STEPS, [0.1, 0.6, 0.6, 0.6, 0.7], 0.5, 1) == (5, 5)


def test_a_run_that_ends_below_the_target_is_censored():
    found = cost_to_reach(STEPS, [0.1, 0.6, 0.9, 0.9, 0.4], 0.5, 1)
    assert found == (20, math.inf)
    assert found.censored


def test_smoothing_delays_the_step():
    jump = [0.0, 0.0, 0.6, 0.6, 0.6]
    assert cost_to_reach(STEPS, jump, 0.5, 1) == (10, 10)
    assert cost_to_reach(STEPS, jump, 0.5, 3) == (20, 20)  # trailing means 0, 0, .2, .4, .6


def test_a_run_that_ends_exactly_at_its_own_target_reaches_it():
    curve = [0.1, 0.2, 0.1, 0.3, 0.9]
    target = target_accuracy([curve] * 7, 3)  # rounding must not censor it
    assert cost_to_reach(STEPS, curve, target, 3) == (20, 20)


def test_a_start_model_at_the_target_needs_no_steps():
    assert cost_to_reach(STEPS, [0.6] * 5, 0.5, 1) == (0, 0)


def test_costs_must_increase():
    with pytest.raises(ValueError, match="increase"):
        cost_to_reach([0, 5, 5], [0.1, 0.2, 0.3], 0.2, 1)


def test_a_median_counts_a_censored_seed_as_infinity():
    one = median_cost(reached([10, None, 20], 40), 0.95)
    assert (one.value, one.censored, one.n) == (20, 1, 3)
    assert one.text() == "20 (1 of 3 censored)"
    two = median_cost(reached([10, None, None], 40), 0.95)
    assert (two.lower, two.upper) == (40, math.inf)
    assert math.isnan(two.value)
    assert two.text() == ">40 (2 of 3 censored)"
    even = median_cost(reached([30, None], 40), 0.95)
    assert even.text() == ">35 (1 of 2 censored)"


def test_the_interval_of_a_median_goes_from_one_order_statistic_to_another():
    # of five, the extremes hold the median unless all lie on one side: 1 - 2 / 32 = 93.75%
    five = median_cost(reached([30, 10, 20, 50, 40], 60), 0.95)
    assert (five.value, five.low, five.high) == (30, 10, 50)
    # of ten, the second and ninth: 1 - 2 (1 + 10) / 1024 = 97.9%; the third and eighth: 89.1%
    ten = median_cost(reached([10 * k for k in range(10, 0, -1)], 200), 0.95)
    assert (ten.low, ten.high) == (20, 90)
    # of four, 1 - 2 / 16 = 87.5% is too little
    four = median_cost(reached([10, 20, 30, 40], 60), 0.95)
    assert (four.value, four.low, four.high) == (25, 0, math.inf)
    assert (median_cost(reached([10, 20, 30, 40], 60), 0.88).low) == 10
    # a censored seed leaves it open above, and is known from below
    open_above = median_cost(reached([30, 10, None, 50, 40], 60), 0.95)
    assert (open_above.low, open_above.high) == (10, math.inf)


def test_the_p_of_a_median_is_that_of_the_sign_test():
    ratios = speedup(reached([40, 10, 60, 60, 60], 60), reached([20, 10, 15, 20, 30], 60), 0.95)
    # ratios 2, 1, 4, 3, 2: four above 1 and one at it
    assert ratios.p(1) == pytest.approx(stats.binomtest(4, 5).pvalue)
    assert ratios.p(1, tie="above") == pytest.approx(2 / 32)
    assert ratios.p(2.5) == 1
    # two censored, in [2, inf] and [0, 1/2]
    some = speedup(reached([None, 20, 60], 60), reached([30, None, 10], 40), 0.95)
    assert [each.lower > 1 for each in some.seeds] == [True, False, True]
    assert some.p(1) == pytest.approx(1)
    assert math.isnan(median_cost(reached([10], 40), 0.95).p(10))


def test_speedup_is_paired_by_seed():
    # ratios 2, 1, 4, though the ratio of the medians is 40 / 15
    ratio = speedup(reached([40, 10, 60], 60), reached([20, 10, 15], 60), 0.95)
    assert (ratio.value, ratio.low, ratio.high, ratio.censored) == (2, 0, math.inf, 0)
    # ratios 0.5, 0.5, 4, though the medians' ratio is 1
    assert speedup(reached([10, 20, 40], 60), reached([20, 40, 10], 60), 0.95).value == 0.5


def test_a_run_that_spent_nothing_leaves_its_ratio_open():
    found = speedup([Reach(20, 20)], [Reach(0, math.inf)], 0.95)
    assert (found.lower, found.upper) == (0, math.inf)


def test_a_censored_method_bounds_the_speedup_above_and_a_censored_baseline_below():
    slow = speedup(reached([20, 20, 20], 40), reached([None, None, 10], 40), 0.95)
    assert (slow.lower, slow.upper, slow.censored) == (0, 0.5, 2)
    assert slow.text(".2f", "≥", "≤", "×") == "≤0.50× (2 of 3 censored)"
    fast = speedup(reached([None, None, 20], 40), reached([10, 20, 20], 40), 0.95)
    assert (fast.lower, fast.upper) == (2, math.inf)
    assert fast.text(".1f", "≥", "≤", "×") == "≥2.0× (2 of 3 censored)"


def test_two_censored_sides_say_nothing_but_count():
    ratio = speedup(reached([None, 20, 20], 40), reached([None, 10, 5], 40), 0.95)
    assert (ratio.lower, ratio.upper, ratio.censored) == (2, 4, 1)
    assert ratio.text(".1f") == "2.0 to 4.0 (1 of 3 censored)"
    nothing = speedup(reached([None], 40), reached([None], 40), 0.95)
    assert nothing.text() == "not determined (1 of 1 censored)"


def test_a_seed_that_is_there_from_its_start_bounds_the_speedup_and_takes_none_away():
    # Start models of their own: ratios in [0, inf], [1, inf], [0, 1], and 2 twice.
    ratio = speedup(reached([0, 30, 0, 20, 40], 40), reached([0, 0, 10, 10, 20], 40), 0.95)
    assert (ratio.lower, ratio.upper, ratio.censored) == (1, 2, 3)
    assert ratio.seeds == ((0, math.inf), (1, math.inf), (0, 1), (2, 2), (2, 2))
    never = speedup(reached([0], 40), reached([None], 40), 0.95)
    assert (never.lower, never.upper) == (0, 1)


def test_a_censored_seed_is_bounded_by_what_its_own_run_spent():
    baseline = [Reach(300, 300), Reach(1000, math.inf), Reach(400, 400)]
    method = [Reach(600, math.inf), Reach(250, 250), Reach(1600, math.inf)]
    ratio = speedup(baseline, method, 0.95)
    # ratios in [0, 300 / 600], [1000 / 250, inf] and [0, 400 / 1600]
    assert (ratio.lower, ratio.upper, ratio.censored) == (0, 0.5, 3)
    assert median_cost(method, 0.95).lower == 600


def test_a_cost_is_read_off_at_the_test_that_reached_the_target():
    tokens = [0, 700, 1500, 2100, 2600]
    assert cost_to_reach(tokens, [0.1, 0.6, 0.4, 0.5, 0.7], 0.5, 1) == (2100, 2100)
    assert cost_to_reach(tokens, [0.1, 0.6, 0.4, 0.5, 0.4], 0.5, 1) == (2600, math.inf)


# --- what seeds have in common -------------------------------------------------------------------


def test_of_two_methods_what_is_left_varies_as_their_difference_does():
    """By hand: a seed's mean is taken out, and half of the difference is left on each side."""
    one = np.array([[0.2, 0.5], [0.4, 0.9], [0.6, 0.4]])
    other = one + np.array([[0.1, 0.0], [0.2, 0.1], [0.0, -0.1]])
    found = within_seeds([one, other])
    for before, after in zip([one, other], found, strict=True):
        np.testing.assert_allclose(after.mean(axis=0), before.mean(axis=0))
        spread = (other - one).var(axis=0, ddof=1) / 2
        np.testing.assert_allclose(after.var(axis=0, ddof=1), spread, atol=1e-12)


def test_what_seeds_have_in_common_is_gone_and_independent_spread_stays():
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.02, (400, 3)) for _ in range(4)]
    start = rng.normal(0.5, 0.1, (400, 1))
    found = within_seeds([start + each for each in noise])
    for after in found:
        np.testing.assert_allclose(after.std(axis=0, ddof=1), 0.02, rtol=0.15)


def test_one_method_is_left_as_it_is_and_other_tests_are_refused():
    curve = np.random.default_rng(0).random((3, 4))
    np.testing.assert_array_equal(within_seeds([curve])[0], curve)
    with pytest.raises(ValueError, match="shape"):
        within_seeds([curve, curve[:, :3]])
