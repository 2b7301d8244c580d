"""Trained weights in the dtype that the model came in."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from gainrl.errors import ModelError
from gainrl.models.recast import recast


def folder(path, tensors, dtype, key="dtype", files=1):
    path.mkdir()
    names = sorted(tensors)
    (path / "config.json").write_text(json.dumps({"hidden_size": 4, key: dtype}))
    if files == 1:
        save_file(tensors, path / "model.safetensors")
        return path
    shards = {name: f"model-{i:05d}-of-00002.safetensors" for i, name in enumerate(names)}
    for name, file in shards.items():
        save_file({name: tensors[name]}, path / file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    return path


@pytest.mark.parametrize("files", [1, 2])
def test_weights_get_the_start_models_dtype(tmp_path, files):
    trained = {"a": torch.randn(3, 5), "b": torch.randn(7)}
    start = folder(tmp_path / "start", {}, "bfloat16")
    target = folder(tmp_path / "trained", trained, "float32", "torch_dtype", files)
    for _ in range(2):  # the second time there is nothing to do
        recast(target, start)
        found = {}
        for file in target.glob("*.safetensors"):
            found |= load_file(file)
        assert {name: each.dtype for name, each in found.items()} == dict.fromkeys(
            "ab", torch.bfloat16
        )
        assert all(torch.equal(found[name], trained[name].bfloat16()) for name in trained)
        assert json.loads((target / "config.json").read_text()) == {
            "hidden_size": 4,
            "dtype": "bfloat16",
        }
        assert not list(target.glob(".*"))


def test_whole_numbers_and_a_model_in_fp32_stay(tmp_path):
    tensors = {"a": torch.randn(4), "steps": torch.arange(3)}
    start = folder(tmp_path / "start", tensors, "float32")
    target = folder(tmp_path / "trained", tensors, "float32")
    before = (target / "model.safetensors").stat().st_mtime_ns
    recast(target, start)
    assert (target / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_without_weights_is_named(tmp_path):
    start = folder(tmp_path / "start", {"a": torch.zeros(2)}, "float32")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"empty: neither model\.safetensors"):
        recast(tmp_path / "empty", start)
