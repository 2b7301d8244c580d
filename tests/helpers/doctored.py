"""What the tests of the doctor share: presets, what programs print, checks by name."""

from __future__ import annotations

from pathlib import Path

from gainrl.doctor.check import Check

REPOSITORY = Path(__file__).resolve().parents[2]
PAPER = str(REPOSITORY / "experiments" / "paper.yaml")
TINY = str(REPOSITORY / "experiments" / "tiny.yaml")
A100 = "NVIDIA A100-SXM4-80GB, 81920, 580.95.05\n"
SINFO = "main*|up|4|32|256000|(null)|1-00:00:00\ngpu|up|16|128|1031000|gpu:a100:8(S:0-1)|infinite\n"


def by_name(checks) -> dict[str, Check]:
    return {each.name: each for each in checks}
