"""vLLM as an engine: one process in the environment that has it, which answers as it finishes."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from gainrl.errors import BackendError
from gainrl.evaluation.engines import AnswerRequest, seed_of
from gainrl.evaluation.samples import Answer
from gainrl.models.sampling import Sampling
from gainrl.processes import (
    MARK,
    end_marked,
    end_with_parent,
    error_of,
    terminated_like_interrupted,
)

VARIABLES = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process, whose requests are taken in our order
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
"""What the preset's `verl.variables` may replace. The last two matter on a CPU only."""


@dataclass
class VllmEngine:
    """Answers of vLLM: continuous batching, and each prompt's prefix is computed once.

    python: the interpreter of an environment with vLLM; folder: the model; ends: token ids that end
    a response; arguments: further ones of vLLM's engine; log: its output is added there; patience:
    seconds without a word after which it is ended.
    """

    python: Path
    folder: Path
    ends: frozenset[int]
    arguments: Mapping[str, Any]
    variables: Mapping[str, str]
    log: Path
    patience: float
    version: str = "vllm"
    draws: str = "unknown"

    def answers(
        self, requests: Sequence[AnswerRequest], sampling: Sampling, seed: int
    ) -> Iterator[list[Answer]]:
        """As `Engine.answers`; `version` and `draws` are known with the first answer.

        Raises:
            BackendError: vLLM failed or hung; the log and the error in it are named.
        """
        job = self.log.with_suffix(".job.json")
        job.write_text(json.dumps(self._job(requests, sampling, seed)), encoding="utf-8")
        mark = f"{MARK}={self.log.resolve()}"
        began = self.log.stat().st_size if self.log.exists() else 0
        left, reason = len(requests), ""
        with open(self.log, "ab") as file, terminated_like_interrupted():
            try:
                process = subprocess.Popen(
                    [str(self.python), "-m", "gainrl.evaluation.vllm_worker", str(job)],
                    stdout=subprocess.PIPE,
                    stderr=file,
                    env={
                        **os.environ,
                        **VARIABLES,
                        **self.variables,
                        MARK: str(self.log.resolve()),
                    },
                    start_new_session=True,
                    preexec_fn=end_with_parent,
                )
                assert process.stdout is not None
                for messages in _messages(process.stdout, self.patience):
                    if "version" in messages[0]:
                        self._introduced(messages.pop(0))
                    left -= len(messages)
                    if messages:
                        yield [Answer(**message) for message in messages]
                    if not left:
                        break
                if left:  # its output has ended, and so will it
                    reason = f"vLLM exited with code {process.wait(self.patience)}"
            except (queue.Empty, subprocess.TimeoutExpired):
                reason = f"nothing new for {self.patience:.0f} s"
            finally:
                end_marked(mark)
                job.unlink(missing_ok=True)
        if left:
            raise BackendError(f"{self.log}: {reason}; {error_of(self.log, began)}")

    def _introduced(self, message: dict[str, Any]) -> None:
        self.version = message["version"]
        if message["seeded"]:
            self.draws = "by seed, problem and sample"
        else:
            self.draws = "by seed and the order of requests"

    def _job(
        self, requests: Sequence[AnswerRequest], sampling: Sampling, seed: int
    ) -> dict[str, Any]:
        wanted = [
            {"row": each.row, "sample": each.sample, "tokens": each.tokens,
             "max_tokens": each.limit(sampling), "seed": _mixed(seed_of(each, seed))}
            for each in requests
        ]  # fmt: skip
        return {
            "model": str(self.folder.absolute()),
            "requests": wanted,
            "sampling": asdict(sampling),
            "ends": sorted(self.ends),
            "seed": _mixed((seed, len(requests), 0)),
            "engine": dict(self.arguments),
        }


def _mixed(parts: tuple[int, int, int]) -> int:
    """A seed of 31 bits from three numbers."""
    import numpy as np

    return int(np.random.SeedSequence(parts).generate_state(1)[0] >> 1)


def _messages(stream: IO[bytes], patience: float) -> Iterator[list[dict[str, Any]]]:
    """JSON lines of a stream, in lists of what is there; queue.Empty if it is silent too long."""
    lines: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, daemon=True).start()
    while True:
        found = [lines.get(timeout=patience)]
        while not lines.empty():
            found.append(lines.get())
        whole = [line for line in found if line.endswith(b"\n")]
        if whole:
            yield [json.loads(line) for line in whole]
        if len(whole) < len(found):  # the end, or a line that it was killed in
            return
