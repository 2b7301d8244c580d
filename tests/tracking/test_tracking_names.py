"""Names that the tracking store gets: refused before anything runs, or spelt as it takes them."""

from __future__ import annotations

import pytest
from mlflow.utils.validation import _validate_metric_name
from presets import PRESETS, changed, error_of
from tracking_stores import client_of, opened, set_up

from gainrl import plan
from gainrl.stages.common import flatten
from gainrl.tracking.names import LONGEST, legal_name


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("eval/gsm8k/accuracy", "eval/gsm8k/accuracy"),
        ("curriculum/weight/c_intra", "curriculum/weight/c_intra"),
        ("a b.c:d-e", "a b.c:d-e"),
        ("pass@8", "pass_at_8"),
        ("p@0.5", "p_at_0.5"),
        ("gsm8k+math", "gsm8k_plus_math"),
    ],
)
def test_a_name_is_spelt_as_the_store_takes_it(name, legal) -> None:
    assert legal_name(name) == legal


ODD = [
    "",
    "/",
    ".",
    "..",
    "a//b",
    "/a",
    "a/",
    "../a",
    "a/./b",
    "50%",
    "a,b",
    "größe",
    "\ud83d",
    "a\n",
]


def test_no_name_is_refused_and_none_stands_for_two() -> None:
    long = ["x" * 300, "x" * 299 + "y", "x" * LONGEST]
    found = [legal_name(name) for name in [*ODD, *long]]
    assert len(set(found)) == len(found)
    for name in found:
        _validate_metric_name(name)
        assert name.isascii()
        assert len(name) <= LONGEST
        assert legal_name(name) == name


def test_a_store_takes_metrics_params_and_tags_of_any_name(tmp_path) -> None:
    index = set_up(tmp_path)
    params = flatten({"verl": {"+actor.x": 1, "actor.x": 2}, "a//b": {"c@d": 3}})
    run = opened(index, params=params)
    run.metrics([{"step": 1, "p@0.5": 0.25, "50%": 0.5}], prefix="curriculum/")
    run.tag("note+more", "x")
    run.finish()
    found = client_of(index).get_run(run.run_id).data
    assert sorted(found.metrics.values()) == [0.25, 0.5]
    assert found.metrics["curriculum/p_at_0.5"] == 0.25
    assert found.params["verl._plus_actor.x"] == "1"
    assert found.params["verl.actor.x"] == "2"
    assert "3" in found.params.values()
    assert found.tags["note_plus_more"] == "x"


# --- the preset's own names ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gsm8k+math", "p@0.5", "a b", "a/b", "_a", ".a", "größe", ""])
@pytest.mark.parametrize("section", ["models", "datasets", "methods", "experiments", "protocols"])
def test_a_name_that_the_store_refuses_is_refused_by_the_preset(section, name) -> None:
    values = {
        "models": {"source": "nano"},
        "datasets": {"source": "generate", "task": "chain"},
        "methods": {"curriculum": "uniform"},
        "experiments": {"models": ["nano"], "datasets": ["chain"], "methods": ["grpo"]},
        "protocols": {},
    }
    said = error_of(changed(section, name, to=values[section]))
    assert said == (
        f"config: {section}.{name}: {name!r} is no name: letters, digits, '.', '_' and '-', a "
        "letter or digit first (files, and metrics in MLflow, are called by it)"
    )


def test_a_key_that_cannot_be_printed_is_one_line() -> None:
    said = error_of(changed("methods", "a\n", to={"curriculum": "uniform"}))
    assert said.startswith(r"config: methods.'a\n': 'a\n' is no name")


def test_the_name_of_a_preset_and_of_a_figure() -> None:
    assert error_of(changed("preset", to="a+b")).startswith("config: preset: 'a+b' is no name")
    figure = error_of(changed("experiments", "table1", "figure", to="f@1"))
    assert figure.startswith("config: experiments.table1.figure: 'f@1' is no name")


def test_a_data_set_may_not_be_called_as_the_mean_of_all() -> None:
    data = changed("datasets", "average", to={"source": "generate", "task": "chain"})
    assert (
        error_of(data)
        == "config: datasets.average: the mean over benchmarks is called so in tables"
    )


@pytest.mark.parametrize("name", ["", "a//b", "../a", "a/.", " ", "a#b", "a?b", "50%", "a\tb"])
def test_an_experiment_that_is_no_place_for_artifacts(name) -> None:
    said = error_of(changed("tracking", "experiment", to=name))
    assert said.startswith(f"config: tracking.experiment: {name!r} ")


@pytest.mark.parametrize("name", ["my team/2026", "/Users/me@home.org/gain+rl", "größe"])
def test_an_experiment_may_be_called_as_mlflow_lets_it(name) -> None:
    assert plan.load(changed("tracking", "experiment", to=name)).tracking.experiment == name


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_the_names_of_our_presets_are_taken_as_they_are(path) -> None:
    preset = plan.load(path)
    for run in plan.runs(preset):
        for benchmark in plan.benchmarks_of(preset, run.model, run.dataset, run.method):
            name = f"final/{run.parent}/{benchmark}"
            assert legal_name(name) == name
