"""Power of what tables decide by: formulas against scipy, and against the decisions themselves."""

import math

import numpy as np
import pytest
from scipy import stats

from gainrl.compare.power import (
    Parts,
    between_starts,
    parts_of,
    pooled,
    power_of_median,
    power_of_t,
    seeds_for_difference,
    seeds_for_speedup,
    smallest_difference,
)
from gainrl.compare.statistics import Reach, paired_difference, speedup
from gainrl.compare.student import median_rank


@pytest.mark.parametrize("n", [2, 3, 5, 20, 200])
def test_the_power_of_t_is_that_of_the_noncentral_distribution(n):
    for shift in (0.5, 2.0, 4.0):
        limit = stats.t.ppf(0.975, n - 1)
        assert power_of_t(shift, n, 0.05) == pytest.approx(
            stats.nct.sf(limit, n - 1, shift), abs=1e-3
        )


def test_parts_worked_by_hand():
    # seeds 0 and 6 apart, problems -1, 0, 1, and a residual of 1, -2, 1 against -1, 2, -1
    seeds, problems = np.array([0.0, 6.0]), np.array([-1.0, 0.0, 1.0])
    left = np.array([[1.0, -2.0, 1.0], [-1.0, 2.0, -1.0]])
    found = parts_of(seeds[:, None] + problems + left)
    assert found.residual == pytest.approx(12 / 2)
    assert found.seeds == pytest.approx(18 - 6 / 3)
    assert found.problems == pytest.approx(1 - 6 / 2)
    assert found.deviation("problems") == 0
    assert found.seen == pytest.approx(18)
    assert found.of_a_seed() == pytest.approx(math.sqrt(18))  # as seen on the pilot's problems
    assert found.of_a_seed(12) == pytest.approx(math.sqrt(16 + 6 / 12))
    with pytest.raises(ValueError, match="two seeds"):
        parts_of([[1.0, 2.0]])


def test_more_answers_shrink_their_chance_alone():
    # two answers each, whose chance is 4 of the residual 6: with eight it is 1, and 2 stay
    parts = Parts(seeds=16.0, df=1, residual=6.0, answers=4.0, problems_n=3, samples=2)
    assert parts.of_a_seed(3, 8) == pytest.approx(math.sqrt(16 + 3 / 3))
    assert parts.of_a_seed(12, 1) == pytest.approx(math.sqrt(16 + (2 + 8) / 12))
    assert parts.of_a_seed(samples=2) == parts.of_a_seed()


def test_a_part_below_zero_counts_as_that_when_parts_are_pooled():
    low = Parts(seeds=-1.0, df=2, problems=0.0, residual=6.0, problems_n=3, samples=1)
    high = Parts(seeds=3.0, df=4, problems=2.0, residual=12.0, problems_n=3, samples=1)
    found = pooled([low, high])
    assert (found.seeds, found.problems, found.residual, found.df) == (1, 1, 9, 6)
    # on tests of other sizes only what was seen is known: -1 + 6 / 3 and 3 + 12 / 4
    other = Parts(seeds=3.0, df=4, problems=2.0, residual=12.0, problems_n=4, samples=1)
    found = pooled([low, other])
    assert found.seeds == pytest.approx((1 + 6) / 2)
    assert math.isnan(found.residual)


def test_parts_are_those_that_made_the_data():
    rng = np.random.default_rng(0)
    shapes = ((2, (10, 1)), (5, (1, 300)), (30, (10, 300)))
    found = pooled(
        [parts_of(sum(rng.normal(0, sd, shape) for sd, shape in shapes)) for _ in range(40)]
    )
    assert found.deviation("seeds") == pytest.approx(2, rel=0.1)
    assert found.deviation("problems") == pytest.approx(5, rel=0.1)
    assert found.deviation("residual") == pytest.approx(30, rel=0.02)
    assert (found.df, found.problems_n) == (360, 300)


def test_start_models_are_told_from_their_seeds():
    rng = np.random.default_rng(1)
    starts = [rng.normal(centre, 2, 3) for centre in rng.normal(0, 3, 400)]
    assert between_starts(starts) == pytest.approx(9, rel=0.2)
    assert Parts(seeds=16.0, df=4, starts=9.0).of_a_seed() == 5
    with pytest.raises(ValueError, match="two seeds of each"):
        between_starts([starts[0], starts[1][:1]])


@pytest.mark.parametrize(("n", "problems"), [(5, 192), (10, 192), (10, 48), (20, 800)])
def test_the_formula_is_the_power_of_the_tables_own_decision(n, problems):
    """Within 3 points of 2,000 simulated comparisons, problem by problem."""
    rng = np.random.default_rng(n + problems)
    parts = Parts(seeds=4.0, df=9, residual=1600.0, problems_n=192, samples=1)
    difference = 4.0
    answers = difference + rng.normal(0, 2.0, (2000, n, 1)) + rng.normal(0, 40, (2000, n, problems))
    levels = answers.mean(2)
    decided = np.mean([paired_difference(each, np.zeros(n), 0.95).low > 0 for each in levels])
    shift = difference * math.sqrt(n) / parts.of_a_seed(problems)
    assert power_of_t(shift, n, 0.05) == pytest.approx(decided, abs=0.03)


def test_seeds_and_differences_are_each_others_inverse():
    need = seeds_for_difference(2.0, 3.0, 0.05, 0.8)
    assert need == 20  # the textbook's: (1.96 + 0.84)^2 (3 / 2)^2 = 17.7, and two more for t
    assert smallest_difference(3.0, need, 0.05, 0.8) <= 2.0
    assert smallest_difference(3.0, need - 1, 0.05, 0.8) > 2.0
    assert seeds_for_difference(2.0, 0.0, 0.05, 0.8) == 2
    assert seeds_for_difference(0.01, 10.0, 0.05, 0.8) is None


@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_formula_is_the_power_of_the_tables_own_speed_up(n):
    rng = np.random.default_rng(n)
    ratios = 1.2 * np.exp(rng.normal(0, 0.2, (2000, n)))
    decided = np.mean(
        [
            speedup([Reach(r, r) for r in each], [Reach(1.0, 1.0)] * n, 0.95).low > 1
            for each in ratios
        ]
    )
    assert power_of_median(1.2, 0.2, n, 0.05) == pytest.approx(decided, abs=0.03)


def test_the_power_of_many_seeds_is_a_probability():
    for n in (50, 2000):
        rank = median_rank(n, 0.95)
        chance = stats.norm.cdf(math.log(1.01) / 0.2)
        expected = stats.binom.sf(n - rank, n, chance)
        assert power_of_median(1.01, 0.2, n, 0.05) == pytest.approx(expected, rel=1e-9)
    assert power_of_median(1.2, 0.0, 2000, 0.05) == 1


def test_a_speed_up_needs_five_seeds_at_least():
    assert power_of_median(1.2, 0.01, 4, 0.05) == 0
    assert seeds_for_speedup(1.2, 0.01, 0.05, 0.8) == 5
    need = seeds_for_speedup(1.2, 0.2, 0.05, 0.8)
    assert all(power_of_median(1.2, 0.2, n, 0.05) >= 0.8 for n in range(need, need + 40))
    assert power_of_median(1.2, 0.2, need - 1, 0.05) < 0.8
