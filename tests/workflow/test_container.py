"""Jobs in a container. `apptainer` is a script here: it writes down how it is called and runs the
command outside of any image."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from project import COPIED, REPOSITORY, Project

DEFINITION = REPOSITORY / "slurm" / "gainrl.def"
PROFILE = REPOSITORY / "slurm" / "config.yaml"
APPTAINER = """#!/bin/bash
if [ "$1" = --version ]; then echo apptainer version 1.3.4; exit; fi
echo "$*" >> "$CALLS"
while [ "${1##*.}" != sif ]; do shift; done
exec "${@:2}"
"""


def test_a_job_runs_in_the_image_with_what_the_profile_says(tmp_path):
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    project, programs = Project(tmp_path), tmp_path / "programs"
    programs.mkdir()
    (programs / "apptainer").write_text(APPTAINER)
    (programs / "apptainer").chmod(0o755)
    found = re.findall(r"(?m)^# ((?:software|apptainer)-[^:]*): (.*)$", PROFILE.read_text())
    (_, method), (_, arguments) = sorted(found, reverse=True)
    target = "results/tiny/data/chain/train.parquet"
    done = project.snakemake(
        target,
        f"--software-deployment-method={method}",
        f"--apptainer-args={arguments.strip(chr(34))}",
        PATH=os.pathsep.join(map(str, (programs, Path(sys.executable).parent, os.environ["PATH"]))),
        CALLS=str(tmp_path / "calls"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert f"exec --home {project.folder} --nv --bind /scratch " in call
    assert f" {project.folder / 'slurm' / 'gainrl.sif'} bash -c " in call
    assert "gainrl data --preset results/tiny/preset.json --dataset chain" in call


def test_the_definition_copies_what_there_is_and_builds_the_pinned_lists():
    text = DEFINITION.read_text()
    copied = re.findall(r"(?m)^    (\S+) /opt/gainrl/$", text)
    assert {"pyproject.toml", "envs", "src"} <= set(copied)
    for name in copied:
        assert (REPOSITORY / name).exists(), name
    for script in re.findall(r"envs/\S+\.sh", text):
        assert (REPOSITORY / script).exists(), script
    (python,) = re.findall(r"From: python:(\d+\.\d+)-", text)
    assert f"python={python}" in (REPOSITORY / "envs" / "local.yaml").read_text()
    arguments = dict(re.findall(r"(?m)^    ([A-Z_]+)=(\S*)$", text.partition("%files")[0]))
    assert set(re.findall(r"{{ (\w+) }}", text)) == set(arguments)
    assert (REPOSITORY / "envs" / f"verl-{arguments['KIND']}.txt").exists()
