"""Student's t, the sign test and ranks, against tables and scipy."""

import math

import pytest
from scipy import stats

from gainrl.compare.student import central, median_rank, p_value, quantile, sign_p


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 9, 10, 191, 1000])
def test_the_distribution_is_scipys(df):
    for t in (0.0, 0.1, 1.0, 2.5, 30.0, math.inf):
        assert central(t, df) == pytest.approx(1 - 2 * stats.t.sf(t, df), abs=1e-12)
    for confidence in (0.5, 0.9, 0.95, 0.999):
        assert quantile(confidence, df) == pytest.approx(stats.t.ppf((1 + confidence) / 2, df))


def test_quantiles_of_the_printed_table():
    assert [round(quantile(0.95, df), 3) for df in (1, 2, 4, 9)] == [12.706, 4.303, 2.776, 2.262]


def test_no_spread_and_a_single_value():
    assert p_value(0.1, 0.0, 3, 0.0) == 0
    assert p_value(0.1, 0.0, 3, 0.1) == 1
    assert math.isnan(p_value(0.1, math.nan, 1, 0.0))


@pytest.mark.parametrize("n", [2, 5, 9, 10])
def test_the_sign_test_is_scipys(n):
    for beyond in range(math.ceil(n / 2), n + 1):
        assert sign_p(beyond, n) == pytest.approx(stats.binomtest(beyond, n).pvalue)


def test_ranks_that_hold_a_median():
    ranks = {n: median_rank(n, 0.95) for n in (2, 4, 5, 8, 9, 10, 20)}
    assert ranks == {2: None, 4: None, 5: 1, 8: 1, 9: 2, 10: 2, 20: 6}
    for n, rank in ranks.items():
        if rank:  # the next rank would hold it too seldom
            assert 1 - 2 * stats.binom.cdf(rank - 1, n, 0.5) >= 0.935
            assert 1 - 2 * stats.binom.cdf(rank, n, 0.5) < 0.935
