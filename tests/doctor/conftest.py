"""Programs that say what machines say, and what the paper's preset needs."""

from __future__ import annotations

import os

import pytest
from doctored import PAPER, REPOSITORY

from gainrl import plan
from gainrl.doctor import needs


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Puts programs on PATH that print a text and end with a status."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    for variable in ("SLURM_JOB_ID", "TMUX", "STY", "MLFLOW_TRACKING_URI", "GAINRL_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)

    def put(name: str, text: str, status: int = 0) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{text.strip()}\nEND\nexit {status}\n")
        path.chmod(0o755)

    return put


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    return needs.needs_of(plan.load(PAPER))
