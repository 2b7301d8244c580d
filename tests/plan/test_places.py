"""Experiments whose models are not all trained on the same data sets: the key `only`."""

import pytest
from presets import changed, error_of

from gainrl import plan
from gainrl.plan import Layout

ONLY = {"nano": ["chain"], "other": ["word"]}


def preset(only):
    data = changed("experiments", "table2", "datasets", to=["chain", "word"])
    data["experiments"]["table2"]["only"] = only
    return data


def places(only):
    found = plan.runs(plan.load(preset(only)), ["table2"])
    return list(dict.fromkeys((key.model, key.dataset) for key in found))


def test_without_the_key_every_model_is_trained_on_every_data_set():
    everything = [(model, data) for model in ("nano", "other") for data in ("chain", "word")]
    assert places({}) == everything


def test_a_model_is_trained_on_its_own_data_sets_and_one_that_is_not_named_on_all():
    assert places(ONLY) == [("nano", "chain"), ("other", "word")]
    assert places({"other": ["word"]}) == [("nano", "chain"), ("nano", "word"), ("other", "word")]


def test_what_is_measured_before_and_where_runs_belong_follow(tmp_path):
    data = preset(ONLY)
    data["experiments"]["table1"]["models"] = ["other"]
    loaded = plan.load(data)
    prepared = plan.preparation(loaded, Layout("small", tmp_path), plan.runs(loaded, ["table2"]))
    files = {str(path) for path in prepared}
    assert {path.split("/")[-3:-1] and tuple(path.split("/")[-3:-1]) for path in files} == {
        ("nano", "chain"),
        ("other", "word"),
    }
    assert plan.experiments_of(loaded, "nano", "chain", "grpo") == ["table2"]
    assert plan.experiments_of(loaded, "nano", "word", "grpo") == []


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ({"nan": ["chain"]}, "only: the experiment has no model 'nan'; did you mean 'nano'?"),
        ({"nano": ["chian"]}, "only.nano: the experiment has no data set 'chian'"),
        ({"nano": []}, "only.nano is empty"),
        ({"nano": ["chain"], "other": ["chain"]}, "only: no model is trained on data set 'word'"),
    ],
)
def test_wrong_pairs_are_refused(only, message):
    assert message in error_of(preset(only))
