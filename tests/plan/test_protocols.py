"""What a preset says about final tests, and which tests follow from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from presets import BASE, changed, error_of

from gainrl import plan
from gainrl.errors import ConfigError
from gainrl.plan import Layout, RunKey
from gainrl.plan.benchmarks import Test as ProtocolTest
from gainrl.plan.benchmarks import final_tests, parse, start_tests, test_slice


def with_protocols(**more):
    data = changed("protocols", to={"eight": {"samples": 8, "temperature": 1.0, "pass_at": [1, 8]}})
    data["experiments"]["table1"]["final"] = ["paper", "eight"]
    data["benchmarks"] = {"models": ["nano"], "benchmarks": ["gsm"], "protocols": ["standard"]}
    return {**data, **more}


@pytest.fixture
def preset():
    return plan.load(with_protocols())


# --- sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "name", "samples", "temperature"),
    [
        ("paper", "aime24", 1, 0.0),
        ("paper", "livecodebench", 8, 0.6),
        ("paper", "humanevalplus", 1, 0.0),
        ("standard", "aime24", 64, 0.6),
        ("standard", "amc23", 16, 0.6),
        ("standard", "gsm8k", 4, 0.6),
        ("standard", "codeforces", 8, 0.6),
    ],
)
def test_built_in_protocols_go_by_the_name_in_the_registry(protocol, name, samples, temperature):
    loaded = plan.load(changed("datasets", "mine", to={"source": "registry", "name": name}))
    sampled = loaded.sampled(protocol, "mine")
    assert (sampled.samples, sampled.temperature) == (samples, temperature)


def test_a_preset_may_say_otherwise_for_one_benchmark():
    four = {"samples": 4, "temperature": 1.0, "benchmarks": {"gsm": {"samples": 2}}}
    loaded = plan.load(changed("protocols", to={"four": four}))
    assert loaded.sampled("four", "chain").samples == 4
    assert loaded.sampled("four", "gsm").samples == 2
    assert loaded.sampled("four", "gsm").temperature == 1.0


def test_a_preset_may_replace_a_built_in_protocol():
    mine = {"paper": {"max_response": 99}}
    assert plan.load(changed("protocols", to=mine)).sampled("paper", "gsm").max_response == 99


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (changed("protocols", to={"p": {"pass_at": [2]}}), "pass_at 2 needs at least as many"),
        (changed("protocols", to={"p": {"samples": 2}}), "2 samples at temperature 0 are all the"),
        (
            changed("protocols", to={"p": {"benchmarks": {"gsm": {"samples": 3}}}}),
            "3 samples at temperature 0",
        ),
        (changed("protocols", to={"p": {"benchmarks": {"gsm": {"sample": 3}}}}), "sample"),
        (changed("experiments", "table1", "final", to=["papre"]), "did you mean 'paper'?"),
        (
            with_protocols(benchmarks={"models": ["nan"], "benchmarks": ["gsm"]}),
            "benchmarks.models: unknown name 'nan'; did you mean 'nano'?",
        ),
        (
            with_protocols(training={"keep_model": False}),
            "experiments.table1.final tests trained models: training.keep_model must be true",
        ),
    ],
)
def test_what_cannot_be_is_one_line(data, said):
    assert said in error_of(data)


# --- which tests ---------------------------------------------------------------------------------


def test_final_models_and_start_models_are_tested_on_what_the_experiment_names(preset):
    found = final_tests(preset, ["table1"])
    assert len(found) == len(set(found))
    # two data sets x (start and two methods x two seeds), each under two protocols
    assert len(found) == 2 * 2 * (1 + 2 * 2)
    assert ProtocolTest("nano", "chain", "eight", "transformers") in found
    assert (
        ProtocolTest("nano", "word", "paper", "transformers", RunKey("nano", "word", "gain", 1))
        in found
    )
    assert final_tests(preset, ["table2"]) == []


def test_models_as_they_are(preset):
    assert start_tests(preset) == [ProtocolTest("nano", "gsm", "standard", "transformers")]
    both = with_protocols()
    both["benchmarks"]["engines"] = ["transformers", "vllm"]
    assert [test.engine for test in start_tests(plan.load(both))] == ["transformers", "vllm"]
    assert start_tests(plan.load(BASE)) == []


def test_what_is_trained_on_verl_is_tested_with_vllm():
    data = with_protocols()
    data["training"]["backend"] = "verl"
    engines = {test.engine for test in final_tests(plan.load(data), ["table1"])}
    assert engines == {"vllm"}
    data["testing"] = {"engine": "transformers"}
    engines = {test.engine for test in final_tests(plan.load(data), ["table1"])}
    assert engines == {"transformers"}


@pytest.mark.parametrize("run", [None, RunKey("nano", "word", "gain", 1)])
def test_a_test_is_known_by_its_folder(preset, run):
    test = ProtocolTest("nano", "chain", "eight", "transformers", run)
    assert parse(preset, test.subject, "chain", "eight", "transformers") == test
    folder = test.folder(Layout("small", Path("results")))
    assert str(folder) == f"results/small/{test.subject}/benchmarks/chain/eight-transformers"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("evals/nan", "chain", "paper", "vllm"), "no model 'nan'; did you mean 'nano'?"),
        (("runs/nano", "chain", "paper", "vllm"), "neither evals/MODEL nor runs/"),
        (("runs/nano/chain/gian/seed0", "chain", "paper", "vllm"), "did you mean 'gain'?"),
        (("evals/nano", "chian", "paper", "vllm"), "did you mean 'chain'?"),
        (("evals/nano", "chain", "eigth", "vllm"), "no protocol 'eigth'; did you mean 'eight'?"),
        (("evals/nano", "chain", "paper", "vlm"), "unknown engine 'vlm'; did you mean 'vllm'?"),
    ],
)
def test_names_that_the_preset_does_not_know(preset, names, said):
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        parse(preset, *names)


def test_a_test_depends_on_its_sampling_and_its_grader_and_on_no_other_test(preset):
    test = ProtocolTest("nano", "chain", "eight", "transformers")
    before = test_slice(preset, test)

    def after(**more):
        return test_slice(plan.load(with_protocols(**more)), test)

    assert after(testing={"shards": 4, "batch": 3}) == before
    assert after(testing={"vllm": {"enforce_eager": True}}) == before
    assert after(sandbox={"seconds": 3.0}) == before  # no programs there
    assert after(testing={"seed": 3}) != before
    other = {"eight": {"samples": 8, "temperature": 0.9, "pass_at": [1, 8]}}
    assert after(protocols=other) != before
