"""Comparisons of curves, by hand and against the pipeline's own table of the same runs."""

from __future__ import annotations

import math
from itertools import chain

import numpy as np
import pytest
from run_folders import GAIN, GRPO, cell, write_run
from scipy import stats

from gainrl.compare import Curve, Point, Statistics, blocks, curves_of, latex, markdown, summarise
from gainrl.compare.render import Table
from gainrl.errors import DataError
from gainrl.results.runs import collect
from gainrl.tables.table import table1

HOW = Statistics(resamples=500, smoothing=1)


def curve(method, seed, tests, task=""):
    """The points of one run; tests: (step, tokens, accuracy)."""
    where = f"{method}{seed}"
    return [Point(method, seed, task, step, spent, value, where) for step, spent, value in tests]


def compared(*curves, baseline="grpo", how=HOW, **more):
    return summarise(curves_of(chain.from_iterable(curves)), baseline, how=how, **more)


def line_of(summary, method, task=""):
    (line,) = [line for line in summary.lines if (line.method, line.task) == (method, task)]
    return line


@pytest.fixture
def two():
    """Gain ends 10 points above GRPO but has spent twice the tokens."""
    return (
        curve("grpo", 0, [(0, 0, 0.2), (10, 100, 0.4), (20, 200, 0.5)]),
        curve("gain", 0, [(0, 0, 0.2), (10, 200, 0.5), (20, 400, 0.6)]),
    )


def test_differences_are_read_at_equal_steps_and_at_equal_tokens(two):
    line = line_of(compared(*two), "gain")
    assert line.steps.difference.mean == pytest.approx(0.1)
    assert line.tokens.difference.mean == pytest.approx(0.0)
    assert (line.steps.budget, line.tokens.budget) == (20, 200)
    assert line.steps.speed.ratio.value == 2.0
    assert line.tokens.speed.ratio.value == 1.0


def test_a_run_that_ended_earlier_is_held_against_where_the_other_was_then(two):
    short = curve("gain", 0, [(0, 0, 0.2), (10, 200, 0.5)])
    line = line_of(compared(two[0], short), "gain")
    assert line.steps.difference.mean == pytest.approx(0.5 - 0.4)


def test_it_says_what_the_pipelines_table_says_of_the_same_runs(tmp_path):
    runs = collect(
        write_run(tmp_path, method, seed, tests, tokens=tokens)
        for method, curves, tokens in (("grpo", GRPO, 100), ("gain", GAIN, 150))
        for seed, tests in enumerate(curves)
    )
    table = table1(runs, HOW, "grpo")
    summary = compared(
        *(
            curve(
                run.method,
                run.seed,
                [
                    (int(step), 50 * step * (2 if run.method == "grpo" else 3), value)
                    for step, value in zip(run.evaluated, run.curve("chain"), strict=True)
                ],
            )
            for run in runs
        )
    )
    line = line_of(summary, "gain")
    for metric, found in (
        ("difference_to_baseline", line.steps.difference),
        ("difference_at_equal_tokens", line.tokens.difference),
        ("final_accuracy", line.level),
    ):
        row = cell(table, "gain", metric)
        assert (row["mean"], row["low"], row["high"]) == (found.mean, found.low, found.high), metric
    for metric, found in (("speedup", line.steps), ("speedup_tokens", line.tokens)):
        row = cell(table, "gain", metric)
        ratio = found.speed.ratio
        assert (row["lower"], row["upper"], row["low"]) == (ratio.lower, ratio.upper, ratio.low)
        assert row["censored"] == ratio.censored == 1
    for metric, found in (
        ("equal_accuracy_steps", line.steps),
        ("equal_accuracy_tokens", line.tokens),
    ):
        row = cell(table, "gain", metric)
        same = found.same
        assert (row["mean"], row["low"], row["high"]) == (same.value, same.low, same.high), metric


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ("difference > 9", "supported"),
        ("difference > 10.5", "not supported"),
        ("difference < 12", "supported"),
        ("equal-tokens > 1", "not supported"),
        ("speedup >= 2", "supported"),
        ("speedup > 2", "undecided"),  # the interval is the threshold itself
        ("speedup-tokens >= 1.5", "not supported"),
        ("equal-accuracy >= 1.9", "supported"),
        ("equal-accuracy-tokens >= 1.5", "not supported"),
    ],
)
def test_a_rule_decides_by_the_interval(rule, verdict):
    curves = [
        curve(method, seed, [(step, factor * step, value) for step, value in tests])
        for seed in range(5)  # the fewest that decide a median
        for method, factor, tests in (
            ("grpo", 10, [(0, 0.2), (10, 0.4), (20, 0.5)]),
            ("gain", 20, [(0, 0.2), (10, 0.5), (20, 0.6)]),
        )
    ]
    summary = compared(*curves, rule=rule)
    assert line_of(summary, "gain").verdict == verdict
    assert line_of(summary, "grpo").verdict is None
    text = markdown(blocks(summary))
    assert f"Rule: {rule}; supported if the interval is" in text
    assert f"- gain: {verdict}" in text


def test_one_seed_decides_nothing_and_the_document_says_why(two):
    summary = compared(*two)
    assert line_of(summary, "gain").verdict == "undecided"
    assert math.isnan(line_of(summary, "gain").steps.difference.low)
    assert "One seed has no spread" in markdown(blocks(summary))


def test_a_seed_that_never_gets_there_is_censored_and_stays():
    curves = [
        curve("grpo", seed, [(0, None, 0.2), (10, None, 0.4), (20, None, 0.5)]) for seed in range(3)
    ] + [
        curve("gain", seed, [(0, None, 0.2), (10, None, 0.3), (20, None, last)])
        for seed, last in enumerate((0.5, 0.4, 0.4))
    ]
    summary = compared(*curves)
    ratio = line_of(summary, "gain").steps.speed.ratio
    assert (ratio.lower, ratio.upper, ratio.censored) == (0.0, 1.0, 2)
    text = markdown(blocks(summary))
    assert ">20 (2 of 3 censored)" in text
    assert "≤1.00× (2 of 3 censored)" in text
    assert "No tokens were given" in text
    assert "equal tokens (points)" not in text


def test_several_tasks_get_a_table_each_and_one_together(two):
    tasks = [curve(c[0].method, 0, [(p.step, p.tokens, p.accuracy) for p in c], task)
             for task in ("chain", "word") for c in two]  # fmt: skip
    summary = compared(*tasks)
    assert [each.method for each in summary.together] == ["grpo", "gain"]
    assert summary.together[1].middle.mean == pytest.approx(0.6)
    assert summary.together[1].improved.mean == 1.0
    tables = [block for block in blocks(summary) if isinstance(block, Table)]
    assert len(tables) == 3
    assert tables[2].rows[2] == ["gain", "60.0", "100.0"]


def test_numbers_that_are_no_shares_are_shown_as_they_are():
    rewards = [
        curve(method, 0, [(0, None, -1.0), (10, None, last)])
        for method, last in (("a", 2.5), ("b", 4))
    ]
    text = markdown(blocks(compared(*rewards, baseline="a")))
    assert "| b | 4 | +1.5 |" in text
    assert "%" not in text.partition("*[low")[0].partition("| --- |")[0]


def test_latex_has_the_same_cells(two):
    document = blocks(compared(*two))
    assert r"gain & 60.0 & +10.0 & +0.0 & 1.00$\times$ & 10 & " in latex(document)
    assert "| gain | 60.0 | +10.0 | +0.0 | 1.00× | 10 |" in markdown(document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "gppo"}, "no curve of the baseline 'gppo'; did you mean 'grpo'?"),
        ({"rule": "difference above 0"}, "rule 'difference above 0' is not like 'difference > 0'"),
        ({"rule": "diference > 0"}, "no measure 'diference'; did you mean 'difference'?"),
        ({"seeds": [7]}, "--seeds 7: no curve has this seed"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(two, change, message):
    with pytest.raises(DataError) as caught:
        compared(*two, **change)
    assert message in str(caught.value)


def test_methods_need_the_same_seeds_and_tokens(two):
    grpo, gain = two
    more = curve("gain", 1, [(0, 0, 0.2), (10, 100, 0.4)])
    with pytest.raises(DataError, match=r"gain0: method 'gain' has seeds 0, 1, the baseline "
                                        r"'grpo' has 0; .*--seeds 0 keeps"):  # fmt: skip
        compared(grpo, gain, more)
    assert line_of(compared(grpo, gain, more, seeds=[0]), "gain").level.n == 1
    bare = curve("gain", 0, [(0, None, 0.2), (10, None, 0.4)])
    with pytest.raises(DataError, match="gain0: no tokens, but grpo0 has them"):
        compared(grpo, bare)
    with pytest.raises(DataError, match=r"rule 'equal-tokens > 0': .* have no tokens"):
        compared(bare, curve("grpo", 0, [(0, None, 0.1), (9, None, 0.2)]), rule="equal-tokens > 0")
    with pytest.raises(DataError, match="no method to compare with the baseline 'grpo'"):
        compared(grpo)


def test_runs_that_never_overlap_are_not_compared(two):
    late = curve("gain", 0, [(30, 600, 0.2), (40, 800, 0.4)])
    with pytest.raises(DataError, match=r"'gain' and 'grpo', in steps: one run ended at 20, before "
                                        r"the other's first test"):  # fmt: skip
        compared(two[0], late)


def test_verdicts_are_adjusted_among_all_methods_and_tasks():
    """On each of two tasks one method gains 3 ± 2.2 points (p 0.039), another nothing."""
    jitter = (-3.0, -1.0, 0.0, 1.0, 3.0)
    curves = [
        Curve(
            method,
            seed,
            task,
            np.array([0.0, 1.0]),
            np.array([20.0, 50.0 + gain + spread * each]),
            None,
            "x",
        )
        for task in ("a", "b")
        for method, gain, spread in (("grpo", 0, 0), ("gain", 3, 1), ("sec", 0, 1))
        for seed, each in enumerate(jitter)
    ]
    summary = summarise(curves, "grpo", how=Statistics(smoothing=1))
    p = {(line.task, line.method): (line.p, line.adjusted, line.survives) for line in summary.lines}
    wanted = stats.ttest_1samp(3 + np.array(jitter), 0).pvalue
    assert p["a", "gain"][:2] == pytest.approx((wanted, 2 * wanted))  # two of four tests
    assert p["a", "gain"][2] == "no"
    assert p["b", "sec"][:2] == pytest.approx((1, 1))
    assert math.isnan(p["a", "grpo"][0])
    text = markdown(blocks(summary))
    assert f"- gain on a: supported (p {wanted:.2g}, adjusted {2 * wanted:.2g}, does not " in text
    assert "Adjusted for 4 verdicts (Benjamini and Hochberg)" in text


NOISY = [0.02, -0.03, 0.03, -0.02, 0.01, -0.03, 0.02]


@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize(
    ("rise", "noise", "learnt"),
    [
        (0.0, 1.0, False),  # seeds end between 3 points below their start and 3 above
        (1e-12, 0.0, False),  # level, but for rounding
        (0.3, 1.0, True),
        (0.3, 0.0, True),
    ],
)
def test_no_ratio_is_given_over_a_baseline_that_did_not_learn(seeds, rise, noise, learnt):
    curves = [
        curve(method, seed, [(0, 0, 0.3)] + [
            (step, 10 * step, 0.3 + slope * step / 7 + noise * NOISY[(step + 3 * seed) % 7])
            for step in range(1, 8)
        ])
        for method, slope in (("grpo", rise), ("gain", 0.6))
        for seed in range(seeds)
    ]  # fmt: skip
    for rule in ("equal-accuracy-tokens > 1", "speedup-tokens > 1", "speedup > 1"):
        summary = compared(*curves, rule=rule)
        line = line_of(summary, "gain")
        given = [
            each is not None
            for against in (line.steps, line.tokens)
            for each in (against.speed.ratio, against.same)
        ]
        assert given == [learnt] * 4, rule
        assert (line.verdict == "supported") <= learnt, rule
        said = "what grpo gains from its first tests on is not told from the noise of its tests"
        assert (said in markdown(blocks(summary))) is not learnt
    if seeds == 5:  # of points there is a verdict
        assert line_of(compared(*curves), "gain").verdict == "supported"


def test_a_chance_gain_over_a_start_test_that_all_seeds_share_is_none():
    """All seeds end 4 points above the one test of their start model, which errs by 3."""
    noise = np.random.default_rng(0).normal(0, 0.03, (10, 13))
    curves = [
        curve(method, seed, [(0, 0, 0.3)] + [
            (step, 10 * step, 0.34 + gain * step + noise[seed, step]) for step in range(1, 13)
        ])
        for method, gain in (("grpo", 0.0), ("gain", 0.04))
        for seed in range(10)
    ]  # fmt: skip
    line = line_of(compared(*curves, how=Statistics(smoothing=3)), "gain")
    assert line.steps.same is line.tokens.same is line.steps.speed.ratio is None
    apart = [
        point._replace(accuracy=0.3 + 0.001 * point.seed) if point.step == 0 else point
        for point in chain.from_iterable(curves)
    ]
    line = line_of(summarise(curves_of(apart), "grpo", how=Statistics(smoothing=3)), "gain")
    assert line.steps.same is not None  # ten starts err less
