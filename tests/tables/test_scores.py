"""Tables of scores: two kinds of intervals, paired differences, and what may not be compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from gainrl.compare.statistics import mean_interval
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.evaluation.estimators import by_problem
from gainrl.records import SAMPLES, write_json, write_table
from gainrl.tables.scores import Scored, TestRows, agreement, problem_interval, read_scored

CONFIG = Statistics(resamples=2000)
RNG = np.random.default_rng(5)
PROBLEMS, N = 60, 4


def table(rate, seed=0, problems=PROBLEMS):
    """A sample table whose problems have a rate each."""
    rng = np.random.default_rng(seed)
    rates = np.broadcast_to(rate, problems)
    return pd.DataFrame(
        [
            {
                "id": f"d/eval/{row:04d}",
                "sample": sample,
                "prompt": f"{row:012x}",
                "response": "text",
                "tokens": 3,
                "correct": int(rng.random() < rates[row]),
                "extracted": "7",
                "reason": "same text",
            }
            for row in range(problems)
            for sample in range(N)
        ]
    )


def score(samples, **changes):
    values = by_problem(samples, (1, 2), votes=True)
    return {
        "subject": "evals/m",
        "benchmark": "d",
        "protocol": "p",
        "metrics": {name: float(values[name].mean()) for name in values},
        "sampling": {"temperature": 0.6, "top_p": 0.95, "max_tokens": 9},
        "samples": N,
        "engine": "transformers 5",
        "template": "t",
        "grader": "g",
        "data": "x",
        **changes,
    }


def scored(method, seed, rate, number, **changes):
    samples = table(rate, number)
    values = by_problem(samples, (1, 2), votes=True)
    return Scored("m", "d", method, seed, "d", "p", values, score(samples, **changes))


def summary(tests):
    rows = pd.DataFrame(TestRows(CONFIG, "grpo").rows(tests))
    return rows.set_index(["method", "metric"])


@pytest.fixture(scope="module")
def group():
    rates = RNG.random(PROBLEMS)
    return [
        scored(None, None, rates * 0.5, 1),
        *(scored("grpo", seed, rates, 10 + seed) for seed in range(3)),
        *(scored("gain", seed, np.clip(rates + 0.1, 0, 1), 20 + seed) for seed in range(3)),
    ]


def of_three(values):
    """Half of the 95% interval of three seeds: t of two degrees of freedom is 4.303."""
    return 4.30265 * np.std(values, ddof=1) / np.sqrt(3)


def test_two_intervals_for_every_mean(group):
    rows = summary(group)
    runs = np.stack([test.values["pass@1"] for test in group if test.method == "gain"])
    problems, seeds = rows.loc[("gain", "p/pass@1")], rows.loc[("gain", "p/pass@1, seeds")]
    assert problems["mean"] == seeds["mean"] == pytest.approx(runs.mean())
    assert (problems["n"], seeds["n"]) == (PROBLEMS, 3)
    # a normal approximation, and Student's t of three seeds
    spread = 1.96 * runs.mean(0).std(ddof=1) / np.sqrt(PROBLEMS)
    assert problems["high"] - problems["low"] == pytest.approx(2 * spread, rel=0.1)
    assert seeds["high"] - seeds["mean"] == pytest.approx(of_three(runs.mean(1)))
    assert problems["note"].startswith("over problems; protocol p: 4 samples, temperature 0.6, top")
    assert seeds["note"].startswith("over seeds; ")


def test_differences_are_paired_by_problem_and_by_seed(group):
    rows = summary(group)
    runs = {
        name: np.stack([test.values["pass@1"] for test in group if test.method == name])
        for name in ("grpo", "gain")
    }
    difference = runs["gain"].mean(0) - runs["grpo"].mean(0)
    problems = rows.loc[("gain", "p/pass@1, difference")]
    assert problems["mean"] == pytest.approx(difference.mean())
    spread = 1.96 * difference.std(ddof=1) / np.sqrt(PROBLEMS)
    assert problems["high"] - problems["low"] == pytest.approx(2 * spread, rel=0.1)
    unpaired = rows.loc[("gain", "p/pass@1")]
    assert problems["high"] - problems["low"] < unpaired["high"] - unpaired["low"]
    seeds = rows.loc[("gain", "p/pass@1, difference, seeds")]
    half = of_three(runs["gain"].mean(1) - runs["grpo"].mean(1))
    assert seeds["high"] - seeds["mean"] == pytest.approx(half)
    assert ("grpo", "p/pass@1, difference") not in rows.index
    assert ("start", "p/pass@1, seeds") not in rows.index


def test_every_metric_has_its_rows(group):
    metrics = set(summary(group).loc["gain"].index)
    kinds = ("", ", seeds", ", difference", ", difference, seeds")
    names = ("pass@1", "pass@2", "avg@4", "maj@4")
    assert metrics == {f"p/{name}{kind}" for name in names for kind in kinds}


def test_where_nothing_is_solved_the_interval_is_exact():
    for value, n in ((0.0, 200), (1.0, 50)):
        found = problem_interval(np.full(n, value), 0.95)
        exact = binomtest(int(value * n), n).proportion_ci(0.95, method="exact")
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
        assert (found.mean, found.n) == (value, n)
    some = np.r_[np.zeros(9), 1.0]
    assert problem_interval(some, 0.95) == mean_interval(some, 0.95, (0, 1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grader": "maths 1"}, "grader is 'g' and 'maths 1'"),
        ({"sampling": {"temperature": 1.0, "top_p": 1.0, "max_tokens": 9}}, "sampling is "),
        ({"template": "u"}, "template is 't' and 'u'"),
        ({"data": "y"}, "data is 'x' and 'y'"),
    ],
)
def test_what_was_tested_otherwise_is_not_compared(group, changes, said):
    other = scored("gain", 0, 0.5, 3, **changes)
    with pytest.raises(DataError, match="cannot be compared: " + said):
        summary([*group[:4], other])


def test_other_problems_are_not_compared(group):
    samples = table(0.5, 1, problems=PROBLEMS - 1)
    values = by_problem(samples, (1, 2), votes=True)
    other = Scored("m", "d", "gain", 0, "d", "p", values, score(samples))
    with pytest.raises(DataError, match="not the same problems"):
        summary([*group[:4], other])


# --- reading and comparing -----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    samples = table(0.5)
    write_table(tmp_path / "samples.parquet", samples, SAMPLES)
    write_json(tmp_path / "score.json", score(samples))
    return tmp_path


def read(folder):
    return read_scored(folder, model="m", dataset="d", method=None, seed=None)


def test_a_score_is_read_with_its_samples(folder):
    assert list(read(folder).values) == ["pass@1", "pass@2", "avg@4", "maj@4"]


def test_a_score_that_is_not_of_its_samples_is_refused(folder):
    write_table(folder / "samples.parquet", table(0.9), SAMPLES)
    with pytest.raises(DataError, match=r"score\.json: .* is not that of samples\.parquet"):
        read(folder)


def test_missing_samples_are_refused(folder):
    write_table(folder / "samples.parquet", table(0.5).iloc[1:], SAMPLES)
    with pytest.raises(DataError, match=r"samples\.parquet: problem .* samples, others"):
        read(folder)


def test_agreement_counts_verdicts_answers_and_texts():
    one, other = table(0.5), table(0.5)
    assert agreement(one, other) == {"grade": 1.0, "answer": 1.0, "response": 1.0}
    other.loc[:23, "response"] = "other"  # 24 of 240
    other.loc[:11, "extracted"] = None
    other.loc[:5, "correct"] = 1 - other.loc[:5, "correct"]
    found = agreement(one, other)
    assert found == pytest.approx({"grade": 0.975, "answer": 0.95, "response": 0.9})


def test_agreement_is_of_the_same_samples_and_prompts_only():
    one = table(0.5)
    with pytest.raises(DataError, match="not of the same problems and samples"):
        agreement(one, one.iloc[:-1])
    with pytest.raises(DataError, match="asked with different prompts"):
        agreement(one, one.assign(prompt="other"))
