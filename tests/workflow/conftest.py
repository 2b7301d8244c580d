"""One run of the tiny preset, which serves all tests of the workflow, and places for errors."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from project import COPIED, REPOSITORY, Project
from stage_calls import CHAIN, NANO, PRESET, Place

from gainrl import cli


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, folder / name)
    if (REPOSITORY / "config.yaml").exists():
        shutil.copy(REPOSITORY / "config.yaml", folder)
    made = Project(folder)
    done = made.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture
def place(tmp_path, capfd, monkeypatch):
    for name in ("GAINRL_DATA_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return Place(tmp_path, capfd)


PROMPTS = ["prompts", *NANO, *CHAIN]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A root with data, model and tracking store, made once; tests take copies."""
    folder = tmp_path_factory.mktemp("made")
    preset = folder / "preset.yaml"
    preset.write_text(yaml.safe_dump(PRESET))
    common = ["--preset", str(preset), "--root", str(folder / "results")]
    for stage in (["tracking", "init"], ["data", *CHAIN], ["model", *NANO], PROMPTS):
        assert cli.main([*stage, *common]) == 0
    return folder


@pytest.fixture
def ready(made, place):
    """A place where everything is there but what needs signals or training."""
    shutil.copytree(made / "results", place.root)
    index = place.home / "tracking.json"
    index.write_text(index.read_text().replace(str(made), str(place.folder)))
    return place
