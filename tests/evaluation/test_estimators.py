"""pass@k, avg@n and maj@n against enumeration and worked examples."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest

from gainrl.evaluation.estimators import by_problem, majority, pass_at_k


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_pass_at_k_is_the_share_of_draws_with_a_right_sample(n):
    for right in range(n + 1):
        samples = [1] * right + [0] * (n - right)
        for k in range(1, n + 1):
            drawn = [max(each) for each in combinations(samples, k)]
            assert pass_at_k([n], [right], k)[0] == pytest.approx(np.mean(drawn), abs=1e-12)


def test_pass_at_k_for_many_samples_is_the_formula_and_no_overflow():
    n, right, k = 2000, 3, 1000
    assert pass_at_k(n, right, k) == pytest.approx(1 - comb(n - right, k) / comb(n, k), abs=1e-12)


def test_pass_at_1_is_the_share_of_right_samples():
    assert pass_at_k([4, 4, 4], [0, 1, 4], 1).tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize(
    ("n", "c", "k", "said"),
    [
        ([4], [1], 5, "pass@5 needs at least 5 samples"),
        ([4], [1], 0, "needs at least 1"),
        ([4], [5], 1, "between 0 and n"),
        ([4], [-1], 1, "between 0 and n"),
    ],
)
def test_what_cannot_be_estimated_is_refused(n, c, k, said):
    with pytest.raises(ValueError, match=said):
        pass_at_k(n, c, k)


def rows(*answers, name="a"):
    """Samples of a problem: (extracted, correct) each."""
    return pd.DataFrame(
        [
            {"id": name, "sample": i, "extracted": text, "correct": right}
            for i, (text, right) in enumerate(answers)
        ]
    )


@pytest.mark.parametrize(
    ("answers", "value"),
    [
        ([("7", 1), ("7", 1), ("8", 0)], 1.0),
        ([("7", 1), ("8", 0), ("8", 0)], 0.0),
        ([("7", 1), ("8", 0)], 0.5),  # a tie: a draw among the two is right half of the time
        ([("7", 1), ("8", 0), ("9", 0)], 1 / 3),
        ([("1,000", 1), ("1000.0", 1), ("8", 0), ("9", 0)], 1.0),  # one number, written twice
        ([(None, 0), (None, 0), ("7", 1)], 1.0),  # no answer is no vote
        ([(None, 0), (None, 0)], 0.0),
    ],
)
def test_the_most_frequent_answer_decides(answers, value):
    assert majority(rows(*answers)) == pytest.approx(value)


def test_one_row_a_problem():
    table = pd.concat(
        [
            rows(("7", 1), ("7", 1), ("8", 0), ("9", 0), name="b"),
            rows(("1", 0), ("1", 0), ("2", 0), ("3", 1), name="a"),
        ]
    )
    found = by_problem(table, (1, 2), votes=True)
    assert list(found.index) == ["b", "a"]
    assert list(found.columns) == ["pass@1", "pass@2", "avg@4", "maj@4"]
    assert found.loc["b"].tolist() == pytest.approx([0.5, 1 - 1 / 6, 0.5, 1.0])
    assert found.loc["a"].tolist() == pytest.approx([0.25, 0.5, 0.25, 0.0])


def test_a_single_sample_has_no_majority_and_programs_have_none_at_all():
    assert list(by_problem(rows(("7", 1)), (1,), votes=True).columns) == ["pass@1"]
    found = by_problem(rows(("f", 1), ("g", 0)), (1, 2), votes=False)
    assert list(found.columns) == ["pass@1", "pass@2", "avg@2"]


def test_unequal_numbers_of_samples_are_refused():
    table = pd.concat([rows(("7", 1), ("7", 1)), rows(("7", 1), name="b")])
    with pytest.raises(ValueError, match="problem 'b' has 1 samples, others 2"):
        by_problem(table, (1,), votes=True)
