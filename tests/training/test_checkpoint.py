"""Checkpoints: complete or absent, two at a time, and refused when damaged or foreign."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from gainrl.errors import CheckpointError
from gainrl.training.local import checkpoint

HASH = "abc123"


def state(value=1.0, size=64):
    model = torch.nn.Linear(size, 4)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(size)).sum().backward()
    optimizer.step()
    return {
        "model": {name: torch.full_like(p, value) for name, p in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "generator": torch.Generator().manual_seed(3).get_state(),
        "curriculum": '{"mu": 1.5}',
        "config_hash": HASH,
    }


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def one_line(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    saved = state(0.25)
    assert checkpoint.save(tmp_path / "new" / "folder", 7, saved).name == "step-000007"
    loaded = checkpoint.load_latest(tmp_path / "new" / "folder", HASH)
    assert loaded["step"] == 7
    assert loaded["curriculum"] == saved["curriculum"]
    assert torch.equal(loaded["generator"], saved["generator"])
    assert torch.equal(loaded["model"]["weight"], saved["model"]["weight"])
    moments = zip(
        loaded["optimizer"]["state"][0].values(),
        saved["optimizer"]["state"][0].values(),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in moments)


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.load_latest(tmp_path, HASH) is None
    assert checkpoint.load_latest(tmp_path / "missing", HASH) is None


def test_the_newest_two_are_kept(tmp_path):
    for step in (2, 4, 10, 12):
        checkpoint.save(tmp_path, step, state(float(step)))
    assert names(tmp_path) == ["step-000010", "step-000012"]
    assert checkpoint.load_latest(tmp_path, HASH)["model"]["bias"][0] == 12.0
    checkpoint.save(tmp_path, 14, state(), keep=1)
    assert names(tmp_path) == ["step-000014"]


def test_a_step_written_again_replaces_the_old_one(tmp_path):
    checkpoint.save(tmp_path, 2, state(1.0))
    checkpoint.save(tmp_path, 2, state(5.0))
    assert names(tmp_path) == ["step-000002"]
    assert checkpoint.load_latest(tmp_path, HASH)["model"]["bias"][0] == 5.0


def test_a_partial_folder_is_ignored_and_replaced(tmp_path):
    checkpoint.save(tmp_path, 2, state(2.0))
    for name in (".partial-000004", "step-000006"):  # the second was never one of ours
        (tmp_path / name).mkdir()
    (tmp_path / ".partial-000004" / checkpoint.FILE).write_bytes(b"half")
    assert checkpoint.load_latest(tmp_path, HASH)["step"] == 2
    checkpoint.save(tmp_path, 4, state(4.0))
    assert ".partial-000004" not in names(tmp_path)
    assert checkpoint.load_latest(tmp_path, HASH)["step"] == 4


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import torch
    from gainrl.training.local import checkpoint

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def half(state, file):
        file.write(b"half of a file")
        file.flush()
        die()

    for moment in ("writing", "renaming"):
        folder = Path(sys.argv[1]) / moment
        checkpoint.save(folder, 2, {"x": torch.zeros(9), "config_hash": "abc123"})
        child = os.fork()
        if not child:
            if moment == "writing":
                torch.save = half
            else:
                os.replace = die
            checkpoint.save(folder, 4, {"x": torch.ones(9), "config_hash": "abc123"})
        print(os.WTERMSIG(os.waitpid(child, 0)[1]))
"""


def test_a_kill_while_writing_leaves_the_previous_checkpoint(tmp_path):
    code = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    said = subprocess.run(code, check=True, capture_output=True, text=True).stdout
    assert said.split() == [str(int(signal.SIGKILL))] * 2
    for moment in ("writing", "renaming"):
        assert names(tmp_path / moment) == [".partial-000004", "step-000002"]
        assert checkpoint.load_latest(tmp_path / moment, HASH)["step"] == 2


def test_the_file_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append("fsync") or sync(fd))
    monkeypatch.setattr(os, "replace", lambda a, b: calls.append("rename") or replace(a, b))
    checkpoint.save(tmp_path, 2, state())
    assert calls == ["fsync", "fsync", "rename", "fsync"]  # file, hash; the folder's at the end


@pytest.mark.parametrize("damage", ["cut", "empty", "zeros", "text", "one byte", "bytes"])
def test_a_damaged_file_is_an_error_of_one_line(tmp_path, damage):
    """Also where the file could still be read: weights with one wrong byte are not the weights."""
    checkpoint.save(tmp_path, 2, state())
    file = checkpoint.save(tmp_path, 4, state()) / checkpoint.FILE
    raw, rng = file.read_bytes(), random.Random(0)
    for _ in range(20 if damage in ("cut", "one byte", "bytes") else 1):
        broken = bytearray(raw)
        if damage == "cut":
            broken = broken[: rng.randrange(len(raw))]
        elif damage in ("empty", "text", "zeros"):
            broken = {"empty": b"", "text": b"weights", "zeros": bytes(len(raw))}[damage]
        else:
            for _ in range(1 if damage == "one byte" else 100):
                broken[rng.randrange(len(raw))] ^= 1 + rng.randrange(255)
        file.write_bytes(broken)
        with pytest.raises(CheckpointError, match="damaged checkpoint; delete it") as caught:
            checkpoint.load_latest(tmp_path, HASH)
        assert "step-000004" in one_line(caught)
    shutil.rmtree(file.parent)
    assert checkpoint.load_latest(tmp_path, HASH)["step"] == 2


def test_another_configuration_is_an_error_that_names_both(tmp_path):
    checkpoint.save(tmp_path, 2, state())
    with pytest.raises(CheckpointError, match=r"another configuration.*abc123.*fed456") as caught:
        checkpoint.load_latest(tmp_path, "fed456")
    assert str(tmp_path) in one_line(caught)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if not made or made.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_leaves_the_previous_checkpoint(small_disk):
    checkpoint.save(small_disk, 2, state())
    with pytest.raises(CheckpointError, match=r"step-000004: .*No space left on device") as caught:
        checkpoint.save(small_disk, 4, state(size=100_000))
    one_line(caught)
    assert names(small_disk) == ["step-000002"]
    assert checkpoint.load_latest(small_disk, HASH)["step"] == 2
    checkpoint.save(small_disk, 4, state())  # what the attempt took is free again


def test_a_limit_on_file_size_is_an_error_and_leaves_the_previous_checkpoint(tmp_path):
    """The same without root: a write beyond RLIMIT_FSIZE fails as on a full disk."""
    checkpoint.save(tmp_path, 2, state())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(CheckpointError, match=r"step-000004: .*File too large") as caught:
            checkpoint.save(tmp_path, 4, state(size=100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    one_line(caught)
    assert names(tmp_path) == ["step-000002"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write the checkpoint") as caught:
        checkpoint.save(tmp_path / "file", 2, state())
    one_line(caught)
