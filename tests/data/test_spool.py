"""Tests of programs on their way from the source to a table: never all in memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from gainrl.config.data import Files
from gainrl.data.sources import load_splits
from gainrl.data.spool import Spool

PEAK = """
import resource, sys
from gainrl import cli
assert cli.main(sys.argv[1:]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def written(path: Path, rows: int, size: int) -> dict[str, str]:
    """A data set of programs whose suites are about as large as said, in bytes."""
    draw = random.Random(3)
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            pairs = [[draw.randbytes(size // 2).hex(), "2"]]
            suite = json.dumps({"kind": "StreamTests", "pairs": pairs})
            file.write(json.dumps({"question": f"q{row}", "answer": suite}) + "\n")
    return {"source": "file", "train_file": str(path), "grader": "code"}


def made(folder: Path, spec: dict[str, str]) -> int:
    """Peak memory of the stage `data`, MiB."""
    preset = {"preset": "programs", "seeds": [0], "models": {}, "datasets": {"mine": spec}}
    (folder / "preset.yaml").write_text(yaml.safe_dump(preset))
    command = [sys.executable, "-c", PEAK, "data", "--dataset", "mine"]
    command += ["--preset", str(folder / "preset.yaml"), "--root", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=True)
    return int(done.stdout.splitlines()[-1])


def test_a_spool_gives_back_what_it_was_given(tmp_path):
    texts = ["", "one", "ü" * 1000, "x" * 10]
    with Spool(tmp_path / "new") as spool:
        keys = [spool.add(text) for text in texts]
        assert [spool.get(key) for key in reversed(keys)] == texts[::-1]
        assert [spool.get(spool.add("later")), spool.get(keys[1])] == ["later", "one"]
    assert list((tmp_path / "new").iterdir()) == []


def test_suites_are_written_in_bounded_memory_and_as_they_were(tmp_path):
    small = made(tmp_path, written(tmp_path / "small.jsonl", 2, 1000))
    spec = written(tmp_path / "large.jsonl", 80, 1_000_000)
    peak = made(tmp_path, spec)
    table = pd.read_parquet(tmp_path / "programs/data/mine/train.parquet")
    whole = load_splits(Files(**spec), data_dir=None, name="mine")["train"]
    assert table.to_dict("list") == whole.to_dict("list")
    size = whole["answer"].str.len().sum() / 2**20
    assert size > 76
    assert peak < small + 0.9 * size, (small, peak, size)  # a frame and its copy are twice the size
