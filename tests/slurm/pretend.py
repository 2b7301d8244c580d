"""A pretend cluster (cluster.sh), and Snakemake on it as a user of the profile calls it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CLUSTER = Path(__file__).with_name("cluster.sh")
START_SECONDS, STOP_SECONDS = 420, 60
# What the profile leaves to its users: this cluster has no accounting, and tests do not wait for
# a network file system.
FLAGS = (
    "--slurm-status-command=squeue",
    "--slurm-init-seconds-before-status-checks=2",
    "--latency-wait=10",
)


def why_not() -> str | None:
    if os.name != "posix" or os.geteuid() != 0:
        return "needs root, to start SLURM's daemons"
    programs = ("slurmctld", "slurmd", "munged", "sbatch", "srun")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if all(shutil.which(program, path=path) for program in programs):
        return None
    if not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        return "SLURM is not installed, and only Debian's apt-get is known here to install it"
    # Lists may be old or empty on a fresh machine; without a network neither command helps.
    subprocess.run(["apt-get", "-q", "update"], capture_output=True, timeout=120, check=False)
    command = ["apt-get", "-q", "-s", "install", "slurmctld", "slurmd", "munge", "slurm-client"]
    trial = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return f"apt-get cannot install SLURM: {trial.stderr.strip()}" if trial.returncode else None


def call(
    command: list[str], seconds: float, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command; at the time limit interrupt it, so that Snakemake cancels its jobs."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            end(process)
            log.seek(0)
            pytest.fail(f"{command[0]} ran past {seconds} s:\n{log.read()[-8000:]}")
        except BaseException:  # an interrupt, or pytest-timeout
            end(process)
            raise
        log.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, log.read())


def end(process: subprocess.Popen[bytes]) -> None:
    # Its own session: the group is the process and what it started, and nothing of ours.
    for number, grace in ((signal.SIGINT, 20), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)


@contextlib.contextmanager
def pretend(nodes: int, gpu_model: str = "a100") -> Iterator[dict[str, str]]:
    if reason := why_not():
        pytest.skip(reason)
    shape = {**os.environ, "NODES": str(nodes), "GPU_MODEL": gpu_model}
    # A socket's path must be short, which pytest's folders are not.
    folder = Path(tempfile.mkdtemp(prefix="gainrl-slurm-", dir="/tmp"))
    try:
        started = call([str(CLUSTER), "start", str(folder)], START_SECONDS, env=shape)
        assert started.returncode == 0, started.stdout
        yield {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.pathsep.join(
                (str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
            ),
        }
    finally:
        stopped = call([str(CLUSTER), "stop", str(folder)], STOP_SECONDS, env=shape)
        assert stopped.returncode == 0, stopped.stdout
        shutil.rmtree(folder)


def snakemake(cluster: dict[str, str], folder: Path, *arguments: str, seconds: float = 150) -> str:
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *FLAGS, *arguments]
    done = call(command, seconds, cwd=folder, env=cluster)
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def edit(folder: Path, **choices: str) -> None:
    """Copy the profile and fill in its block as a user does."""
    text = (REPOSITORY / "slurm" / "config.yaml").read_text()
    for key, value in choices.items():
        text, count = re.subn(rf"(?m)^(  {key}: &{key}) \S+", rf"\1 {value}", text)
        assert count == 1, f"the profile has no '{key}' to edit"
    (folder / "slurm").mkdir(exist_ok=True)
    (folder / "slurm" / "config.yaml").write_text(text)
    (folder / "experiments").mkdir(exist_ok=True)  # the profile names the paper's preset
    shutil.copy(REPOSITORY / "experiments" / "paper.yaml", folder / "experiments")


def copy(folder: Path) -> Path:
    """The repository without what its .gitignore names, so that results/ there stays as it is."""
    anywhere = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "mlruns")

    def ignored(place: str, names: list[str]) -> set[str]:
        above = {"results"} if Path(place) == REPOSITORY else set()
        return anywhere(place, names) | above

    return Path(shutil.copytree(REPOSITORY, folder / "copy", ignore=ignored))
