"""A data set's own difficulties: what a column means, and where it is on the curriculum's scale."""

from __future__ import annotations

import json

import numpy as np
import pytest
from outcomes import build, next_batch
from presets import BASE, changed, error_of

from gainrl import plan
from gainrl.curricula import Setting
from gainrl.errors import DataError
from gainrl.plan import RunKey
from gainrl.records import PROMPTS, read_table, write_table
from gainrl.stages.common import Context
from gainrl.stages.data import prepare_data
from gainrl.stages.training_data import training_data

BY_COLUMN = {"curriculum": "adarft", "difficulty": "column"}
RATE = {"column": "solved", "scale": "pass_rate"}
LEVEL = {"column": "solved", "scale": "difficulty", "range": [0, 10]}


def preset(datasets, trained="own"):
    """The base preset with a method that goes by a column of the data set `trained`."""
    data = changed("methods", "hard", to=BY_COLUMN)
    data["datasets"].update(datasets)
    data["experiments"] = {
        "t": {
            "models": ["nano"], "datasets": [trained], "benchmarks": ["chain"],
            "methods": ["hard"], "baseline": "hard",
        }
    }  # fmt: skip
    return data


def own(tmp_path, values, **difficulty):
    """A data set of the user's own with a column `solved`."""
    rows = [{"question": f"q{k}", "answer": "1", "solved": v} for k, v in enumerate(values)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"difficulty": {**RATE, **difficulty}}
    return {"source": "file", "train_file": str(path), "fields": fields}


def difficulties(tmp_path, datasets, trained="own"):
    """(N,) difficulties of a run, from files to the curriculum's scale."""
    context = Context(plan.load(preset(datasets, trained)), tmp_path / "results")
    prepare_data(context, trained)
    table = read_table(context.layout.split(trained, "train"), PROMPTS)
    write_table(context.layout.prompts("nano", trained), table, PROMPTS)
    return training_data(context, RunKey("nano", trained, "hard", 0)).difficulty


def test_a_pass_rate_is_turned_round(tmp_path) -> None:
    found = difficulties(tmp_path, {"own": own(tmp_path, [1, 0.75, 0.5, 0])})
    assert found.tolist() == [0, 25, 50, 100]
    policy = build("adarft", {}, Setting(4, 2, 0, difficulty=found))
    assert next_batch(policy).tolist() == [0, 1]  # what is solved most comes first


def test_a_pass_rate_in_percent(tmp_path) -> None:
    data = own(tmp_path, [100, 40], range=[0, 100])
    assert difficulties(tmp_path, {"own": data}).tolist() == [0, 60]


@pytest.mark.parametrize("ends", [[0, 100], [0, 200]])
def test_nothing_is_stretched(tmp_path, ends) -> None:
    data = own(tmp_path, [40, 50, 60], scale="difficulty", range=ends)
    expected = [100 * value / ends[1] for value in (40, 50, 60)]
    assert difficulties(tmp_path, {"own": data}).tolist() == expected


@pytest.mark.parametrize(
    ("value", "difficulty", "said"),
    [
        (1.5, {}, "is 1.5, outside its range [0, 1]"),
        (-0.1, {}, "is -0.1, outside its range [0, 1]"),
        (0, {"scale": "difficulty", "range": [1, 5]}, "is 0, outside its range [1, 5]"),
        ("high", {}, "is 'high', not a number"),
        (True, {}, "is a bool, not text"),
    ],
)
def test_a_value_outside_the_range_is_refused(tmp_path, value, difficulty, said) -> None:
    data = own(tmp_path, [1, value], **difficulty)
    context = Context(plan.load(preset({"own": data})), tmp_path)
    with pytest.raises(DataError) as caught:
        prepare_data(context, "own")
    assert str(caught.value) == f"{tmp_path / 'rows.jsonl'}: line 2: 'solved' {said}"


def test_a_prompt_without_difficulty_is_refused_where_it_is_needed(tmp_path) -> None:
    with pytest.raises(DataError, match="prompt 'own/train/0001' has no difficulty; use difficul"):
        difficulties(tmp_path, {"own": own(tmp_path, [1, None])})


def test_a_table_of_another_range_is_refused(tmp_path) -> None:
    datasets = {"own": own(tmp_path, [1, 0.5])}
    difficulties(tmp_path, datasets)
    path = tmp_path / "results/small/signals/nano/own/prompts.parquet"
    frame = read_table(path, PROMPTS)
    write_table(path, frame.assign(difficulty=[1.0, 7.0]), PROMPTS)
    context = Context(plan.load(preset(datasets)), tmp_path / "results")
    with pytest.raises(DataError, match=r"of prompt 'own/train/0001' is 7, not in \[0, 1\]"):
        training_data(context, RunKey("nano", "own", "hard", 0))


def test_generated_levels_have_the_scale_of_the_data_set(tmp_path) -> None:
    chain = {**BASE["datasets"]["chain"], "levels": [1, 2, 3, 4, 5]}
    found = difficulties(tmp_path, {"own": chain})
    assert set(found.tolist()) == {0, 25, 50, 75, 100}
    one = {**chain, "levels": [3]}
    assert set(difficulties(tmp_path, {"own": one}).tolist()) == {50}


def test_a_pool_has_the_scale_of_its_longest_and_its_trivial_prompts(tmp_path) -> None:
    pool = {"long": 0.5, "trivial": 0.1}
    chain = {**BASE["datasets"]["chain"], "levels": [2, 3], "pool": pool, "train": 64}
    found = difficulties(tmp_path, {"own": chain})
    steps = found * (3 + 9 - 1) / 100 + 1
    assert np.allclose(steps, np.rint(steps))
    assert np.rint([steps.min(), steps.max()]).tolist() == [1, 12]


def test_each_part_of_a_mix_has_its_own_scale(tmp_path) -> None:
    parts = {"own": own(tmp_path, [0.25, 1]), "chain": {**BASE["datasets"]["chain"], "levels": [3]}}
    both = {**parts, "both": {"source": "mix", "parts": ["own", "chain"]}}
    assert difficulties(tmp_path, both, "both").tolist() == [75, 0] + [50] * 32


def test_the_registry_says_the_scale_of_its_levels() -> None:
    loaded = plan.load(preset({"own": {"source": "registry", "name": "math"}}))
    assert plan.difficulty_ranges(loaded, "own") == {"own": (1, 5)}


@pytest.mark.parametrize(
    "data",
    [
        {"source": "registry", "name": "gsm8k"},
        {"source": "hub", "id": "someone/sums"},
        {"source": "reasoning_gym", "task": "chain_sum"},
    ],
)
def test_a_data_set_without_difficulties_is_refused_before_anything_runs(data) -> None:
    said = "config: methods.hard.difficulty: data set 'own' has no column of difficulties (datas"
    assert error_of(preset({"own": data})).startswith(said)
    mix = {"own": data, "both": {"source": "mix", "parts": ["chain", "own"]}}
    assert error_of(preset(mix, "both")).startswith(said)


@pytest.mark.parametrize(
    ("difficulty", "said"),
    [
        (
            "solved",
            "write {column: solved, scale: pass_rate, range: [0, 1]} or {column: solved, sc",
        ),
        ({"column": "solved", "scale": "difficulty"}, "it needs 'range', as in [1, 5]"),
        ({**LEVEL, "range": [5, 1]}, "range: [5, 1] is not a lower and a higher number"),
        ({**LEVEL, "range": [0, float("inf")]}, "range: [0, inf] is not a lower and a higher"),
        ({**LEVEL, "range": [0, float("nan")]}, "range: [0, nan] is not a lower and a higher"),
        ({"column": "solved"}, "is missing"),
        ({**LEVEL, "scale": "passrate"}, "unknown value 'passrate'; did you mean 'pass_rate'?"),
    ],
)
def test_a_column_that_does_not_say_what_it_means(difficulty, said) -> None:
    data = {"source": "file", "train_file": "x.jsonl", "fields": {"difficulty": difficulty}}
    message = error_of(preset({"own": data}))
    assert "datasets.own.fields.difficulty" in message
    assert said in message
