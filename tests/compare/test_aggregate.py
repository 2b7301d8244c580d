"""Aggregates over tasks against their definitions and worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, trim_mean

from gainrl.compare.aggregate import (
    interquartile_mean,
    probability_of_improvement,
    stratified_interval,
)

RNG = np.random.default_rng


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (4, 1), (5, 2), (5, 3), (10, 4)])
def test_the_interquartile_mean_is_the_trimmed_mean_of_all_cells(shape):
    scores = RNG(1).random(shape)
    assert interquartile_mean(scores) == pytest.approx(trim_mean(scores, 0.25, axis=None))


def test_one_broken_run_does_not_move_it():
    scores = np.full((4, 2), 0.5)
    scores[0] = 0.0
    assert interquartile_mean(scores) == 0.5
    assert scores.mean() < 0.4


def test_the_probability_of_improvement_is_mann_whitneys_u_over_pairs():
    one, other = np.round(RNG(2).random((5, 3)), 1), np.round(RNG(3).random((4, 3)), 1)
    by_task = [mannwhitneyu(one[:, task], other[:, task]).statistic / (5 * 4) for task in range(3)]
    assert probability_of_improvement(one, other) == pytest.approx(np.mean(by_task))


@pytest.mark.parametrize(
    ("one", "other", "value"),
    [
        ([[0.2], [0.3]], [[0.1], [0.1]], 1.0),
        ([[0.2], [0.3]], [[0.2], [0.3]], 0.5),  # one win, two ties, one loss
        ([[0.2], [0.2]], [[0.2], [0.2]], 0.5),
        ([[0.2, 0.9]], [[0.1, 1.0]], 0.5),  # better on one task, worse on the other
    ],
)
def test_probabilities_of_improvement_by_hand(one, other, value):
    assert probability_of_improvement(one, other) == value


def test_an_interval_resamples_runs_within_tasks():
    scores = np.array([[0.1, 0.9], [0.1, 0.9], [0.1, 0.9]])
    # All runs of a task agree: resampling tasks would give a spread, resampling runs gives none.
    found = stratified_interval(
        interquartile_mean, scores, rng=RNG(0), resamples=500, confidence=0.95
    )
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((0.5, 0.5, 0.5, 3))


def test_an_interval_covers_what_it_should():
    hits, rng = 0, RNG(4)
    for _ in range(300):
        scores = rng.normal(0.5, 0.1, (10, 3))
        found = stratified_interval(
            interquartile_mean, scores, rng=rng, resamples=300, confidence=0.9
        )
        hits += found.low <= 0.5 <= found.high
    assert 0.82 <= hits / 300 <= 0.95


def test_the_interval_of_a_clear_improvement_excludes_one_half():
    rng = RNG(5)
    one, other = rng.normal(0.6, 0.05, (5, 3)), rng.normal(0.4, 0.05, (5, 3))
    found = stratified_interval(
        probability_of_improvement, one, other, rng=rng, resamples=500, confidence=0.95
    )
    assert found.low > 0.5
    same = stratified_interval(
        probability_of_improvement, one, one, rng=rng, resamples=500, confidence=0.95
    )
    assert same.mean == 0.5
    assert same.low < 0.5 < same.high


def test_one_run_has_no_interval():
    found = stratified_interval(
        interquartile_mean, [[0.5, 0.7]], rng=RNG(0), resamples=10, confidence=0.95
    )
    assert found.mean == pytest.approx(0.6)
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize("scores", [[], [[]], [0.5], [[np.nan]]])
def test_what_is_no_matrix_of_scores_is_refused(scores):
    with pytest.raises(ValueError, match="scores must"):
        interquartile_mean(scores)


def test_other_tasks_are_not_compared():
    with pytest.raises(ValueError, match="tasks differ: 1 and 2"):
        probability_of_improvement([[0.5]], [[0.5, 0.6]])
