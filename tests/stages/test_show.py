"""The answers behind a number, where the gold answer is the tests of a program."""

from __future__ import annotations

import pandas as pd
import pytest

from gainrl import cli
from gainrl.grading.code import FunctionTests, StreamTests, encode
from gainrl.records import PROMPTS, SAMPLES, write_table

FUNCTION = FunctionTests("def f(x):\n", "f", "\nassert f(1) == 2\n")
STREAM = StreamTests(tuple((f"{n}\n", f"{n + 1}\n") for n in range(5)))


@pytest.fixture
def home(tmp_path):
    golds = [encode(FUNCTION), encode(STREAM), "7"]
    ids = [f"code/eval/000{row}" for row in range(3)]
    prompts = pd.DataFrame({"id": ids, "question": "Write f.", "answer": golds})
    write_table(tmp_path / "data/code/eval.parquet", prompts, PROMPTS)
    samples = pd.DataFrame(
        {"id": ids, "sample": 0, "response": "text", "correct": [1, 0, 0], "tokens": 1}
    )
    write_table(tmp_path / "runs/m/code/grpo/seed0/samples/code.parquet", samples, SAMPLES)
    return tmp_path


@pytest.mark.parametrize(
    ("problem", "gold", "verdict"),
    [
        ("0", "gold: tests of f\nassert f(1) == 2\n---", "[0] right, 1 tokens"),
        ("1", r"gold: 5 tests" + "\n'0\\n' -> '1\\n'\n", "[0] wrong, 1 tokens"),
        ("code/eval/0002", "gold: 7\n---", "[0] wrong, 1 tokens"),
    ],
)
def test_tests_are_shown_as_people_read_them(home, capsys, problem, gold, verdict):
    run = str(home / "runs/m/code/grpo/seed0")
    assert cli.main(["show", run, "--problem", problem]) == 0
    out = capsys.readouterr().out
    assert gold in out
    assert verdict in out
    assert ("and 2 more" in out) == (problem == "1")


@pytest.mark.parametrize("measured", ["probe.parquet", "linearity.parquet"])
def test_what_was_measured_of_a_run_is_no_table_of_answers(home, capsys, measured):
    run = home / "runs/m/code/grpo/seed0"
    pd.DataFrame({"step": [1]}).to_parquet(run / measured)
    assert cli.main(["show", str(run), "--problem", "2"]) == 0
    assert "[0] wrong, 1 tokens" in capsys.readouterr().out
