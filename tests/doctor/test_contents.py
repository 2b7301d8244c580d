"""`gainrl check`: a user's own files, model and policy, each with the mistake that people make."""

from __future__ import annotations

import json
import time

import pytest
import yaml

from gainrl import cli
from gainrl.config.models import Nano
from gainrl.models.nano import build_model, build_tokenizer

POLICY = """
from dataclasses import dataclass
from gainrl.curricula import Sampler

@dataclass
class Good(Sampler):
    def draw(self, count):
        return self.rng.choice(self.setting.size, count, replace=False)

@dataclass
class Bad(Sampler):
    def draw(self, count):
        return self.rng.choice(self.setting.size, count)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder of somebody with a model, two files and a policy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    tokenizer = build_tokenizer()
    spec = Nano(source="nano", hidden=32, layers=1, heads=2, feed_forward=64)
    build_model(spec, len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "own_policy.py").write_text(POLICY)
    rows(tmp_path / "test.jsonl", 4, "{} - 1 = ?")
    rows(tmp_path / "train.jsonl", 12)
    return tmp_path


def rows(path, count, question="{} + 1 = ?", answer="7"):
    lines = [{"question": question.format(row), "answer": answer} for row in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def preset(folder, **changes):
    """The preset of their own that they wrote."""
    training = {
        "steps": 2, "prompts": 4, "rollouts": 2, "lr": 1e-4, "max_prompt": 32, "max_response": 8,
        **changes.pop("training", {}),
    }  # fmt: skip
    content = {
        "preset": "own",
        "seeds": [0],
        "models": {"mine": {"source": "local", "path": str(folder / "model")}},
        "datasets": {
            "mine": {
                "source": "file",
                "train_file": str(folder / "train.jsonl"),
                "eval_file": str(folder / "test.jsonl"),
                **changes.pop("data", {}),
            }
        },
        "training": training,
        "methods": {"grpo": {"curriculum": "uniform"}, **changes.pop("methods", {})},
        "experiments": {"table1": {"models": ["mine"], "datasets": ["mine"]}},
    }
    content["experiments"]["table1"] |= {
        "methods": [*content["methods"]],
        "published": changes.pop("published", None),
    }
    assert not changes
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    return folder / "own.yaml"


def said(capsys, path, code=0):
    """The lines of the check, by what they are about."""
    assert cli.main(["check", "--preset", str(path)]) == code
    lines = capsys.readouterr().out.splitlines()
    kinds = [line for line in lines if line.split()[0] in ("ok", "warning", "failed")]
    found = {}
    for line in kinds:
        kind, rest = line.split(None, 1)
        name, _, text = rest.partition(": ")
        found.setdefault(name, []).append(f"{kind}: {text}")
    return found, lines


def test_what_is_there_is_opened_and_counted(place, capsys):
    found, lines = said(capsys, preset(place))
    assert found["datasets.mine"] == ["ok: 12 train, 4 eval; 16 of 16 gold answers are read"]
    assert found["models.mine"][0].startswith(f"ok: {place / 'model'}: ")
    (fits,) = found["models.mine on mine"]
    assert fits.startswith("ok: 12 of 12 training prompts have at most 32 tokens")
    assert found["batches"] == ["ok: every step asks for no more prompts than there are"]
    assert lines[-1] == "0 failed, 0 warnings, 5 ok"
    assert cli.main(["check", "--preset", "own.yaml", "--runs"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "mine/mine/grpo/seed0"


def test_prompts_that_are_too_long_are_named(place, capsys):
    long = " + ".join("1" * 60) + " = ?"
    with open(place / "train.jsonl", "a") as file:
        file.write(json.dumps({"question": long, "answer": "60"}) + "\n")
    found, _ = said(capsys, preset(place))
    (line,) = found["models.mine on mine"]
    assert line.startswith("warning: 12 of 13 training prompts have at most 32 tokens")
    assert "left out: mine/train/0012; raise training.max_prompt" in line


@pytest.mark.parametrize(
    ("break_it", "about", "line"),
    [
        (
            lambda folder: rows(folder / "train.jsonl", 9, answer="So the bag has " + "one " * 9),
            "datasets.mine",
            "gold answers read like sentences",
        ),
        (
            lambda folder: (folder / "train.jsonl").write_text('{"question": "1 + 1 = ?"}\n'),
            "datasets.mine",
            "no column 'answer' for the answer",
        ),
        (lambda folder: (folder / "test.jsonl").unlink(), "datasets.mine", "no such file"),
        (
            lambda folder: (folder / "model" / "tokenizer.json").write_text("{"),
            "models.mine",
            "",
        ),
        (
            lambda folder: rows(folder / "train.jsonl", 3),
            "methods.grpo on mine",
            "a step of 4 prompts, and there are 3; lower training.prompts",
        ),
        (
            lambda folder: rows(folder / "train.jsonl", 9, question="{} + 1 = ? ☃"),
            "models.mine on mine",
            "",
        ),
    ],
)
def test_a_mistake_is_one_line_and_ends_with_1(place, capsys, break_it, about, line):
    break_it(place)
    began = time.perf_counter()
    found, _ = said(capsys, preset(place), code=1)
    assert time.perf_counter() - began < 10  # seconds, as it is promised
    (problem,) = [text for text in found[about] if text.startswith("failed: ")]
    assert line in problem


def test_policies_of_ones_own_are_tried(place, capsys):
    good = {"own": {"curriculum": "own_policy:Good"}}
    found, _ = said(capsys, preset(place, methods=good))
    assert found["methods.own.curriculum"][0].startswith("ok: keeps its contract")
    bad = {"own": {"curriculum": "own_policy:Bad"}}
    found, _ = said(capsys, preset(place, methods=bad), code=1)
    (line,) = found["methods.own.curriculum"]
    assert line.startswith("failed: ")
    assert "gainrl check-curriculum" in line


def test_a_table_beside_which_the_paper_has_nothing_is_named_before_the_runs(place, capsys):
    """A rehearsal found it: models of one's own in the place of the paper's, after all runs."""
    found, _ = said(capsys, preset(place, published={"table": 1}), code=1)
    (line,) = found["experiments.table1.published"]
    assert line.startswith("failed: Table 1 of the paper has none of the experiment's cells; map")
    names = {"models": {"mine": "Qwen2.5-Math-7B-Instruct"}, "benchmarks": {"mine": "math500"}}
    found, _ = said(capsys, preset(place, published={"table": 1, **names}))
    assert "experiments.table1.published" not in found
