"""A project folder as a user has it, for the tests of the workflow."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("workflow", "rules", "experiments", "envs", "slurm")
TINY = "experiments/tiny.yaml"
Edit = Callable[[dict[str, Any]], Any]


@dataclass
class Project:
    """A copy of what a user has: the workflow and the presets."""

    folder: Path

    def call(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment in the project's folder."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "GAINRL_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
        variables = {**kept, "PATH": path, "OMP_NUM_THREADS": "1", **environment}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def snakemake(
        self, *arguments: str, preset: str = TINY, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake."""
        command = ("snakemake", *arguments, "--configfile", preset, "--cores", "2")
        return self.call(*command, **environment)

    def gainrl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line on the tiny preset."""
        return self.call("gainrl", *arguments, "--preset", TINY)

    def edited(self, edit: Edit) -> str:
        """The tiny preset with a change, as a file."""
        data = yaml.safe_load((self.folder / TINY).read_text())
        edit(data)
        (self.folder / "edited.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
        return "edited.yaml"

    def planned(self, edit: Edit, *targets: str) -> dict[str, int]:
        """How many jobs of each rule a call would run after a change to the preset."""
        done = self.snakemake(*targets, "--dry-run", "--quiet", "rules", preset=self.edited(edit))
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        return jobs_in(output)

    def run(self, method: str = "gain", seed: int = 0) -> Path:
        """A run's folder."""
        return self.folder / f"results/tiny/runs/nano/chain/{method}/seed{seed}"

    def state(self) -> dict[str, tuple[int, int]]:
        """Size and time of everything that was made."""
        files = (path for path in (self.folder / "results").rglob("*") if path.is_file())
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}


def jobs_in(output: str) -> dict[str, int]:
    """Snakemake's job table without its total."""
    if "Nothing to be done" in output:
        return {}
    table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", output, re.DOTALL)
    assert table, output
    return {name: int(count) for name, count in (line.split() for line in table[1].splitlines())}
