"""Scoring jobs that are killed: what they go on from, and what they may not reuse."""

import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from signal_places import KEYS, context_of, signals
from torch.nn.modules.module import register_module_forward_hook
from transformers.models.llama.modeling_llama import LlamaModel

from gainrl.errors import DataError
from gainrl.records import SCORES, read_table
from gainrl.signals.parts import Parts, read_shard
from gainrl.stages import prepare, score
from gainrl.stages.data import prepare_data
from gainrl.stages.prompts import choose_prompts
from gainrl.stages.tracking import initialise_tracking

PRELOAD = [f"gainrl.stages.{name}" for name in ("prepare", "results", "signals")]
PRELOAD += ["transformers.models.llama.modeling_llama", "pytest"]
BATCHES = 8  # of the 32 prompts
START = 4  # passes before them: whole prompts (of two lengths), the prefix, the trial after it


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def killed_score(root, scoring, moment, shard):
    """In a process of its own: score until a moment, and no further."""
    kind, _, number = moment.partition(" ")
    left = [None] * int(number or 0)
    if kind == "saved":
        save = Parts.save

        def then_die(parts, batch):
            save(parts, batch)
            left.pop()
            if not left:
                die()

        Parts.save = then_die
    elif kind == "writing":  # what follows `number` parts is on the disk but not yet named
        replace = os.replace

        def or_die(source, target):
            if Path(target).suffix == ".npz":
                if not left:
                    die()
                left.pop()
            replace(source, target)

        os.replace = or_die
    elif kind == "tracking":  # scores.parquet is written
        score.track = lambda *_: die()
    context = context_of(root, **scoring)
    if shard is None:
        score.score_prompts(context, *KEYS)
    else:
        score.score_shard(context, *KEYS, shard)


def kill(root, moment, shard=None, **scoring):
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOAD)
    process = processes.Process(target=killed_score, args=(root, scoring, moment, shard))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def score_it(root, **options):
    """Score in this process; returns the table and how many forward passes the decoder made."""
    passes = []
    hook = register_module_forward_hook(
        lambda module, *_: passes.append(1) if isinstance(module, LlamaModel) else None
    )
    context = context_of(root, **options)
    try:
        score.score_prompts(context, *KEYS)
    finally:
        hook.remove()
    assert not list((signals(root) / "shards").glob("*"))
    return read_table(signals(root) / "scores.parquet", SCORES), len(passes)


@pytest.fixture(scope="module", autouse=True)
def _own_store():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("score") / "prepared"
    context = context_of(root)
    initialise_tracking(context)
    prepare_data(context, "chain")
    prepare.build_model(context, "nano")
    choose_prompts(context, *KEYS)
    return root


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory):
    return score_it(shutil.copytree(prepared, tmp_path_factory.mktemp("whole") / "root"))


@pytest.fixture(scope="module")
def half_done(prepared, tmp_path_factory):
    """Killed after three batches."""
    root = shutil.copytree(prepared, tmp_path_factory.mktemp("half") / "root")
    kill(root, "saved 3")
    assert len(list((signals(root) / "shards" / "0-of-1.parts").glob("*.npz"))) == 3
    return root


def test_the_uninterrupted_job_has_enough_batches(uninterrupted):
    frame, passes = uninterrupted
    assert (len(frame), passes) == (32, BATCHES + START)
    assert frame["c"].std() > 0.005


@pytest.mark.parametrize(
    ("moments", "done"),
    [
        (["saved 1"], 1),
        (["saved 3", "saved 2", "writing 1"], 6),
        (["writing 0"], 0),
        ([f"writing {BATCHES}"], BATCHES),  # the shard
        (["tracking"], BATCHES),
    ],
)
def test_a_killed_job_goes_on_where_it_stopped(prepared, uninterrupted, tmp_path, moments, done):
    root = shutil.copytree(prepared, tmp_path / "root")
    for moment in moments:
        kill(root, moment)
    frame, passes = score_it(root)
    pd.testing.assert_frame_equal(frame, uninterrupted[0], check_exact=True)
    assert passes == START + BATCHES - done


def test_killed_shards_give_the_bits_of_one_job(prepared, uninterrupted, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "root")
    kill(root, "writing 3", shard=0, shards=3)  # the batches 0, 3 and 6
    kill(root, "saved 2", shard=1, shards=3)
    frame, passes = score_it(root, shards=3)
    pd.testing.assert_frame_equal(frame, uninterrupted[0], check_exact=True)
    assert passes == 3 * START + BATCHES - 5  # each shard tries the same out


def test_gathering_leaves_nothing_of_a_killed_shard(prepared, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "root")
    kill(root, "writing 3", shard=0, shards=3)  # its batches, and half of its file
    folder, context = signals(root) / "shards", context_of(root, shards=3)
    for shard in range(3):
        score.score_shard(context, *KEYS, shard)
    assert list(folder.glob(".0-of-3.npz.*"))
    score.gather_scores(context, *KEYS)
    assert sorted(path.name for path in folder.iterdir()) == [f"{k}-of-3.npz" for k in range(3)]


@pytest.mark.parametrize(
    "options",
    [{"inter_weight": 2.0}, {"batch_tokens": 90}, {"seed": 1}, {"also": ["post_norm"]}],
    ids=str,
)
def test_parts_of_another_configuration_are_thrown_away(prepared, half_done, tmp_path, options):
    found = []
    for name, root in (("fresh", prepared), ("half", half_done)):
        root = shutil.copytree(root, tmp_path / name)
        if "seed" in options:
            prepare.build_model(context_of(root, **options), "nano")
        found.append(score_it(root, **options))
    (want, want_passes), (frame, passes) = found
    pd.testing.assert_frame_equal(frame, want, check_exact=True)
    assert passes == want_passes


def test_a_damaged_part_is_one_clear_error(half_done, tmp_path):
    root = shutil.copytree(half_done, tmp_path / "root")
    path = signals(root) / "shards" / "0-of-1.parts" / "00000-00001.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError) as caught:
        score.score_prompts(context_of(root), *KEYS)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert not (signals(root) / "scores.parquet").exists()
    path.unlink()
    score_it(root)


def test_whatever_is_in_a_file_it_is_a_shard_or_a_data_error(half_done, tmp_path):
    """Other arrays, and a byte flipped at each place of an archive's list of contents."""
    path, found = tmp_path / "part.npz", set()
    contents = [b"", b"not an archive\n"]
    for save in (np.save, np.savez):
        with path.open("wb") as file:
            save(file, np.zeros(3))
        contents.append(path.read_bytes())
    raw = (signals(half_done) / "shards" / "0-of-1.parts" / "00000-00001.npz").read_bytes()
    for place in range(raw.index(b"PK\1\2"), len(raw)):
        contents.append(bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]]))
    for content in contents:
        path.write_bytes(content)
        try:
            read_shard(path)
        except Exception as error:  # noqa: BLE001
            found.add((type(error), str(error).startswith(f"{path}: ")))
    assert found == {(DataError, True)}
