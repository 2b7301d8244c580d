"""Differences at equal cost, by hand and against curves whose answer is known."""

import numpy as np
import pytest
from run_folders import cell, write_run

from gainrl.compare.statistics import levels_at_equal_cost
from gainrl.config.preset import Statistics
from gainrl.results.runs import collect
from gainrl.tables.rows import Facts
from gainrl.tables.table import table1, write_table

CONFIG = Statistics(resamples=500, smoothing=1)
FACTS = Facts(parameters={"tiny": 1000})


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
    # at 4 seconds of the 8: 0.6 - 0.2 and 0.6 - 0.4
    assert cell(table, "gain", "difference_at_equal_seconds")["mean"] == pytest.approx(0.3)
    assert "difference_at_equal_tokens" not in set(table[table["method"] == "grpo"]["metric"])
    assert cell(table, "gain", "difference_at_equal_flops")["n"] == 2
    assert not table1(runs, CONFIG, "grpo")["metric"].eq("difference_at_equal_flops").any()


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
