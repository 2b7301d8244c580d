"""A folder with a small preset and the command line in it, for tests of what a user gets wrong."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gainrl import cli

PRESET = yaml.safe_load(
    """
preset: bad
seeds: [0]
models:
  nano: {source: nano, hidden: 16, layers: 1, heads: 2, feed_forward: 32, context: 96}
datasets:
  chain: {source: generate, task: chain, train: 8, eval: 4, levels: [1]}
training: {steps: 2, prompts: 4, rollouts: 2, max_response: 8, save_every: 1}
evaluation: {every: 2}
methods:
  grpo: {curriculum: uniform}
experiments:
  table1: {models: [nano], datasets: [chain], methods: [grpo]}
"""
)
CHAIN = ("--dataset", "chain")
NANO = ("--model", "nano")


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one line of a user's error."""
        assert self.code == 2, self.err
        assert self.err.endswith("\n"), self.err
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("gainrl: "), self.err
        return self.err.removeprefix("gainrl: ").rstrip("\n")


@dataclass
class Place:
    """A folder with a preset, and the command line in it."""

    folder: Path
    capture: Any

    @property
    def root(self) -> Path:
        return self.folder / "results"

    @property
    def home(self) -> Path:
        return self.root / "bad"

    def preset(self, **changes: Any) -> Path:
        path = self.folder / "preset.yaml"
        path.write_text(yaml.safe_dump({**copy.deepcopy(PRESET), **changes}))
        return path

    def gainrl(self, *arguments: str, **changes: Any) -> Outcome:
        """Run a stage in this process."""
        self.capture.readouterr()
        preset = str(self.preset(**changes))
        code = cli.main([*arguments, "--preset", preset, "--root", str(self.root)])
        out, err = self.capture.readouterr()
        return Outcome(code, out, err)

    def process(self, *arguments: str, **changes: Any) -> Outcome:
        """Run a stage in a process of its own."""
        preset = str(self.preset(**changes))
        command = [sys.executable, "-m", "gainrl.cli", *arguments, "--preset", preset]
        done = subprocess.run(
            [*command, "--root", str(self.root)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def succeed(self, *arguments: str, **changes: Any) -> None:
        outcome = self.gainrl(*arguments, **changes)
        assert outcome.code == 0, outcome.err

    def files(self) -> list[str]:
        """Everything below the root but the tracking store."""
        found = (path for path in self.root.rglob("*") if not path.is_dir())
        names = sorted(str(path.relative_to(self.root)) for path in found)
        return [name for name in names if not name.startswith("ml")]


def from_file(path: Path, **more: Any) -> dict[str, Any]:
    return {**PRESET["datasets"], "mine": {"source": "file", "train_file": str(path), **more}}
