"""Means over the seeds of a method, from run folders written here."""

from __future__ import annotations

import json

import pytest
from run_folders import TRAINING, write_lines, write_run

from gainrl.compare.statistics import SHARES, mean_interval
from gainrl.results.runs import read_run
from gainrl.results.seeds import seed_means


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def at(rows, step, key):
    (value,) = (row[key] for row in rows if row["step"] == step and key in row)
    return value


def test_steps_and_tests_have_the_mean_of_the_seeds_and_accuracies_an_interval(tmp_path):
    levels = {0: [0.2, 0.5, 0.6], 1: [0.2, 0.5, 0.9], 2: [0.2, 0.3, 0.6]}
    runs = [read_run(write_run(tmp_path, "gain", seed, curve)) for seed, curve in levels.items()]
    rows = seed_means(runs, 0.95)
    assert at(rows, 4, "rollout_tokens") == pytest.approx(101)
    assert at(rows, 2, "curriculum/mu") == 6
    assert at(rows, 4, "eval/chain/accuracy") == pytest.approx(0.7)
    assert at(rows, 4, "eval/chain/problems") == 100
    found = mean_interval([0.6, 0.9, 0.6], 0.95, SHARES)
    assert at(rows, 4, "eval/chain/accuracy_low") == found.low
    assert at(rows, 4, "eval/chain/accuracy_high") == found.high == 1.0
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 0, 2, 4]
    assert not {"step", "test", "eval/chain/step", "eval/chain/test"} & (rows[-1].keys() - {"step"})


def test_what_one_seed_lacks_has_no_mean(tmp_path):
    folders = [write_run(tmp_path, "grpo", seed, [0.2, 0.3, 0.4]) for seed in (0, 1)]
    steps = rows_of(folders[1] / "steps.jsonl")
    steps[2]["signal"] = None
    for row in steps:
        row["kl"] = 0.5
    write_lines(folders[1] / "steps.jsonl", steps)
    rows = seed_means([read_run(folder) for folder in folders], 0.95)
    assert [row["step"] for row in rows if "signal" in row] == [1, 2, 4]
    assert not any("kl" in row for row in rows)


def test_a_single_seed_has_no_interval(tmp_path):
    rows = seed_means([read_run(write_run(tmp_path, "grpo", 0, [0.2, 0.3, 0.4]))], 0.95)
    assert at(rows, 4, "eval/chain/accuracy") == 0.4
    assert not any("eval/chain/accuracy_low" in row for row in rows)


def test_runs_that_end_by_their_tokens_are_put_together_test_by_test(tmp_path):
    folders = []
    for seed, last in ((0, 4), (1, 3)):
        training = {**TRAINING, "tokens": 400}
        folder = write_run(tmp_path, "grpo", seed, [0.2, 0.3, 0.4 + seed / 10], training=training)
        for name in ("steps.jsonl", "timing.jsonl"):
            write_lines(folder / name, rows_of(folder / name)[:last])
        tests = rows_of(folder / "eval.jsonl")
        tests[-1]["step"] = last
        write_lines(folder / "eval.jsonl", tests)
        done = json.loads((folder / "done.json").read_text())
        (folder / "done.json").write_text(json.dumps({**done, "steps": last}))
        folders.append(folder)
    rows = seed_means([read_run(folder) for folder in folders], 0.95)
    assert [row["step"] for row in rows if "reward" in row] == [1, 2, 3]
    tests = [row for row in rows if "eval/chain/accuracy" in row]
    assert [row["step"] for row in tests] == [0, 2, 4]  # the mean of 4 and 3, to the even
    assert tests[-1]["eval/chain/accuracy"] == pytest.approx(0.45)
