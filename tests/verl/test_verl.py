"""The verl backend on a CPU: Ray, FSDP2 and vLLM, killed and resumed (`make test-verl`)."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import place as places
import pytest
import torch
from replay import replayed

from gainrl.curricula import Setting, build
from gainrl.data.prompts import encode
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.records import read_json, read_lines
from gainrl.signals.prefill import score

pytestmark = [pytest.mark.verl, pytest.mark.timeout(1800)]
STEPS, SAVE = 12, 4


@dataclass
class Resumed:
    """A GAIN-RL run that was killed after its first checkpoint, and resumed."""

    place: places.Place
    folder: Path
    left: list[str]
    saved: Path
    output: str

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the probe wrote down."""
        found = read_lines(self.place.folder / "probe" / "curriculum.jsonl")
        return [event for event in found if event["event"] == kind and event["rows"] is not None]


@pytest.fixture(scope="module")
def resumed(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("verl")
    place = places.Place.like(prepared, folder, places.preset(folder))
    run, saved = place.run("gain"), folder / "saved"
    pointer = run / "checkpoints" / "latest_checkpointed_iteration.txt"

    def past_the_checkpoint():
        done = pointer.exists() and pointer.read_text() == str(SAVE)
        return done and len(read_lines(run / "steps.jsonl")) > SAVE

    process = place.start(*place.train("gain"))
    places.kill_when(process, past_the_checkpoint, 900)
    # Ray's agents look for their store for a while, sometimes more than a minute, before they end.
    deadline = time.monotonic() + 180
    while places.processes_of(run) and time.monotonic() < deadline:
        time.sleep(0.5)
    left = places.processes_of(run)
    shutil.copytree(run / "checkpoints" / f"global_step_{SAVE}", saved)
    output = place.gainrl(*place.train("gain"))
    return Resumed(place, run, left, saved, output)


def test_a_killed_launcher_takes_verl_with_it(resumed):
    assert resumed.left == []
    assert places.processes_of(resumed.folder) == []


def test_the_run_goes_on_from_its_checkpoint_and_leaves_the_records_of_any_run(resumed):
    assert f"going on from step {SAVE}" in resumed.output
    steps = read_lines(resumed.folder / "steps.jsonl")
    assert [row["step"] for row in steps] == list(range(1, STEPS + 1))
    tests = read_lines(resumed.folder / "eval.jsonl")
    assert [row["step"] for row in tests] == [0, 6, 12]
    assert {row["samples"] for row in tests} == {4}
    done = read_json(resumed.folder / "done.json")
    assert done["steps"] == STEPS
    assert not (resumed.folder / "checkpoints").exists()
    answers = pd.read_parquet(resumed.folder / "samples" / "sevens.parquet")
    assert answers["correct"].mean() == pytest.approx(done["final"]["sevens"])
    assert answers["tokens"].mean() == pytest.approx(tests[-1]["response_length"])


def test_the_curriculum_goes_on_exactly(resumed):
    data = torch.load(resumed.saved / "data.pt", weights_only=True)
    state = json.loads(data["curriculum"])
    drawn = resumed.events("drawn")
    # The killed process drew step SAVE + 1 too; after it come the batches of the resumed one.
    first, again = drawn[SAVE], drawn[-(STEPS - SAVE)]
    assert again["before"] == first["before"] == state
    assert again["rows"] == first["rows"]
    curriculum = build(
        {"name": "gain", "step": 0.3, "sigma": 0.2}, Setting(32, 8, 0, np.arange(32))
    )
    curriculum.load_state_dict(state)
    assert curriculum.metrics()["mu"] > 0  # it had moved, or this test would show nothing


def test_the_signal_is_the_scorers_on_the_same_weights(resumed):
    scores = pd.read_parquet(resumed.place.home / "signals/nano/sevens/scores.parquet")
    table = pd.read_parquet(resumed.place.home / "data/sevens/train.parquet")
    start = scores.set_index("id").loc[table["id"], "c"].to_numpy()
    observed = resumed.events("observed")
    np.testing.assert_allclose(observed[0]["signal"], start[observed[0]["rows"]], atol=1e-5)

    weights = resumed.saved / "actor" / "huggingface"
    tokenizer = load_tokenizer(weights)
    prompts = encode(tokenizer, list(table["id"]), list(table["question"]))
    trained = score(load_model(weights), prompts, 2048)
    later = (trained["c_intra"] + trained["c_inter"]).to_numpy()
    event = observed[-(STEPS - SAVE)]
    np.testing.assert_allclose(event["signal"], later[event["rows"]], atol=1e-5)
    assert np.abs(later - start).max() > 1e-3  # other weights


def test_rollout_and_trainer_agree_on_probabilities(resumed):
    batch = torch.load(resumed.place.folder / "probe" / "batch.pt", weights_only=True)
    rollout, trainer = (torch.cat(batch[f"{name}_log_probs"]) for name in ("rollout", "old"))
    assert (rollout.exp() - trainer.exp()).abs().max() < 1e-5


def test_accuracy_rises_on_an_easy_task(resumed):
    first, *_, last = read_lines(resumed.folder / "eval.jsonl")
    assert first["accuracy"] < 0.25
    assert last["accuracy"] > first["accuracy"] + 0.4


def test_the_tracked_run_is_complete(resumed):
    from mlflow import MlflowClient

    assert "missing" not in resumed.place.gainrl("tracking", "check")
    note = read_json(resumed.folder / "tracking.json")
    store = f"sqlite:///{resumed.place.folder / 'results' / 'mlflow.db'}"
    client = MlflowClient(store)
    run = client.get_run(note["run_id"])
    assert run.info.status == "FINISHED"
    for row in read_lines(resumed.folder / "steps.jsonl"):
        history = client.get_metric_history(run.info.run_id, "accuracy")
        assert {point.step: point.value for point in history}[row["step"]] == row["accuracy"]


def test_one_batch_gives_the_local_trainer_the_same_advantages_and_losses(resumed):
    (record, _), first = replayed(resumed.place), read_lines(resumed.folder / "steps.jsonl")[0]
    for key in ("loss", "entropy", "grad_norm", "signal", "response_length", "accuracy"):
        assert record[key] == pytest.approx(first[key], abs=1e-5, rel=1e-4), key
    assert record["prompt_tokens"] == first["prompt_tokens"]


def test_what_comes_after_a_step_is_recorded(resumed):
    rows = read_lines(resumed.folder / "overheads.jsonl")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert [row["step"] for row in rows if "seconds_start" in row] == [1, SAVE + 1]
    assert [row["step"] for row in rows if "seconds_save" in row] == [4, 8, 12]
    assert [row["step"] for row in rows if "seconds_tests" in row] == [6, 12]
    assert all(row["seconds_sync"] > 0 for row in rows)
    assert all(value > 0 for row in rows for value in row.values())


def test_what_the_curriculum_and_the_signal_cost(resumed):
    rows = read_lines(resumed.folder / "timing.jsonl")[-6:]
    shares = [(row["seconds_gainrl"] + row["seconds_signal"]) / row["seconds_step"] for row in rows]
    print(f"curriculum and signal: {100 * statistics.median(shares):.2f}% of a step")
    assert statistics.median(shares) < 0.05  # a nano step takes a second; a real one minutes


def test_a_checkpoint_of_another_configuration_is_refused(resumed):
    changed = {**resumed.place.content}
    changed["training"] = {**changed["training"], "lr": 1e-4}
    run = resumed.place.run("grpo")
    (run / "checkpoints" / "global_step_4").mkdir(parents=True)
    (run / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("4")
    (run / "checkpoints" / "config_hash").write_text("0123456789ab")
    with resumed.place.start(*resumed.place.train("grpo")) as process:
        output = process.communicate(timeout=60)[0]
    assert process.returncode != 0
    assert "written under another configuration" in output.splitlines()[-1]
    assert not (run / "steps.jsonl").exists()
