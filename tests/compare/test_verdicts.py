"""Many verdicts at once: p-values at a rule's threshold, and how many of them may be chance."""

import math

import numpy as np
import pytest
from scipy import stats

from gainrl.compare.statistics import Reach, mean_interval, median_cost
from gainrl.compare.verdicts import SUPPORTED, UNDECIDED, Rule, adjusted, survives


def test_adjusted_p_worked_by_hand():
    # of four: 0.01 x 4 / 1, 0.02 x 4 / 2, 0.03 x 4 / 3 and 0.5; then the least from the right
    assert adjusted([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.04, 0.04, 0.5, 0.04])
    assert adjusted([0.04]) == [0.04]
    assert adjusted([]) == []
    assert adjusted([0.9, 1.0]) == [1.0, 1.0]


def test_what_is_no_test_adjusts_nothing():
    found = adjusted([math.nan, 0.01, math.nan, 0.04])
    assert found[1::2] == pytest.approx([0.02, 0.04])
    assert np.isnan(found[::2]).all()
    assert [survives(each, 0.03) for each in found] == ["", "yes", "", "no"]


def test_it_is_scipys():
    p = np.random.default_rng(0).random(39) ** 3
    assert adjusted(p) == pytest.approx(stats.false_discovery_control(p))


def test_without_an_effect_few_tables_have_a_discovery():
    """39 differences of 13 methods to one baseline on 3 pools; benchmarks/coverage.py has more."""
    rng = np.random.default_rng(1)
    alone = among = 0
    for _ in range(300):
        runs = rng.normal(0, 2, (3, 14, 5))
        apart = (runs[:, 1:] - runs[:, :1]).reshape(39, 5)
        p = [mean_interval(each, 0.95).p() for each in apart]
        alone += sum(each < 0.05 for each in p)
        among += min(adjusted(p)) <= 0.05
    assert 1.5 <= alone / 300 <= 2.4  # 39 x 5%
    assert among / 300 <= 0.08


def test_the_verdict_and_the_p_are_of_one_statistic():
    """An interval that ends at a threshold has the p that its confidence leaves."""
    found = mean_interval([1.0, 2.0, 4.0, 3.0, 2.5], 0.95)
    for shift, verdict in ((1e-6, UNDECIDED), (-1e-6, SUPPORTED)):
        rule = Rule(found.low + shift)
        assert rule.verdict(found.low, found.high) == verdict
        assert rule.p(found) == pytest.approx(0.05, abs=1e-4)
    costs = median_cost([Reach(cost, cost) for cost in (2.0, 2.0, 3.0, 4.0, 5.0)], 0.95)
    at_least = Rule(2.0, attained=True)
    assert at_least.verdict(costs.low, costs.high) == SUPPORTED
    assert at_least.p(costs) == pytest.approx(2 / 32)
    assert Rule(2.0).p(costs) == pytest.approx(stats.binomtest(3, 5).pvalue)
    assert Rule(5.0, "below", attained=True).p(costs) == pytest.approx(2 / 32)
