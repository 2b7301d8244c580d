"""What tuning tries: as many settings for each method, on seeds and tokens of its own."""

from __future__ import annotations

import copy
import itertools
import re
from typing import Any

import pytest
import yaml
from presets import BASE, REPOSITORY, error_of

from gainrl import plan
from gainrl.plan.tuning import base_of, runs_of_tuning, tried_runs

DOCUMENT = REPOSITORY / "docs" / "tuning.md"

TUNING = {
    "grid": {"lr": [1e-4, 1e-3], "prompts": [4, 8]},
    "methods": {"grpo": {}, "gain": {"beta": [0.3, 0.5, 0.7]}},
    "seeds": [10, 11],
    "budget": 900,
    "tests": 3,
}


def tuned(**changes: Any) -> dict[str, Any]:
    """The base preset, with the methods of its first experiment tuned."""
    data = copy.deepcopy(BASE)
    data["tuning"] = {**copy.deepcopy(TUNING), **changes}
    data["experiments"]["table2"]["methods"] = ["adarft"]
    data["experiments"]["table2"]["baseline"] = "adarft"
    return data


def test_every_method_tries_as_many_settings_its_own_parameters_among_them():
    preset = plan.load(tuned())
    settings = {name: list(plan.settings_of(preset, name).values()) for name in ("grpo", "gain")}
    assert settings["grpo"] == [
        {"lr": lr, "prompts": prompts} for lr in (1e-4, 1e-3) for prompts in (4, 8)
    ]
    assert len(settings["gain"]) == 4
    assert len({repr(each) for each in settings["gain"]}) == 4  # of 12, without repetition
    assert all(each.keys() == {"lr", "prompts", "beta"} for each in settings["gain"])
    # lr and prompts twice each in all pairs; three values of beta share four places
    pairs = sorted((each["lr"], each["prompts"]) for each in settings["gain"])
    assert pairs == [(lr, prompts) for lr in (1e-4, 1e-3) for prompts in (4, 8)]
    assert {each["beta"] for each in settings["gain"]} == {0.3, 0.5, 0.7}
    again = plan.load(tuned(seed=1))
    assert list(plan.settings_of(again, "gain").values()) != settings["gain"]
    assert plan.settings_of(plan.load(tuned()), "gain") == plan.settings_of(preset, "gain")


def test_half_of_a_grid_has_every_value_and_every_pair_of_values():
    grid = {"lr": [1e-4, 2e-4, 4e-4], "prompts": [4, 8], "rollouts": [4, 8], "epochs": [1, 2]}
    preset = plan.load(tuned(grid=grid, tries=12))
    settings = list(plan.settings_of(preset, "grpo").values())
    for key, values in grid.items():
        found = [each[key] for each in settings]
        assert [found.count(value) for value in values] == [12 / len(values)] * len(values)
    for one, other in itertools.combinations(grid, 2):
        found = {(each[one], each[other]) for each in settings}
        assert found == set(itertools.product(grid[one], grid[other]))


def test_a_tried_setting_is_a_method_with_the_seeds_and_tokens_of_tuning():
    preset = plan.load(tuned())
    keys = tried_runs(preset, "nano", "chain", "gain")
    assert [(key.method, key.seed) for key in keys] == [
        (f"gain.try{k}", seed) for k in range(4) for seed in (10, 11)
    ]
    runs = plan.runs(preset)
    assert set(keys) < set(runs)
    # two methods of four settings on two data sets with two seeds, beside what is compared
    assert sum(plan.is_tried(preset, run.method) for run in runs) == 2 * 4 * 2 * 2
    assert not any(plan.is_tried(preset, run.method) for run in plan.runs(preset, ["table1"]))
    setting = plan.settings_of(preset, "gain")["gain.try2"]
    training = preset.training_for("chain", "nano", "gain.try2")
    assert (training.lr, training.prompts) == (setting["lr"], setting["prompts"])
    assert (training.tokens, training.tests, training.keep_model) == (900, 3, False)
    assert training.steps == 900  # a token a step at least, whatever its batch: tokens end the run
    curriculum = preset.methods["gain.try2"].curriculum
    assert curriculum.parameters == {"alpha": 1.5, "beta": setting["beta"]}
    assert plan.experiments_of(preset, "nano", "chain", "gain.try2") == ["table1"]
    assert plan.seeds_of(preset, "gain.try2") == (10, 11)
    assert plan.seeds_of(preset, "gain") == (0, 1)


def test_runs_that_are_compared_end_by_tokens_too_and_others_do_not():
    preset = plan.load(tuned(tokens=1800))
    compared = preset.training_for("chain", "nano", "grpo")
    assert (compared.tokens, compared.tests, compared.keep_model) == (1800, 3, True)
    assert plan.load(tuned()).training_for("chain", "nano", "grpo").tokens == 900
    assert preset.training_for("chain", "nano", "adarft").tokens is None


def test_the_documents_example_is_a_preset_and_tries_what_it_says():
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    data = {**copy.deepcopy(BASE), **yaml.safe_load(block)}
    preset = plan.load(data)
    assert [len(plan.settings_of(preset, name)) for name in ("grpo", "gain")] == [12, 12]
    assert len(preset.tuning.settings("gain")) == 36


def test_a_preset_that_was_loaded_and_written_is_the_same():
    preset = plan.load(tuned())
    assert plan.load(preset.model_dump(mode="json")) == preset


def test_a_composed_curriculum_says_the_part():
    data = tuned(methods={"grpo": {}, "gain": {"filter.limit": [2, 3]}})
    data["methods"]["gain"]["curriculum"] = {"sampler": "mopps", "filter": "mixed"}
    del data["methods"]["gain"]["order"]
    preset = plan.load(data)
    for name, setting in plan.settings_of(preset, "gain").items():
        found = preset.methods[name].curriculum.filter
        assert found.parameters == {"limit": setting["filter.limit"]}
    data["tuning"]["methods"]["gain"] = {"rollouts.most": [4, 8]}
    assert "tuning.methods.gain.rollouts.most: the curriculum has no such part" in error_of(data)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grid": {}}, "tuning: grid is empty: nothing would be tried"),
        ({"seeds": [1, 2]}, "tuning.seeds: 1 is one of the preset's seeds"),
        ({"seeds": [3, 3]}, "tuning: seeds must be distinct"),
        ({"tests": 1}, "tuning.tests: 1 tests and the start model's are fewer than"),
        ({"tries": 5}, "methods.grpo: its values give 4 settings, but each method tries 5"),
        ({"grid": {"lr": [1e-3, 1e-3]}}, "grid.lr: values must be distinct"),
        (
            {"methods": {"gain": {"alpha": [1, 1.0, 2]}}},
            "methods.gain.alpha: values must be distinct",
        ),
        (
            {"methods": {"gain": {"alpha": [1, 2], "sampler.alpha": [3, 4]}}},
            "methods.gain: alpha and sampler.alpha are one parameter",
        ),
        ({"methods": {"grpo": {}, "gain": {"beta": []}}}, "methods.gain.beta has no values"),
        ({"methods": {"grpo": {}, "gian": {}}}, "tuning.methods: unknown name 'gian'"),
        (
            {"methods": {"grpo": {}, "gain": {"lr": [1, 2]}}},
            "methods.gain.lr: 'grid' has this key for every method; a parameter of the same name "
            "is written sampler.lr",
        ),
        (
            {"methods": {"grpo": {"filter.limit": [2, 3]}, "gain": {}}},
            "tuning.methods.grpo.filter.limit: the curriculum has no such part",
        ),
        (
            {"methods": {"grpo": {}}},
            "experiments.table1.methods: 'grpo' is tuned and 'gain' is not",
        ),
        (
            {"methods": {"grpo": {"pace": [1, 2]}, "gain": {}}},
            "tuning.methods.grpo: curriculum 'uniform' has no parameter 'pace'",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused(changes, words):
    assert words in error_of(tuned(**changes))


def test_a_parameter_may_be_called_like_a_key_of_the_grid():
    data = tuned(methods={"grpo": {}, "gain": {"sampler.rollouts": [2, 4]}})
    data["methods"]["gain"] = {"curriculum": "adcl", "difficulty": "measured"}
    preset = plan.load(data)
    found = {preset.methods[name].curriculum.parameters["rollouts"]
             for name in plan.settings_of(preset, "gain")}  # fmt: skip
    assert found == {2, 4}


def test_what_a_setting_reads_has_to_be_known_before_it_is_chosen():
    data = tuned(methods={"grpo": {}, "gain": {"features": ["length", "all"]}})
    data["methods"]["gain"] = {"curriculum": "predicted"}
    assert "tuning.methods.gain: its values change what features" in error_of(data)


def test_a_value_that_the_training_section_refuses_is_named_with_its_setting():
    data = tuned()
    data["training"]["mini_batch"] = 8
    assert "tuning: lr 0.0001, prompts 4: methods.grpo.try0.training" in error_of(data)


def test_a_method_of_the_preset_may_not_be_called_like_a_setting():
    data = tuned()
    data["methods"]["grpo.try1"] = {"curriculum": "uniform"}
    assert "methods.grpo.try1: a setting that tuning tries is called so" in error_of(data)


def test_a_changed_grid_is_another_job_and_what_is_varied_is_not_in_it():
    one, other = plan.load(tuned()), plan.load(tuned(budget=1000))
    data = tuned()
    data["training"]["lr"] = 5e-4  # every setting has a rate of its own
    same = plan.load(data)
    place = ("nano", "chain", "gain")
    assert plan.tuning_slice(one, *place) != plan.tuning_slice(other, *place)
    assert plan.train_slice(one, *place) != plan.train_slice(other, *place)
    assert plan.train_slice(one, *place) == plan.train_slice(same, *place)
    untuned = ("nano", "chain", "adarft")
    assert plan.train_slice(one, *untuned) == plan.run_slice(one, *untuned)
    layout = plan.Layout("small")
    key = plan.RunKey(*place, 0)
    assert plan.chosen(one, layout, key) == [layout.choice(*place)]
    assert plan.chosen(one, layout, plan.RunKey(*untuned, 0)) == []


def lent(**changes: Any) -> dict[str, Any]:
    """The tuned preset with a method that has the settings chosen for `gain`."""
    data = tuned(borrowed={"as-gain": "gain"}, **changes)
    data["methods"]["as-gain"] = {"curriculum": "uniform"}
    data["experiments"]["table1"]["methods"].append("as-gain")
    return data


def test_a_borrower_tries_nothing_and_has_what_the_grid_says_of_another_s_choice():
    preset = plan.load(lent())
    place = preset.experiments["table1"].places[0]
    assert plan.is_tuned(preset, "as-gain")
    assert "as-gain" not in {base_of(preset, run.method) for run in runs_of_tuning(preset)}
    run = plan.RunKey(*place, "as-gain", 0)
    layout = plan.Layout("x")
    assert plan.chosen(preset, layout, run) == [layout.choice(*place, "gain")]
    choice = {"chosen": "gain.try1", "values": {"lr": 0.5, "prompts": 4, "beta": 0.7}}
    method = plan.with_choice(preset, "as-gain", choice)
    assert method.curriculum == preset.methods["as-gain"].curriculum
    assert method.training.given == {"lr": 0.5, "prompts": 4}
    training = preset.training_for(place[1], place[0], "as-gain")
    assert (training.tokens, training.tests) == (900, 3)

    other = plan.load(lent(methods={"grpo": {}, "gain": {"beta": [0.1, 0.2]}}))
    slices = [plan.train_slice(each, *place, "as-gain") for each in (preset, other)]
    assert slices[0]["tuning"] != slices[1]["tuning"]  # another choice may come of it


@pytest.mark.parametrize(
    ("own", "grid", "message"),
    [
        ({"training": {"mini_batch": 8}}, {"prompts": [4, 8]}, "mini_batch 8 does not divide"),
        ({"algorithm": "ppo"}, {"epochs": [1, 2]}, "needs an algorithm without a critic"),
    ],
)
def test_a_borrower_that_a_choice_would_not_suit_is_refused_before_the_choice(own, grid, message):
    data = lent(grid=grid, methods={"grpo": {}, "gain": {}})
    data["methods"]["as-gain"] |= own
    error = error_of(data)
    assert "tuning.borrowed.as-gain: " in error
    assert message in error


def test_settings_are_chosen_where_only_a_borrower_is_trained():
    data = lent()
    data["experiments"]["table2"] |= {"methods": ["grpo", "as-gain"], "baseline": "grpo"}
    preset = plan.load(data)
    assert {*preset.experiments["table2"].places} <= {*plan.places_of(preset, "gain")}


@pytest.mark.parametrize(
    ("borrowed", "message"),
    [
        ({"as-gian": "gain"}, "unknown name 'as-gian'; did you mean 'as-gain'?"),
        ({"as-gain": "gian"}, "no method 'gian' is tuned; did you mean 'gain'?"),
        ({"grpo": "gain"}, "borrowed.grpo: 'methods' has it too"),
    ],
)
def test_who_borrows_and_from_whom_is_checked(borrowed, message):
    data = lent()
    data["tuning"]["borrowed"] = borrowed
    assert message in error_of(data)
