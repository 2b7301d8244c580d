"""Tests under a protocol: every sample is generated once, kept, graded and summed up.

Answers are appended to `parts/` as they are finished, below a line that says what they are answers
of; whoever is killed goes on with what is missing. `collect` grades them all and writes the score.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import AutoConfig

from gainrl import plan
from gainrl.data import registry
from gainrl.data.templates import template_hash
from gainrl.errors import DataError
from gainrl.evaluation.engines import AnswerRequest
from gainrl.evaluation.estimators import by_problem
from gainrl.evaluation.samples import OVERLONG, Answer, Benchmark, graded
from gainrl.models.loading import load_tokenizer
from gainrl.models.sampling import Sampling
from gainrl.plan.benchmarks import Test, test_slice
from gainrl.plan.layout import TRACKED
from gainrl.records import (
    PROMPTS,
    SAMPLES,
    append_lines,
    read_lines,
    read_table,
    write_json,
    write_table,
    write_text,
)
from gainrl.stages.common import (
    Context,
    commit,
    grader_for,
    problem_limit,
    render_tests,
    versions,
)
from gainrl.stages.engines import engine_named
from gainrl.stages.prepare import weights_digest

SAID_SECONDS = 10.0
"""Between two lines of progress in the log."""


@dataclass(frozen=True)
class TestWork:
    """A test with everything that generating and grading need.

    window: the model's context, tokens; head: what the answers depend on, and therefore the first
    line of every part.
    """

    test: Test
    folder: Path
    tokenizer: Any
    benchmark: Benchmark
    sampling: Sampling
    samples: int
    window: int
    head: dict[str, Any]

    def requests(self, row: int) -> list[AnswerRequest]:
        """The answers to a problem; the model's context may leave less room than the protocol."""
        prompts = self.benchmark.prompts
        tokens = prompts.tokens[row]
        room = self.window - len(tokens)
        most = room if room < self.sampling.max_tokens else None
        return [
            AnswerRequest(row, prompts.ids[row], tokens, sample, most)
            for sample in range(self.samples)
        ]


def prepare(context: Context, test: Test) -> TestWork:
    """Render the prompts of a test and settle how they are sampled.

    Raises:
        DataError: the benchmark has no held-out prompts, or none that fits.
    """
    preset, folder = context.preset, test.weights(context.layout)
    tokenizer, config = load_tokenizer(folder), AutoConfig.from_pretrained(folder)
    path = context.layout.split(test.benchmark, "eval")
    table = read_table(path, PROMPTS)
    if table.empty:
        raise DataError(f"{path}: no held-out prompts to test on")
    prompts = render_tests(preset, tokenizer, test.model, test.benchmark, table, config)
    sampled = preset.sampled(test.protocol, test.benchmark)
    most = sampled.max_response or preset.training_for(test.benchmark, test.model).max_response
    window = config.get_text_config().max_position_embeddings
    benchmark = Benchmark(
        test.benchmark,
        prompts,
        list(table["answer"]),
        grader_for(preset, test.benchmark),
        problem_limit(preset, test.model, test.benchmark, config, response=1),
    )
    shortest = min(len(prompts.tokens[row]) for row in benchmark.asked)
    sampling = Sampling(sampled.temperature, sampled.top_p, min(most, window - shortest))
    arguments = preset.models[test.model].template_arguments
    head = {
        "slice": plan.digest(test_slice(preset, test)),
        "weights": weights_digest(folder),
        "data": plan.file_digest(path),
        "template": template_hash(tokenizer, arguments),
        "max_tokens": sampling.max_tokens,
    }
    return TestWork(test, folder, tokenizer, benchmark, sampling, sampled.samples, window, head)


# --- generating ----------------------------------------------------------------------------------


def generate(context: Context, test: Test, shard: int = 0) -> None:
    """Generate the answers of one shard that are not there yet.

    Raises:
        BackendError: vLLM failed; what it had answered is kept.
    """
    torch.set_num_threads(context.preset.threads)
    work = prepare(context, test)
    path = _part(context, test, shard)
    done = {(each.row, each.sample) for each in _answers(path, work.head, repair=True)}
    shards = context.preset.testing.shards
    wanted = [
        request
        for row in work.benchmark.asked
        if row % shards == shard
        for request in work.requests(row)
        if (row, request.sample) not in done
    ]
    if not wanted:
        return
    engine = engine_named(
        context,
        test.engine,
        test.model,
        work.folder,
        work.tokenizer,
        wanted,
        work.sampling,
        path.with_suffix(".log"),
    )
    began = last = told = time.perf_counter()
    for answers in engine.answers(wanted, work.sampling, context.preset.testing.seed):
        now = time.perf_counter()
        note = {"engine": engine.version, "draws": engine.draws, "seconds": now - last}
        append_lines(path, [*map(asdict, answers), note])
        last, done = now, done | {(answer.row, answer.sample) for answer in answers}
        if now - told > SAID_SECONDS:
            told = now
            print(f"{len(done)} answers, {now - began:.0f} s", flush=True)


def _part(context: Context, test: Test, shard: int) -> Path:
    shards = context.preset.testing.shards
    return test.folder(context.layout) / "parts" / f"{shard}-of-{shards}.jsonl"


def _answers(path: Path, head: dict[str, Any], repair: bool = False) -> list[Answer]:
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


# --- grading -------------------------------------------------------------------------------------


def collect(context: Context, test: Test) -> None:
    """Grade the answers of all shards; write samples.parquet and, last, score.json.

    Raises:
        DataError: answers are missing.
        GradingError: programs are to be graded and no sandbox works here.
    """
    work = prepare(context, test)
    shards = range(context.preset.testing.shards)
    parts = [_part(context, test, shard) for shard in shards]
    answers = [answer for path in parts for answer in _answers(path, work.head)]
    due = len(work.benchmark.asked) * work.samples
    missing = due - len({(each.row, each.sample) for each in answers})
    if missing:
        raise DataError(f"{parts[0].parent}: {missing} answers are missing")
    began = time.perf_counter()
    frame = graded(work.benchmark, answers, work.tokenizer, work.samples)
    grading = time.perf_counter() - began
    notes = [row for path in parts for row in read_lines(path) if "engine" in row]
    score = {
        **_score(context, work, frame),
        "grader": work.benchmark.grader.version,
        "engine": _one(notes, "engine"),
        "draws": _one(notes, "draws"),
        "seconds": {"generating": sum(row["seconds"] for row in notes), "grading": grading},
    }
    home = test.folder(context.layout)
    write_table(test.samples(context.layout), frame, SAMPLES, work.head)
    _track(context, work, score)
    write_json(test.score(context.layout), score)
    shutil.rmtree(home / "parts")
    shown = "  ".join(f"{name} {100 * value:.1f}%" for name, value in score["metrics"].items())
    print(f"{test.subject} on {test.benchmark}, {test.protocol}, {score['engine']}: {shown}")
    if score["overlong"]:
        print(f"too long for the model, counted as wrong: {', '.join(score['overlong'])}")


def _one(notes: Sequence[dict[str, Any]], key: str) -> str:
    """What all parts say, or every different thing that they say."""
    return " and ".join(dict.fromkeys(str(row[key]) for row in notes))


def _score(context: Context, work: TestWork, frame: pd.DataFrame) -> dict[str, Any]:
    """The metrics, and everything that they depend on."""
    preset, test = context.preset, work.test
    sampled = preset.sampled(test.protocol, test.benchmark)
    votes = registry.grader_of(preset.datasets[test.benchmark]) != "code"
    values = by_problem(frame, sampled.pass_at, votes)
    asked = frame[frame["reason"] != OVERLONG]
    return {
        "preset": preset.preset,
        "subject": test.subject,
        "model": test.model,
        "benchmark": test.benchmark,
        "protocol": test.protocol,
        "metrics": {name: float(values[name].mean()) for name in values},
        "problems": len(values),
        "samples": work.samples,
        "sampling": asdict(work.sampling),
        "seed": preset.testing.seed,
        "overlong": [work.benchmark.prompts.ids[row] for row in work.benchmark.overlong],
        "truncated": float(asked["truncated"].mean()),
        "response_length": float(asked["tokens"].mean()),
        "without_answer": float(asked["extracted"].isna().mean()),
        **{key: work.head[key] for key in ("weights", "data", "template", "slice")},
        "revision": getattr(preset.models[test.model], "revision", None),
        "config": test_slice(preset, test),
        "versions": versions(),
        "commit": commit(),
    }


def _track(context: Context, work: TestWork, score: dict[str, Any]) -> None:
    test = work.test
    tags = {
        "gainrl.model": test.model,
        "gainrl.benchmark": test.benchmark,
        "gainrl.protocol": test.protocol,
        "gainrl.engine": score["engine"],
        "gainrl.grader": score["grader"],
    }
    run = context.track(
        "benchmark",
        f"{test.subject} on {test.benchmark} ({test.protocol})",
        test.folder(context.layout) / f"benchmark{TRACKED}",
        {**work.head, **test_slice(context.preset, test)},
        tags=tags,
    )
    others = {key: score[key] for key in ("truncated", "response_length", "without_answer")}
    run.metrics([{"step": 0, **score["metrics"], **others}])
    run.artifact(test.samples(context.layout))
    run.finish()
