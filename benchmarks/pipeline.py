"""What a user waits for before anything is computed: seconds of the command line and of the DAG.

    make bench-pipeline

Commands in turn, so that a busy moment of the machine meets all of them; the median over rounds.
The first round, which reads everything from the disk, is not counted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = {
    "gainrl --help": ["gainrl", "--help"],
    "a preset is read (gainrl check of tiny)": ["gainrl", "check", "--preset", "{tiny}"],
    "the DAG of tiny": ["snakemake", "all", "-nq", "--configfile", "{tiny}"],
    "the DAG of paper": ["snakemake", "all", "-nq", "--configfile", "{paper}"],
    "the plan of paper": ["gainrl", "plan", "--preset", "{paper}", "--out", "plan"],
}
"""What is timed; presets by their name in experiments/."""
COPIED = ("workflow", "rules", "envs", "experiments", "slurm", "config.yaml")


def seconds(command: list[str], folder: Path) -> float:
    """Of a call in a folder that has no results."""
    presets = {name: f"experiments/{name}.yaml" for name in ("tiny", "paper")}
    program = Path(sys.executable).with_name(command[0])
    began = time.perf_counter()
    subprocess.run(
        [program, *(part.format(**presets) for part in command[1:])],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as place:
        for name in COPIED:
            Path(place, name).symlink_to(REPOSITORY / name)
        for _ in range(rounds + 1):
            for name, command in COMMANDS.items():
                times[name].append(seconds(command, Path(place)))
    print("| | seconds, median | least | most |\n| --- | ---: | ---: | ---: |")
    for name, (_, *found) in times.items():
        print(f"| {name} | {median(found):.2f} | {min(found):.2f} | {max(found):.2f} |")


if __name__ == "__main__":
    main()
