"""Rank correlations, their bootstrap and the table of the angle signal, on data made here."""

import math
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from signal_numbers import BOOTSTRAP, rng, three

from gainrl.study import table as module
from gainrl.study.table import partial_spearman, rank_interval, spearman

# --- rank correlations ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_spearman_is_scipys_with_and_without_ties(seed):
    x, y, z = three(60, seed)
    assert len(set(y)) < 20
    for one, other in ((x, y), (y, z), (x, z), (x, -x)):
        assert spearman(one, other) == pytest.approx(scipy.stats.spearmanr(one, other)[0])


def test_tied_values_share_their_average_rank():
    # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: sums of products 4.5, of squares 4.5 and 5
    assert spearman([1, 2, 2, 3], [10, 30, 20, 90]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    # ranks 1.5, 1.5, 3.5, 3.5 and 1.5, 3.5, 1.5, 3.5: products 1 - 1 + 1 - 1 = 0
    assert spearman([0, 0, 1, 1], [0, 1, 0, 1]) == 0


def test_only_the_order_counts():
    x, y, z = three(40)
    assert spearman(np.exp(x), y**3) == spearman(x, y)
    assert partial_spearman(np.exp(x), y**3, -np.exp(z)) == pytest.approx(
        partial_spearman(x, y, z), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
def test_partial_is_the_formula_of_the_three_pairwise_correlations(seed):
    x, y, z = three(80, seed)
    xy, xz, yz = (scipy.stats.spearmanr(*pair)[0] for pair in ((x, y), (x, z), (y, z)))
    wanted = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert abs(wanted - xy) > 0.05  # the length does matter here
    assert partial_spearman(x, y, z) == pytest.approx(wanted)


def test_partial_is_the_correlation_of_the_residuals():
    ranks = [scipy.stats.rankdata(column) for column in three(50)]
    design = np.column_stack([np.ones(50), ranks[2]])
    left = [r - design @ np.linalg.lstsq(design, r, rcond=None)[0] for r in ranks[:2]]
    assert partial_spearman(*three(50)) == pytest.approx(np.corrcoef(*left)[0, 1])


def test_partial_worked_by_hand():
    # rho: xy = 0.8, xz = 0.4, yz = -0.2 (1 - 6 sum d^2 / 60 with sum d^2 = 2, 6, 12)
    x, y, z = [1, 2, 3, 4], [2, 1, 3, 4], [1, 4, 2, 3]
    assert (spearman(x, y), spearman(x, z), spearman(y, z)) == pytest.approx((0.8, 0.4, -0.2))
    assert partial_spearman(x, y, z) == pytest.approx((0.8 + 0.08) / math.sqrt(0.84 * 0.96))


def test_a_relation_that_is_all_length_goes_when_length_is_held_fixed():
    draw = rng(3)
    z = draw.normal(size=4000)
    x, y = z + draw.normal(size=(2, 4000))
    assert spearman(x, y) > 0.4
    assert abs(partial_spearman(x, y, z)) < 0.06


def test_constants_have_no_correlation():
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert math.isnan(spearman([1, 2, 3], [0.3, 0.3, 0.3]))
    assert math.isnan(spearman([1.0], [2.0]))
    assert math.isnan(partial_spearman([1, 1, 1, 1], [1, 2, 4, 3], [1, 3, 2, 4]))


@pytest.mark.parametrize("n", [5, 1052, 5000])  # at 1052, S * S / S < S in floating point
@pytest.mark.parametrize("ties", [False, True])
def test_nothing_is_left_of_what_has_the_order_of_given(n, ties):
    z = rng(1).integers(0, n // 2 + 1, n) if ties else rng(1).permutation(n)
    y = rng(2).normal(size=n)
    for x in (3.7 * z + 0.1, -np.exp(z / n)):
        assert math.isnan(partial_spearman(x, y, z))
        assert math.isnan(partial_spearman(y, x, z))


def test_one_swap_of_neighbours_is_a_residual():
    z = np.arange(2000)
    x = z.copy()
    x[[700, 701]] = x[[701, 700]]
    y = np.zeros(2000)
    y[700] = 1
    # The residual of x is +1 and -1 at the swap, but for rounding, and y points at the first.
    assert partial_spearman(x, y, z) == pytest.approx(math.sqrt(0.5), abs=1e-3)


def test_a_constant_given_holds_nothing_fixed():
    x, y, _ = three(30)
    assert partial_spearman(x, y, np.ones(30)) == spearman(x, y)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([], []), "n > 0"),
        (([1.0, math.nan], [1, 2]), "finite"),
        (([[1.0, 2.0]], [[1, 2]]), "shape"),
        (([1, 2, 3], [1, 2]), "lengths differ: 2 and 3"),
    ],
)
def test_values_that_cannot_be_ranked_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        spearman(*columns)
    with pytest.raises(ValueError, match=message):
        rank_interval(*columns, None, rng(), *BOOTSTRAP)


# --- bootstrap -----------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [False, True])
def test_the_interval_is_that_of_a_plain_loop_over_resamples(held, monkeypatch):
    x, y, z = three(25)
    drawn = []
    for rows in rng(5).integers(25, size=(300, 25)):
        one, other, given = (scipy.stats.rankdata(column[rows]) for column in (x, y, z))
        if held:
            one, other = (r - np.polyval(np.polyfit(given, r, 1), given) for r in (one, other))
        drawn.append(np.corrcoef(one, other)[0, 1])
    for cells in (10**6, 25 * 7):  # at once, or seven resamples at a time and then six
        monkeypatch.setattr(module, "CELLS", cells)
        found = rank_interval(x, y, z if held else None, rng(5), 300, 0.9)
        assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.05, 0.95])))
    assert (found.n, found.undefined) == (25, 0)
    assert found.mean == (partial_spearman(x, y, z) if held else spearman(x, y))


@pytest.mark.parametrize("held", [False, True])
def test_the_interval_covers_the_true_value_about_as_often_as_it_says(held):
    """Normal variables: Spearman's rho is 6 / pi asin(r / 2), and the partial one follows."""
    covariance = np.array([[1, 0.5, -0.8], [0.5, 1, -0.3], [-0.8, -0.3, 1]])
    xy, xz, yz = 6 / np.pi * np.arcsin(covariance[[0, 0, 1], [1, 2, 2]] / 2)
    true = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2)) if held else xy
    draw, hits, above = rng(11), 0, 0
    for _ in range(300):
        x, y, z = draw.multivariate_normal(np.zeros(3), covariance, 80).T
        found = rank_interval(x, y, z if held else None, draw, 300, 0.9)
        hits += found.low <= true <= found.high
        above += found.low > true
    assert 0.84 <= hits / 300 <= 0.95
    assert 0.01 <= above / 300 <= 0.11


def test_equal_generators_give_equal_intervals_and_others_do_not():
    x, y, z = three(30)
    same = [rank_interval(x, y, z, rng(seed), *BOOTSTRAP) for seed in (7, 7, 8)]
    assert same[0] == same[1]
    assert same[0].low != same[2].low


def test_a_few_undefined_resamples_are_counted():
    y = np.zeros(40)
    y[:4] = 1  # a resample misses all four with probability 0.9^40 = 1.5%
    found = rank_interval(np.arange(40), y, None, rng(), 2000, 0.95)
    assert 10 <= found.undefined <= 55
    assert found.low < found.mean < found.high < 0


def test_too_many_undefined_resamples_leave_no_interval():
    y = np.zeros(40)
    y[0] = 1  # a resample misses it with probability 36%
    found = rank_interval(np.arange(40), y, None, rng(), 2000, 0.95)
    assert found.undefined == pytest.approx(0.363 * 2000, abs=100)
    assert found.mean == spearman(np.arange(40), y)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_no_correlation_no_interval():
    found = rank_interval(np.ones(9), np.arange(9), None, rng(), *BOOTSTRAP)
    assert math.isnan(found.mean)
    assert math.isnan(found.low)
    assert (found.n, found.undefined) == (9, 400)


def test_many_prompts_fit_in_little_memory():
    x, y, z = three(7500)
    tracemalloc.start()
    try:
        rank_interval(x, y, z, rng(), 500, 0.95)
        assert tracemalloc.get_traced_memory()[1] < 60e6  # all at once it would be 0.5 GB and more
    finally:
        tracemalloc.stop()
