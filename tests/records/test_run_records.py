"""The records of runs: known keys are written; what is read back names file, row and key."""

import json

import pytest
from pydantic import ValidationError

from gainrl.errors import DataError
from gainrl.records import append_lines
from gainrl.records.runs import DoneRecord, RunRecord, StepRecord, TimingRecord, parse, read_rows

STEP = {
    "step": 1,
    "accuracy": 0.5,
    "reward": 0.25,
    "signal": None,
    "zero_variance": 1,
    "rollout_tokens": 40,
    "prompt_tokens": 20,
}
RUN = {
    "preset": "nano",
    "model": "tiny",
    "dataset": "chain",
    "method": "grpo",
    "seed": 0,
    "config_hash": "a",
    "commit": "b",
    "versions": {"gainrl": "1"},
    "training": {
        "steps": 4,
        "backend": "local",
        "prompts": 2,
        "rollouts": 8,
        "mini_batch": None,
        "kl": 0.0,
        "lr": 1e-4,
        "betas": [0.9, 0.99],
    },
    "evaluation": {"samples": 1},
    "slice": {"method": {"algorithm": "grpo", "curriculum": {"name": "uniform"}}, "seed": 0},
    "label": None,
    "overrides": ["lr"],
}


def test_a_step_is_written_as_it_was_given():
    row = StepRecord.of({**STEP, "loss": 0.0}, {"mu": 3})
    assert row == {**STEP, "loss": 0.0, "curriculum/mu": 3.0}
    assert "entropy" not in row


def test_run_json_is_written_as_it_was_given():
    row = RunRecord.model_validate(RUN).row()
    assert json.dumps(row, sort_keys=True) == json.dumps(RUN, sort_keys=True)


def test_a_writer_cannot_invent_or_forget_a_key():
    with pytest.raises(ValidationError, match="unknown key 'acuracy'"):
        StepRecord.of({**STEP, "acuracy": 1.0}, {})
    with pytest.raises(ValidationError, match="reward"):
        StepRecord.of({key: value for key, value in STEP.items() if key != "reward"}, {})


def test_a_number_that_is_none_is_left_to_the_file(tmp_path):
    row = StepRecord.of({**STEP, "loss": float("nan")}, {})
    with pytest.raises(DataError, match="'loss' of step 1 is nan"):
        append_lines(tmp_path / "steps.jsonl", [row])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": None}, "key 'step' is None, which is not int"),
        ({"step": 1.5}, "key 'step' is 1.5, which is not int"),
        ({"accuracy": True}, "key 'accuracy' is True, which is not a number"),
        ({"accuracy": 1.5}, r"key 'accuracy' is 1.5, not a share in \[0, 1\]"),
        ({"zero_variance": -1}, r"key 'zero_variance' is -1, not a share in \[0, 1\]"),
        ({"prompt_tokens": 0}, "key 'prompt_tokens' is 0, not over 0"),
        ({"reward": float("inf")}, "key 'reward' is inf, which is not a number"),
        ({"rewards": 1.0}, "unknown key 'rewards'.*reward"),
        ({"curriculums/mu": 1.0}, "unknown key 'curriculums/mu'"),
    ],
)
def test_a_wrong_row_is_one_line_with_file_row_and_key(tmp_path, change, message):
    path = tmp_path / "steps.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (STEP, {**STEP, **change})))
    with pytest.raises(DataError, match=f"^{path}: row 2: {message}") as caught:
        read_rows(path, StepRecord)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", STEP)
def test_a_missing_key_is_named(tmp_path, key):
    path = tmp_path / "steps.jsonl"
    path.write_text(json.dumps({name: STEP[name] for name in STEP if name != key}) + "\n")
    with pytest.raises(DataError, match=f"row 1: key '{key}' is missing"):
        read_rows(path, StepRecord)


def test_a_renamed_key_is_missed_before_the_new_one_is_unknown():
    timing = {"step": 1, "seconds_rollout": 1.0, "seconds_train": 1.0, "seconds": 2.0}
    with pytest.raises(DataError, match=r"^t: key 'seconds_step' is missing"):
        parse(TimingRecord, timing, "t")


def test_what_is_inside_run_json_is_named_with_its_section():
    training = {key: value for key, value in RUN["training"].items() if key != "kl"}
    with pytest.raises(DataError, match=r"^run\.json: training: key 'kl' is missing$"):
        parse(RunRecord, {**RUN, "training": training}, "run.json")
    with pytest.raises(DataError, match=r"^run\.json: slice\.method: key 'algorithm' is missing$"):
        parse(RunRecord, {**RUN, "slice": {"method": {}}}, "run.json")
    with pytest.raises(DataError, match=r"^done\.json: not a mapping of keys$"):
        parse(DoneRecord, [], "done.json")
