"""What is measured for a claim: differences, speed-ups, declines, correlations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from run_folders import write_run

from gainrl.claims import verdicts as rules
from gainrl.claims.table import decide, read_claims, write_claims
from gainrl.config.claims import Claim
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.results.runs import collect, grouped
from gainrl.tables.table import table1

CONFIG = Statistics(resamples=500, smoothing=1)
GRPO = [[0.2, 0.3, 0.4], [0.2, 0.4, 0.6]]
GAIN = [[0.2, 0.5, 0.6], [0.2, 0.5, 0.9]]


def runs_of(root, curves, tokens=None):
    """Method -> its runs; curves: method -> accuracies of each seed."""
    folders = [
        write_run(root, method, seed, curve, tokens=tokens and tokens[method])
        for method, found in curves.items()
        for seed, curve in enumerate(found)
    ]
    return grouped(collect(folders))["tiny", "chain"]


def twice(**curves):
    """The same curve for two seeds of each method."""
    return {method: [curve] * 2 for method, curve in curves.items()}


def at_equal_accuracy(method, threshold):
    """The claim that a method is so many times as cheap as the baseline."""
    return Claim(
        statement=f"{threshold} times as cheap",
        measure="equal_accuracy",
        threshold=threshold,
        currency="tokens",
        experiment="table1",
        methods=[method],
    )


@pytest.fixture
def group(tmp_path):
    return runs_of(tmp_path, {"grpo": GRPO, "gain": GAIN})


def test_a_difference_is_paired_by_seed_and_in_points(group):
    part = rules.difference(group["gain"], group["grpo"], CONFIG, "chain")
    assert part.interval.mean == pytest.approx(25)  # 20 and 30
    # 12.706, the t of one degree of freedom, times a standard error of 5
    assert (part.interval.low, part.interval.high) == pytest.approx((25 - 63.531, 25 + 63.531))
    assert part.quantity == "GAIN-RL less GRPO"


def test_a_difference_is_of_the_mean_of_the_last_tests(group):
    config = Statistics(resamples=500, smoothing=2)
    part = rules.difference(group["gain"], group["grpo"], config, "chain")
    assert part.interval.mean == pytest.approx(20)  # .55 - .35 and .7 - .5


def test_a_decline_is_from_the_methods_own_best_level(tmp_path):
    group = runs_of(tmp_path, twice(grpo=[0.2, 0.6, 0.5], gain=[0.2, 0.7, 0.4]))
    part = rules.decline(group["gain"], group["grpo"], CONFIG, "chain")
    assert part.interval.mean == pytest.approx(20)  # 30 and 10
    assert part.note == "declines 30 and 10 points"
    smoothed = rules.decline(group["gain"], group["grpo"], Statistics(smoothing=3), "chain")
    assert smoothed.interval.mean == pytest.approx(5 / 3)  # from .45 to .433; GRPO rises to .433


def test_a_speedup_keeps_censored_seeds(group):
    """Runs of 4 steps. GRPO ends at .5, where GAIN-RL is at step 2 and GRPO's seed 0 never is."""
    part = rules.faster(group["gain"], group["grpo"], CONFIG, "chain")
    assert (part.interval.mean, part.interval.low, part.interval.high) == (2.0, 0.0, math.inf)
    other = rules.faster(group["grpo"], group["grpo"], CONFIG, "chain")
    assert (other.interval.low, other.interval.high) == (0.0, math.inf)  # too few seeds
    assert "1 of 2 censored" in other.note


def test_a_speedup_goes_by_each_runs_own_steps(group):
    """Runs by tokens: GRPO's of 4 steps; GAIN-RL's of 2 and of 4, whose first test is enough."""
    ends = zip(group["gain"], [(1, 2), (2, 4)], strict=True)
    gain = [
        replace(run, evaluations=run.evaluations.assign(step=[0, *steps])) for run, steps in ends
    ]
    part = rules.faster(gain, group["grpo"], CONFIG, "chain")
    assert part.interval.mean == pytest.approx((4 / 1 + 4 / 2) / 2)  # the median of two


def test_a_difference_in_a_currency_is_read_where_both_have_spent_as_much(tmp_path):
    """GRPO has 0.5 after 200 tokens. GAIN-RL, of twice the tokens, is at its first test there."""
    curves = twice(grpo=[0.2, 0.3, 0.5], gain=[0.2, 0.6, 0.8])
    found = runs_of(tmp_path, curves, {"grpo": 50, "gain": 100})
    part = rules.equal_cost(found["gain"], found["grpo"], "tokens", CONFIG, "chain")
    assert part.interval.mean == pytest.approx(10)
    assert part.quantity == "GAIN-RL less GRPO at equal tokens"
    assert part.note == "at 200 tokens in the mean"
    steps = rules.equal_cost(found["gain"], found["grpo"], "steps", CONFIG, "chain")
    assert steps.interval.mean == pytest.approx(30)


def test_equal_accuracy_is_what_two_methods_spend_for_the_same(tmp_path):
    """GRPO ends at .5 after 200 tokens, PPO at .4, where GRPO is after 150."""
    curves = twice(grpo=[0.2, 0.3, 0.5], ppo=[0.2, 0.3, 0.4])
    group = runs_of(tmp_path, curves, {"grpo": 50, "ppo": 50})
    part = rules.equal_accuracy_ratio(group["ppo"], group["grpo"], "tokens", CONFIG, "chain")
    assert part.interval.mean == pytest.approx(0.75, rel=1e-3)
    assert part.quantity == "tokens of GRPO over PPO's at equal accuracy"
    claim = at_equal_accuracy("ppo", 0.9)
    assert rules.verdict(claim, part.interval.low, part.interval.high) == "not supported"
    assert rules.p_value(claim, part) == 0  # two seeds that are alike
    level = twice(grpo=[0.2, 0.2, 0.2], ppo=[0.2, 0.3, 0.4])
    found = runs_of(tmp_path / "level", level, {"grpo": 50, "ppo": 50})
    part = rules.equal_accuracy_ratio(found["ppo"], found["grpo"], "tokens", CONFIG, "chain")
    assert part.note == "undefined: the baseline did not learn"
    assert math.isnan(rules.p_value(claim, part))


def test_cheaper_compares_what_two_methods_spend_to_the_baseline_s_level(tmp_path):
    """GRPO ends at .5. PPO has that at step 4 of 30 tokens each, GAIN-RL at step 2 of 40 each."""
    curves = twice(grpo=[0.2, 0.3, 0.5], ppo=[0.2, 0.4, 0.6], gain=[0.2, 0.5, 0.6])
    group = runs_of(tmp_path, curves, {"grpo": 50, "ppo": 30, "gain": 40})
    runs = (group["gain"], group["ppo"], group["grpo"])
    part = rules.cheaper(*runs, "tokens", CONFIG, "chain")
    assert part.interval.mean == pytest.approx(120 / 80)
    assert part.quantity == "tokens of PPO to GRPO's level over GAIN-RL's"
    assert rules.cheaper(*runs, "steps", CONFIG, "chain").interval.mean == 2
    censored = rules.cheaper(group["gain"], group["gain"], group["ppo"], "steps", CONFIG, "chain")
    assert censored.interval.mean == 1  # .6 at step 4, both


UNLEARNT = "undefined: the baseline did not learn"
AT_TARGET = "undefined: the start model is already at the baseline's final accuracy"


@pytest.mark.parametrize(
    ("grpo", "gain", "window", "why"),
    [
        ([0.5, 0.5, 0.4], [0.5, 0.5, 0.4], 1, UNLEARNT),
        ([0.47, 0.45, 0.50], [0.47, 0.55, 0.60], 1, UNLEARNT),
        ([0.5, 0.1, 0.8], [0.5, 0.6, 0.8], 3, AT_TARGET),  # the last test is above, their mean not
    ],
)
def test_nothing_is_faster_to_where_the_start_model_is(tmp_path, grpo, gain, window, why):
    group, config = runs_of(tmp_path, twice(grpo=grpo, gain=gain)), Statistics(smoothing=window)
    for part in (
        rules.faster(group["gain"], group["grpo"], config, "chain"),
        rules.cheaper(group["gain"], group["grpo"], group["grpo"], "tokens", config, "chain"),
    ):
        assert math.isnan(part.interval.low)
        assert part.note == why


def test_one_seed_at_the_target_from_its_start_model_leaves_the_speedup_of_the_others(tmp_path):
    flat, others = [0.7, 0.7, 0.7], {"grpo": [0.2, 0.4, 0.7], "gain": [0.2, 0.7, 0.7]}
    group = runs_of(tmp_path, {name: [flat, *([curve] * 4)] for name, curve in others.items()})
    part = rules.cheaper(group["gain"], group["grpo"], group["grpo"], "tokens", CONFIG, "chain")
    table = table1([*group["grpo"], *group["gain"]], CONFIG, "grpo")
    (row,) = table[table["metric"] == "speedup_tokens"].to_dict("records")
    for median in (part.ratio.lower, part.ratio.upper, row["lower"], row["upper"]):
        assert median == pytest.approx(2)
    assert part.ratio.censored == row["censored"] == 1


def test_overhead_is_a_share_of_training(group):
    part = rules.overhead(group["gain"], 0.4, CONFIG)  # four steps of 2 s
    assert part.interval.mean == pytest.approx(5)


SIGNAL = pd.DataFrame(
    {
        "model": "nano",
        "dataset": ["chain", "chain", "word"],
        "signal": ["c", "c", "c"],
        "quantity": "gradient_norm",
        "given": ["", "tokens", "tokens"],
        "rho": [0.4, 0.2, 0.1],
        "low": [0.3, 0.15, -0.1],
        "high": [0.5, 0.25, 0.3],
        "n": [64, 64, 60],
    }
)


def test_a_correlation_is_read_from_the_signal_table():
    part = rules.correlation(SIGNAL, "nano", "chain", "gradient_norm", "tokens", CONFIG)
    assert (part.interval.mean, part.interval.low, part.interval.n) == (0.2, 0.15, 64)
    with pytest.raises(DataError, match="no row of c with pass_rate for nano on chain"):
        rules.correlation(SIGNAL, "nano", "chain", "pass_rate", "", CONFIG)


def probe(gains):
    """Six prompts with C falling, and their gain in right answers by step 10 of 20."""
    tables = []
    for step, right in ((0, [1] * 6), (10, [1 + g for g in gains]), (20, [5] * 6)):
        rows = {"step": step, "id": list("abcdef"), "c": np.linspace(1, 0, 6) + step}
        tables.append(pd.DataFrame({**rows, "correct": right, "samples": 8}))
    return pd.concat(tables)


def test_learnt_first_compares_c_before_rl_with_the_gain_of_the_first_half():
    config = Statistics(resamples=300)
    first = rules.learnt_first(probe([5, 4, 3, 2, 1, 0]), "nano", "chain", config)
    last = rules.learnt_first(probe([0, 1, 2, 3, 4, 5]), "nano", "chain", config)
    assert first.interval.mean == pytest.approx(1)
    assert last.interval.mean == pytest.approx(-1)
    assert "steps 0 to 10" in first.note


def test_an_open_end_is_said_in_words(tmp_path):
    """GAIN-RL is above where GRPO ends from its first test on."""
    curves = {"grpo": [[0.2, 0.3, 0.4], [0.2, 0.3, 0.41]], "gain": [[0.5, 0.6, 0.7]] * 2}
    found = runs_of(tmp_path, curves, {"grpo": 50, "gain": 50})
    part = rules.equal_accuracy_ratio(found["gain"], found["grpo"], "tokens", CONFIG, "chain")
    claim = at_equal_accuracy("gain", 2)
    write_claims(
        decide({"twice": claim}, {"twice": [part]}, CONFIG), tmp_path / "claims.csv", CONFIG
    )
    (read,) = read_claims(tmp_path / "claims.csv")
    assert (read.parts[0].verdict, read.parts[0].high) == ("supported", math.inf)
    assert "| not determined [64, open] |" in (tmp_path / "claims.md").read_text()
