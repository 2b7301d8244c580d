"""Differences at equal cost, by hand and against curves whose answer is known."""

import numpy as np
import pytest
from run_folders import cell, write_run

from gainrl.compare.statistics import levels_at_equal_cost
from gainrl.config.preset import Statistics
from gainrl.results.budget import mean_over_log
from gainrl.results.runs import collect
from gainrl.tables.rows import Facts
from gainrl.tables.table import table1, write_table

CONFIG = Statistics(resamples=500, smoothing=1)
FACTS = Facts(parameters={"tiny": 1000})
COSTS = ("steps", "tokens", "seconds", "flops")


def run(root, method, seed, curve, tokens, seconds):
    written = write_run(root, method, seed, curve, tokens=tokens, seconds=seconds)
    return collect([written])[0]


def test_the_one_that_spends_more_is_read_at_an_earlier_step():
    dear = ([0, 400, 800], [0.1, 0.5, 0.9])
    cheap = ([0, 100, 200], [0.1, 0.2, 0.6])
    # 200 tokens: the dear run is half-way to its first test, the cheap one at its end
    assert levels_at_equal_cost(dear, cheap, 1) == pytest.approx((0.3, 0.6, 200))
    assert levels_at_equal_cost(cheap, dear, 1) == pytest.approx((0.6, 0.3, 200))


def test_smoothing_delays_neither_run():
    costs = np.arange(6.0)
    # both learn 0.1 for a unit of cost, and one spends four units a test
    slow, fast = (costs, 0.1 * costs), (4 * costs, 0.4 * costs)
    for window in (1, 2, 3):
        one, other, budget = levels_at_equal_cost(fast, slow, window)
        assert one == pytest.approx(other)
        assert one == pytest.approx(0.1 * budget)
    # trailing means of three tests: the slow run ends at (3 + 4 + 5) / 3
    assert budget == 4


def test_the_start_model_is_in_no_level(tmp_path):
    """Large steps: two tests, where three are averaged."""
    large = run(tmp_path, "grpo", 0, [0.1, 0.5, 0.7], 100, 2.0)
    assert large.level("chain", 3) == pytest.approx(0.6)
    assert large.level("chain", 1) == pytest.approx(0.7)


def test_rows_are_paired_by_seed_and_name_their_budget(tmp_path):
    # two steps a test
    runs = [
        run(tmp_path, "grpo", 0, [0.1, 0.2, 0.5], 100, 2.0),
        run(tmp_path, "grpo", 1, [0.1, 0.4, 0.5], 100, 2.0),
        run(tmp_path, "gain", 0, [0.1, 0.5, 0.6], 200, 1.0),
        run(tmp_path, "gain", 1, [0.1, 0.5, 0.6], 50, 1.0),
    ]
    table = table1(runs, CONFIG, "grpo", FACTS)
    found = cell(table, "gain", "difference_at_equal_tokens")
    # seed 0 at 400 tokens: 0.5 - 0.5; seed 1 at 200 tokens: 0.6 - 0.4
    assert found["mean"] == pytest.approx(0.1)
    assert (found["low"], found["high"]) == pytest.approx((0.1 - 1.27062, 0.1 + 1.27062))
    assert found["note"] == "paired by seed, at 300 tokens in the mean"
    # at half: 200 tokens, 0.3 - 0.2, and 100, 0.5 - 0.25
    half = cell(table, "gain", "difference_at_half_tokens")
    assert half["mean"] == pytest.approx((0.1 + 0.25) / 2)
    assert half["note"] == "paired by seed, at 150 tokens in the mean"
    # at 4 seconds of the 8: 0.6 - 0.2 and 0.6 - 0.4
    assert cell(table, "gain", "difference_at_equal_seconds")["mean"] == pytest.approx(0.3)
    assert "difference_at_equal_tokens" not in set(table[table["method"] == "grpo"]["metric"])
    assert cell(table, "gain", "difference_at_equal_flops")["n"] == 2
    assert not table1(runs, CONFIG, "grpo")["metric"].eq("difference_at_equal_flops").any()


def test_rows_say_how_many_times_as_much_the_baseline_spends(tmp_path):
    """GRPO ends at 0.5 after 400 tokens, where GAIN-RL is after 200; it spends as many a step."""
    runs = [
        run(tmp_path, method, seed, curve, 100, seconds)
        for method, curve, seconds in (
            ("grpo", [0.1, 0.2, 0.5], 1.0),
            ("gain", [0.1, 0.5, 0.6], 2.0),
        )
        for seed in (0, 1)
    ]
    table = table1(runs, CONFIG, "grpo", FACTS)
    found = {cost: cell(table, "gain", f"equal_accuracy_{cost}") for cost in COSTS}
    assert found["tokens"]["mean"] == found["steps"]["mean"] == pytest.approx(2)
    assert found["tokens"]["low"] == pytest.approx(2, rel=0.006)  # two seeds that are alike
    # GRPO has 0.5 after 4 seconds, GAIN-RL after 4
    assert found["seconds"]["mean"] == pytest.approx(1)
    assert not table[table["method"] == "grpo"]["metric"].str.startswith("equal_accuracy").any()
    assert not table1(runs, CONFIG, "grpo")["metric"].eq("equal_accuracy_flops").any()
    write_table(table, tmp_path / "same.csv", columns=("equal_accuracy_tokens",))
    text = (tmp_path / "same.md").read_text()
    assert "| Fewer tokens at equal accuracy |" in text
    assert "| GAIN-RL | 2.00× [2.00, 2.00] |" in text
    assert "the paired difference is not told from 0" in text


def test_nothing_is_cheaper_than_a_baseline_that_did_not_learn(tmp_path):
    runs = [
        run(tmp_path, "grpo", 0, [0.3, 0.3, 0.3], 100, 1.0),
        run(tmp_path, "gain", 0, [0.3, 0.5, 0.6], 100, 1.0),
    ]
    table = table1(runs, CONFIG, "grpo")
    found = cell(table, "gain", "equal_accuracy_tokens")
    assert np.isnan(found["mean"])
    assert found["note"] == "undefined: the baseline did not learn"
    write_table(table, tmp_path / "same.csv", columns=("equal_accuracy_tokens",))
    assert "| GAIN-RL | undefined |" in (tmp_path / "same.md").read_text()


def test_a_table_shows_the_difference_at_equal_cost_in_points(tmp_path):
    runs = [
        run(tmp_path, "grpo", 0, [0.1, 0.2, 0.5], 100, 2.0),
        run(tmp_path, "gain", 0, [0.1, 0.5, 0.6], 200, 1.0),
    ]
    table = table1(runs, CONFIG, "grpo")
    write_table(table, tmp_path / "costs.csv", columns=("final", "equal_tokens", "equal_seconds"))
    text = (tmp_path / "costs.md").read_text()
    assert "At equal tokens (points) | At equal seconds (points)" in text
    line = next(line for line in text.splitlines() if line.startswith("| GAIN-RL"))
    assert line.split("|")[-3:-1] == [" +0.0 ", " +40.0 "]
    assert "both runs of a seed had spent" in text


# --- what every run has spent --------------------------------------------------------------------


def test_the_mean_over_the_logarithm_worked_by_hand():
    # 0.2 + 0.0005 c from 40 to 400: 0.2 + 0.0005 (400 - 40) / ln 10
    line = (np.array([0, 200, 400]), np.array([0.2, 0.3, 0.4]))
    assert mean_over_log(*line, 40, 400) == pytest.approx(0.2 + 0.18 / np.log(10))
    # level until 100 and after 200, and 0.1 + 0.002 (c - 100) between
    bent = (np.array([100, 200]), np.array([0.1, 0.3]))
    between = -0.1 * np.log(2) + 0.002 * 100
    area = 0.1 * np.log(2) + between + 0.3 * np.log(2)
    assert mean_over_log(*bent, 50, 400) == pytest.approx(area / np.log(8))
    with pytest.raises(ValueError, match="0 < low < high"):
        mean_over_log(*line, 0, 400)


def test_a_run_has_its_start_models_level_until_its_difficulties_are_measured():
    late, soon = ([500, 600], [0.1, 0.9]), ([0, 400], [0.1, 0.5])
    with pytest.raises(ValueError, match="before the other's first test"):
        levels_at_equal_cost(late, soon, 1)
    assert levels_at_equal_cost(late, soon, 1, from_start=True) == (0.1, 0.5, 400)


def test_levels_and_areas_at_what_every_run_has_spent(tmp_path):
    runs = [
        run(tmp_path, "grpo", 0, [0.2, 0.3, 0.4], 100, 2.0),
        run(tmp_path, "grpo", 1, [0.2, 0.4, 0.6], 100, 2.0),
        run(tmp_path, "gain", 0, [0.2, 0.6, 0.8], 200, 1.0),
        run(tmp_path, "gain", 1, [0.2, 0.6, 0.8], 200, 1.0),
    ]
    table = table1(runs, CONFIG, "grpo", FACTS)
    # at 400 tokens GRPO is at its end, and the other at its first test
    assert cell(table, "grpo", "accuracy_at_equal_tokens")["mean"] == pytest.approx(0.5)
    assert cell(table, "gain", "accuracy_at_equal_tokens")["mean"] == pytest.approx(0.6)
    note = cell(table, "gain", "accuracy_at_equal_tokens")["note"]
    assert note == "at 400 tokens, which every run here has generated"
    # lines from 0.2 whose slopes are 0.0005 and 0.001, twice
    grpo, gain = (0.2 + slope * 360 / np.log(10) for slope in (0.00075, 0.001))
    assert cell(table, "grpo", "area_over_log_tokens")["mean"] == pytest.approx(grpo)
    found = cell(table, "gain", "area_over_log_tokens")
    assert found["mean"] == pytest.approx(gain)
    assert found["note"] == "mean accuracy over the logarithm of tokens, from 40 to 400"
    assert cell(table, "gain", "difference_in_area")["mean"] == pytest.approx(gain - grpo)
    assert cell(table, "gain", "difference_in_area")["adjusted"] > 0
    write_table(table, tmp_path / "t.csv")
    lines = (tmp_path / "t.md").read_text().splitlines()
    assert lines[2].startswith("| Method | At equal tokens (%) | Area over log tokens (%) | At eq")
    assert lines[2].count("|") - 1 == 7  # columns
    assert "at 400 tokens, which every run here has generated" in lines[-1]


def test_the_smoothed_level_is_where_the_smoothed_costs_are(tmp_path):
    runs = [
        run(tmp_path, "grpo", 0, [0.2, 0.3, 0.4], 100, 2.0),
        run(tmp_path, "gain", 0, [0.2, 0.6, 0.8], 200, 1.0),
    ]
    table = table1(runs, Statistics(resamples=500, smoothing=2), "grpo", FACTS)
    # GRPO's last level is 0.35 at 300 tokens; the other's are 0.4 at 200 and 0.7 at 600
    assert cell(table, "grpo", "accuracy_at_equal_tokens")["mean"] == pytest.approx(0.35)
    assert cell(table, "gain", "accuracy_at_equal_tokens")["mean"] == pytest.approx(0.475)


def test_difficulties_that_cost_more_than_all_of_the_baseline_gain_nothing(tmp_path):
    prepared = {"prompt_tokens": 1, "rollout_tokens": 500}
    folder = write_run(tmp_path, "gain", 0, [0.2, 0.6, 0.8], tokens=100, prepared=prepared)
    runs = [run(tmp_path, "grpo", 0, [0.2, 0.3, 0.4], 100, 2.0), *collect([folder])]
    table = table1(runs, CONFIG, "grpo", FACTS)
    assert cell(table, "gain", "accuracy_at_equal_tokens")["mean"] == pytest.approx(0.2)
    assert cell(table, "gain", "difference_at_equal_tokens")["mean"] == pytest.approx(-0.2)
    assert cell(table, "gain", "area_over_log_tokens")["mean"] == pytest.approx(0.2)
