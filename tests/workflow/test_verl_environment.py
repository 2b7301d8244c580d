"""envs/build-verl.sh: which list it takes and what it asks of pip.

Nothing is installed: python3 and nvidia-smi are scripts, which write down how they are called.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from project import REPOSITORY

WHEEL = "https://host/flash_attn-2.8.3-cp311-cp311-linux_x86_64.whl#sha256=0"
PYTHON = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case $* in *" --requirement "*) shift $(($# - 1)); cat "$1" >> "$LISTED" ;; esac
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; fi
"""


def build(
    folder: Path, kind: str, *options: str, driver: str | None = None, **variables: str
) -> tuple[int, str, list[str]]:
    """Exit code, what was printed, and pip's arguments call by call."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "python3").write_text(PYTHON)
    (programs / "nvidia-smi").write_text(f"#!/bin/sh\n{'exit 9' if driver is None else ''}\n")
    if driver is not None:
        (programs / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{driver}\\n{driver}\\n'\n")
    for each in programs.iterdir():
        each.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if k != "FLASH_ATTN"}
    kept |= {"CALLS": str(folder / "calls"), "LISTED": str(folder / "listed"), **variables}
    done = subprocess.run(
        [REPOSITORY / "envs" / "build-verl.sh", kind, folder / "built", *options],
        env={**kept, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    calls = (folder / "calls").read_text() if (folder / "calls").exists() else ""
    return done.returncode, done.stdout + done.stderr, re.findall(r"--no-deps (.*)", calls)


@pytest.mark.parametrize(
    ("driver", "kind", "torch"),
    [
        ("580.65.06", "cuda", "torch==2.11.0"),
        ("575.51.03", "cu129", "torch==2.11.0+cu129"),
        ("525.60.13", "cu129", "torch==2.11.0+cu129"),
    ],
)
def test_auto_goes_by_the_driver(tmp_path, driver, kind, torch):
    index = "--extra-index-url=https://host/simple"
    code, said, calls = build(tmp_path, "auto", index, driver=driver, FLASH_ATTN="none")
    assert code == 0, said
    assert f"driver {driver}: envs/verl-{kind}.txt" in said.replace(str(REPOSITORY) + "/", "")
    assert calls[0] == f"{index} {torch}"
    assert (tmp_path / "built" / "kind").read_text() == f"{kind}\n"
    listed = (tmp_path / "listed").read_text()
    assert torch in listed.splitlines()
    assert "flash-attn==" not in listed


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        (None, "no nvidia-smi here to ask for the driver: say verl.environment: cuda"),
        ("470.82.01", "driver 470.82.01 is too old for CUDA 12.9, which needs 525"),
        ("NVIDIA-SMI has failed", "nvidia-smi names no driver here: NVIDIA-SMI has failed"),
    ],
)
def test_auto_says_why_it_cannot_decide(tmp_path, driver, says):
    code, said, calls = build(tmp_path, "auto", driver=driver, FLASH_ATTN="none")
    assert (code, calls) == (1, [])
    assert says in said
    assert not (tmp_path / "built").exists()


@pytest.mark.parametrize("kind", ["cuda", "cu129"])
def test_flash_attn_is_asked_for_before_anything_is_installed(tmp_path, kind):
    code, said, calls = build(tmp_path, kind)
    assert (code, calls) == (1, [])
    assert "FLASH_ATTN is not set: a wheel's URL or path (docs/cluster.md has some)" in said


@pytest.mark.parametrize(
    ("wanted", "call"),
    [
        (WHEEL, WHEEL),
        ("source", "--pre --no-build-isolation flash-attn==2.8.3"),
        ("none", None),
    ],
)
def test_where_flash_attn_comes_from(tmp_path, wanted, call):
    code, said, calls = build(tmp_path, "cuda", "--pre", FLASH_ATTN=wanted)
    assert code == 0, said
    *_, last, ours = calls
    assert ours.startswith("--pre --editable ")
    assert (last if "flash" in last else None) == call


def test_a_list_without_flash_attn_needs_no_word_about_it(tmp_path):
    code, said, calls = build(tmp_path, "cpu")
    assert code == 0, said
    assert len(calls) == 3
    assert (tmp_path / "built" / "kind").read_text() == "cpu\n"


def test_the_lists_for_cuda_12_and_13_differ_in_cuda_alone():
    lists = {
        kind: dict(
            line.split("==")
            for line in (REPOSITORY / "envs" / f"verl-{kind}.txt").read_text().splitlines()
            if not line.startswith("#")
        )
        for kind in ("cuda", "cu129")
    }
    ours, theirs = lists["cu129"], lists["cuda"]
    for name in ("torch", "torchvision", "torchaudio", "vllm"):
        assert ours.pop(name) == f"{theirs.pop(name)}+cu129"
    differ = {name for name, version in {**ours, **theirs}.items() if ours.get(name) != version}
    differ |= {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}
    assert all(name.startswith(("nvidia-", "cuda-")) for name in differ)
    assert ours["nvidia-cuda-runtime-cu12"].startswith("12.9.")
    assert not [name for name in ours if name.endswith("-cu13")]
    assert ours.keys() >= {name.replace("-cu13", "-cu12") for name in theirs if "-cu13" in name} - {
        "nvidia-cutlass-dsl-libs-cu12"  # CUDA 12 is in its base
    }
