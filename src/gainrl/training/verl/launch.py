"""Starts verl in its own environment for one run, watches it, and leaves our records behind.

Whatever happens, every process that verl started is ended, by its id: on success, on failure, and
when no step was recorded for `patience` seconds (a failed weight push hangs for ever).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gainrl.data.prompts import Prompts
from gainrl.data.templates import conversation
from gainrl.errors import BackendError
from gainrl.processes import (
    MARK,
    end_marked,
    end_with_parent,
    error_of,
    terminated_like_interrupted,
)
from gainrl.records import atomic_write, write_json
from gainrl.training.files import CHECKPOINTS, JOB, STEPS, TESTS
from gainrl.training.verl import cluster

AGENT = "gainrl_test"
"""In agents.yaml: who answers the problems of a test."""
NEWEST = "latest_checkpointed_iteration.txt"
"""verl's note of its newest complete checkpoint, in the folder of checkpoints."""


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

    templates: the whole table stands there once for each, in their order.
    grader: what `reward` builds it from: name and sandbox (the preset's section).
    test: how a benchmark is sampled.
    """
    how = json.dumps(dict(grader), sort_keys=True)
    more: dict[str, Any] = {"sampling": test.sampling()} if test else {}
    keys, golds = list(ids) * len(templates), list(answers) * len(templates)
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


def write_segments(
    path: Path, renderings: Sequence[Prompts], tap: str, weight: float, offdiagonal: bool
) -> None:
    """What the engine plugin needs to know of each prompt, found by its tokens.

    renderings: of the training table, one for each template.
    """
    rows = [row for prompts in renderings for row in prompts.tokens]
    with atomic_write(path) as file:
        np.savez(
            file,
            tap=tap,
            weight=weight,
            offdiagonal=offdiagonal,
            tokens=np.array([token for row in rows for token in row], dtype=np.int64),
            lengths=np.concatenate([prompts.lengths for prompts in renderings]),
            n_prefix=np.concatenate([prompts.prefixes for prompts in renderings]),
            n_question=np.concatenate([prompts.n_question for prompts in renderings]),
        )


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

    Args:
        python: the interpreter of verl's environment.
        job: what `entry` reads; job['folder'] is the run's folder, the log is verl.log in it.
        variables: of its processes, in addition to this process's.
        patience: seconds without a new step or test after which verl is ended.
        nodes: with more than one, Ray is started on the nodes of the SLURM allocation, and offers
            gpus_per_node on each.
        follow: called a few times a second.

    Raises:
        BackendError: naming the log and the error in it.
    """
    folder = Path(job["folder"])
    write_json(folder / JOB, job)
    log, mark = folder / "verl.log", f"{MARK}={folder.resolve()}"
    end_marked(mark)  # what a killed launcher of this run has left: it writes into the same files
    command = [str(python), "-m", "gainrl.training.verl.entry", str(folder / JOB)]
    # Ray's sockets lie below its folder, and the path of a socket must be short.
    scratch = Path(tempfile.mkdtemp(prefix="gainrl-ray-", dir="/tmp"))
    # SLURM sets it beside CUDA_VISIBLE_DEVICES, and verl refuses both.
    ours = {name: value for name, value in os.environ.items() if name != "ROCR_VISIBLE_DEVICES"}
    environment = {
        **ours,
        "RAY_TMPDIR": str(scratch),
        **variables,
        MARK: str(folder.resolve()),
    }
    began = log.stat().st_size if log.exists() else 0
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
            reason = _watch(process, folder, patience, follow)
        finally:
            end_marked(mark)
            shutil.rmtree(scratch, ignore_errors=True)
    if reason:
        raise BackendError(f"{log}: {reason}; {error_of(log, began)}")


def _watch(
    process: subprocess.Popen[bytes], folder: Path, patience: float, follow: Callable[[], None]
) -> str | None:
    """Why the run failed, or None; returns when it has ended or has to be ended."""
    moved, size = time.monotonic(), -1
    while process.poll() is None:
        paths = (folder / name for name in (STEPS, TESTS, f"{CHECKPOINTS}/{NEWEST}"))
        current = sum(int(path.stat().st_mtime_ns) for path in paths if path.exists())
        if current != size:
            size, moved = current, time.monotonic()
            follow()
        if time.monotonic() - moved > patience:
            return f"nothing new for {patience:.0f} s"
        time.sleep(0.5)
    return f"verl exited with code {process.returncode}" if process.returncode else None
