"""A disk that is full: the file is named, and nothing half-written is left."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from stage_calls import CHAIN, NANO, from_file


@pytest.fixture
def small_disk(place):
    """The root on a file system of 96 KiB."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    place.root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(place.root)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    yield place
    # Lazily: MLflow may still hold the store's file open.
    subprocess.run(["umount", "--lazy", str(place.root)], check=True)


def test_a_full_disk_while_writing_data(small_disk):
    path = small_disk.folder / "mine.jsonl"
    rows = [{"question": f"{row} " + os.urandom(64).hex(), "answer": row} for row in range(4000)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = small_disk.gainrl("data", "--dataset", "mine", datasets=from_file(path)).message
    target = small_disk.home / "data" / "mine" / "train.parquet"
    assert message == f"{target}: cannot write: No space left on device"
    assert small_disk.files() == []


def test_a_full_disk_while_writing_a_model(small_disk):
    models = {"nano": {"source": "nano"}}  # two megabytes
    message = small_disk.gainrl("model", *NANO, models=models).message
    target = small_disk.home / "models" / "nano"
    assert message.startswith(f"{target}: cannot write the model: ")
    assert "No space left on device" in message
    assert small_disk.files() == []
    assert list((small_disk.home / "models").iterdir()) == []


def test_a_full_disk_while_making_the_tracking_store(small_disk):
    message = small_disk.gainrl("tracking", "init").message
    assert message.startswith("tracking store sqlite:///")
    assert "disk is full" in message
    assert not [path for path in small_disk.root.rglob("*") if path.is_file()]


def test_a_tracking_store_in_a_folder_that_cannot_be_written(small_disk):
    mount = ["mount", "-o", "remount,ro", str(small_disk.root)]
    subprocess.run(mount, capture_output=True, check=True)
    message = small_disk.gainrl("tracking", "init").message
    store, lock = small_disk.root / "mlflow.db", small_disk.root / ".mlflow.db.lock"
    assert message == f"tracking store sqlite:///{store}: {lock}: Read-only file system"


def test_a_full_disk_while_keeping_the_trained_model(ready, monkeypatch):
    from safetensors import SafetensorError
    from transformers import PreTrainedModel

    ready.succeed("evaluate", *NANO, "--benchmark", "chain")

    def full(_self, folder, **_options):
        Path(folder).mkdir()
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    train = ("train", *NANO, *CHAIN, "--method", "grpo", "--seed", "0")
    with monkeypatch.context() as patched:
        patched.setattr(PreTrainedModel, "save_pretrained", full)
        message = ready.gainrl(*train).message
    (folder,) = ready.home.glob("runs/nano/chain/grpo/seed0")
    assert message.startswith(f"{folder / 'model'}: cannot write the model: ")
    assert not (folder / "done.json").exists()
    assert not list(folder.glob("*model*"))
    again = ready.gainrl(*train)  # only what was missing
    assert again.code == 0
    assert "going on from step 2" in again.out
    assert (folder / "model" / "model.safetensors").exists()
