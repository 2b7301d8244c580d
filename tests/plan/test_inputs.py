"""What a run reads: one answer for rules, reading, hashes, tables and cost."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from presets import changed

from gainrl import plan
from gainrl.plan import Layout, RunKey

LAYOUT = Layout("small", Path("out"))
FOLDER = Path("out/small/signals/nano/chain")


def inputs(**method):
    data = changed("methods", "new", to={"curriculum": "uniform", **method})
    return plan.inputs_of(plan.load(data), LAYOUT, RunKey("nano", "chain", "new", 0))


def names(paths):
    return [str(path.relative_to(FOLDER)) for path in paths]


@pytest.mark.parametrize(
    ("method", "walked", "measured", "costly"),
    [
        ({}, [], [], []),
        ({"order": "angle"}, ["order/angle.parquet"], ["scores"], ["scores"]),
        (
            {"order": "angle", "inter_weight": 2},
            ["order/angle-c2.parquet"],
            ["scores"],
            ["scores"],
        ),
        # The lengths are in the score table, but would be known without it.
        ({"order": "length"}, ["order/length.parquet"], ["scores"], []),
        ({"order": "shuffled"}, ["order/shuffled.parquet"], ["scores"], []),
        (
            {"difficulty": "measured"},
            ["difficulty.parquet"],
            ["difficulty"],
            ["difficulty"],
        ),
        ({"difficulty": "column"}, [], [], []),
        (
            {"order": "length", "difficulty": "measured"},
            ["order/length.parquet", "difficulty.parquet"],
            ["scores", "difficulty"],
            ["difficulty"],
        ),
        (
            {"curriculum": {"name": "predicted", "features": "length"}, "order": "angle"},
            ["order/angle.parquet", "scores.parquet"],
            ["scores"],
            ["scores"],
        ),
        (
            {"curriculum": {"name": "predicted", "features": "all"}, "order": "shuffled"},
            ["order/shuffled.parquet", "scores.parquet", "features.parquet"],
            ["scores", "features"],
            ["scores", "features"],
        ),
    ],
)
def test_what_a_method_reads_and_what_was_behind_it(method, walked, measured, costly):
    found = inputs(**method)
    assert names(found.walked) == walked
    assert found.measured == {name: FOLDER / f"{name}.parquet" for name in measured}
    assert found.costly == {name: FOLDER / f"{name}.parquet" for name in costly}
    assert found.prompts == FOLDER / "prompts.parquet"
    assert found.difficulty == found.measured.get("difficulty")


def test_difficulties_of_the_data_set_come_with_the_ends_of_their_scale():
    assert inputs(difficulty="column").ranges == {"chain": (1.0, 5.0)}
    assert inputs(difficulty="measured").ranges is None
    assert inputs().ranges is None


def test_the_wildcards_of_a_job_name_a_run_as_well():
    preset = plan.load(changed("methods", "gain", "order", to="angle"))
    key = RunKey("nano", "chain", "gain", 1)
    wildcards = SimpleNamespace(model="nano", dataset="chain", method="gain", seed="1")
    assert plan.inputs_of(preset, LAYOUT, wildcards) == plan.inputs_of(preset, LAYOUT, key)
    assert plan.held_out(preset, LAYOUT, wildcards) == plan.held_out(preset, LAYOUT, key)


def test_preparation_is_each_costly_table_once():
    preset = plan.load(changed("experiments", "table1", "methods", to=["grpo", "adarft", "gain"]))
    found = plan.preparation(preset, LAYOUT, plan.runs(preset, ["table1"]))
    assert [str(path.relative_to("out/small/signals/nano")) for path in found] == [
        "chain/difficulty.parquet",
        "chain/scores.parquet",
        "word/difficulty.parquet",
        "word/scores.parquet",
    ]


def test_selections_are_drawn_from_scores_and_orders():
    part = {"curriculum": "uniform", "selection": {"share": 0.5}}
    data = changed("methods", "half", to={**part, "order": "angle"})
    data["methods"]["short"] = {**part, "order": "length"}
    data["experiments"]["table1"] |= {
        "datasets": ["chain"],
        "methods": ["grpo", "gain", "short", "half"],
    }
    found = plan.selections(plan.load(data), LAYOUT, "table1")
    expected = ["scores.parquet", "order/angle.parquet", "order/length.parquet"]
    assert names(found) == expected


def test_a_warm_up_reads_its_data_sets_by_name():
    data = changed("datasets", "word", "warmup", to=64)
    data["models"]["nano"]["warmup"]["phases"] = [
        {"datasets": ["word"], "steps": 5},
        {"datasets": ["chain", "word"], "steps": 5},
    ]
    preset = plan.load(data)
    found = plan.warmup_tables(preset, LAYOUT, "nano")
    assert found == [LAYOUT.split(name, "warmup") for name in ("chain", "word")]
    assert plan.warmup_tables(preset, LAYOUT, "other") == []


def test_held_out_prompts_are_the_runs_own_and_those_of_its_benchmarks():
    preset = plan.load(changed("experiments", "table1", "datasets", to=["word"]))
    found = plan.held_out(preset, LAYOUT, RunKey("other", "chain", "adarft", 0))
    assert found == [LAYOUT.split(name, "eval") for name in ("chain", "word", "gsm")]
