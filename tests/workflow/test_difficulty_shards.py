"""Rollouts that measure difficulty, shared by jobs."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
from project import COPIED, REPOSITORY, Project, jobs_in

pytestmark = pytest.mark.timeout(600)
FOLDER = "results/tiny/signals/nano/chain"


def few(preset):
    """A model of random weights, and two jobs for the rollouts."""
    del preset["models"]["nano"]["warmup"]
    preset["scoring"] = {"difficulty_samples": 2, "difficulty_shards": 2}


def test_jobs_share_the_rollouts_and_another_grades_them(tmp_path):
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    project = Project(tmp_path)
    done = project.snakemake(f"{FOLDER}/difficulty.parquet", preset=project.edited(few))
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    jobs = jobs_in(output)
    assert (jobs["difficulty_shard"], jobs["gather_difficulty"]) == (2, 1)
    table = pd.read_parquet(tmp_path / FOLDER / "difficulty.parquet")
    assert (table["samples"] == 2).all()
    left = sorted(path.name for path in (tmp_path / FOLDER).glob("diff*"))
    assert left == ["difficulty.parquet", "difficulty.tracking.json"]
