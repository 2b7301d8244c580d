"""A start model per seed: names, specifications, and who reads which."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from presets import BASE, changed, error_of

from gainrl import plan
from gainrl.claims import plan as claims_plan
from gainrl.errors import ConfigError
from gainrl.plan import Layout, RunKey
from gainrl.plan.benchmarks import final_tests, start_tests
from gainrl.plan.rehearsal import rehearsed

PER_SEED = changed("models", "nano", "per_seed", to=True)
LAYOUT = Layout("small", Path("out"))


def preset(**sections):
    return plan.load({**PER_SEED, **sections})


def test_each_seed_has_a_start_model_drawn_from_seeds_of_its_own():
    data = changed("models", "nano", "seed", to=4)
    data["models"]["nano"]["per_seed"] = True
    shared, own = plan.load(changed("models", "nano", "seed", to=4)), plan.load(data)
    assert shared.starts("nano") == ("nano",)
    assert own.starts("nano") == ("nano-seed0", "nano-seed1")
    first, second = (own.spec(name) for name in own.starts("nano"))
    assert first == shared.spec("nano")
    assert (first.seed, first.warmup.seed) == (4, 0)
    assert (second.seed, second.warmup.seed) == (5, 1)
    assert second.warmup.phases == first.warmup.phases


def test_the_start_model_of_a_seed_is_what_the_one_of_all_was_and_no_other_is():
    slices = [plan.model_slice(preset(), f"nano-seed{seed}") for seed in (0, 1, 7)]
    assert slices[0] == plan.model_slice(plan.load(BASE), "nano")
    assert len({plan.digest(found) for found in slices}) == 3


def test_a_run_reads_its_own_start_models_files():
    own = preset()
    method = next(name for name, each in own.methods.items() if each.order)
    paths = []
    for seed in (0, 1):
        found = plan.inputs_of(own, LAYOUT, RunKey("nano", "chain", method, seed))
        paths.append([found.prompts, *found.walked, *found.measured.values()])
        assert {path.parts[3] for path in paths[-1]} == {f"nano-seed{seed}"}
    assert [str(p).replace("-seed0", "-seed1") for p in paths[0]] == list(map(str, paths[1]))


def test_runs_and_their_folders_keep_the_models_name():
    assert plan.runs(preset()) == plan.runs(plan.load(BASE))


def test_overrides_limits_and_data_sets_are_the_models():
    overrides = {"nano": {"training": {"max_response": 50}, "evaluation": {"samples": 4}}}
    own = preset(overrides=overrides)
    assert own.training_for("chain", "nano-seed1").max_response == 50
    assert own.evaluation_for("chain", "nano-seed1").samples == 4
    assert plan.prompt_limits(own, "nano-seed1", "chain").response == 50
    assert plan.datasets_of(own, "nano-seed1") == plan.datasets_of(own, "nano") != []
    assert plan.evaluation_slice(own, "nano-seed1", "chain") == plan.evaluation_slice(
        own, "nano", "chain"
    )


def test_costs_of_preparation_are_of_every_start_model():
    experiment = {**BASE["experiments"]["table1"], "methods": ["grpo", "adarft", "gain"]}
    own = preset(experiments={"table1": experiment})
    found = plan.preparation(own, LAYOUT, plan.runs(own, ["table1"]))
    scored = claims_plan.scored(own, LAYOUT, plan.runs(own, ["table1"]))
    for seed in (0, 1):
        assert LAYOUT.signal(f"nano-seed{seed}", "chain", "difficulty") in found
        assert LAYOUT.signal(f"nano-seed{seed}", "chain", "scores") in scored


def test_tests_under_a_protocol_are_of_every_start_model():
    experiment = {**BASE["experiments"]["table1"], "final": ["standard"]}
    training = {**BASE["training"], "keep_model": True}
    asked = {"models": ["nano"], "benchmarks": ["chain"], "protocols": ["standard"]}
    own = preset(experiments={"table1": experiment}, training=training, benchmarks=asked)
    names = ["nano-seed0", "nano-seed1"]
    assert [test.model for test in start_tests(own)] == names
    tests = final_tests(own, ["table1"])
    assert sorted({test.model for test in tests if test.run is None}) == names
    assert {test.model for test in tests if test.run is not None} == {"nano"}


def test_studies_look_at_the_first_start_model_and_a_probe_at_that_of_its_run():
    studies = {
        "models": ["nano"],
        "datasets": ["chain"],
        "dynamics": {"method": "grpo", "every": 2, "prompts": 8, "seed": 1},
    }
    own = preset(studies=studies)
    assert plan.studied(own, ["nano"]) == [("nano-seed0", "chain")]
    assert plan.probed(own) == [RunKey("nano", "chain", "grpo", 1)]


def test_a_rehearsal_has_one_seed_and_its_start_model():
    small = rehearsed(preset())
    assert small.starts("nano") == (f"nano-seed{small.seeds[0]}",)


def test_names_of_start_models_are_names_of_models():
    own = preset()
    plan.check_names(own, {"model": "nano-seed1"})
    plan.check_names(own, {"model": "nano"})
    for name in ("nano-seed", "nano-seedx", "other-seed1"):
        with pytest.raises(ConfigError, match=f"no model '{name}'"):
            plan.check_names(own, {"model": name})
    with pytest.raises(ConfigError, match="no model 'nano-seed1'"):
        plan.check_names(plan.load(BASE), {"model": "nano-seed1"})


def test_patterns_find_start_models_by_how_they_are_made():
    data = {**PER_SEED, "models": {**PER_SEED["models"], "q2.5": {"source": "local", "path": "x"}}}
    own = plan.load(data)
    warmed, whole = plan.start_patterns(own, warmed=True), plan.start_patterns(own)
    assert re.fullmatch(warmed, "nano-seed12")
    assert not re.fullmatch(warmed, "nano")
    assert not re.fullmatch(warmed, "q2.5")
    assert re.fullmatch(whole, "q2.5")
    assert not re.fullmatch(whole, "q2x5")


def test_a_model_that_nothing_here_draws_has_no_start_model_per_seed():
    spec = {"source": "local", "path": "x", "per_seed": True}
    data = {**BASE, "models": {**BASE["models"], "given": spec}}
    assert "models.given" in error_of(data)
    assert "per_seed: a model that is not warmed up here is the same for all" in error_of(data)


def test_no_model_is_called_like_a_start_model_of_another():
    models = {**PER_SEED["models"], "nano-seed3": BASE["models"]["nano"]}
    assert "models.nano-seed3: a start model of 'nano' is called so" in error_of(
        {**PER_SEED, "models": models}
    )
    plan.load({**BASE, "models": {**BASE["models"], "nano-seed3": BASE["models"]["nano"]}})


def test_a_method_with_another_start_model_has_other_inputs_and_nothing_else():
    own, key = preset(), RunKey("nano", "chain", "grpo", 0)
    one, other = (plan.inputs_of(own, LAYOUT, replace(key, seed=seed)) for seed in (0, 1))
    assert one != other
    assert plan.run_slice(own, "nano", "chain", "grpo") == plan.run_slice(
        plan.load(BASE), "nano", "chain", "grpo"
    )
