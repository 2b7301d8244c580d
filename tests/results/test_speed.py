"""Speed-ups in four currencies, several tasks in one number, and a table's columns, by hand."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from run_folders import TRAINING, cell, write_run

from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.results.runs import collect, read_run
from gainrl.results.speed import CURRENCIES, baseline_learnt
from gainrl.tables.rows import ALL_TASKS, Facts, Preparation
from gainrl.tables.table import _differences, table1, write_table

CONFIG = Statistics(resamples=500, smoothing=1)
FACTS = Facts(parameters={"tiny": 1000})


def run(root, method, seed, curve, tokens, seconds, **changes):
    written = write_run(root, method, seed, curve, tokens=tokens, seconds=seconds, **changes)
    return collect([written])[0]


# --- currencies ----------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path):
    """GRPO gets to its final level (0.5) after 4 steps, GAIN-RL after 2 with longer answers."""
    return [
        run(tmp_path, "grpo", 0, [0.1, 0.2, 0.5], 100, 2.0),
        run(tmp_path, "gain", 0, [0.1, 0.5, 0.6], 300, 3.0),
    ]


@pytest.mark.parametrize(
    ("currency", "baseline", "method", "ratio"),
    [
        ("", 4, 2, "2.00×"),
        ("tokens", 400, 600, "0.67×"),
        ("seconds", 8, 6, "1.33×"),
        # 20 prompt tokens a step, 8 x 1000 FLOP a token: 4 x 120 and 2 x 320 tokens
        ("flops", 3_840_000, 5_120_000, "0.75×"),
    ],
)
def test_each_currency_is_counted_until_the_target(runs, currency, baseline, method, ratio):
    table = table1(runs, CONFIG, "grpo", FACTS)
    cost = f"{currency or 'steps'}_to_baseline"
    assert cell(table, "grpo", cost)["mean"] == baseline
    assert cell(table, "gain", cost)["mean"] == method
    found = cell(table, "gain", f"speedup_{currency}".rstrip("_"))
    assert found["mean"] == pytest.approx(baseline / method)
    assert found["note"] == f"median: {ratio}"


def test_a_seed_that_never_gets_there_is_bounded_by_what_it_spent_itself(tmp_path):
    runs = [
        run(tmp_path, "grpo", 0, [0.1, 0.2, 0.5], 100, 2.0),
        run(tmp_path, "grpo", 1, [0.1, 0.2, 0.5], 100, 2.0),
        run(tmp_path, "gain", 0, [0.1, 0.2, 0.4], 800, 1.0),
        run(tmp_path, "gain", 1, [0.1, 0.2, 0.4], 50, 4.0),
    ]
    table = table1(runs, CONFIG, "grpo", FACTS)
    spent = cell(table, "gain", "tokens_to_baseline")
    assert spent["mean"] == math.inf
    assert spent["note"] == "median: >1,700 (2 of 2 censored)"  # of 3,200 and 200
    # ratios in [0, 400 / 3200] and [0, 400 / 200]
    assert cell(table, "gain", "speedup_tokens")["note"] == "median: ≤1.06× (2 of 2 censored)"
    # [0, 8 / 4] and [0, 8 / 16]
    assert cell(table, "gain", "speedup_seconds")["note"] == "median: ≤1.25× (2 of 2 censored)"


def test_the_pair_is_the_seed(tmp_path):
    curve = [0.1, 0.2, 0.5]
    runs = [
        *(run(tmp_path, "grpo", seed, curve, tokens, 1.0) for seed, tokens in enumerate((10, 80))),
        *(run(tmp_path, "gain", seed, curve, tokens, 1.0) for seed, tokens in enumerate((5, 10))),
    ]
    ratio = cell(table1(runs, CONFIG, "grpo"), "gain", "speedup_tokens")
    assert ratio["mean"] == (2 + 8) / 2  # of the two ratios; that of the medians is 6
    assert (ratio["low"], ratio["high"]) == (0, math.inf)  # two seeds leave it open


def test_without_parameters_there_is_nothing_in_flop(runs):
    table = table1(runs, CONFIG, "grpo")
    assert not table["metric"].str.contains("flops").any()
    assert cell(table1(runs, CONFIG, "grpo", FACTS), "gain", "flops")["mean"] == 4 * 320 * 8000


def test_a_start_model_at_the_target_has_no_speedup_in_any_currency(tmp_path):
    runs = [
        run(tmp_path, "grpo", 0, [0.5, 0.2, 0.5], 100, 2.0),
        run(tmp_path, "gain", 0, [0.5, 0.5, 0.6], 300, 3.0),
    ]
    table = table1(runs, CONFIG, "grpo", FACTS)
    rows = table[table["metric"].str.startswith("speedup")]
    assert len(rows) == 4
    assert rows["mean"].isna().all()
    assert rows["note"].str.startswith("undefined").all()


@pytest.mark.parametrize(
    ("starts", "end", "learnt"), [((0.5, 9, 0.125), 0.5, False), ((0.125, 9, 0.5), 0.3, True)]
)
def test_start_models_that_are_as_good_are_several_all_the_same(tmp_path, starts, end, learnt):
    often, times, once = starts
    runs = []
    for seed, start in enumerate([*([often] * times), once]):
        slice_ = {"method": {"algorithm": "grpo"}, "inputs": {"model": f"digest{seed}"}}
        runs.append(read_run(write_run(tmp_path, "grpo", seed, [start, end, end], slice=slice_)))
    assert baseline_learnt(runs, "chain") == learnt


# --- another baseline ----------------------------------------------------------------------------


def test_ppo_is_a_baseline_like_any_other(tmp_path):
    changes = {"algorithm": "ppo", "training": {**TRAINING, "backend": "verl"}}
    runs = [
        run(tmp_path, "ppo", 0, [0.1, 0.2, 0.5], 100, 2.0, **changes),
        run(tmp_path, "gain-ppo", 0, [0.1, 0.5, 0.6], 100, 2.0, **changes),
    ]
    table = table1(runs, CONFIG, "ppo", FACTS)
    assert set(table.loc[table["metric"] == "difference_to_baseline", "method"]) == {"gain-ppo"}
    assert set(table.loc[table["metric"] == "speedup", "method"]) == {"gain-ppo"}
    assert cell(table, "gain-ppo", "speedup_tokens")["mean"] == 2
    # verl: 8 x 20 + 100 tokens; rollout, old policy, update, values, update of the critic
    assert cell(table, "ppo", "flops")["mean"] == 4 * 260 * (2 + 2 + 6 + 2 + 6) * 1000
    columns = ("final", "difference", "steps", "speedup")
    write_table(table, tmp_path / "table3.csv", columns=columns)
    text = (tmp_path / "table3.md").read_text()
    assert "stays at or above PPO's final level" in text
    assert "| PPO | 50.0 | – | 4 | – |" in text
    assert "| gain-ppo | 60.0 | +10.0 | 2 | 2.00× |" in text


# --- several tasks -------------------------------------------------------------------------------


def test_two_tasks_become_one_number(tmp_path):
    ends = {
        ("grpo", "chain"): (0.2, 0.4),
        ("grpo", "word"): (0.6, 0.8),
        ("gain", "chain"): (0.3, 0.5),
        ("gain", "word"): (0.6, 0.6),
    }
    runs = collect(
        write_run(tmp_path, method, seed, {dataset: [0.1, 0.1, end]}, dataset=dataset)
        for (method, dataset), seeds in ends.items()
        for seed, end in enumerate(seeds)
    )
    table = table1(runs, CONFIG, "grpo")
    rows = table[table["benchmark"] == ALL_TASKS]
    assert rows[["model", "dataset"]].eq("all").all(axis=None)
    assert cell(table, "grpo", "interquartile_mean")["mean"] == pytest.approx((0.4 + 0.6) / 2)
    assert cell(table, "gain", "interquartile_mean")["mean"] == pytest.approx((0.5 + 0.6) / 2)
    # chain: 3 of 4 pairs are better; word: two ties of four
    better = cell(table, "gain", "probability_of_improvement")
    assert better["mean"] == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert better["low"] <= better["mean"] <= better["high"]
    assert "probability_of_improvement" not in set(table.loc[table["method"] == "grpo", "metric"])
    write_table(table, tmp_path / "out" / "table.csv")
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| Method | Interquartile mean (%) | Probability of improvement over GRPO (%) |" in text
    assert "*2 tasks; stratified bootstrap" in text
    assert "arXiv:2108.13264" in text


def test_benchmarks_are_tasks_and_their_average_is_not(tmp_path):
    curves = {"chain": [0.1, 0.1, 0.2], "word": [0.1, 0.1, 0.8]}
    table = table1(collect([write_run(tmp_path, "grpo", 0, curves)]), CONFIG, "grpo")
    row = cell(table, "grpo", "interquartile_mean")
    assert row["mean"] == pytest.approx(0.5)
    assert row["note"].startswith("2 tasks")
    assert math.isnan(row["low"])


def test_one_task_has_no_such_rows(runs):
    assert ALL_TASKS not in set(table1(runs, CONFIG, "grpo")["benchmark"])


def test_tasks_with_other_methods_are_refused(tmp_path):
    runs = collect(
        write_run(tmp_path, method, 0, {name: [0.1, 0.2, 0.3]}, dataset=name)
        for method, name in (("grpo", "chain"), ("gain", "chain"), ("grpo", "word"))
    )
    with pytest.raises(DataError, match="tiny/word: other methods"):
        table1(runs, CONFIG, "grpo")


# --- columns -------------------------------------------------------------------------------------


def test_the_columns_are_those_that_were_asked_for(runs, tmp_path):
    prepared = {
        ("tiny", "chain", "grpo"): Preparation(0.0, "nothing to prepare"),
        ("tiny", "chain", "gain"): Preparation(3.0, "prefill scoring, measured once"),
    }
    printed = {"model": "tiny", "dataset": "chain", "method": "gain", "benchmark": "chain"}
    printed |= {"low": math.nan, "high": math.nan, "n": 1, "remark": ""}
    published = [
        {**printed, "metric": "published_accuracy", "mean": 0.4526, "differences": ("x",)},
        {**printed, "metric": "published_steps", "mean": 80.0, "differences": ()},
    ]
    facts = Facts({"tiny": 1000}, prepared, published)
    table = table1(runs, CONFIG, "grpo", facts)
    assert cell(table, "gain", "preparation_seconds")["note"] == "prefill scoring, measured once"
    assert cell(table, "gain", "preparation_share")["mean"] == 3 / 12
    assert cell(table, "grpo", "preparation_share")["mean"] == 0
    columns = ("speedup_flops", "preparation", "paper", "final", "flops")
    write_table(table, tmp_path / "out" / "table.csv", columns=columns)
    lines = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert lines[2:8] == [
        "| Method | Speed-up in FLOP | Preparation (s) | Paper: chain (%, not comparable) "
        "| Paper: chain (steps) | chain (%) | FLOP |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| Start model | – | – | – | – | 10.0 | – |",
        "| GRPO | – | 0.0 (0.0% of training) | – | – | 50.0 | 3.84e+06 |",
        "| GAIN-RL | 0.75× | 3.0 (25.0% of training) | 45.3 | 80 | 60.0 | 1.02e+07 |",
        "",
    ]
    assert "Paper: what it prints, of one run; not comparable where marked: x." in lines[-1]
    assert "FLOP: 2 P a token" in lines[-1]


def test_every_column_can_be_shown_and_both_files_have_the_same_cells(runs, tmp_path):
    from typing import get_args

    from gainrl.compare.render import escape
    from gainrl.config.experiments import Column

    facts = Facts({"tiny": 1000}, {("tiny", "chain", "gain"): Preparation(3.0, "x")})
    columns = [name for name in get_args(Column) if name != "paper"]
    write_table(table1(runs, CONFIG, "grpo", facts), tmp_path / "t.csv", columns=columns)
    markdown = (tmp_path / "t.md").read_text().splitlines()
    latex = (tmp_path / "t.tex").read_text()
    rows = [line.strip("| ").split(" | ") for line in markdown if line.startswith("| ")]
    assert np.shape(rows) == (5, 24)
    for row in [rows[0], *rows[2:]]:
        assert " & ".join(map(escape, row)) + r" \\" in latex


def test_what_keeps_printed_numbers_apart_is_said_once():
    printed = [(("other model", "4 steps and not 200"), ""), ((), "")]
    printed += [(("other model", "other data"), "printed as 39.95%")]
    assert _differences(pd.DataFrame(printed, columns=["differences", "remark"])) == (
        "; not comparable where marked: other model, 4 steps and not 200, other data"
        "; printed as 39.95%"
    )
    same = pd.DataFrame([((), "")], columns=["differences", "remark"])
    assert _differences(same) == ""


# --- all tokens ----------------------------------------------------------------------------------


def redo(folder, after, steps, tokens, seconds):
    """Note that steps were taken again."""
    rows = [
        {"step": step, "after": after, "accuracy": 0.1, "reward": 0.1, "signal": None}
        | {"zero_variance": 0.0, "rollout_tokens": tokens, "prompt_tokens": 20}
        | ({"seconds_step": seconds} if seconds else {})
        for step in steps
    ]
    with open(folder / "redone.jsonl", "a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_what_was_taken_again_counts_where_it_happened(tmp_path):
    """Steps 2 and 3 of a run that went on from step 1 after its first attempt had come to 3."""
    folder = write_run(tmp_path, "grpo", 0, [0.1, 0.2, 0.5], tokens=100, seconds=2.0)
    redo(folder, 1, (2, 3), 90, 1.5)
    redo(folder, 2, (3,), 90, None)  # it died once more, before that step's seconds were written
    (run,) = collect([folder])
    # tests at steps 0, 2 and 4: 100 + (90 + 90) + 100, then (90) + 100 + 100
    assert CURRENCIES["tokens"].at_tests(run, 0).tolist() == [0, 380, 670]
    assert CURRENCIES["seconds"].at_tests(run, 0).tolist() == [0, 7, 11]
    assert CURRENCIES["steps"].at_tests(run, 0).tolist() == [0, 2, 4]
    # 8 x 1000 FLOP a token, 20 tokens of prompts a step
    assert CURRENCIES["flops"].at_tests(run, 1000).tolist() == [
        0,
        8000 * (2 * 120 + 2 * 110),
        8000 * (4 * 120 + 3 * 110),
    ]
    table = table1([run], CONFIG, "grpo", FACTS)
    assert cell(table, "grpo", "rollout_tokens")["mean"] == 670
    note = cell(table, "grpo", "rollout_tokens")["note"]
    assert note == "270 generated again after an interruption"
    assert cell(table, "grpo", "seconds")["mean"] == 11


def test_rows_that_were_noted_twice_count_once(tmp_path):
    folder = write_run(tmp_path, "grpo", 0, [0.1, 0.2, 0.5], tokens=100)
    redo(folder, 1, (2,), 90, 1.5)
    redo(folder, 1, (2,), 90, 1.5)
    redo(folder, 1, (2,), 90, 1.6)  # taken a third time
    (run,) = collect([folder])
    assert CURRENCIES["tokens"].total(run, 0) == 400 + 180


def test_what_the_start_model_ran_before_counts_from_the_first_test_on(tmp_path):
    prepared = {"prompt_tokens": 50, "rollout_tokens": 300}
    folder = write_run(
        tmp_path, "gain", 0, [0.1, 0.5, 0.6], tokens=100, seconds=2.0, prepared=prepared
    )
    (run,) = collect([folder])
    assert CURRENCIES["tokens"].at_tests(run, 0).tolist() == [300, 500, 700]
    assert CURRENCIES["seconds"].at_tests(run, 0).tolist() == [0, 4, 8]
    # a forward pass of 350 tokens, then 8 x 1000 FLOP a token
    flops = CURRENCIES["flops"].at_tests(run, 1000)
    assert flops.tolist() == [700_000, 700_000 + 8000 * 240, 700_000 + 8000 * 480]
    assert CURRENCIES["tokens"].total(run, 0) == 700
    table = table1([run], CONFIG, "gain", FACTS)
    note = cell(table, "gain", "rollout_tokens")["note"]
    assert note == "300 of the start model before"


def test_difficulties_whose_tokens_nobody_noted_are_refused(tmp_path):
    inner = {"method": {"algorithm": "grpo"}, "inputs": {"difficulty": "abc"}}
    folder = write_run(tmp_path, "gain", 0, [0.1, 0.5, 0.6], slice=inner)
    with pytest.raises(DataError, match=r"run\.json: does not say how many tokens"):
        collect([folder])
