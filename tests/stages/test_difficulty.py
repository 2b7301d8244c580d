"""Measured difficulties: rollouts that are kept, shared by shards and gone on with after a kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
from signal_places import KEYS, context_of

from gainrl import plan
from gainrl.errors import DataError
from gainrl.evaluation.engines import TransformersEngine
from gainrl.records import DIFFICULTY, read_json, read_lines, read_metadata, read_table
from gainrl.stages import difficulty, prepare
from gainrl.stages.data import prepare_data
from gainrl.stages.prompts import choose_prompts
from gainrl.stages.tracking import initialise_tracking

PRELOAD = ["gainrl.stages.difficulty", "transformers.models.llama.modeling_llama", "pytest"]
SAMPLES = 2
MANY = {"difficulty_samples": SAMPLES, "difficulty_shards": 3}


def context(root: Path, **scoring):
    """The tiny preset, whose rollouts come in batches of eight."""
    found = context_of(root, difficulty_samples=SAMPLES, **scoring)
    testing = found.preset.testing.model_copy(update={"batch": 8})
    preset = found.preset.model_copy(update={"testing": testing})
    return type(found)(preset, root)


def table(root: Path) -> pd.DataFrame:
    return read_table(context(root).layout.signal(*KEYS, "difficulty"), DIFFICULTY)


def parts(root: Path) -> list[Path]:
    return sorted(context(root).layout.difficulty_parts(*KEYS).glob("*"))


def killed(root: Path, batches: int) -> None:
    """In a process of its own: measure, and die in the middle of writing down a batch."""
    answers = TransformersEngine.answers

    def then_die(self, *arguments):
        for number, found in enumerate(answers(self, *arguments)):
            if number == batches:
                (part,) = parts(root)
                with open(part, "a") as file:
                    file.write('{"row": 1, "sam')  # torn
                os.kill(os.getpid(), signal.SIGKILL)
            yield found

    TransformersEngine.answers = then_die
    difficulty.measure_difficulty(context(root), *KEYS)


@pytest.fixture(scope="module", autouse=True)
def _own_store():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("difficulty") / "prepared"
    initialise_tracking(context(root))
    prepare_data(context(root), "chain")
    prepare.build_model(context(root), "nano")
    choose_prompts(context(root), *KEYS)
    return root


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory) -> Path:
    root = shutil.copytree(prepared, tmp_path_factory.mktemp("whole") / "root")
    difficulty.measure_difficulty(context(root), *KEYS)
    return root


def test_a_pass_rate_is_of_all_rollouts_to_a_prompt(whole):
    found = table(whole)
    assert len(found) == read_json(context(whole).layout.prompts_note(*KEYS))["kept"]
    assert (found["samples"] == SAMPLES).all()
    assert (found["difficulty"] == 100 * (1 - found["pass_rate"])).all()
    assert parts(whole) == []


def test_what_it_took_in_tokens_is_noted(whole, prepared, tmp_path):
    """Every prompt once, and all responses, as they lay in the shards' files."""
    root = shutil.copytree(prepared, tmp_path / "root")
    difficulty.generate_rollouts(context(root), *KEYS, 0)
    rows = [row for part in parts(root) for row in read_lines(part) if "row" in row]
    about = read_metadata(context(whole).layout.signal(*KEYS, "difficulty"))
    assert about["rollout_tokens"] == sum(len(row["tokens"]) for row in rows)
    assert len(table(whole)) < about["prompt_tokens"] < about["rollout_tokens"] * 100


def test_a_killed_job_goes_on_where_it_was(prepared, whole, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "root")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOAD)
    process = processes.Process(target=killed, args=(root, 3))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    (part,) = parts(root)
    kept = [row for row in read_lines(part) if "row" in row]
    assert len(kept) == 3 * 8
    asked = []
    answers = TransformersEngine.answers
    with pytest.MonkeyPatch.context() as patch:

        def counted(self, requests, *rest):
            asked.extend(requests)
            return answers(self, requests, *rest)

        patch.setattr(TransformersEngine, "answers", counted)
        difficulty.measure_difficulty(context(root), *KEYS)
    assert len(asked) == len(table(whole)) * SAMPLES - len(kept)
    pd.testing.assert_frame_equal(table(root), table(whole))


def test_shards_give_the_same_table_in_any_order(prepared, whole, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "root")
    many = context(root, difficulty_shards=3)
    for shard in (2, 0):
        difficulty.generate_rollouts(many, *KEYS, shard)
    missing = re.escape(f"{many.layout.difficulty_parts(*KEYS)}: ")
    with pytest.raises(DataError, match=rf"^{missing}\d+ answers are missing$"):
        difficulty.gather_difficulty(many, *KEYS)
    difficulty.generate_rollouts(many, *KEYS, 1)
    assert [path.name for path in parts(root)] == [f"{shard}-of-3.jsonl" for shard in range(3)]
    difficulty.gather_difficulty(many, *KEYS)
    pd.testing.assert_frame_equal(table(root), table(whole))
    with pytest.raises(DataError, match=r"^shard 3: there are 3 shards, so 0 to 2$"):
        difficulty.generate_rollouts(many, *KEYS, 3)


def test_rollouts_of_another_configuration_are_not_used(prepared, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "root")
    many = context(root, difficulty_shards=2)
    difficulty.generate_rollouts(many, *KEYS, 0)
    part, *_ = parts(root)
    before = part.read_text()
    difficulty.generate_rollouts(many, *KEYS, 0)
    assert part.read_text() == before
    other = many.preset.evaluation.model_copy(update={"seed": 99})
    changed = type(many)(many.preset.model_copy(update={"evaluation": other}), root)
    difficulty.generate_rollouts(changed, *KEYS, 0)
    head, *rows = read_lines(part)
    assert head["slice"] != json.loads(before.splitlines()[0])["slice"]
    assert len([row for row in rows if "row" in row]) == before.count('"row"')


def test_the_number_of_shards_changes_no_fingerprint_and_the_engine_does():
    one = context_of(Path(), difficulty_samples=SAMPLES).preset
    many = context_of(Path(), **MANY).preset
    assert plan.difficulty_slice(one, *KEYS) == plan.difficulty_slice(many, *KEYS)
    assert plan.score_slice(one, *KEYS) == plan.score_slice(many, *KEYS)
    testing = one.testing.model_copy(update={"engine": "vllm"})
    by_vllm = one.model_copy(update={"testing": testing})
    before, after = (plan.difficulty_slice(each, *KEYS) for each in (one, by_vllm))
    assert after == {**before, "engine": "vllm", "vllm": {}}
    assert "engine" not in before  # tables from before there was a choice stay valid
    assert plan.rollouts_slice(by_vllm, *KEYS) == before  # what studies sample by transformers
