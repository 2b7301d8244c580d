"""`gainrl init`: from a model's folder and two files to a preset that can be run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gainrl import cli, plan, starting
from gainrl.config.models import Nano
from gainrl.models.nano import build_model, build_tokenizer
from gainrl.starting import Pilot

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """What a user has, and the clone that the command is called in."""
    monkeypatch.chdir(REPOSITORY)
    tokenizer = build_tokenizer()
    spec = Nano(source="nano", hidden=32, layers=1, heads=2, feed_forward=64)
    build_model(spec, len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    for name, count, sign in (("train", 40, "+"), ("test", 12, "-")):
        rows = [
            {"problem": f"{row} {sign} 1 = ?", "answer": f"So it is {row}."} for row in range(count)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    return tmp_path


def called(place, capsys, *more, code=0):
    given = ["init", "--model", str(place / "model"), "--data", str(place / "train.jsonl")]
    given += ["--test", str(place / "test.jsonl"), "--answer-after", "So it is"]
    given += ["--out", str(place / "mine.yaml"), *more]
    assert cli.main(given) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_a_preset_is_measured_written_and_in_order(place, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'theirs.db'}")
    methods = ("--methods", "grpo", "mopps", "--seeds", "2", "--hours", "1")
    said = called(place, capsys, *methods)
    preset = plan.load(place / "mine.yaml")
    steps = preset.training.steps
    assert f"4 runs of {steps} steps" in said
    assert f"make run PRESET={place / 'mine.yaml'}" in said
    assert len(plan.runs(preset)) == 4
    assert preset.training.lr == 1e-4  # of a model of that size
    assert preset.training.max_prompt + preset.training.max_response <= 256  # its context
    assert preset.evaluation.every == steps // 10
    assert preset.datasets["mine"].fields.question == "problem"
    assert cli.main(["check", "--preset", str(place / "mine.yaml")]) == 0
    assert "52 of 52 gold answers are read" in capsys.readouterr().out
    assert not (place / "theirs.db").exists()
    again = called(place, capsys, *methods, code=2)
    assert "is there already" in again


def test_so_many_steps_that_the_curriculum_hardly_moves_are_a_preset_too(place, capsys):
    called(place, capsys, "--methods", "grpo", "gain", "--seeds", "1", "--hours", "400")
    preset = plan.load(place / "mine.yaml")
    assert preset.training.steps > 51_200  # of four decimals nothing would be left
    assert preset.methods["gain"].curriculum.parameters["step"] > 0


def test_hours_that_do_not_do_are_refused_with_what_would(place, capsys):
    said = called(place, capsys, "--hours", "0.0001", code=2)
    line = said.splitlines()[-1]
    assert line.startswith("gainrl: --hours 0.0001: 30 runs get 0 steps each (a step takes ")
    assert not (place / "mine.yaml").exists()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("--model", "nowhere"), "--model nowhere: neither a folder nor an id of the hub"),
        (("--data", "gsm8q"), "--data gsm8q: no such file, and no registered data set: "),
        (("--data", "gsm8k"), "--test: 'gsm8k' has a test split of its own"),
        (("--methods", "grpo", "gian"), "--methods gian: no such method; did you mean 'gain'?"),
        (("--methods", "gain"), "--methods: add grpo, which the others are compared with"),
        (("--methods", "grpo"), "--methods: name others beside grpo, and each once"),
        (
            ("--methods", "grpo", "gain", "gain"),
            "--methods: name others beside grpo, and each once",
        ),
        (("--seeds", "0"), "--seeds 0: must be at least 1"),
        (("--hours", "0"), "--hours 0: must be a number above 0"),
        (("--hours", "-2"), "--hours -2: must be a number above 0"),
        (("--hours", "nan"), "--hours nan: must be a number above 0"),
        (("--hours", "inf"), "--hours inf: must be a number above 0"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_trained(place, capsys, monkeypatch, given, line):
    monkeypatch.setattr(starting, "_pilot", None)
    assert called(place, capsys, *given, code=2).startswith(f"gainrl: {line}")
    assert not (place / "mine.yaml").exists()


def test_elsewhere_than_in_the_clone_it_says_where_to_call_it(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    assert called(place, capsys, code=2) == (
        f"gainrl: gainrl init: there is no experiments/compare.yaml in {place}: call it in the "
        "root of the clone\n"
    )


def test_the_help_counts_the_methods_that_are_compared():
    (command,) = (each for each in cli.COMMANDS if each.name == "init")
    base = plan.load(REPOSITORY / "experiments/compare.yaml")
    assert len(base.experiments["table1"].methods) == 10
    assert "ten methods" in command.help


def test_columns_that_nobody_knows_are_refused_with_those_that_are_there(place, capsys):
    (place / "train.jsonl").write_text('{"ask": "1 + 1 = ?", "reply": "2"}\n')
    said = called(place, capsys, code=2)
    assert "none of the columns question, problem," in said
    assert "(it has ask, reply)" in said


def test_steps_and_hours_are_each_others_inverse():
    pilot = Pilot(step=2.0, test=10.0)
    # 10 runs, 2 at a time, in an hour: 720 s each, less 11 tests; a mean step takes 2.6 s
    assert pilot.steps(10, 1.0, 2) == int((720 - 110) / 2.6) == 234
    assert pilot.hours(10, 234, 2) == pytest.approx(1.0, abs=0.003)
