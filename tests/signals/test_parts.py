"""Scored batches on disk, and jobs that share their folder."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import numpy as np
import pytest

from gainrl.errors import DataError
from gainrl.signals.parts import HEAD, Parts
from gainrl.signals.prefill import Batch

OLD, NEW = {"weights": "old"}, {"weights": "new"}


def batch(number: int) -> Batch:
    tap = {"post_norm": np.ones(1)}
    return Batch(
        (number, 0), np.array([number]), np.array([3]), tap, {"post_norm": np.ones((1, 4))}
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a part of other settings."""
    made = tmp_path / "out.parts" / "scores"
    Parts(made, OLD).save(batch(7))
    return made


def test_shards_throw_parts_of_other_settings_away_once(folder, monkeypatch):
    gate, remove = Barrier(2), shutil.rmtree

    def slow(path):
        with suppress(BrokenBarrierError):
            gate.wait(0.5)
        remove(path)

    def shard(number: int) -> None:
        parts = Parts(folder, NEW)
        assert parts.missing((7, 0))
        parts.save(batch(number))

    monkeypatch.setattr(shutil, "rmtree", slow)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(shard, range(2)))
    assert [found.number for found in Parts(folder, NEW).load()] == [(0, 0), (1, 0)]
    assert [path.name for path in folder.parent.iterdir()] == ["scores"]


def test_parts_that_a_kill_left_without_their_head_are_thrown_away(folder):
    (folder / HEAD).unlink()
    assert Parts(folder, NEW).missing((7, 0))


def test_a_job_that_was_left_behind_mixes_nothing_into_the_parts_of_another(folder):
    left = Parts(folder, OLD)
    now = Parts(folder, NEW)
    now.save(batch(0))
    with pytest.raises(DataError, match=f"{folder}: another job scores with other settings"):
        left.save(batch(1))
    assert [found.number for found in now.load()] == [(0, 0)]
