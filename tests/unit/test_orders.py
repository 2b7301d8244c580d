"""The stages that score and order: killed jobs, what they may reuse, and each order by hand."""

import json
import math
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch.nn.modules.module import register_module_forward_hook
from transformers.models.llama.modeling_llama import LlamaModel

from gainrl import planning
from gainrl.errors import DataError
from gainrl.models.resources import CPU_BYTES, scoring_dtype, token_budget
from gainrl.records import ORDER, SCORES, check_table, read_metadata, read_table, write_table
from gainrl.signals.parts import Parts, read_shard
from gainrl.stages import prepare, results, score
from gainrl.stages.common import Context
from gainrl.stages.signals import make_order

TINY = Path(__file__).parents[2] / "experiments" / "tiny.yaml"
KEYS = ("nano", "chain")
PRELOAD = [f"gainrl.stages.{name}" for name in ("prepare", "results", "signals")]
PRELOAD += ["transformers.models.llama.modeling_llama", "pytest"]
BATCHES = 8  # of the 32 prompts


def context_of(root, seed=0, **scoring):
    """The tiny preset with a model of random weights, in batches of a few prompts."""
    changed = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    del changed["models"]["nano"]["warmup"]
    changed["models"]["nano"]["seed"] = seed
    changed["scoring"] = {"batch_tokens": 30, "also": ["released", "pre_norm"], **scoring}
    return Context(planning.load(changed), root)


# --- scoring jobs that are killed ----------------------------------------------------------------


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


def signals(root):
    return context_of(root).layout.signals(*KEYS)


@pytest.fixture(scope="module", autouse=True)
def _own_store():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("score") / "prepared"
    context = context_of(root)
    results.initialise_tracking(context)
    prepare.prepare_data(context, "chain")
    prepare.build_model(context, "nano")
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
    assert (len(frame), passes) == (32, BATCHES + 1)
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
    assert passes == 1 + BATCHES - done


def test_killed_shards_give_the_bits_of_one_job(prepared, uninterrupted, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "root")
    kill(root, "writing 3", shard=0, shards=3)  # the batches 0, 3 and 6
    kill(root, "saved 2", shard=1, shards=3)
    frame, passes = score_it(root, shards=3)
    pd.testing.assert_frame_equal(frame, uninterrupted[0], check_exact=True)
    assert passes == 3 + BATCHES - 5  # a prefix for each shard


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


# --- what the machine offers ---------------------------------------------------------------------

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")


def folder_of(path, hidden):
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": hidden}))
    return path


@pytest.mark.parametrize("hidden", [32, 4096])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_dtype_that_is_set_wins(tmp_path, dtype, hidden):
    assert scoring_dtype(dtype, folder_of(tmp_path, hidden)) == dtype


@WITHOUT_GPU
@pytest.mark.parametrize("features", [None, {}, {"avx512_bf16": True}, {"amx_bf16": True}])
def test_only_large_models_on_a_cpu_that_multiplies_bf16_are_scored_in_it(
    tmp_path, monkeypatch, features
):
    """None: the machine that runs this test."""
    if features is not None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    able = torch.cpu.get_capabilities()
    fast = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    for hidden in (512, 4096):
        found = scoring_dtype("auto", folder_of(tmp_path, hidden))
        assert found == ("bfloat16" if fast else "float32")
    for hidden in (32, 480):
        assert scoring_dtype("auto", folder_of(tmp_path, hidden)) == "float32"


@WITHOUT_GPU
def test_the_token_budget_is_the_setting_or_that_of_a_cpu():
    network = torch.nn.Linear(2, 2)
    assert token_budget(7, network) == 7
    assert token_budget("auto", network) == CPU_BYTES // 4


# --- orders --------------------------------------------------------------------------------------

IDS = list("dbfaec")
TABLE = {
    "n_prefix": 9,
    "n_question": [40, 10, 30, 10, 30, 20],
    "c_intra": [0.5, 0.25, 0.5, 0.75, 0.25, 0.5],
    "c_inter": [0.25, 0.5, 0.25, 0.0, 0.25, 0.5],
    "c_intra_offdiagonal": [0.5, 0.0, 0.25, 0.25, 0.5, 0.75],
    "c": [0.75, 0.75, 0.75, 0.75, 0.5, 1.0],
    "c_released": [0.3, math.nan, 0.9, math.nan, 0.1, 0.3],
}
NOTE = {"model": "abc", "variant": "paper", "tap": "post_norm", "inter_weight": 1.0}
EXACT = {
    "angle": "cabdfe",
    "reversed": "eabdfc",
    "length": "abcefd",
    "released": "abfcde",  # argsort's NaN first; c and d tie
    "offdiagonal": "cdebfa",  # 1.25, 0.75, 0.75, 0.5, 0.5, 0.25
}


def ordered(root, order, table=None, ids=IDS, **scoring):
    """The order's table and metadata."""
    context = context_of(root, **scoring)
    frame = pd.DataFrame({"id": ids, **(TABLE if table is None else table)})
    write_table(signals(root) / "scores.parquet", frame, SCORES, NOTE)
    make_order(context, *KEYS, order)
    target = context.layout.order(*KEYS, order)
    return read_table(target, ORDER), read_metadata(target)


@pytest.mark.parametrize("order", planning.ORDERS)
def test_an_order_ranks_every_prompt_once_and_names_its_scores(tmp_path, order):
    frame, note = ordered(tmp_path, order)
    check_table(frame, ORDER, order)
    assert sorted(frame["id"]) == sorted(IDS)
    assert frame["rank"].tolist() == list(range(6))
    source = signals(tmp_path) / "scores.parquet"
    assert note == {
        "scores": planning.file_digest(source),
        "scores_file": str(source),
        "order": order,
        "scoring": NOTE,
    }


@pytest.mark.parametrize("order", EXACT)
@pytest.mark.parametrize("seed", range(3))
def test_the_order_by_hand_whatever_the_rows_are_in(tmp_path, order, seed):
    place = np.random.default_rng(seed).permutation(6)
    table = {name: np.broadcast_to(column, 6)[place] for name, column in TABLE.items()}
    frame, _ = ordered(tmp_path, order, table, [IDS[i] for i in place])
    assert "".join(frame["id"]) == EXACT[order]


def test_offdiagonal_takes_the_weight_of_the_preset(tmp_path):
    frame, _ = ordered(tmp_path, "offdiagonal", inter_weight=4.0)
    assert "".join(frame["id"]) == "cbdefa"
    assert frame["value"].tolist() == [2.75, 2.0, 1.5, 1.5, 1.25, 0.25]


@pytest.mark.parametrize(("order", "known"), [("angle", "fcde"), ("reversed", "ecdf")])
def test_prompts_without_c_come_first(tmp_path, order, known):
    frame, _ = ordered(tmp_path, order, {**TABLE, "c": TABLE["c_released"]})
    assert frame["id"].tolist() == list("ab" + known)


def test_shuffled_is_fixed_and_like_nothing_else(tmp_path):
    ids = [f"p{i:03}" for i in range(200)]
    table = {"n_prefix": 9, "n_question": 5, "c_intra": 0.5, "c_inter": 0.5, "c": 1.0}
    first, _ = ordered(tmp_path, "shuffled", table, ids)
    again, _ = ordered(tmp_path, "shuffled", table, np.random.default_rng(4).permutation(ids))
    assert first["id"].tolist() == again["id"].tolist() != ids
    assert abs(np.corrcoef(first["id"].str[1:].astype(int), np.arange(200))[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("order", "column"),
    [
        ("angle", "c"),
        ("reversed", "c"),
        ("residual", "c"),
        ("released", "c_released"),
        ("offdiagonal", "c_intra_offdiagonal"),
    ],
)
def test_a_column_that_is_missing_is_named_with_its_file_and_key(tmp_path, order, column):
    table = {name: values for name, values in TABLE.items() if name != column}
    with pytest.raises(DataError) as caught:
        ordered(tmp_path, order, table)
    source = signals(tmp_path) / "scores.parquet"
    assert str(caught.value).startswith(f"{source}: no column '{column}'; ")
    assert "scoring.also" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- residual ------------------------------------------------------------------------------------


def test_residual_worked_by_hand(tmp_path):
    """Ranks of C 2, 1, 4, 3 and of the length 1, 2, 3, 4: slope 3 / 5."""
    table = {"n_prefix": 9, "n_question": [7, 8, 20, 90], "c_intra": 0.0, "c_inter": 0.0}
    frame, _ = ordered(tmp_path, "residual", {**table, "c": [0.2, 0.1, 0.9, 0.3]}, list("wxyz"))
    assert "".join(frame["id"]) == "ywzx"
    assert frame["value"].tolist() == pytest.approx([1.2, 0.4, -0.4, -1.2], abs=1e-12)


@pytest.mark.parametrize("missing", [0, 30])
@pytest.mark.parametrize("seed", range(5))
def test_the_residual_has_no_correlation_with_the_rank_of_the_length(tmp_path, seed, missing):
    """Nor among the prompts that have a value, when short ones have none."""
    draw = np.random.default_rng(seed)
    length = draw.permutation(100) + 10
    c = 30 / length + draw.normal(size=100)
    c[length < 10 + missing] = math.nan
    table = {"n_prefix": 9, "n_question": length, "c_intra": 0.0, "c_inter": 0.0, "c": c}
    ids = [f"p{i}" for i in range(100)]
    frame, _ = ordered(tmp_path, "residual", table, ids)
    assert frame["value"].isna().tolist() == [True] * missing + [False] * (100 - missing)
    given = frame["id"].map(dict(zip(ids, length, strict=True)))[missing:].rank()
    assert abs(np.corrcoef(given, frame["value"][missing:])[0, 1]) < 1e-12
    plain = pd.Series(c, ids)[frame["id"][missing:]].rank()
    assert abs(np.corrcoef(given, plain)[0, 1]) > 1e-3


def test_the_residual_of_prompts_of_one_length_is_the_order_of_c(tmp_path):
    frame, _ = ordered(tmp_path, "residual", {**TABLE, "n_question": 12})
    assert "".join(frame["id"]) == EXACT["angle"]
