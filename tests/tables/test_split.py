"""Where the cost goes: numbers worked by hand."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from run_folders import write_run

from gainrl.config.preset import Statistics
from gainrl.results.runs import collect
from gainrl.tables.split import split_table, write_split

CONFIG = Statistics(resamples=200)


def rows_of(folder, **changes):
    """Change every step of a run: keys, or functions of the step's number."""
    path = folder / "steps.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row.update({k: v(row["step"]) if callable(v) else v for k, v in changes.items()})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_split_is_that_of_whole_runs(tmp_path):
    folders = [write_run(tmp_path, "grpo", seed, [0.2, 0.3, 0.4]) for seed in (0, 1)]
    # 4 steps of 2 prompts, a quarter of the groups without variance: 6 of 8 teach
    found = split_table(collect(folders), CONFIG).set_index("metric")["mean"]
    assert found.to_dict() == pytest.approx(
        {
            "tokens_per_step": 100.5,
            "taught_share": 0.75,
            "tokens_per_taught": 402 / 6,
            "seconds_per_step": 2.0,
            "rollout_share": 0.5,
            "update_share": 0.5,
        }
    )


def test_groups_count_as_often_as_they_were_drawn(tmp_path):
    folder = write_run(tmp_path, "grpo", 0, [0.2, 0.3, 0.4], tokens=120)
    groups = {1: 2, 2: 2, 3: 6, 4: 2}
    even = {1: 0.5, 2: 1.0, 3: 0.5, 4: 0.0}  # 1, 0, 3 and 2 of them teach
    rows_of(folder, groups=groups.get, zero_variance=even.get)
    found = split_table(collect([folder]), CONFIG).set_index("metric")
    assert found.loc["taught_share", "mean"] == 6 / 12
    assert found.loc["tokens_per_taught", "mean"] == 480 / 6


def test_where_nothing_teaches_a_group_has_no_price(tmp_path):
    folders = [write_run(tmp_path, "grpo", seed, [0.2, 0.3, 0.4]) for seed in (0, 1)]
    rows_of(folders[1], zero_variance=1.0)
    frame = split_table(collect(folders), CONFIG)
    assert "tokens_per_taught" not in set(frame["metric"])
    path = tmp_path / "out" / "t.csv"
    write_split(frame, {"grpo": "GRPO"}, CONFIG, "Cost", path)
    lines = path.with_suffix(".md").read_text().splitlines()
    row = next(line for line in lines if line.startswith("| GRPO"))
    assert row == (
        "| GRPO | 100 [94, 107] | 37.5 [0.0, 100.0] | – | 2 [2, 2] | 50.0 [50.0, 50.0] "
        "| 50.0 [50.0, 50.0] | – |"
    )
    pd.testing.assert_frame_equal(pd.read_csv(path), frame)
