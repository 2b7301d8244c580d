"""Overrides, runs, what a stage depends on, and names on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from presets import BASE, changed, error_of

from gainrl import plan
from gainrl.config.base import Absent
from gainrl.errors import ConfigError
from gainrl.plan.backends import REGISTRY

# --- overrides, runs, benchmarks -----------------------------------------------------------------


def test_overrides_by_model_and_by_data_set_the_data_set_wins():
    data = changed(
        "overrides",
        to={
            "nano": {"training": {"max_response": 50, "lr": 0.01}},
            "chain": {"training": {"max_response": 70}, "evaluation": {"samples": 4}},
        },
    )
    preset = plan.load(data)
    both = preset.training_for("chain", "nano")
    assert (both.max_response, both.lr, both.steps) == (70, 0.01, 4)
    assert preset.training_for("word", "nano").max_response == 50
    assert preset.training_for("chain", "other").lr == preset.training.lr
    assert preset.training_for("word", "other") == preset.training
    assert preset.evaluation_for("chain", "nano").samples == 4
    assert preset.evaluation_for("word", "nano") == preset.evaluation


def test_each_run_is_named_once_in_the_presets_order():
    preset = plan.load(BASE)
    keys = plan.runs(preset)
    assert len(keys) == len(set(keys)) == 14
    assert [f"{key.parent}/{key.seed}" for key in keys[:3]] == [
        "nano/chain/grpo/0",
        "nano/chain/grpo/1",
        "nano/chain/gain/0",
    ]
    assert len(plan.runs(preset, ["table1"])) == 8
    assert len(plan.runs(preset, ["table2"])) == 8


def test_benchmarks_are_all_that_a_runs_experiments_ask_for():
    preset = plan.load(BASE)
    assert plan.benchmarks_of(preset, "nano", "chain", "gain") == ["chain"]
    assert plan.benchmarks_of(preset, "nano", "chain", "grpo") == ["chain", "word", "gsm"]
    assert plan.benchmarks_of(preset, "other", "chain", "adarft") == ["word", "gsm"]
    assert plan.experiments_of(preset, "nano", "chain", "grpo") == ["table1", "table2"]


def test_a_policy_that_draws_several_times_needs_a_backend_that_does():
    data = changed("methods", "grpo", to={"curriculum": {"name": "dapo", "limit": 3}})
    data["overrides"] = {"other": {"training": {"backend": "verl"}}}
    plan.load(data)
    data["overrides"] = {"other": {"training": {"backend": "plain_backend:PlainBackend"}}}
    assert error_of(data) == (
        "config: methods.grpo: training.backend 'plain' cannot train it (other on chain): "
        "curriculum 'dapo' draws several times in a step"
    )


def test_the_start_is_tested_by_the_engine_that_tests_the_checkpoints():
    data = changed("overrides", to={"other": {"training": {"backend": "verl"}}})
    data["testing"] = {"engine": "transformers", "vllm": {"enforce_eager": True}}
    preset = plan.load(data)
    assert plan.engine_of(preset, "chain", "nano") == "transformers"
    assert plan.engine_of(preset, "word", "other") == "vllm"  # whatever a protocol is followed by
    slices = [plan.evaluation_slice(preset, model, "word") for model in ("nano", "other")]
    assert "engine" not in slices[0]
    assert (slices[1]["engine"], slices[1]["vllm"]) == ("vllm", {"enforce_eager": True})
    local = plan.load({**data, "overrides": {}})
    assert "engine" not in plan.evaluation_slice(local, "other", "word")


def test_runs_on_verl_are_a_job_each():
    data = changed("overrides", to={"other": {"training": {"backend": "verl"}}})
    plan.load(data)
    assert error_of({**data, "seeds_together": True}) == (
        "config: seeds_together: other/chain/grpo is trained on verl, where each seed is a job"
    )


def test_no_two_files_share_a_path():
    preset, layout = plan.load(BASE), plan.Layout("small", Path("out"))
    paths = [layout.run(key) for key in plan.runs(preset)]
    paths += [layout.model(name) for name in preset.models]
    paths += [layout.split(d, s) for d in preset.datasets for s in ("train", "eval", "warmup")]
    paths += [layout.order("nano", d, o) for d in preset.datasets for o in plan.ORDERS]
    paths += [layout.start(m, d) for m in preset.models for d in preset.datasets]
    assert len(set(paths)) == len(paths)
    assert all(path.is_relative_to("out/small") for path in paths)


# --- slices --------------------------------------------------------------------------------------

GRPO, GAIN = ("nano", "chain", "grpo"), ("nano", "chain", "gain")


def slices(data: dict[str, Any]) -> dict[str, str]:
    preset = plan.load(data)
    found = {
        "data chain": plan.dataset_slice(preset, "chain"),
        "data word": plan.dataset_slice(preset, "word"),
        "model nano": plan.model_slice(preset, "nano"),
        "model other": plan.model_slice(preset, "other"),
        "score chain": plan.score_slice(preset, "nano", "chain"),
        "score word": plan.score_slice(preset, "nano", "word"),
        "difficulty chain": plan.difficulty_slice(preset, "nano", "chain"),
        "evaluate chain": plan.evaluation_slice(preset, "nano", "chain"),
        "evaluate word": plan.evaluation_slice(preset, "nano", "word"),
        "run chain grpo": plan.run_slice(preset, *GRPO),
        "run chain gain": plan.run_slice(preset, *GAIN),
        "run word gain": plan.run_slice(preset, "nano", "word", "gain"),
        "run other": plan.run_slice(preset, "other", "chain", "adarft"),
        "table1": plan.table_slice(preset, "table1"),
        "table2": plan.table_slice(preset, "table2"),
    }
    return {name: plan.digest(value) for name, value in found.items()}


RUNS = {"run chain grpo", "run chain gain", "run word gain", "run other"}
CHAIN_TESTS = {"evaluate chain", "run chain grpo", "run chain gain"}
WORD_TESTS = {"evaluate word", "run word gain", "run chain grpo", "run other"}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("training", "lr"), 1e-3, RUNS),
        (("training", "steps"), 5, RUNS),
        (("statistics", "resamples"), 50, {"table1", "table2"}),
        (("experiments", "table1", "caption"), "New", {"table1"}),
        (("methods", "gain", "label"), "GAIN", {"table1"}),
        (("methods", "gain", "curriculum"), "gain", {"run chain gain", "run word gain"}),
        (("methods", "gain", "order"), "length", {"run chain gain", "run word gain"}),
        (("scoring", "batch_tokens"), 64, {"score chain", "score word"}),
        (("models", "nano", "hidden"), 64, {"model nano"}),
        (("models", "other", "revision"), "v2", {"model other"}),
        (("datasets", "word", "train"), 64, {"data word"}),
        # The prompts of the warm-up are part of the model.
        (("datasets", "chain", "train"), 64, {"data chain", "model nano"}),
        (
            ("datasets", "word", "prompt"),
            "Q: {question}",
            {"data word", "score word", *WORD_TESTS},
        ),
        (("evaluation", "samples"), 2, {"evaluate chain", "evaluate word", *RUNS}),
        (
            ("overrides", "chain", "evaluation"),
            {"samples": 2},
            {*CHAIN_TESTS, "run other"},
        ),
        (("tracking", "experiment"), "elsewhere", set()),
        (("cost", "peak_tflops"), 989.0, set()),
        (("seeds",), [0, 1, 2], set()),
        (("methods", "new"), {"curriculum": "uniform"}, set()),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_an_edit_changes_the_slices_of_what_depends_on_it_and_no_other(path, value, expected):
    before, after = slices(BASE), slices(changed(*path, to=value))
    assert {name for name in before if before[name] != after[name]} == expected


def test_every_training_key_but_none_of_the_paths_reaches_a_runs_slice():
    preset = plan.load(BASE)
    found = set(plan.run_slice(preset, *GAIN)["training"])
    fields = type(preset.training).model_fields
    off = {key for key in fields if any(isinstance(m, Absent) for m in fields[key].metadata)}
    assert found == set(fields) - off
    assert off >= REGISTRY["local"].options


# --- names on the command line -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "wrong", "near"),
    [
        ("model", "nanno", "nano"),
        ("dataset", "chian", "chain"),
        ("benchmark", "wrd", "word"),
        ("method", "gian", "gain"),
        ("order", "angel", "angle"),
    ],
)
def test_a_name_that_the_preset_lacks(kind, wrong, near):
    preset = plan.load(BASE)
    plan.check_names(preset, {kind: near})
    with pytest.raises(ConfigError) as caught:
        plan.check_names(preset, {kind: wrong})
    assert str(caught.value) == f"preset 'small' has no {kind} '{wrong}'; did you mean '{near}'?"


def test_the_data_folder_must_exist(monkeypatch, tmp_path):
    monkeypatch.delenv(plan.DATA_DIR, raising=False)
    assert plan.data_dir() is None
    monkeypatch.setenv(plan.DATA_DIR, str(tmp_path))
    assert plan.data_dir() == tmp_path
    monkeypatch.setenv(plan.DATA_DIR, str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=f"{plan.DATA_DIR}: no such folder: "):
        plan.data_dir()
