"""The default's start model, pre-trained for a few steps with portable arithmetic: the same bits.

The digest held on AMD EPYC of family 25 and on a Skylake of Intel's that QEMU emulates; that of the
default's tasks before it on family 25 without AVX-512 and on 26 too. The header of a test run
names its processor, and so does the message where the digest differs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from project import COPIED, REPOSITORY, Project

from gainrl.config.arithmetic import processor
from gainrl.records import read_json

TORCH = "2.13.0"
"""Another version has other kernels."""
WEIGHTS = "49218b0b0f91"
PRESET = {
    "extends": "config.yaml",
    "preset": "short",
    "arithmetic": "portable",
    "datasets": {"chain": {"warmup": 400}, "story": {"warmup": 400}},
}


def short(folder: Path) -> str:
    """The default preset with 30 steps of pre-training, as a file."""
    phases = yaml.safe_load((REPOSITORY / "config.yaml").read_text())["models"]["nano"]["warmup"]
    for phase, steps in zip(phases["phases"], (20, 10), strict=True):
        phase["steps"] = steps
    models = {"nano": {"warmup": {"phases": phases["phases"]}}}
    (folder / "short.yaml").write_text(yaml.safe_dump({**PRESET, "models": models}))
    return "short.yaml"


@pytest.mark.timeout(600)
def test_a_short_pre_training_gives_the_same_bits_on_every_make(tmp_path):
    if torch.__version__.partition("+")[0] != TORCH:
        pytest.skip(f"the digest is of torch {TORCH}, this is {torch.__version__}")
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copy(REPOSITORY / "config.yaml", tmp_path)
    note = "results/short/models/nano-seed0/gainrl.json"
    # Two threads that wait for each other awake take minutes where other tests run beside them.
    asleep = {"OMP_WAIT_POLICY": "passive"}
    done = Project(tmp_path).snakemake(note, preset=short(tmp_path), **asleep)
    assert done.returncode == 0, done.stdout + done.stderr
    found = read_json(tmp_path / note)["weights"]
    assert found == WEIGHTS, f"other bits than on the machines named above; here: {processor()}"
