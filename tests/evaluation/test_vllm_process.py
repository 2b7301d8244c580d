"""The process that answers with vLLM, played by a script: what it says, and how it may end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gainrl import processes
from gainrl.errors import BackendError
from gainrl.evaluation.engines import AnswerRequest
from gainrl.evaluation.samples import Answer
from gainrl.evaluation.vllm_engine import VllmEngine
from gainrl.models.sampling import Sampling

REQUESTS = [AnswerRequest(row, f"d/{row}", [5, 6], 0) for row in range(2)]
VERSION = '{"version": "vllm 1.2", "seeded": true}'
ANSWERS = [f'{{"row": {row}, "sample": 0, "tokens": [7], "ended": true}}' for row in (1, 0)]
EXPECTED = [Answer(1, 0, [7], True), Answer(0, 0, [7], True)]


def engine(folder: Path, *lines: str, patience: float = 30.0) -> VllmEngine:
    """One whose interpreter is a shell script."""
    script = folder / "python"
    script.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    script.chmod(0o755)
    ends, log = frozenset({1}), folder / "vllm.log"
    return VllmEngine(script, folder, ends, {"dtype": "auto"}, {}, log, patience)


def ask(asked: VllmEngine) -> list[Answer]:
    found = asked.answers(REQUESTS, Sampling(0.0, 1.0, 4), 3)
    return [answer for answers in found for answer in answers]


def say(*lines: str) -> list[str]:
    return [f"echo '{line}'" for line in lines]


def left(folder: Path) -> list[int]:
    return processes.marked(f"{processes.MARK}={(folder / 'vllm.log').resolve()}")


def test_answers_come_as_they_are_finished(tmp_path):
    asked = engine(tmp_path, *say(VERSION, *ANSWERS))
    assert ask(asked) == EXPECTED
    assert (asked.version, asked.draws) == ("vllm 1.2", "by seed, problem and sample")
    assert sorted(os.listdir(tmp_path)) == ["python", "vllm.log"]


def test_an_end_before_the_last_answer_keeps_what_there_was(tmp_path):
    asked = engine(tmp_path, *say(VERSION, ANSWERS[0]), "echo 'ValueError: no' >&2", "exit 3")
    found = asked.answers(REQUESTS, Sampling(0.0, 1.0, 4), 3)
    got = next(found)
    with pytest.raises(BackendError, match="vLLM exited with code 3; error: ValueError: no"):
        next(found)
    assert got == EXPECTED[:1]


def test_half_a_line_is_no_answer(tmp_path):
    asked = engine(tmp_path, *say(VERSION, ANSWERS[0]), "printf '{\"row\": 0, '")
    with pytest.raises(BackendError, match="vLLM exited with code 0"):
        ask(asked)


def test_silence_ends_it(tmp_path):
    asked = engine(tmp_path, *say(VERSION), "sleep 60", patience=0.5)
    with pytest.raises(BackendError, match="nothing new for 0 s"):
        ask(asked)
    assert left(tmp_path) == []


def test_nobody_waits_for_it_after_the_last_answer(tmp_path):
    began = time.monotonic()
    assert ask(engine(tmp_path, *say(VERSION, *ANSWERS), "sleep 60")) == EXPECTED
    assert time.monotonic() - began < 20
    assert left(tmp_path) == []


def test_who_stops_listening_ends_it(tmp_path):
    found = engine(tmp_path, *say(VERSION, ANSWERS[0]), "sleep 60").answers(
        REQUESTS, Sampling(0.0, 1.0, 4), 3
    )
    assert next(found) == EXPECTED[:1]
    found.close()
    assert left(tmp_path) == []
