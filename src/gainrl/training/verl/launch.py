"""Starts verl in its own environment for one run, watches it, and leaves our records behind.

Whatever happens, every process that verl started is ended, by its id: on success, on failure, and
when nothing came of it for `patience` seconds (a failed weight push hangs for ever).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gainrl.data.templates import conversation
from gainrl.errors import BackendError
from gainrl.processes import (
    MARK,
    end_marked,
    end_with_parent,
    error_of,
    terminated_like_interrupted,
)
from gainrl.records import atomic_write, read_lines, write_json
from gainrl.training.files import CHECKPOINTS, JOB, STEPS, TESTS, TIMING, VERL
from gainrl.training.verl import cluster
from gainrl.training.verl.golds import write_golds
from gainrl.training.verl.saving import NEWEST, STOP, newest

AGENT = "gainrl_test"
"""In agents.yaml: who answers the problems of a test."""
BEATS = "heartbeat"
"""In a run's folder verl/: touched whenever a response has been graded."""
SAVE_SECONDS = 600.0
"""How long a checkpoint may take to be written before a job ends."""


@dataclass(frozen=True)
class TestSettings:
    """How a benchmark is tested: `evaluation` with its overrides; max_response: in tokens."""

    __test__ = False  # it is no test class

    samples: int
    temperature: float
    top_p: float
    max_response: int

    def sampling(self) -> dict[str, Any]:
        """As vLLM is asked, by problem."""
        nucleus = self.top_p if self.temperature else 1.0
        return {
            "temperature": self.temperature,
            "top_p": nucleus,
            "max_tokens": self.max_response,
        }


def write_prompts(
    path: Path,
    name: str,
    ids: Sequence[str],
    questions: Sequence[str],
    answers: Sequence[str],
    templates: Sequence[str],
    system: str | None,
    grader: Mapping[str, Any],
    test: TestSettings | None = None,
) -> None:
    """A data set as verl reads it: messages, gold answer, which row it is, and its grader.

    The gold answers of programs lie in a file beside it (`golds`).

    templates: the whole table stands there once for each, in their order.
    grader: what `reward` builds it from: name and sandbox (the preset's section).
    test: how a benchmark is sampled.
    """
    how = json.dumps(dict(grader), sort_keys=True)
    more: dict[str, Any] = {"sampling": test.sampling()} if test else {}
    golds = list(answers)
    if grader["name"] == "code":
        beside = path.with_suffix(".golds")
        golds, more = write_golds(beside, golds), {**more, "golds": str(beside.absolute())}
    keys, golds = list(ids) * len(templates), golds * len(templates)
    information: list[dict[str, Any]] = [
        {"index": row, "id": key, "grader": how, **more} for row, key in enumerate(keys)
    ]
    frame = pd.DataFrame(
        {
            "data_source": name,
            "prompt": [
                conversation(question, template, system)
                for template in templates
                for question in questions
            ],
            "reward_model": [{"style": "rule", "ground_truth": gold} for gold in golds],
            "extra_info": information,
        }
    )
    if test:
        frame = frame.assign(agent_name=AGENT, __rollout_n__=test.samples)
    with atomic_write(path) as file:
        frame.to_parquet(file)


def run(
    python: Path,
    job: Mapping[str, Any],
    variables: Mapping[str, str],
    patience: float,
    nodes: int = 1,
    gpus_per_node: int = 1,
    follow: Callable[[], None] = lambda: None,
) -> None:
    """Train; returns when verl has ended well.

    Where SLURM says when the job ends, and on SIGUSR1, the trainer is told in time to save at the
    end of its step, and verl is ended once that is done.

    Args:
        python: the interpreter of verl's environment.
        job: what `entry` reads; job['folder'] is the run's folder, the log is verl.log in it;
            those of earlier attempts are verl-1.log and so on.
        variables: of its processes, in addition to this process's.
        patience: seconds without a graded response, a new step, test or checkpoint after which verl
            is ended; longer where four steps of this run are.
        nodes: with more than one, Ray is started on the nodes of the SLURM allocation, and offers
            gpus_per_node on each.
        follow: called a few times a second.

    Raises:
        BackendError: naming the log and the error in it; or the run was saved because its job ends.
    """
    folder = Path(job["folder"])
    mark = f"{MARK}={folder.resolve()}"
    end_marked(mark)  # what a killed launcher of this run has left: it writes into the same files
    log = _new_log(folder)
    number = secrets.randbelow(1 << 30) + (1 << 20)
    write_json(folder / JOB, {**job, "ray_job": number})
    (folder / VERL).mkdir(exist_ok=True)
    (folder / VERL / STOP).unlink(missing_ok=True)
    command = [str(python), "-m", "gainrl.training.verl.entry", str(folder / JOB)]
    # Ray's sockets lie below its folder, and the path of a socket must be short.
    scratch = Path(tempfile.mkdtemp(prefix="gainrl-ray-", dir="/tmp"))
    # SLURM sets it beside CUDA_VISIBLE_DEVICES, and verl refuses both.
    ours = {name: value for name, value in os.environ.items() if name != "ROCR_VISIBLE_DEVICES"}
    environment = {
        **caches(),
        **ours,
        "RAY_TMPDIR": str(scratch),
        "GAINRL_HEARTBEAT": str((folder / VERL / BEATS).resolve()),
        **variables,
        MARK: str(folder.resolve()),
    }
    with open(log, "ab") as file, terminated_like_interrupted():
        try:
            where = {"RAY_ADDRESS": "local"}
            if nodes > 1:
                where = cluster.start(python, nodes, gpus_per_node, environment, file)
            process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**environment, **where},
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
            with _asked_to_stop(folder):
                reason = _watch(process, folder, patience, follow)
        finally:
            end_marked(mark)
            shutil.rmtree(scratch, ignore_errors=True)
            for socket in Path("/tmp").glob(f"rl-colocate-zmq-{_as_ray_has_it(number)}-*"):
                socket.unlink(missing_ok=True)
    if reason:
        raise BackendError(f"{log}: {reason}; {refused(folder) or error_of(log, 0)}")


def refused(folder: Path) -> str | None:
    """Why a folder takes no MiB more, if it does not: torch's error of a full disk says nothing."""
    probe = folder / ".probe"
    try:
        probe.write_bytes(b"\0" * (1 << 20))
    except OSError as error:
        return f"{folder}: {error.strerror}"
    finally:
        probe.unlink(missing_ok=True)
    return None


def _as_ray_has_it(job: int) -> str:
    """A job's number in the names that verl gives to things of it."""
    return job.to_bytes(4, "little").hex()


def _new_log(folder: Path) -> Path:
    """verl.log, which is not there; the last attempt's is kept under a number."""
    log = folder / "verl.log"
    if log.exists():
        numbers = (path.stem.removeprefix("verl-") for path in folder.glob("verl-*.log"))
        last = max((int(each) for each in numbers if each.isdecimal()), default=0)
        log.rename(folder / f"verl-{last + 1}.log")
    return log


def caches() -> dict[str, str]:
    """Where compilers of this node's GPU keep what they have compiled: not in the user's home.

    Homes of clusters are small and slow. One folder for all runs on the node, so that the second
    one compiles nothing.
    """
    folder = Path(tempfile.gettempdir()) / f"gainrl-cache-{os.geteuid()}"
    return {
        "VLLM_CACHE_ROOT": str(folder / "vllm"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "FLASHINFER_WORKSPACE_BASE": str(folder / "flashinfer"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
    }


@contextmanager
def _asked_to_stop(folder: Path) -> Iterator[None]:
    """SIGUSR1 (`sbatch --signal`) asks the trainer to save."""
    before = signal.signal(signal.SIGUSR1, lambda *_: (folder / VERL / STOP).touch())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def _changed(*paths: Path) -> int:
    """A number that is another one whenever one of the files was written."""
    return sum(path.stat().st_mtime_ns for path in paths if path.exists())


def _watch(
    process: subprocess.Popen[bytes], folder: Path, patience: float, follow: Callable[[], None]
) -> str | None:
    """Why the run failed, or None; returns when it has ended or has to be ended."""
    paths = [folder / name for name in (STEPS, TESTS, f"{CHECKPOINTS}/{NEWEST}")]
    beats = folder / VERL / BEATS
    moved, seen, beaten, longest = time.monotonic(), -1, -1, 0.0
    stop, ends = folder / VERL / STOP, cluster.job_ends()
    saved = newest(folder / CHECKPOINTS) or 0
    while process.poll() is None:
        current, beat = _changed(*paths), _changed(beats)
        if beat != beaten:
            beaten, moved = beat, time.monotonic()
        if current != seen:
            seen, moved = current, time.monotonic()
            longest = max([row["seconds_step"] for row in read_lines(folder / TIMING)] or [0.0])
            follow()
        if ends and time.time() + 1.5 * longest + SAVE_SECONDS > ends and not stop.exists():
            stop.touch()
        asked, step = stop.exists(), newest(folder / CHECKPOINTS) or 0
        if asked and step > saved:
            return f"saved at step {step} and ended, since its job ends soon; start it again"
        saved = saved if asked else step
        if time.monotonic() - moved > max(patience, 4 * longest):
            return f"nothing new for {time.monotonic() - moved:.0f} s"
        time.sleep(0.5)
    return f"verl exited with code {process.returncode}" if process.returncode else None
