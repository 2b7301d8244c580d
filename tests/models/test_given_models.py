"""Models that users bring: what is written stays out of their folders."""

import hashlib
import json
import shutil

import pytest
from given_models import built, configure, context_for, in_bin, save
from huggingface_hub import constants
from safetensors.torch import load_file

from gainrl.errors import ModelError
from gainrl.models.extrapolation import extrapolate_checkpoint
from gainrl.models.loading import load_model
from gainrl.stages import prepare
from gainrl.stages.data import prepare_data
from gainrl.stages.tracking import initialise_tracking

WARMUP = {"phases": [{"datasets": ["chain"], "steps": 1, "batch": 2}]}


def contents(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


def warmed(given, root, /, **keys):
    context = context_for(given, root, **{"warmup": WARMUP, **keys})
    initialise_tracking(context)
    prepare_data(context, "chain")
    prepare.build_model(context, "nano")
    return context.layout.model("nano")


@pytest.mark.parametrize("shards", [None, "20KB"])
def test_a_warm_up_leaves_the_users_folder_as_it_is(tmp_path, shards, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    given = save(tmp_path / "given", saved={"max_shard_size": shards} if shards else None)
    configure(given, transformers_version="4.40.0", dtype="bfloat16")
    (given / "warmup.jsonl").write_text('{"step": 1}\n')  # a folder of this pipeline's own
    before = contents(given)
    made = warmed(given, tmp_path / "results", context=96)
    assert contents(given) == before
    assert not any(path.is_symlink() for path in made.iterdir())
    assert not (made / "model.safetensors.index.json").exists()
    assert len((made / "warmup.jsonl").read_text().splitlines()) == 1
    assert json.loads((made / "config.json").read_text())["max_position_embeddings"] == 96
    first = load_file(made / "model.safetensors")["model.norm.weight"]
    assert not first.equal(load_model(given).model.norm.weight)
    extrapolate_checkpoint(made, made, (0, 1, 2), tmp_path / "further")
    load_model(tmp_path / "further")


def test_a_longer_context_is_not_written_into_the_users_folder(tmp_path):
    given = save(tmp_path / "given")
    before = contents(given)
    made = built(given, tmp_path / "results", context=512)
    assert contents(given) == before
    assert load_model(made).config.max_position_embeddings == 512
    assert [path.name for path in made.iterdir() if path.is_symlink()] == ["model.safetensors"]


def test_an_index_that_transformers_does_not_read_is_left_out(tmp_path):
    given = save(tmp_path / "given")
    (given / "model.safetensors.index.json").write_text('{"weight_map": {"a": "gone"}}')
    made = built(given, tmp_path / "results")
    assert not (made / "model.safetensors.index.json").exists()
    extrapolate_checkpoint(given, made, (0, 1, 2), tmp_path / "further")
    load_model(tmp_path / "further")


def test_an_adapter_is_not_extrapolated_without(tmp_path):
    given = save(tmp_path / "given")
    (given / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds an adapter"):
        extrapolate_checkpoint(given, given, (0, 1, 2), tmp_path / "further")
    assert not (tmp_path / "further").exists()


@pytest.mark.parametrize("bins", [0, 1, 2])
def test_a_hub_model_is_taken_from_a_cache_that_stays_as_it_is(tmp_path, monkeypatch, bins):
    given = save(tmp_path / "given")
    if bins:
        in_bin(given, bins)
    (given / "optimizer.bin").write_bytes(b"not of the model")
    commit, cache = "0" * 40, tmp_path / "hub" / "models--some--tiny"
    snapshot = cache / "snapshots" / commit
    for folder in (cache / "blobs", cache / "refs", snapshot):
        folder.mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    for name, digest in contents(given).items():
        shutil.copyfile(given / name, cache / "blobs" / digest)
        (snapshot / name).symlink_to(f"../../blobs/{digest}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    model = {"source": "hub", "id": "some/tiny", "context": 96, "warmup": WARMUP}
    made = warmed(given, tmp_path / "results", **model)
    load_model(made)
    assert all(digest == name for name, digest in contents(cache / "blobs").items())
    assert [path.name for path in made.glob("*.bin")] == []
