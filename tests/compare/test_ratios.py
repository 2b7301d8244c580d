"""Ratios of what two methods spend for the same accuracy, by hand and against what must hold."""

import math

import numpy as np
import pytest
from scipy import stats

from gainrl.compare import Rule, Statistics, Track, equal_accuracy, equal_difference

PLAIN = Statistics(smoothing=1)
CLOSE = 1e-6


def track(costs, accuracies):
    return Track(np.array(costs, dtype=float), np.array(accuracies, dtype=float))


def rising(rng, n, pace, tests=13, budget=1200.0):
    """Runs of n seeds that rise towards 0.8, with noise; `pace`: tokens to half of that."""
    costs = np.linspace(0, budget, tests)
    tops = 0.8 + rng.normal(0, 0.05, n)
    return [
        Track(costs, top * (1 - 0.5 ** (costs / pace)) + rng.normal(0, 0.01, tests)) for top in tops
    ]


def test_a_method_that_is_where_the_baseline_ends_after_half_its_tokens():
    baseline = [track([0, 100, 200, 400], [0.1, 0.2, 0.3, 0.5])] * 3
    method = [track([0, 50, 100, 200, 400], [0.1, 0.2, 0.3, 0.5, 0.6])] * 3
    found = equal_accuracy(method, baseline, PLAIN)
    assert found.value == pytest.approx(2)
    assert (found.low, found.high) == pytest.approx((2, 2))  # the seeds are all alike
    assert found.text() == "2.00× [2.00, 2.00]"
    assert found.p(2) == 1
    assert found.p(3) == 0


def test_a_method_that_ends_lower_is_held_against_an_earlier_baseline():
    """The method ends at 0.3, where the baseline is after 200 of 400 tokens."""
    baseline = [track([0, 100, 200, 400], [0.1, 0.2, 0.3, 0.5])] * 3
    method = [track([0, 400], [0.1, 0.3])] * 3
    assert equal_accuracy(method, baseline, PLAIN).value == pytest.approx(0.5)


def test_the_budget_of_a_seed_is_what_both_of_its_runs_spent():
    """After 200 tokens the baseline is at 0.3; the method was there after 50."""
    baseline = [track([0, 100, 200, 400], [0.1, 0.2, 0.3, 0.5])] * 3
    method = [track([0, 50, 200], [0.1, 0.3, 0.4])] * 3
    assert equal_accuracy(method, baseline, PLAIN).value == pytest.approx(4)


def test_the_interval_is_where_t_does_not_refute_the_ratio():
    """On lines through 0 the gap is (slope of the method / r - slope of the baseline) x budget."""
    ours, theirs = np.array([2.4, 1.7, 2.2, 1.9]), np.array([1.1, 0.9, 1.2, 0.8])
    methods, baselines = (
        [track([0, 1], [0, each]) for each in slopes] for slopes in (ours, theirs)
    )
    found = equal_accuracy(methods, baselines, PLAIN)
    assert found.value == pytest.approx(ours.mean() / theirs.mean())

    def p(ratio):
        return stats.ttest_1samp(ours / ratio - theirs, 0).pvalue

    inside, outside = 1 + CLOSE, 1 - CLOSE
    assert p(found.low * inside) > 0.05 > p(found.low * outside)
    assert p(found.high * outside) > 0.05 > p(found.high * inside)
    assert found.p(1.5) == pytest.approx(p(1.5))


def test_exchanged_the_two_have_one_over_the_ratio():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        one, other = rising(rng, 6, 300), rising(rng, 6, 400, budget=1000)
        there, back = (
            equal_accuracy(one, other, Statistics()),
            equal_accuracy(other, one, Statistics()),
        )
        assert there.value * back.value == pytest.approx(1)
        assert there.low * back.high == pytest.approx(1)
        assert there.high * back.low == pytest.approx(1)


def test_it_leaves_out_one_where_the_difference_leaves_out_zero():
    apart = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        one, other = rising(rng, 4, 300), rising(rng, 4, 400)
        ratio = equal_accuracy(one, other, Statistics(), from_start=True)
        difference, _ = equal_difference(one, other, Statistics(), from_start=True)
        assert (ratio.low > 1) == (difference.low > 0)
        assert (ratio.high < 1) == (difference.high < 0)
        assert ratio.p(1) == difference.p()
        apart += ratio.low > 1
    assert 5 < apart < 55  # both kinds are among them


def test_one_seed_has_no_interval():
    found = equal_accuracy([track([0, 9], [0, 0.6])], [track([0, 9], [0, 0.3])], PLAIN)
    assert found.value == pytest.approx(2)
    assert math.isnan(found.low)
    assert math.isnan(found.p())
    assert found.text() == "2.00×"


def test_what_nothing_is_known_of_is_open():
    """Neither learns, so no ratio is refuted."""
    flat = [track([0, 10, 20], [0.3 + d, 0.3, 0.3 - d]) for d in (-0.02, 0.01, 0.02)]
    also = [track([0, 10, 20], [0.3 - d, 0.3, 0.3 + d]) for d in (0.01, -0.02, 0.01)]
    found = equal_accuracy(flat, also, PLAIN)
    assert (found.low, found.high) == (0, math.inf)
    assert found.text().endswith("[open, open]")


def test_a_method_that_is_above_the_baseline_all_along_is_open_above():
    baseline = [track([0, 10, 20], [0.1, 0.2, 0.3 + d]) for d in (0, 0.01, 0.02)]
    method = [track([0, 10, 20], [0.5 + d, 0.6, 0.7]) for d in (0.01, 0, 0.02)]
    found = equal_accuracy(method, baseline, PLAIN)
    assert (found.value, found.high) == (math.inf, math.inf)
    assert found.text() == "open [64.00, open]"


def test_curves_that_end_at_one_ceiling_are_alike_there():
    """All are at the ceiling at the end, so nobody is cheaper to it, who was there first or not."""
    fast = [track([0, 100, 200, 400], [0.1 + d, 1, 1, 1]) for d in (0, 0.01, 0.02)]
    slow = [track([0, 100, 200, 400], [0.1 + d, 0.5, 1, 1]) for d in (0, 0.01, 0.02)]
    found = equal_accuracy(fast, slow, PLAIN)
    assert found.value == 1
    assert (found.low, found.high) == pytest.approx((0.5, 4))  # from where one of the two is below


def test_a_method_that_falls_again_is_judged_by_where_it_ends():
    """It was above the baseline's final level on the way, and ends below."""
    rng = np.random.default_rng(0)
    costs = np.linspace(0, 400, 9)
    noise = rng.normal(0, 0.005, (2, 10, 9))
    baseline = [track(costs, 0.2 + 0.001 * costs + each) for each in noise[0]]
    peak = np.interp(costs, [0, 200, 400], [0.2, 0.75, 0.55])
    method = [track(costs, peak + each) for each in noise[1]]
    found = equal_accuracy(method, baseline, PLAIN)
    assert found.low < found.value == pytest.approx(0.875, rel=0.02)
    assert found.high < 1  # as the difference at equal cost is below 0
    assert Rule(1, attained=True).verdict(found.low, found.high) == "not supported"


def test_the_interval_of_a_method_that_peaks_holds_where_it_comes_down_again():
    """It ends half a point above the baseline, and was there with 1 / 2.8 of the budget."""
    rng = np.random.default_rng(3)
    costs, covered = np.linspace(0, 400, 9), 0
    rise = 0.2 + 0.001 * costs
    peak = np.interp(costs, [0, 200, 400], [0.2, 0.75, 0.605])

    def runs(level):
        ends = rng.normal(0, 0.03, (10, 1)) * costs / 400 + rng.normal(0, 0.01, (10, 9))
        return [track(costs, level + each) for each in ends]

    for _ in range(60):
        found = equal_accuracy(runs(peak), runs(rise), PLAIN)
        covered += found.low <= 2.75 <= found.high
    assert covered >= 52  # 95% of them are 57


def test_ratios_that_are_exact_keep_their_threshold():
    for times in (1.2, 1.5, 3.0):
        baseline = [track([0, 1], [0, 0.3])] * 3
        found = equal_accuracy([track([0, 1], [0, 0.3 * times])] * 3, baseline, PLAIN)
        assert Rule(times, attained=True).verdict(found.low, found.high) == "supported"
        assert found.p(times) == 1


def test_curves_without_a_test_of_the_start_model_are_not_read_before_their_first_test():
    """Tests from 100 tokens on, of 400: nothing is known of ratios above 4."""
    baseline = [track([100, 400], [0.2, 0.3 + d]) for d in (0, 0.01, 0.02)]
    method = [track([100, 400], [0.5 + d, 0.7]) for d in (0.01, 0, 0.02)]
    found = equal_accuracy(method, baseline, PLAIN)
    assert found.text() == "open [4.00, open]"
    assert math.isnan(found.p(8))
    weak = equal_accuracy(
        [track([100, 400], [0.2, 0.25 + d]) for d in (0, 0.01, 0.03)], baseline, PLAIN
    )
    assert weak.high < 4
    assert weak.p(8) == weak.p(4) < 0.05  # further away still
    assert found.p(2) < 0.05
    with pytest.raises(ValueError, match="before the other's first test"):
        equal_accuracy([track([500, 600], [0.2, 0.3])], [baseline[0]], PLAIN)


def test_a_start_model_is_where_a_run_was_before_its_first_test():
    """Difficulties cost 50 tokens before the first step: until then the run is its start model."""
    baseline = [track([0, 100], [0.1, 0.5])] * 2
    method = [track([50, 100], [0.1, 0.3])] * 2
    assert equal_accuracy(method, baseline, PLAIN, from_start=True).value == pytest.approx(0.5)
