"""Intervals, smoothed curves, steps to a target and speed-ups, against examples worked by hand."""

import math

import numpy as np
import pytest

from gainrl.compare.statistics import (
    Reach,
    bootstrap_interval,
    cost_to_reach,
    median_cost,
    paired_difference,
    smooth,
    speedup,
    target_accuracy,
)

BOOTSTRAP = (2000, 0.95)
STEPS = [0, 5, 10, 15, 20]


def rng(seed=0):
    return np.random.default_rng(seed)


def reached(costs, spent):
    """One Reach a seed; None is a seed that was censored when it had spent so much."""
    return [Reach(spent, math.inf) if cost is None else Reach(cost, cost) for cost in costs]


def test_interval_covers_a_normal_mean_about_95_percent_of_the_time():
    draw = rng(1)
    hits = 0
    for _ in range(400):
        interval = bootstrap_interval(draw.normal(3.0, 2.0, 40), draw, 400, 0.95)
        hits += interval.low <= 3.0 <= interval.high
    assert 0.91 <= hits / 400 <= 0.98


def test_a_lower_confidence_gives_a_narrower_interval():
    values = rng(2).normal(size=30)
    wide, narrow = (bootstrap_interval(values, rng(), 2000, level) for level in (0.95, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wide.mean == pytest.approx(values.mean())


def test_with_three_seeds_the_interval_is_their_range():
    interval = bootstrap_interval([0.2, 0.5, 0.8], rng(), *BOOTSTRAP)
    assert (interval.low, interval.high) == pytest.approx((0.2, 0.8))
    assert (interval.mean, interval.n) == (pytest.approx(0.5), 3)


def test_one_seed_has_no_interval():
    interval = bootstrap_interval([0.4], rng(), *BOOTSTRAP)
    assert (interval.mean, interval.n) == (0.4, 1)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_equal_generators_give_equal_intervals():
    values = rng(3).normal(size=8)
    assert bootstrap_interval(values, rng(7), *BOOTSTRAP) == bootstrap_interval(
        values, rng(7), *BOOTSTRAP
    )


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], [1.0, math.nan]])
def test_values_that_have_no_mean_are_refused(values):
    with pytest.raises(ValueError, match="values must"):
        bootstrap_interval(values, rng(), *BOOTSTRAP)


def test_pairing_removes_what_the_seeds_share():
    baseline = np.array([0.1, 0.5, 0.9])
    difference = paired_difference(baseline + 0.02, baseline, rng(), *BOOTSTRAP)
    assert (difference.low, difference.mean, difference.high) == pytest.approx((0.02,) * 3)
    with pytest.raises(ValueError, match="lengths differ: 3 and 2"):
        paired_difference(baseline, baseline[:2], rng(), *BOOTSTRAP)


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
    one = median_cost(reached([10, None, 20], 40), rng(), *BOOTSTRAP)
    assert (one.value, one.censored, one.n) == (20, 1, 3)
    assert one.text() == "20 (1 of 3 censored)"
    assert (one.low, one.high) == (10, math.inf)
    two = median_cost(reached([10, None, None], 40), rng(), *BOOTSTRAP)
    assert (two.lower, two.upper) == (40, math.inf)
    assert math.isnan(two.value)
    assert two.text() == ">40 (2 of 3 censored)"
    even = median_cost(reached([30, None], 40), rng(), *BOOTSTRAP)
    assert even.text() == ">35 (1 of 2 censored)"


def test_speedup_is_paired_by_seed():
    # ratios 2, 1, 4, though the ratio of the medians is 40 / 15
    ratio = speedup(reached([40, 10, 60], 60), reached([20, 10, 15], 60), rng(), *BOOTSTRAP)
    assert (ratio.value, ratio.low, ratio.high, ratio.censored) == (2, 1, 4, 0)
    # ratios 0.5, 0.5, 4, though the medians' ratio is 1
    assert (
        speedup(reached([10, 20, 40], 60), reached([20, 40, 10], 60), rng(), *BOOTSTRAP).value
        == 0.5
    )


def test_a_censored_method_bounds_the_speedup_above_and_a_censored_baseline_below():
    slow = speedup(reached([20, 20, 20], 40), reached([None, None, 10], 40), rng(), *BOOTSTRAP)
    assert (slow.lower, slow.upper, slow.censored) == (0, 0.5, 2)
    assert slow.text(".2f", "≥", "≤", "×") == "≤0.50× (2 of 3 censored)"
    fast = speedup(reached([None, None, 20], 40), reached([10, 20, 20], 40), rng(), *BOOTSTRAP)
    assert (fast.lower, fast.upper) == (2, math.inf)
    assert fast.text(".1f", "≥", "≤", "×") == "≥2.0× (2 of 3 censored)"


def test_two_censored_sides_say_nothing_but_count():
    ratio = speedup(reached([None, 20, 20], 40), reached([None, 10, 5], 40), rng(), *BOOTSTRAP)
    assert (ratio.lower, ratio.upper, ratio.censored) == (2, 4, 1)
    assert ratio.text(".1f") == "2.0 to 4.0 (1 of 3 censored)"
    nothing = speedup(reached([None], 40), reached([None], 40), rng(), *BOOTSTRAP)
    assert nothing.text() == "not determined (1 of 1 censored)"


def test_no_speedup_over_a_baseline_that_needed_no_steps():
    with pytest.raises(ValueError, match="already at the target"):
        speedup(reached([0, 20], 40), reached([10, 10], 40), rng(), *BOOTSTRAP)


def test_a_censored_seed_is_bounded_by_what_its_own_run_spent():
    baseline = [Reach(300, 300), Reach(1000, math.inf), Reach(400, 400)]
    method = [Reach(600, math.inf), Reach(250, 250), Reach(1600, math.inf)]
    ratio = speedup(baseline, method, rng(), *BOOTSTRAP)
    # ratios in [0, 300 / 600], [1000 / 250, inf] and [0, 400 / 1600]
    assert (ratio.lower, ratio.upper, ratio.censored) == (0, 0.5, 3)
    assert median_cost(method, rng(), *BOOTSTRAP).lower == 600


def test_a_cost_is_read_off_at_the_test_that_reached_the_target():
    tokens = [0, 700, 1500, 2100, 2600]
    assert cost_to_reach(tokens, [0.1, 0.6, 0.4, 0.5, 0.7], 0.5, 1) == (2100, 2100)
    assert cost_to_reach(tokens, [0.1, 0.6, 0.4, 0.5, 0.4], 0.5, 1) == (2600, math.inf)
