"""When a run on verl saves, and which checkpoints stay."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from gainrl.errors import BackendError
from gainrl.training.verl import cluster, saving
from gainrl.training.verl.saving import NEWEST, STOP, Saving, newest, prune


def checkpoints(folder, steps, last):
    for step in steps:
        (folder / f"global_step_{step}" / "actor").mkdir(parents=True)
    if last is not None:
        (folder / NEWEST).write_text(str(last))
    return folder


def left(folder):
    return sorted(int(path.name.split("_")[-1]) for path in folder.glob("global_step_*"))


@pytest.mark.parametrize(
    ("steps", "last", "keep", "kept"),
    [
        ((20, 40, 60), 60, 1, [60]),
        ((20, 40, 60), 60, 2, [40, 60]),
        ((20, 40, 60), 40, 1, [40]),  # 60 was cut off
        ((100, 20), 100, 1, [100]),  # by number
        ((20,), None, 1, []),  # never complete
        ((), None, 1, []),
    ],
)
def test_pruning_keeps_the_newest_complete_ones(tmp_path, steps, last, keep, kept):
    folder = checkpoints(tmp_path, steps, last)
    (folder / "config_hash").write_text("x")
    assert prune(folder, keep) == sorted(set(steps) - set(kept))
    assert left(folder) == kept
    assert (folder / "config_hash").exists()


def test_pruning_where_there_is_nothing(tmp_path):
    assert prune(tmp_path / "none", 1) == []
    assert newest(tmp_path / "none") is None


class Plain:
    """What verl's trainer does at these places."""

    def on_init_end(self):
        self.done = []

    def on_step_end(self):
        self.done.append("synced")

    def _save_checkpoint(self):
        self.done.append("saved")
        checkpoints(self.folder, [self.global_steps], self.global_steps)


class Trainer(Saving, Plain):
    pass


@pytest.fixture
def trainer(tmp_path):
    """After step 7 of a run that was resumed at 6; an hour's clock."""
    (tmp_path / "verl").mkdir()
    made = Trainer()
    made.folder = checkpoints(tmp_path / "checkpoints", [2, 4, 6], 6)
    made.job = {"folder": str(tmp_path), "extra": None, "save_seconds": 3600}
    made.config = SimpleNamespace(trainer=SimpleNamespace(default_local_dir=str(made.folder)))
    made.global_steps = 6
    made.on_init_end()
    made.global_steps = 7
    return made


def test_nothing_is_saved_before_its_time(trainer):
    trainer.on_step_end()
    assert trainer.done == ["synced"]


def test_a_checkpoint_by_the_clock_comes_before_the_weights_leave(trainer, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(saving.time, "monotonic", lambda: now + 3601)
    trainer.on_step_end()
    assert trainer.done == ["saved", "synced"]
    assert left(trainer.folder) == [6, 7]
    trainer.global_steps = 8
    trainer.on_step_end()
    assert trainer.done[2:] == ["synced"]  # the clock has started anew


def test_a_checkpoint_is_written_when_the_job_ends_soon_but_once(trainer, tmp_path):
    (tmp_path / "verl" / STOP).touch()
    trainer._save_checkpoint()  # verl's own, after `save_every` steps
    trainer.on_step_end()
    assert trainer.done == ["saved", "synced"]
    trainer.global_steps = 8
    trainer.on_step_end()
    assert trainer.done[2:] == ["saved", "synced"]


def test_between_two_jumps_nothing_is_saved(trainer, tmp_path):
    trainer.job["extra"] = {"rl": 4}
    (tmp_path / "verl" / STOP).touch()
    trainer.on_step_end()
    trainer.global_steps = 8
    trainer.on_step_end()
    assert trainer.done == ["synced", "saved", "synced"]


class Probe:
    """A socket whose packets would leave by an address."""

    def __init__(self, address):
        self.address = address

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def connect(self, _):
        pass

    def getsockname(self):
        return (self.address, 5)


def test_the_address_of_a_node_is_never_the_loopback(monkeypatch):
    named = {"value": "10.1.2.3"}
    monkeypatch.setattr(cluster.socket, "gethostbyname", lambda _: named["value"])
    assert cluster.own_address() == "10.1.2.3"
    named["value"] = "127.0.1.1"
    monkeypatch.setattr(cluster.socket, "socket", lambda *_: Probe("10.9.9.9"))
    assert cluster.own_address() == "10.9.9.9"
    monkeypatch.setattr(cluster.socket, "socket", lambda *_: Probe("127.0.0.1"))
    with pytest.raises(BackendError, match=r"cannot reach it: its address is 127\.0\.1\.1"):
        cluster.own_address()


def test_the_end_of_a_job(monkeypatch):
    for given, found in (({"SLURM_JOB_END_TIME": "1700000000"}, 1.7e9), ({}, None)):
        monkeypatch.setattr(cluster, "allocation", lambda given=given: given)
        assert cluster.job_ends() == found
