"""A run that is in two experiments is shown in each by what that one asks for."""

import pytest
from presets import changed
from run_folders import write_run

from gainrl import plan
from gainrl.errors import DataError
from gainrl.results.runs import of_experiment

CURVE = [0.2, 0.3, 0.5]


@pytest.fixture
def preset():
    both = {"models": ["tiny"], "datasets": ["chain"]}
    experiments = {
        "table1": {**both, "methods": ["grpo", "gain"]},
        "table2": {**both, "methods": ["grpo"], "benchmarks": ["word"]},
    }
    data = changed("experiments", to=experiments)
    data["models"] = {"tiny": {"source": "hub", "id": "someone/something"}}
    return plan.load({**data, "preset": "nano", "seeds": [0]})


def test_methods_are_compared_on_what_their_experiment_asks_for(preset, tmp_path):
    write_run(tmp_path, "grpo", 0, {"chain": CURVE, "word": CURVE})
    write_run(tmp_path, "gain", 0, {"chain": CURVE})
    layout = plan.Layout("nano", tmp_path)
    assert [run.benchmarks for run in of_experiment(preset, layout, "table1")] == [["chain"]] * 2
    assert [run.measures for run in of_experiment(preset, layout, "table2")] == [["word"]]


def test_a_benchmark_that_a_run_was_not_tested_on_is_named(preset, tmp_path):
    write_run(tmp_path, "grpo", 0, {"chain": CURVE})
    with pytest.raises(DataError, match=r"grpo/seed0/eval\.jsonl: no test on word"):
        of_experiment(preset, plan.Layout("nano", tmp_path), "table2")
