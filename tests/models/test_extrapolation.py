"""Weight extrapolation: the formula, exact values, sharding, memory, refusals."""

import json
import math
import struct
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from trainers import network, nudge
from transformers import AutoModelForCausalLM

from gainrl import cli
from gainrl.errors import ModelError
from gainrl.models.extrapolation import extrapolate, extrapolate_checkpoint, factor
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.models.tensors import Spec, write_tensors
from gainrl.records import read_json

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@pytest.fixture
def folders(tmp_path, tokenizer):
    """Two steps of a nano model, of a dtype, the second in shards if asked for."""

    def make(dtype="float32", shard="1GB"):
        model = network(tokenizer)
        for name, size in (("first", "1GB"), ("second", shard)):
            model.to(KINDS[dtype]).save_pretrained(tmp_path / name, max_shard_size=size)
            tokenizer.save_pretrained(tmp_path / name)
            nudge(model)
        return tmp_path / "first", tmp_path / "second"

    return make


def tensors(folder):
    found = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
    return {name: value for part in found for name, value in part.items()}


def test_the_formula():
    assert factor(100, 300, 500) == 2
    assert factor(10, 20, 35) == 2.5
    assert factor(0, 4, 2) == 0.5  # between them
    start, end = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([2.0, 1.0, 0.0])
    assert extrapolate(start, end, 2.5).tolist() == [3.5, -0.5, 0.0]
    with pytest.raises(ModelError, match="both checkpoints are of step 7"):
        factor(7, 7, 9)


def test_bf16_is_computed_in_fp32():
    start = torch.tensor([1.0], dtype=torch.bfloat16)
    end = torch.tensor([1.0078125], dtype=torch.bfloat16)  # the next number after 1
    found = extrapolate(start, end, 1.25)
    assert found.dtype == torch.float32
    assert found.item() == 1.009765625  # 1 + 1.25 / 128: between two numbers of bf16


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shard", ["1GB", "20KB"])
def test_every_weight_is_that_of_torch_and_the_folder_loads(folders, tmp_path, dtype, shard):
    first, second = folders(dtype, shard)
    out = tmp_path / "new" / "out"
    assert extrapolate_checkpoint(first, second, (10, 20, 35), out) == 2.5
    begin, end, found = tensors(first), tensors(second), tensors(out)
    assert found.keys() == end.keys()
    for name, value in end.items():
        expected = begin[name].float() + 2.5 * (value.float() - begin[name].float())
        assert found[name].dtype == KINDS[dtype]
        assert torch.equal(found[name], expected.to(KINDS[dtype])), name
        assert not torch.equal(found[name], value) or not (value - begin[name]).any(), name
    names = {path.name for path in second.iterdir()}
    assert {path.name for path in out.iterdir()} == {*names, "extrapolation.json"}
    assert (len(list(out.glob("*.safetensors"))) > 1) == (shard == "20KB")
    model = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
    assert model.dtype == KINDS[dtype]
    for name, value in model.named_parameters():
        assert torch.equal(value, found[name]), name
    assert load_tokenizer(out).get_vocab() == load_tokenizer(second).get_vocab()


def test_at_the_second_step_it_is_the_second_model(folders, tmp_path):
    first, second = folders("bfloat16")
    extrapolate_checkpoint(first, second, (0, 5, 5), tmp_path / "out")
    found, end = tensors(tmp_path / "out"), tensors(second)
    for name, value in end.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-9)


def test_the_dtype_that_is_asked_for_is_in_weights_index_and_configuration(folders, tmp_path):
    first, second = folders("float32", "20KB")
    out = tmp_path / "out"
    extrapolate_checkpoint(first, second, (0, 1, 2), out, dtype="bfloat16")
    assert {value.dtype for value in tensors(out).values()} == {torch.bfloat16}
    index, theirs = (read_json(f / "model.safetensors.index.json") for f in (out, second))
    assert index["weight_map"] == theirs["weight_map"]
    assert 2 * index["metadata"]["total_size"] == theirs["metadata"]["total_size"]
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.bfloat16


def test_the_note_says_where_the_weights_come_from(folders, tmp_path, capsys):
    first, second = folders()
    (second / "gainrl.json").write_text('{"weights": "of the second model"}')
    out = tmp_path / "out"
    where = ["--from", str(first), "--to", str(second), "--out", str(out)]
    assert cli.main(["extrapolate", *where, "--steps", "0", "20", "40"]) == 0
    assert capsys.readouterr().out == f"{out}: a = 2\n"
    note = read_json(out / "extrapolation.json")
    assert (note["a"], note["steps"], note["to"]["folder"]) == (2, [0, 20, 40], str(second))
    assert list(note["from"]["files"]) == ["model.safetensors"]
    assert len(note["from"]["files"]["model.safetensors"]) == 64
    assert not (out / "gainrl.json").exists()
    load_model(out)
    assert cli.main(["extrapolate", *where, "--steps", "0", "20", "40"]) == 2
    assert capsys.readouterr().err == f"gainrl: {out}: exists already\n"


# --- what is no line between two models ----------------------------------------------------------


def folder_of(path, values):
    path.mkdir()
    save_file(values, path / "model.safetensors", metadata={"format": "pt"})
    (path / "config.json").write_text("{}")
    return path


A = {"w": torch.ones(2, 3), "count": torch.tensor([3]), "mask": torch.tensor([True, False])}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"v": torch.ones(1)}, "first: no tensor 'v', which .*second has"),
        ({"w": None}, "second: no tensor 'w', which .*first has"),
        ({"w": torch.ones(3, 2)}, r"tensor 'w' is of shape \[3, 2\], and in .*first \[2, 3\]"),
        ({"w": torch.ones(2, 3).int()}, "tensor 'w' is of another kind"),
        ({"count": torch.tensor([4])}, "tensor 'count' is of whole numbers, and they differ"),
        ({"mask": torch.tensor([True, True])}, "tensor 'mask' is of whole numbers"),
        ({"w": torch.full((2, 3), 1e38)}, "tensor 'w' is not finite once extrapolated"),
        ({"w": torch.ones(2, 3).to(torch.float8_e4m3fn)}, "tensor 'w' is F8_E4M3"),
    ],
)
def test_unlike_models_are_refused_and_nothing_is_left(tmp_path, changed, message):
    first = folder_of(tmp_path / "first", A)
    theirs = {name: value for name, value in {**A, **changed}.items() if value is not None}
    second = folder_of(tmp_path / "second", theirs)
    with pytest.raises(ModelError, match=message):
        extrapolate_checkpoint(first, second, (0, 1, 9), tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


def test_whole_numbers_and_masks_are_kept(tmp_path):
    first = folder_of(tmp_path / "first", A)
    second = folder_of(tmp_path / "second", {**A, "w": torch.zeros(2, 3)})
    extrapolate_checkpoint(first, second, (0, 1, 3), tmp_path / "out", dtype="float16")
    found = tensors(tmp_path / "out")
    assert torch.equal(found["w"], torch.full((2, 3), -2.0, dtype=torch.float16))
    assert torch.equal(found["count"], A["count"])
    assert torch.equal(found["mask"], A["mask"])


def indexed(folder, index):
    """An index instead of one file."""
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "neither model.safetensors nor"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"abc"),
            "second/model.safetensors: cannot read the weights",
        ),
        (
            lambda folder: indexed(folder, "[1]"),
            "index.json: not an index of weights",
        ),
        (
            lambda folder: indexed(
                folder, json.dumps({"weight_map": {"w": "model-00001-of-00002.safetensors"}})
            ),
            "model-00001-of-00002.safetensors: cannot read the weights: no such file",
        ),
    ],
)
def test_missing_and_damaged_weights_are_named(tmp_path, spoil, message):
    first, second = (folder_of(tmp_path / name, A) for name in ("first", "second"))
    spoil(second)
    with pytest.raises(ModelError, match=message):
        extrapolate_checkpoint(first, second, (0, 1, 2), tmp_path / "out")


# --- the file format -----------------------------------------------------------------------------


def test_what_is_written_is_read_by_safetensors_and_is_aligned(tmp_path):
    values = {
        "flags": torch.tensor([True, False, True]),
        "half": torch.randn(3, 5).to(torch.bfloat16),
        "whole": torch.arange(7),
        "one": torch.tensor(2.5),
        "none": torch.empty(0, 4),
    }
    specs = {name: Spec(value.dtype, tuple(value.shape)) for name, value in values.items()}
    parts = {name: value.flatten().split(2) for name, value in values.items()}
    path = tmp_path / "model.safetensors"
    write_tensors(path, specs, parts)
    found = load_file(path)
    assert found.keys() == values.keys()
    assert all(torch.equal(found[name], value) for name, value in values.items())
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert header.pop("__metadata__") == {"format": "pt"}
    assert length % 8 == 0
    for name, about in header.items():
        assert about["data_offsets"][0] % specs[name].dtype.itemsize == 0
    with pytest.raises(ValueError, match="half: 2 bytes, not 30"):
        write_tensors(path, specs, {**parts, "half": [torch.zeros(1, dtype=torch.bfloat16)]})


COUNT, LENGTH = 40, 1_250_000  # 200 MB of fp32
GROWTH = """
import sys
from pathlib import Path
from gainrl.models.extrapolation import extrapolate_checkpoint

def memory(kind):
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return int(lines[kind].split()[0]) / 1024

open("/proc/self/clear_refs", "w").write("5")  # the peak of the imports is forgotten
before = memory("VmRSS")
first, second, out = map(Path, sys.argv[1:])
extrapolate_checkpoint(first, second, (0, 1, 2), out)
print(memory("VmHWM") - before)
"""


def zeros(folder):
    """A model of 200 MB that takes no room: its file has a header and a hole."""
    folder.mkdir()
    size = 4 * LENGTH
    header = {
        f"w{i}": {"dtype": "F32", "shape": [LENGTH], "data_offsets": [i * size, (i + 1) * size]}
        for i in range(COUNT)
    }
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + COUNT * size)
    return folder


def test_memory_holds_a_few_tensors_and_not_the_models(tmp_path):
    paths = [zeros(tmp_path / "first"), zeros(tmp_path / "second"), tmp_path / "out"]
    command = [sys.executable, "-c", GROWTH, *map(str, paths)]
    grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    written = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert written > 4 * COUNT * LENGTH
    assert math.isfinite(grown)
    assert grown < 100, "MB"  # a busy machine keeps more arenas; one model is 200
