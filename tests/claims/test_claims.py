"""Verdicts: the rule that was fixed before, its table, and the presets that claim."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from presets import changed, error_of
from run_folders import write_run
from scipy import stats

from gainrl import plan
from gainrl.claims import plan as claims_plan
from gainrl.claims import verdicts as rules
from gainrl.claims.make import compared, make_claims
from gainrl.claims.table import COLUMNS, decide, read_claims, write_claims
from gainrl.claims.verdicts import Measurement, verdict
from gainrl.compare.statistics import Interval
from gainrl.config.claims import Claim
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.results.runs import collect, grouped
from gainrl.stages.common import Context

CONFIG = Statistics(resamples=500, smoothing=1)
SAME = {"statement": "It is so", "experiment": "table1", "methods": ("gain",)}


def claim(measure="difference", threshold=0.0, **more):
    return Claim(measure=measure, threshold=threshold, **{**SAME, **more})


# --- rules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "above", "below"),
    [
        (0.1, 2.0, "supported", "not supported"),
        (-2.0, -0.1, "not supported", "supported"),
        (-1.0, 1.0, "undecided", "undecided"),
        (0.0, 0.0, "undecided", "undecided"),
        (math.nan, math.nan, "undecided", "undecided"),
        (1.0, math.inf, "supported", "not supported"),
    ],
)
def test_the_whole_interval_has_to_be_on_one_side(low, high, above, below):
    assert verdict(claim(), low, high) == above
    assert verdict(claim(direction="below"), low, high) == below


def test_a_speedup_of_the_threshold_itself_is_enough():
    assert verdict(claim("speedup", 2.5), 2.5, math.inf) == "supported"
    assert verdict(claim("speedup", 2.5), 2.4, math.inf) == "undecided"
    assert verdict(claim("speedup", 2.5), 0.0, 2.4) == "not supported"


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        (["supported", "supported"], "supported"),
        (["supported", "undecided"], "undecided"),
        (["supported", "not supported"], "not supported"),
        (["undecided", "not supported"], "not supported"),
    ],
)
def test_a_claim_needs_all_its_parts(verdicts, whole):
    assert rules.overall(verdicts) == whole


def test_the_rule_is_told_in_words():
    assert rules.rule(claim("speedup", 2.5)) == (
        "supported if the interval is at or above 2.5 ×, not supported if below"
    )
    assert rules.rule(claim("overhead", 5, direction="below")) == (
        "supported if the interval is below 5 % of training time, not supported if above"
    )


# --- table ---------------------------------------------------------------------------------------


def table():
    parts = [
        Measurement("nano", "chain", "chain", "A less B", Interval(2.0, 1.0, 3.0, 5)),
        Measurement("nano", "word", "word", "A less B", Interval(0.5, -1.0, 2.0, 5)),
    ]
    return decide({"better": claim()}, {"better": parts}, CONFIG)


def test_the_table_has_the_claim_and_its_parts(tmp_path):
    write_claims(table(), tmp_path / "claims.csv", CONFIG)
    frame = pd.read_csv(tmp_path / "claims.csv", keep_default_na=False)
    assert frame.columns.tolist() == COLUMNS
    assert frame["verdict"].tolist() == ["undecided", "supported", "undecided"]
    assert frame["model"].tolist() == ["", "nano", "nano"]
    assert frame["note"].iloc[0] == "1 supported, 1 undecided"


def test_verdicts_are_written_for_people_too(tmp_path):
    write_claims(table(), tmp_path / "claims.csv", CONFIG)
    again = pd.read_csv(tmp_path / "claims.csv")
    assert again["mean"].dropna().tolist() == [2.0, 0.5]
    (before,), (read,) = table(), read_claims(tmp_path / "claims.csv")
    untested = {"p": 0, "adjusted": 0}
    assert [replace(part, **untested) for part in read.parts] == [
        replace(part, **untested) for part in before.parts
    ]
    assert replace(read.whole, mean=0, low=0, high=0, **untested) == replace(
        before.whole, mean=0, low=0, high=0, **untested
    )
    text = (tmp_path / "claims.md").read_text()
    assert "| It is so | undecided |" in text
    assert "2 [1, 3]" in text


# --- presets -------------------------------------------------------------------------------------

STEPS = {"statement": "faster", "measure": "speedup", "experiment": "table1", "methods": ["gain"]}


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({**STEPS}, "claims.steps.threshold"),
        ({**STEPS, "threshold": 2, "experiment": "table9"}, "unknown name 'table9'"),
        ({**STEPS, "threshold": 2, "methods": ["adarft"]}, "claims.steps.methods: unknown name"),
        ({**STEPS, "threshold": 2, "against": "adarft"}, "claims.steps.against: unknown name"),
        (
            {**STEPS, "threshold": 2, "against": ["grpo", "gian"]},
            "claims.steps.against: unknown name 'gian'",
        ),
        ({**STEPS, "threshold": 2, "measure": "correlation"}, "it takes no 'experiment'"),
        (
            {"statement": "x", "measure": "learnt_first", "threshold": 0},
            "needs the key 'studies.dynamics'",
        ),
        ({"statement": "x", "measure": "difference", "threshold": 0}, "needs the keys"),
        ({**STEPS, "threshold": 2, "quantity": "pass_rate"}, "'quantity' belongs to"),
    ],
)
def test_claims_that_cannot_be_decided_are_refused(claim, message):
    assert message in error_of(changed("claims", to={"steps": claim}))


def test_a_claim_needs_its_methods_and_the_baseline():
    data = changed("claims", to={"steps": {**STEPS, "threshold": 2}})
    preset = plan.load(data)
    keys = claims_plan.runs_of(preset, preset.claims.values())
    assert {key.method for key in keys} == {"grpo", "gain"}
    assert len(keys) == 8
    assert list(claims_plan.wanted(preset, everything=False)) == ["steps"]
    data["claims"]["steps"] |= {"experiment": "table2", "methods": ["adarft"]}
    assert not claims_plan.wanted(plan.load(data), everything=False)


def test_a_method_is_held_against_each_that_a_claim_names(tmp_path):
    curves = {"grpo": [0.2, 0.3, 0.5], "ppo": [0.2, 0.4, 0.6], "gain": [0.2, 0.5, 0.6]}
    for method, curve in curves.items():
        for seed in (0, 1):
            write_run(tmp_path, method, seed, curve)
    data = changed("claims", to={"steps": {**STEPS, "threshold": 2, "against": ["ppo", "grpo"]}})
    data |= {"preset": "nano", "models": {"tiny": {"source": "hub", "id": "someone/something"}}}
    data["methods"]["ppo"] = {"curriculum": "uniform"}
    data["experiments"] = {
        "table1": {"models": ["tiny"], "datasets": ["chain"], "methods": ["grpo", "ppo", "gain"]}
    }
    preset = plan.load(data)
    keys = claims_plan.runs_of(preset, preset.claims.values())
    assert {key.method for key in keys} == {"grpo", "ppo", "gain"}
    parts = compared(Context(preset, tmp_path), preset.claims["steps"])
    assert [part.quantity for part in parts] == [
        "GAIN-RL to the final level of PPO",
        "GAIN-RL to the final level of GRPO",
    ]
    assert [part.interval.mean for part in parts] == [1, 2]  # of 4 steps: .6 at 4, .5 at 2


def test_the_stage_names_what_is_missing(tmp_path):
    data = changed("claims", to={"steps": {**STEPS, "threshold": 2}})
    context = Context(plan.load(data), tmp_path)
    with pytest.raises(DataError, match="the run is not finished"):
        make_claims(context, True, tmp_path / "claims.csv")
    assert not (tmp_path / "claims.csv").exists()


def part_of(mean, error, n=5):
    half = 2.7764 * error  # t of four degrees of freedom
    return Measurement(
        "nano", "chain", "chain", "A less B", Interval(mean, mean - half, mean + half, n, error)
    )


def test_a_verdict_says_whether_it_survives_among_all_parts_of_all_claims():
    # t of 3 has p 0.0399, t of 30 has p 7e-6; three parts in all
    parts = {"one": [part_of(3.0, 1.0)], "two": [part_of(30.0, 1.0), part_of(0.5, 1.0)]}
    one, two = decide({"one": claim(), "two": claim()}, parts, CONFIG)
    assert one.parts[0].p == pytest.approx(stats.t.sf(3, 4) * 2)
    assert one.parts[0].adjusted == pytest.approx(stats.t.sf(3, 4) * 2 * 3 / 2)
    assert (one.whole.verdict, one.whole.survives) == ("supported", "no")
    assert [part.survives for part in two.parts] == ["yes", ""]
    assert (two.whole.verdict, two.whole.survives) == ("undecided", "")
    (alone,) = decide({"one": claim()}, {"one": parts["one"]}, CONFIG)
    assert alone.whole.survives == "yes"


def test_a_claim_that_fails_survives_with_one_part_that_fails():
    parts = [part_of(-30.0, 1.0), part_of(-3.0, 1.0), part_of(0.0, 1.0), part_of(0.1, 1.0)]
    (found,) = decide({"one": claim()}, {"one": parts}, CONFIG)
    assert [part.survives for part in found.parts] == ["yes", "no", "", ""]
    assert (found.whole.verdict, found.whole.survives) == ("not supported", "yes")


def test_five_seeds_of_a_speed_up_cannot_survive(tmp_path):
    """The sign test of five has p 0.0625 at the least."""
    folders = [
        write_run(tmp_path, method, seed, curve)
        for method, curve in (("grpo", [0.2, 0.3, 0.5]), ("gain", [0.2, 0.5, 0.6]))
        for seed in range(5)
    ]
    group = grouped(collect(folders))["tiny", "chain"]
    part = rules.faster(group["gain"], group["grpo"], CONFIG, "chain")
    faster = Claim(
        statement="faster", measure="speedup", experiment="t", methods=("gain",), threshold=2
    )
    (found,) = decide({"steps": faster}, {"steps": [part]}, CONFIG)
    assert found.whole.verdict == "supported"
    assert found.parts[0].p == pytest.approx(2 / 32)
    assert found.whole.survives == "no"


def test_a_table_from_before_there_was_a_control_can_be_read(tmp_path):
    write_claims(table(), tmp_path / "claims.csv", CONFIG)
    frame = pd.read_csv(tmp_path / "claims.csv")
    frame.drop(columns=["p", "adjusted", "survives"]).to_csv(tmp_path / "old.csv", index=False)
    (read,) = read_claims(tmp_path / "old.csv")
    assert read.whole.survives == ""
    assert math.isnan(read.parts[0].p)
