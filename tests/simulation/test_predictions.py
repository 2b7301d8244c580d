"""Rank correlations of simulated with finished runs: by hand, with censored seeds, as a stage."""

import math

import numpy as np
import pandas as pd
import pytest
from presets import changed
from run_folders import write_run

from gainrl import plan
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.results.runs import collect, grouped
from gainrl.simulation import plan as simulation_plan
from gainrl.simulation.make import make_predictions, simulated
from gainrl.simulation.prediction import _spearman, agreement
from gainrl.stages.common import Context

CONFIG = Statistics(resamples=300, smoothing=1)
FINALS = {"grpo": 0.4, "gain": 0.5, "adarft": 0.6, "length": 0.7}


def runs(root, finals, seeds=(0, 1), spread=0.0, **changes):
    """Runs that rise in a straight line to these finals."""
    folders = [
        write_run(
            root, name, seed, [0.1, 0.1 + (final - 0.1) / 2, final + spread * seed], **changes
        )
        for name, final in finals.items()
        for seed in seeds
    ]
    return next(iter(grouped(collect(folders)).values()))


def test_the_same_order_correlates_fully_and_the_opposite_one_negatively(tmp_path):
    real = runs(tmp_path / "a", FINALS)
    for place, (sign, finals) in enumerate(
        [(1, {"grpo": 0.3, "gain": 0.35, "adarft": 0.5, "length": 0.9}),
         (-1, {"grpo": 0.9, "gain": 0.5, "adarft": 0.4, "length": 0.3})]
    ):  # fmt: skip
        other = runs(tmp_path / f"b{place}", finals)
        found = agreement(real, other, "final_accuracy", "grpo", CONFIG).found
        assert (found.mean, found.low, found.high, found.n) == (sign, sign, sign, 4)


def test_one_pair_the_other_way_round(tmp_path):
    """Spearman of ranks 1 2 3 4 and 1 3 2 4: 1 - 6 * 2 / (4 * 15) = .8."""
    other = runs(tmp_path / "b", {**FINALS, "gain": 0.62, "adarft": 0.61})
    found = agreement(runs(tmp_path / "a", FINALS), other, "final_accuracy", "grpo", CONFIG)
    assert found.found.mean == pytest.approx(0.8)
    assert found.real["gain"] == pytest.approx(0.5)
    assert found.simulated["gain"] == pytest.approx(0.62)


def test_seeds_that_disagree_widen_the_interval(tmp_path):
    other = runs(tmp_path / "b", FINALS, seeds=range(4))
    real = runs(tmp_path / "a", {**FINALS, "length": 0.41}, seeds=range(4))
    for place, run in enumerate(real["length"]):
        run.evaluations.loc[2, "accuracy"] = 0.3 + 0.2 * (place % 2) + 0.05 * place
    found = agreement(real, other, "final_accuracy", "grpo", CONFIG).found
    assert found.low < found.mean < 1
    assert found.high > found.low


def test_methods_that_do_not_get_there_tie_for_the_last_rank(tmp_path):
    finals = {"grpo": 0.4, "gain": 0.2, "adarft": 0.3, "length": 0.9}
    found = agreement(
        runs(tmp_path / "a", finals), runs(tmp_path / "b", finals), "tokens_to_baseline", "grpo",
        CONFIG,
    )  # fmt: skip
    assert found.real["length"] == 201  # at step 2; 100 and 101 tokens a step: the median
    assert found.real["grpo"] == 402
    assert math.isinf(found.real["gain"])
    assert math.isinf(found.real["adarft"])
    assert found.found.mean == pytest.approx(1)


def test_without_any_difference_there_is_no_correlation(tmp_path):
    real = runs(tmp_path / "a", dict.fromkeys(FINALS, 0.5))
    found = agreement(real, runs(tmp_path / "b", FINALS), "final_accuracy", "grpo", CONFIG).found
    assert math.isnan(found.mean)
    assert math.isnan(found.low)
    assert np.isnan(_spearman(np.ones((1, 3)), np.arange(3.0)[None])).all()


def test_too_few_common_methods_are_refused(tmp_path):
    real = runs(tmp_path / "a", FINALS)
    other = runs(tmp_path / "b", {"grpo": 0.3, "gain": 0.4, "mine": 0.5})
    with pytest.raises(DataError, match="share 2 methods"):
        agreement(real, other, "final_accuracy", "grpo", CONFIG)


def finish(context, dataset, finals):
    """Finished runs of the methods on a data set, two seeds each."""
    for name in ("grpo", "gain", "adarft"):
        for seed in (0, 1):
            at = write_run(
                context.root, name, seed, {dataset: [0.1, 0.2, finals[name]]}, dataset=dataset
            )
            target = context.layout.run(plan.RunKey("nano", dataset, name, seed))
            target.parent.mkdir(parents=True, exist_ok=True)
            at.rename(target)


def test_the_stage_holds_a_regime_against_finished_runs(tmp_path, capsys):
    methods = ["grpo", "gain", "adarft"]
    regime = {"pool": 60, "batch": 8, "rollouts": 4, "steps": 6, "seeds": 2, "methods": methods}
    data = changed("simulation", to={"regimes": {"dead": regime}, "checks": {"table1": "dead"}})
    data["preset"] = "nano"
    data["statistics"] = {"resamples": 100}
    data["experiments"] = {"table1": {"models": ["nano"], "datasets": ["chain"]}}
    data["experiments"]["table1"]["methods"] = methods
    context = Context(plan.load(data), tmp_path)
    finish(context, "chain", FINALS)
    path = tmp_path / "predictions.csv"
    make_predictions(context, path)
    table = pd.read_csv(path)
    whole = table[table["method"].isna()].set_index("statistic")
    assert set(whole.index) == {"final_accuracy", "tokens_to_baseline"}
    assert (whole["n"] == 3).all()
    group = simulated(context.preset, "dead").group
    expected = np.mean([run.steps["test_accuracy"].iloc[-3:].mean() for run in group["gain"]])
    row = table[(table["method"] == "gain") & (table["statistic"] == "final_accuracy")].iloc[0]
    assert row["simulated"] == pytest.approx(expected)
    assert row["real"] == pytest.approx((0.1 + 0.2 + FINALS["gain"]) / 3)
    assert "Rank correlation by final accuracy" in path.with_suffix(".md").read_text()


def test_data_sets_can_have_regimes_of_their_own(tmp_path):
    methods = ["grpo", "gain", "adarft"]
    regime = {"pool": 60, "batch": 8, "rollouts": 4, "steps": 6, "seeds": 2, "methods": methods}
    regimes = {"live": regime, "dead": {**regime, "impossible": 0.7}}
    checks = {"table1": {"chain": "live", "word": "dead"}}
    data = changed("simulation", to={"regimes": regimes, "checks": checks})
    data |= {"preset": "nano", "statistics": {"resamples": 100}}
    every = {"models": ["nano"], "datasets": ["chain", "word", "gsm"], "methods": methods}
    data["experiments"] = {"table1": every}
    preset = plan.load(data)
    assert {key.dataset for key in simulation_plan.checked_runs(preset)} == {"chain", "word"}
    context = Context(preset, tmp_path)
    finish(context, "chain", FINALS)
    finish(context, "word", {name: 1 - final for name, final in FINALS.items()})
    make_predictions(context, tmp_path / "predictions.csv")
    table = pd.read_csv(tmp_path / "predictions.csv")
    found = table[["dataset", "regime"]].drop_duplicates().to_numpy().tolist()
    assert found == [["chain", "live"], ["word", "dead"]]
    final = table[table["statistic"] == "final_accuracy"].set_index(["dataset", "method"])
    for dataset, regime in found:
        group = simulated(preset, regime).group
        expected = np.mean([run.steps["test_accuracy"].iloc[-3:].mean() for run in group["gain"]])
        assert final.loc[(dataset, "gain"), "simulated"] == pytest.approx(expected)
