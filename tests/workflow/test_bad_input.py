"""What a user gets wrong: one line that names it, exit code 2, and nothing half-written.

The same checks run in this process where a stage imports torch, and in a process of its own where
it does not; `test_in_a_process_of_its_own` does one of the former as a user would.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stage_calls import CHAIN, NANO, PRESET, Outcome, from_file

from gainrl.config.models import Nano
from gainrl.models import nano
from gainrl.records import read_lines

# --- names and presets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model", "--model", "nanno"), "no model 'nanno'; did you mean 'nano'?"),
        (("data", "--dataset", "chian"), "no dataset 'chian'; did you mean 'chain'?"),
        (
            ("train", *NANO, *CHAIN, "--method", "grop", "--seed", "0"),
            "no method 'grop'; did you mean 'grpo'?",
        ),
        (("evaluate", *NANO, "--benchmark", "word"), "no benchmark 'word'; known: chain"),
        (("order", *NANO, *CHAIN, "--order", "angel"), "no order 'angel'; did you mean 'angle'?"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_name_that_the_preset_lacks(place, arguments, message):
    assert f"preset 'bad' has {message}" in place.gainrl(*arguments).message
    assert place.files() == []


def test_a_result_that_the_preset_lacks(place):
    message = place.gainrl("make", "tabel1").message
    assert "the preset has no result 'tabel1'; did you mean 'table1'?" in message
    assert place.files() == []


def test_a_preset_that_is_missing_or_broken(place):
    preset = place.folder / "none.yaml"
    command = [sys.executable, "-m", "gainrl.cli", "check", "--preset", str(preset)]
    for text, words in (
        (None, "No such file"),
        ("a: [", "not valid YAML"),
        ("x: 1", "unknown key"),
    ):
        if text is not None:
            preset.write_text(text)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        message = Outcome(done.returncode, done.stdout, done.stderr).message
        assert message.startswith(f"{preset}: ")
        assert words in message


def test_in_a_process_of_its_own(place):
    path = place.folder / "mine.jsonl"
    outcome = place.process("data", "--dataset", "mine", datasets=from_file(path))
    assert outcome.message == f"{path}: no such file"
    assert place.files() == []


# --- data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ('{"question": "1", "answer": 2}\n{"question": \n', "line 2: not valid JSON"),
        ('{"question": "1", "answer": 2}\n{"question": "2"}\n', "line 2 has no answer in 'answer'"),
        ('{"question": "1", "answer": 2}\n{"question": "2", "answer": null}\n', "line 2 has no"),
        ('{"question": " ", "answer": 2}\n', "line 1: the question in 'question' is empty"),
        ('{"problem": "1", "answer": 2}\n', "no column 'question' for the question"),
        ("[1]\n", "line 1 is a list, not a record"),
        ("", "holds no rows"),
    ],
)
def test_a_file_that_cannot_be_used(place, text, message):
    path = place.folder / "mine.jsonl"
    if text is not None:
        path.write_text(text)
    outcome = place.gainrl("data", "--dataset", "mine", datasets=from_file(path))
    assert outcome.message.startswith(f"{path}: {message}")
    assert place.files() == []


def test_more_rows_than_there_are(place):
    path = place.folder / "mine.jsonl"
    path.write_text('{"question": "1", "answer": 2}\n')
    message = place.gainrl("data", "--dataset", "mine", datasets=from_file(path, train=5)).message
    assert "mine" in message
    assert "5" in message
    assert place.files() == []


def test_a_folder_of_local_copies_that_does_not_exist(place, monkeypatch):
    monkeypatch.setenv("GAINRL_DATA_DIR", str(place.folder / "none"))
    message = place.gainrl("data", *CHAIN).message
    assert message == f"GAINRL_DATA_DIR: no such folder: {place.folder / 'none'}"


def test_a_registered_data_set_without_its_local_copy(place, monkeypatch):
    """The hub is asked then, which this test does not reach."""
    monkeypatch.setenv("GAINRL_DATA_DIR", str(place.folder))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    datasets = {**PRESET["datasets"], "amc": {"source": "registry", "name": "amc"}}
    message = place.gainrl("data", "--dataset", "amc", datasets=datasets).message
    assert "Easy2Hard-Bench" in message
    assert "cannot read from the hub" in message
    assert place.files() == []


# --- prompts -------------------------------------------------------------------------------------


def test_where_long_prompts_are_an_error_one_is_named_before_any_work(ready):
    path = ready.folder / "mine.jsonl"
    rows = [{"question": f"{row} + 1 = ?", "answer": row + 1} for row in range(6)]
    rows[1]["question"] = "1" + " + 1" * 60 + " = ?"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    datasets = from_file(path, eval_file=str(path), overlong="error")
    experiments = {"table1": {**PRESET["experiments"]["table1"], "datasets": ["mine"]}}
    changes = {"datasets": datasets, "experiments": experiments}
    ready.succeed("tracking", "init", **changes)
    ready.succeed("data", "--dataset", "mine", **changes)
    message = ready.gainrl("prompts", *NANO, "--dataset", "mine", **changes).message
    assert message.startswith(str(ready.home / "data/mine/train.parquet"))
    assert "1 of 6 prompts have more than 88 tokens (the model's context of 96" in message
    assert "'mine/train/0001'" in message
    assert not (ready.home / "signals/nano/mine").exists()


def local_model(folder: Path, template: str | None) -> dict[str, Any]:
    """A model folder whose chat template is another."""
    tokenizer = nano.build_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    spec = Nano(source="nano", hidden=16, layers=1, heads=2, feed_forward=32, context=96)
    nano.build_model(spec, len(tokenizer)).save_pretrained(folder)
    return {"models": {"nano": {"source": "local", "path": str(folder)}}}


def test_a_chat_template_without_a_prefix_cannot_be_scored_with(ready):
    changes = local_model(ready.folder / "given", "{{ messages[-1]['content'] }} <|assistant|>")
    shutil.rmtree(ready.home / "models")
    ready.succeed("model", *NANO, **changes)
    message = ready.gainrl("score", *NANO, *CHAIN, **changes).message
    assert "the prompts share no prefix" in message
    assert not (ready.home / "signals/nano/chain/scores.parquet").exists()


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}<|user|>{% endfor %}", "does not pass on the question"),
        (None, "the tokenizer has no chat template"),
    ],
    ids=["question", "none"],
)
def test_a_chat_template_that_cannot_be_used(ready, template, message):
    changes = local_model(ready.folder / "given", template)
    shutil.rmtree(ready.home / "models")
    assert message in ready.gainrl("model", *NANO, **changes).message
    assert not (ready.home / "models" / "nano").exists()


# --- models and records --------------------------------------------------------------------------


def test_a_model_folder_without_a_configuration(place):
    given = place.folder / "given"
    given.mkdir()
    models = {"nano": {"source": "local", "path": str(given)}}
    message = place.gainrl("model", *NANO, models=models).message
    assert message == f"{given}: not a Hugging Face model folder (no config.json)"
    assert place.files() == []
    assert not (place.home / "models" / "nano").exists()


@pytest.mark.parametrize(
    "damage", ["config.json", "model.safetensors", "tokenizer.json", "another size"]
)
def test_a_damaged_model_folder(ready, damage):
    folder = ready.home / "models" / "nano"
    if damage == "another size":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    else:
        (folder / damage).write_bytes(b"{")
    reason = (
        "not of config.json's shape: " if damage == "another size" else "cannot load the model: "
    )
    message = ready.gainrl("score", *NANO, *CHAIN).message
    assert message.startswith(f"{folder}: {reason}")
    assert not (ready.home / "signals/nano/chain/scores.parquet").exists()


def test_a_stage_before_its_inputs_are_there(place):
    place.succeed("tracking", "init")
    assert "models/nano" in place.gainrl("score", *NANO, *CHAIN).message
    assert (
        "no such file"
        in place.gainrl("train", *NANO, *CHAIN, "--method", "grpo", "--seed", "0").message
    )
    assert "the run is not finished" in place.gainrl("make", "table1").message
    assert not (place.home / "table1.csv").exists()


def test_a_damaged_table(ready):
    train = ready.home / "data/chain/train.parquet"
    prompts = ready.home / "signals/nano/chain/prompts.parquet"
    for stage, path in (("score", prompts), ("prompts", train)):
        path.write_bytes(path.read_bytes()[:-20])
        message = ready.gainrl(stage, *NANO, *CHAIN).message
        assert message.startswith(f"{path}: not a readable Parquet file")


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", *NANO, *CHAIN, "--method", "grpo", "--seed", "0"),
        ("evaluate", *NANO, "--benchmark", "chain"),
        ("tracking", "check"),
    ],
    ids=lambda value: value[0],
)
def test_without_the_tracking_index(ready, arguments):
    index = ready.home / "tracking.json"
    index.unlink()
    message = ready.gainrl(*arguments).message
    assert message.startswith(f"{index}: no such file")
    assert not list(ready.home.rglob("done.json"))
    assert not (ready.home / "evals" / "nano" / "chain.json").exists()


def test_a_backend_whose_environment_is_not_here(ready, monkeypatch):
    monkeypatch.chdir(ready.folder)
    training = {**PRESET["training"], "backend": "verl"}
    train = ("train", *NANO, *CHAIN, "--method", "grpo", "--seed", "0")
    message = ready.gainrl(*train, training=training).message
    assert message.startswith(".environments/verl-auto/bin/python: no Python of verl's environment")
    message = ready.gainrl(*train, training=training, verl={"python": "/none/python"}).message
    assert message.startswith("/none/python: no Python of verl's environment")
    assert not list(ready.home.rglob("runs"))


def test_a_response_that_fills_the_models_context(ready):
    training = {**PRESET["training"], "max_response": 256}
    train = ("train", *NANO, *CHAIN, "--method", "grpo", "--seed", "0")
    ready.succeed("evaluate", *NANO, "--benchmark", "chain")
    message = ready.gainrl(*train, training=training).message
    assert message.startswith("training.max_response: 256 tokens leave no room for a prompt")


def test_more_prompts_a_step_than_there_are(ready):
    training = {**PRESET["training"], "prompts": 9}
    train = ("train", *NANO, *CHAIN, "--method", "grpo", "--seed", "0")
    message = ready.gainrl(*train, training=training).message
    assert message == "training.prompts is 9, but the data set has 8 prompts"
    assert not list(ready.home.rglob("steps.jsonl"))


def test_a_checkpoint_of_another_configuration(ready, monkeypatch):
    train = ("train", *NANO, *CHAIN, "--method", "grpo", "--seed", "0")
    ready.succeed("evaluate", *NANO, "--benchmark", "chain")
    from gainrl.stages.runs import TrainingRun

    with monkeypatch.context() as patched:
        for last in ("_finish", "clean"):  # killed just before its end
            patched.setattr(TrainingRun, last, lambda _: None)
        ready.succeed(*train)
    (folder,) = ready.home.glob("runs/nano/chain/grpo/seed0")
    before = (folder / "steps.jsonl").read_bytes()
    message = ready.gainrl(*train, training={**PRESET["training"], "lr": 0.01}).message
    assert "written under another configuration" in message
    assert "checkpoints" in message
    assert (folder / "steps.jsonl").read_bytes() == before
    assert not (folder / "done.json").exists()
    ready.succeed(*train)
    assert (folder / "done.json").exists()
    assert len(read_lines(folder / "steps.jsonl")) == 2
