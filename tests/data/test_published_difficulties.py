"""Difficulties that others have published, joined to a registered data set by the question."""

from __future__ import annotations

import datasets
import pandas as pd
import pytest
from presets import changed, error_of

from gainrl import plan
from gainrl.config.data import Registered
from gainrl.data.registry import REGISTRY, find
from gainrl.data.sources import load_splits
from gainrl.errors import DataError
from gainrl.plan import Layout, RunKey

SETS = ("deepscaler", "gsm8k", "math")
QUESTIONS = [f"How much is {row} + 1?" for row in range(200)]


def copies(folder, rates, questions=QUESTIONS):
    """Local copies of GSM8K's train split and of its published pass rates, in percent."""
    place = find("gsm8k").train
    info = [{"question": each, "answer": f"#### {row}"} for row, each in enumerate(questions)]
    pd.DataFrame({"extra_info": info}).to_parquet(folder / place.local)
    target = folder / place.published.hub.copy_name
    target.parent.mkdir(parents=True)
    rows = [{"problem": each, "solved_percentage": rate} for each, rate in rates]
    pd.DataFrame(rows).to_parquet(target)
    return folder


def difficulties(folder, **keys):
    spec = Registered(source="registry", name="gsm8k", eval=0, difficulty="published", **keys)
    return load_splits(spec, data_dir=folder, name="gsm8k")["train"].set_index("id")["difficulty"]


def test_pass_rates_are_turned_round_and_joined_by_the_question(tmp_path):
    rates = [(f"  {each}\n", 100 - row / 2) for row, each in enumerate(QUESTIONS)][::-1]
    found = difficulties(copies(tmp_path, rates))
    assert found.tolist() == [row / 2 for row in range(200)]  # 100 less the pass rate


def test_few_prompts_without_one_get_the_median_and_are_said(tmp_path, caplog):
    rates = [(each, 100 - row / 2) for row, each in enumerate(QUESTIONS) if row not in (7, 150)]
    found = difficulties(copies(tmp_path, rates))
    rest = found.drop(["gsm8k/train/0007", "gsm8k/train/0150"])
    assert found["gsm8k/train/0007"] == found["gsm8k/train/0150"] == rest.median()
    assert "no difficulty for 2 of 200 prompts, which get the median: gsm8k/train/0007, gsm8k" in (
        caplog.text
    )


def test_more_are_refused(tmp_path):
    rates = [(each, 50.0) for each in QUESTIONS[3:]]
    with pytest.raises(DataError, match=r"no difficulty for 3 of 200 prompts \(the first is 'gsm8"):
        difficulties(copies(tmp_path, rates))


def test_several_rows_of_a_question_count_by_their_mean(tmp_path):
    rates = [(each, 50.0) for each in QUESTIONS] + [(QUESTIONS[4], 0.0)]
    assert difficulties(copies(tmp_path, rates)).iloc[4] == 75


def test_a_pass_rate_beyond_its_range_is_named_and_not_stretched(tmp_path):
    rates = [(each, 50.0) for each in QUESTIONS[:-1]] + [(QUESTIONS[-1], 120.0)]
    with pytest.raises(DataError, match=r"row 199 .*'solved_percentage' is 120, outside its range"):
        difficulties(copies(tmp_path, rates))


def test_the_registry_says_where_and_in_which_column():
    for name in SETS:
        published = REGISTRY[name].train.published
        assert published.hub.id.startswith("lime-nlp/")
        assert published.difficulty.scale == "pass_rate"
        assert published.difficulty.range == (0, 100)


def preset(dataset):
    """The base preset, whose method adarft goes by published difficulties of a data set."""
    data = changed("methods", "adarft", "difficulty", to="published")
    data["datasets"]["gsm"] = dataset
    data["experiments"]["table2"]["datasets"] = ["gsm"]
    return data


def test_a_method_goes_by_published_difficulties_or_measures_them():
    key, layout = RunKey("nano", "gsm", "adarft", 0), Layout("small")
    with_them = {"source": "registry", "name": "gsm8k", "difficulty": "published"}
    found = plan.inputs_of(plan.load(preset(with_them)), layout, key)
    assert (found.ranges, found.difficulty) == ({"gsm": (0.0, 100.0)}, None)
    without = {"source": "registry", "name": "gsm8k"}
    found = plan.inputs_of(plan.load(preset(without)), layout, key)
    assert found.ranges is None
    assert found.difficulty == layout.signal("nano", "gsm", "difficulty")


def test_a_data_set_without_published_difficulties_is_refused():
    data = preset({"source": "registry", "name": "amc", "difficulty": "published"})
    assert "the registry knows no published difficulties of 'amc'" in error_of(data)


def test_the_hubs_amc_ends_before_the_test_problems_begin(monkeypatch):
    rows = [
        {"problem": f"q{year}", "answer": "1", "solution": "s", "year": year}
        for year in (1983, 2021, 2022, 2023)
    ]
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: datasets.Dataset.from_list(rows))
    spec = Registered(source="registry", name="amc", eval=0)
    train = load_splits(spec, data_dir=None, name="amc")["train"]
    assert train["question"].tolist() == ["q1983", "q2021"] * 2  # both of the hub's splits
