"""Answers of a model to many prompts: each is generated once and kept as soon as it is finished.

Answers are appended to a file for each shard, below a line that says what they are answers of;
whoever is killed goes on with what is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gainrl.config.evaluation import EngineName
from gainrl.errors import DataError
from gainrl.evaluation.engines import AnswerRequest, Engine
from gainrl.evaluation.samples import Answer, Benchmark
from gainrl.models.sampling import Sampling
from gainrl.records import append_lines, read_lines, write_text

EngineFor = Callable[[Sequence[AnswerRequest], Path], Engine]
"""An engine for some requests, whose log, if it has one, lies at a path."""
Told = Callable[[int, int], None]
"""Called with answers that are done and answers in all, whenever some were finished."""


@dataclass(frozen=True)
class Questions:
    """Prompts that a model answers several times each, and where the answers are kept.

    model: its name in the preset; folder: its weights; samples: answers to a prompt; seed: of
    their draws; window: the model's context, tokens, or None; shards: jobs that share the prompts;
    parts: the folder of their files; head: what the answers depend on, and therefore the first line
    of every part.
    """

    model: str
    folder: Path
    engine: EngineName
    tokenizer: Any
    benchmark: Benchmark
    sampling: Sampling
    samples: int
    seed: int
    window: int | None
    shards: int
    parts: Path
    head: dict[str, Any]

    def requests(self, row: int) -> list[AnswerRequest]:
        """The answers to a prompt; the model's context may leave less room than is wanted."""
        prompts = self.benchmark.prompts
        tokens, most = prompts.tokens[row], None
        if self.window is not None and self.window - len(tokens) < self.sampling.max_tokens:
            most = self.window - len(tokens)
        return [
            AnswerRequest(row, prompts.ids[row], tokens, sample, most)
            for sample in range(self.samples)
        ]

    def part(self, shard: int) -> Path:
        """The file of a shard's answers.

        Raises:
            DataError: there is no such shard.
        """
        if not 0 <= shard < self.shards:
            raise DataError(
                f"shard {shard}: there are {self.shards} shards, so 0 to {self.shards - 1}"
            )
        return self.parts / f"{shard}-of-{self.shards}.jsonl"


@dataclass(frozen=True)
class Answers:
    """All answers to some questions; engine, draws: what the shards say of them.

    seconds: of generating, all shards together.
    """

    answers: list[Answer]
    engine: str
    draws: str
    seconds: float


def generate(
    asked: Questions, shard: int, engine_for: EngineFor, told: Told = lambda *_: None
) -> None:
    """Generate the answers of one shard that are not there yet.

    Raises:
        BackendError: vLLM failed; what it had answered is kept.
        DataError: there is no such shard.
    """
    path = asked.part(shard)
    done = {(each.row, each.sample) for each in _kept(path, asked.head, repair=True)}
    requests = [
        request
        for row in asked.benchmark.asked
        if row % asked.shards == shard
        for request in asked.requests(row)
    ]
    wanted = [each for each in requests if (each.row, each.sample) not in done]
    told(len(done), len(requests))
    if not wanted:
        return
    engine, last = engine_for(wanted, path.with_suffix(".log")), time.perf_counter()
    for answers in engine.answers(wanted, asked.sampling, asked.seed):
        now = time.perf_counter()
        note = {"engine": engine.version, "draws": engine.draws, "seconds": now - last}
        append_lines(path, [*map(asdict, answers), note])
        last, done = now, done | {(answer.row, answer.sample) for answer in answers}
        told(len(done), len(requests))


def gathered(asked: Questions) -> Answers:
    """The answers of all shards.

    Raises:
        DataError: answers are missing.
    """
    parts = [asked.part(shard) for shard in range(asked.shards)]
    answers = [answer for path in parts for answer in _kept(path, asked.head)]
    due = len(asked.benchmark.asked) * asked.samples
    missing = due - len({(each.row, each.sample) for each in answers})
    if missing:
        raise DataError(f"{asked.parts}: {missing} answers are missing")
    notes = [row for path in parts for row in read_lines(path) if "engine" in row]
    seconds = sum(row["seconds"] for row in notes)
    return Answers(answers, _one(notes, "engine"), _one(notes, "draws"), seconds)


def _kept(path: Path, head: dict[str, Any], repair: bool = False) -> list[Answer]:
    """The answers in a part; none if it is of another configuration.

    repair: begin the file anew in that case, and cut off a line that a kill has torn.
    """
    rows = read_lines(path)
    known = bool(rows) and rows[0] == head
    if repair:
        kept = rows if known else [head]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in kept))
    return [Answer(**row) for row in rows if "row" in row] if known else []


def _one(notes: Sequence[dict[str, Any]], key: str) -> str:
    """What all parts say, or every different thing that they say."""
    return " and ".join(dict.fromkeys(str(row[key]) for row in notes))
