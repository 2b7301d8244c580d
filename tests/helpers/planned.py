"""`gainrl plan` on a preset of a test, and what its job scripts ask for."""

import shlex
from pathlib import Path

import yaml

from gainrl import cli

REPOSITORY = Path(__file__).resolve().parents[2]
PROFILE = REPOSITORY / "slurm"


def planned(folder, data, *arguments):
    """Run the command in a folder; returns its exit code."""
    (folder / "preset.yaml").write_text(yaml.safe_dump(data))
    given = ["--preset", "preset.yaml", "--out", "plan", "--profile", str(PROFILE)]
    return cli.main(["plan", *given, *arguments])


def options(script):
    """The #SBATCH lines of a script."""
    lines = [line for line in script.splitlines() if line.startswith("#SBATCH ")]
    words = [shlex.split(line.removeprefix("#SBATCH "))[0] for line in lines]
    return dict(word.removeprefix("--").partition("=")[::2] for word in words)
