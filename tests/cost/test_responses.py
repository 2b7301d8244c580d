"""Where mean responses come from: given, measured, published, assumed, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gainrl import plan
from gainrl.config.files import extended
from gainrl.cost.published import CHANGE, LONGEST, PROGRAMS, SHORTEST
from gainrl.cost.responses import Responses
from gainrl.cost.rows import Costs
from gainrl.errors import DataError
from gainrl.plan import Layout, RunKey
from gainrl.records import append_lines, write_json
from gainrl.records.measured import Measured, read_measured, write_measured

REPOSITORY = Path(__file__).resolve().parents[2]
PAPER = REPOSITORY / "experiments" / "paper.yaml"
MATH, LLAMA, CODER = "qwen2.5-math-1.5b", "llama-3.2-3b", "qwen2.5-coder-3b"


@pytest.fixture
def responses(tmp_path):
    return Responses(plan.load(PAPER), Layout("paper", tmp_path))


def start(responses, model, dataset, tokens):
    """What `evaluate` writes of a start model."""
    write_json(responses.layout.start(model, dataset), {"step": 0, "response_length": tokens})


def rehearse(responses, *rows):
    write_measured(responses.layout.measured, [Measured(*row) for row in rows])


def ends(mean):
    return mean.low, mean.high, mean.kind


# --- where nothing was run -----------------------------------------------------------------------


def test_each_model_has_its_own_length(responses):
    """One share of the limit for all is what was wrong: 4 times too many tokens for the 7B."""
    found = {
        model: responses.of(model, dataset, limit)
        for model, dataset, limit in (
            ("qwen2.5-math-7b", "deepscaler", 8192),
            (CODER, "deepcoder", 16384),
            ("qwen2.5-0.5b", "math", 512),
        )
    }
    assert found["qwen2.5-math-7b"].high < 0.3 * 8192 / 1.9
    assert found[CODER].high < 0.3 * 16384 / 1.9
    assert found["qwen2.5-0.5b"].low > 0.3 * 512


def test_what_is_published_of_the_model_comes_before_its_kind(responses):
    change = CHANGE[0]
    gsm8k = responses.of(MATH, "gsm8k", 3000)
    assert ends(gsm8k) == (pytest.approx(315 * change), pytest.approx(315 / change), "published")
    assert "6263" in gsm8k.source
    assert ends(responses.of(MATH, "deepscaler", 3000)) == (315, LONGEST[0], "published")
    assert ends(responses.of(LLAMA, "gsm8k", 3000)) == (SHORTEST[0], LONGEST[0], "assumed")
    programs = (SHORTEST[0], PROGRAMS[0] * LONGEST[0], "assumed")
    assert ends(responses.of(CODER, "deepcoder", 16384)) == programs


def test_a_model_that_nobody_knows_may_reason_at_length(responses, tmp_path):
    data = yaml.safe_load(PAPER.read_text())
    data = extended({**data, "extends": str(REPOSITORY / data["extends"])}, "here")
    data["models"][LLAMA] = {"source": "hub", "id": "some/thinker"}
    unknown = Responses(plan.load(data), Layout("paper", tmp_path))
    assert unknown.of(LLAMA, "deepscaler", 8192).high == pytest.approx(5500)


def test_no_mean_is_above_the_limit(responses):
    assert ends(responses.of(LLAMA, "gsm8k", 300)) == (SHORTEST[0], 300, "assumed")
    assert ends(responses.of(LLAMA, "gsm8k", 100)) == (100, 100, "assumed")


# --- where something was -------------------------------------------------------------------------


def test_the_start_models_own_length_wins_and_rl_may_change_it(responses):
    start(responses, LLAMA, "gsm8k", 200.0)
    found = responses.of(LLAMA, "gsm8k", 3000)
    low, high = 200 * CHANGE[0], 200 / CHANGE[0]
    assert ends(found) == (pytest.approx(low), pytest.approx(high), "measured")
    start(responses, LLAMA, "aime24", 900.0)
    elsewhere = responses.of(LLAMA, "deepscaler", 3000)  # nobody tests on it: between the others
    assert ends(elsewhere) == (pytest.approx(low), pytest.approx(900 / CHANGE[0]), "measured")


def test_tests_under_protocols_count_too(responses):
    start(responses, LLAMA, "gsm8k", 200.0)
    home = responses.layout.home / "evals" / LLAMA / "benchmarks" / "aime24" / "standard-vllm"
    write_json(home / "score.json", {"response_length": 900.0})
    assert responses.of(LLAMA, "aime24", 3000).low == pytest.approx(900 * CHANGE[0])
    assert responses.of(LLAMA, "gsm8k", 3000).low == pytest.approx(200 * CHANGE[0])


def test_a_rehearsal_counts_until_the_preset_itself_has_measured(responses):
    rehearse(responses, ("mean response", LLAMA, "gsm8k", 500.0, "tokens", 4))
    assert responses.of(LLAMA, "gsm8k", 3000).low == pytest.approx(500 * CHANGE[0])
    start(responses, LLAMA, "gsm8k", 200.0)
    assert responses.of(LLAMA, "gsm8k", 3000).low == pytest.approx(200 * CHANGE[0])


def test_finished_runs_say_it_best(responses):
    start(responses, LLAMA, "deepscaler", 200.0)
    for seed, lengths in enumerate([(100.0, 300.0), (400.0, 600.0)]):
        folder = responses.layout.run(RunKey(LLAMA, "deepscaler", "grpo", seed))
        folder.mkdir(parents=True)
        for step, length in enumerate(lengths, start=1):
            row = {"step": step, "accuracy": 0.5, "reward": 0.5, "signal": None}
            row |= {"zero_variance": 0.0, "rollout_tokens": 9, "prompt_tokens": 9}
            append_lines(folder / "steps.jsonl", [{**row, "response_length": length}])
    unfinished = responses.of(LLAMA, "deepscaler", 3000)
    assert "start model" in unfinished.source
    for seed in (0, 1):
        responses.layout.done(RunKey(LLAMA, "deepscaler", "grpo", seed)).write_text("{}")
    assert ends(responses.of(LLAMA, "deepscaler", 3000)) == (200, 500, "measured")


def test_the_preset_has_the_last_word(tmp_path):
    data = yaml.safe_load(PAPER.read_text())
    data = extended({**data, "extends": str(REPOSITORY / data["extends"])}, "here")
    data["cost"] = {"response_tokens": {LLAMA: [300, 700]}}
    given = Responses(plan.load(data), Layout("paper", tmp_path))
    start(given, LLAMA, "gsm8k", 200.0)
    assert ends(given.of(LLAMA, "gsm8k", 3000)) == (300, 700, "given")


# --- seconds of a rehearsal ----------------------------------------------------------------------


def test_measured_seconds_replace_assumed_ones(responses):
    rows = [
        ("weight sync", MATH, "deepscaler/grpo", 4.0, "s", 3),
        ("weight sync", MATH, "deepscaler/gain", 6.0, "s", 3),
        ("save", MATH, "deepscaler/grpo", 33.0, "s", 4),
        ("start", MATH, "deepscaler/grpo", 77.0, "s", 1),
        ("tests of a step", MATH, "deepscaler/grpo", 20.0, "s", 2),
    ]
    rehearse(responses, *rows)
    costs = Costs(responses.preset, responses.layout, 24.0)
    low, high = (costs.speeds(MATH, end) for end in (0, 1))
    assert (low.save_seconds, high.save_seconds) == (33, 33)
    assert (low.start_seconds, high.start_seconds) == (77, 77)
    assert (low.test_seconds, high.test_seconds) == (2, 20)  # few problems: mostly the fixed part
    assert (low.overhead_seconds, high.overhead_seconds) == (5, 14)  # rewards: 0 to 9 s
    other = costs.speeds(LLAMA, 1)
    assert (other.start_seconds, other.overhead_seconds) == (300, 15)


def test_a_checkpoint_takes_its_bytes_over_the_disks_speed(responses):
    costs = Costs(responses.preset, responses.layout, 24.0)
    low, high = (costs.speeds("qwen2.5-math-7b", end).save_seconds for end in (0, 1))
    assert (low, high) == (pytest.approx(122 / 2, rel=0.01), pytest.approx(122 / 0.5, rel=0.01))


def test_the_table_comes_back_as_it_was_written(tmp_path):
    rows = [Measured("save", "m", "d/grpo", 33.0, "s", 4)]
    rows += [Measured("mean response", "m", "d", 7.5, "tokens", 1)]
    write_measured(tmp_path / "measured.csv", rows)
    assert read_measured(tmp_path / "measured.csv") == rows
    assert read_measured(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quantity,model\nsave,m\n", "no column 'of'"),
        ("{}\n", "no column 'quantity'"),
        ("HEAD\nsaves,m,d,3,s,1\n", "row 1: unknown quantity 'saves'; did you mean 'save'?"),
        ("HEAD\nsave,m,d,3,min,1\n", "row 1: 'save' is in 'min', not in 's'"),
        ("HEAD\nsave,m,d,3,s,1\nsave,m,d,-3,s,1\n", "row 2: value -3 is no positive number"),
        ("HEAD\nsave,m,d,nan,s,1\n", "row 1: value nan"),
        ("HEAD\nsave,m,d,slow,s,1\n", "row 1: could not convert"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, text, words):
    path = tmp_path / "measured.csv"
    path.write_text(text.replace("HEAD", "quantity,model,of,value,unit,count"))
    with pytest.raises(DataError) as caught:
        read_measured(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_the_bill_says_what_was_measured(tmp_path, monkeypatch, capsys):
    from gainrl import cli

    monkeypatch.chdir(REPOSITORY)
    found = Responses(plan.load(PAPER), Layout("paper", tmp_path))
    start(found, LLAMA, "gsm8k", 200.0)
    rehearse(found, ("save", MATH, "deepscaler/grpo", 33.0, "s", 4))
    arguments = ["--preset", str(PAPER), "--out", str(tmp_path / "plan"), "--root", str(tmp_path)]
    assert cli.main(["plan", *arguments]) == 0
    printed = capsys.readouterr().out
    assert f"Response tokens, measured: {LLAMA} 127 to 314." in printed
    assert "Seconds, measured by the rehearsal: save." in printed
    assert "Assumed (the preset's `cost`): rates; weight sync, tests of a step, start." in printed
