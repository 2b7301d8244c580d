"""`gainrl check`: a user's own files, model and policy, each with the mistake that people make."""

from __future__ import annotations

import json
import re
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
    found = {}
    for line in lines:
        if parts := re.match(r"(ok|warning|failed|not looked at) +(.+?): (.*)", line):
            kind, name, text = parts.groups()
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


def test_a_key_of_the_grid_that_a_method_does_not_read_is_named(place, capsys):
    """Found in our own study: batches by noise that are adaptive roll out as many as they like."""
    drawn = {"sampler": "uniform"}
    noise = {**drawn, "rollouts": "noise_batch"}
    whole = {**drawn, "rollouts": {"name": "noise_batch", "adaptive": False}}
    methods = {"noise": {"curriculum": noise}, "whole": {"curriculum": whole}}
    path = preset(place, methods=methods)
    content = yaml.safe_load(path.read_text())
    names = ("grpo", "noise", "whole")
    content["tuning"] = {"grid": {"rollouts": [4, 8]}, "methods": {name: {} for name in names}}
    content["tuning"] |= {"seeds": [9], "budget": 100}
    path.write_text(yaml.safe_dump(content))
    found, _ = said(capsys, path)
    named = {name: text for name, text in found.items() if name.startswith("tuning")}
    (line,) = named.pop("tuning.grid.rollouts, noise")
    assert line.startswith("warning: the same steps, whichever of these values is tried")
    assert not named


def test_a_table_beside_which_the_paper_has_nothing_is_named_before_the_runs(place, capsys):
    """A rehearsal found it: models of one's own in the place of the paper's, after all runs."""
    found, _ = said(capsys, preset(place, published={"table": 1}), code=1)
    (line,) = found["experiments.table1.published"]
    assert line.startswith("failed: Table 1 of the paper has none of the experiment's cells; map")
    names = {"models": {"mine": "Qwen2.5-Math-7B-Instruct"}, "benchmarks": {"mine": "math500"}}
    found, _ = said(capsys, preset(place, published={"table": 1, **names}))
    assert "experiments.table1.published" not in found


# --- what is not on this machine -----------------------------------------------------------------


def changed(path, **keys):
    content = {**yaml.safe_load(path.read_text()), **keys}
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def nothing_cached(place, monkeypatch):
    """A machine that has no copies of data sets and nothing of the hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place / "cache"))
    monkeypatch.delenv("GAINRL_DATA_DIR", raising=False)
    return place


def test_what_is_not_here_is_said_and_counted(nothing_cached, capsys):
    path = changed(
        preset(nothing_cached),
        models={"mine": {"source": "hub", "id": "Qwen/Qwen2.5-0.5B-Instruct"}},
        datasets={"mine": {"source": "hub", "id": "somebody/sums"}},
    )
    found, lines = said(capsys, path)
    assert found["models.mine"] == [
        "not looked at: Qwen/Qwen2.5-0.5B-Instruct, not on this machine"
    ]
    (line,) = found["datasets.mine"]
    assert line == "not looked at: somebody/sums, of which GAINRL_DATA_DIR has no copy"
    assert lines[-1] == "0 failed, 0 warnings, 1 ok, 2 not looked at"
    path = changed(path, datasets={"mine": {"source": "registry", "name": "gsm8k"}})
    found, _ = said(capsys, path)
    assert found["datasets.mine"][0].startswith("not looked at: gsm8k, of which")


def test_a_hub_model_in_the_cache_is_opened(nothing_cached, capsys):
    spec = {"source": "hub", "id": "a/b"}
    path = changed(preset(nothing_cached), models={"mine": spec})
    home = nothing_cached / "cache" / "models--a--b"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("abc")
    (home / "snapshots").mkdir()
    (nothing_cached / "model").rename(home / "snapshots" / "abc")
    found, _ = said(capsys, path)
    assert found["models.mine"][0].startswith(f"ok: {home / 'snapshots' / 'abc'}: ")
    assert found["models.mine on mine"][0].startswith("ok: 12 of 12")


def test_a_preset_without_experiments_says_that_its_data_are_unread(place, capsys):
    path = changed(preset(place), experiments={})
    found, _ = said(capsys, path)
    unread = "not looked at: no experiment, benchmark or study goes by it"
    assert found["datasets.mine"] == [unread]
    assert found["experiments"] == ["not looked at: the preset has none, so nothing is trained"]


# --- models that are not whole -------------------------------------------------------------------


def _cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


def _without_a_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def _without_tokenizer(folder):
    for path in folder.glob("*token*"):
        path.unlink()


@pytest.mark.parametrize(
    ("break_it", "line"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "{0}: no weights there"),
        (_cut, "{0}/model.safetensors: damaged or cut off: "),
        (_without_a_shard, "{0}/model-00002-of-00002.safetensors: no such file, and the folder's"),
        (
            _without_tokenizer,
            "{0}: cannot load the model: no tokenizer files in it (tokenizer.json",
        ),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "{0}: holds an adapter"),
        (lambda folder: (folder / "config.json").unlink(), "{0}: not a Hugging Face model folder"),
        (lambda folder: folder.rename(folder.with_name("moved")), "{0}: no such folder"),
    ],
)
def test_a_model_folder_that_is_not_whole_fails_in_one_line(place, capsys, break_it, line):
    break_it(place / "model")
    found, _ = said(capsys, preset(place), code=1)
    (problem,) = found["models.mine"]
    assert problem.startswith("failed: " + line.format(place / "model"))
    assert "see" not in problem


# --- graders of one's own ------------------------------------------------------------------------

REWARDS = """
def equal(completion, answer):
    return completion == answer

def half(completion, answer):
    return 0.5

def nothing(completion, answer):
    pass

def broken(completion, answer):
    return completion.split()[0] == answer

def everything(completion, answer):
    return True

def tagged(completion, answer):
    return f"<answer>{answer}</answer>" in completion
"""


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [
        ("equal", 0, "ok: a gold answer itself is right to it, an empty completion wrong"),
        ("half", 1, "failed: rewards.py:half returned 0.5"),
        ("nothing", 1, "failed: rewards.py:nothing returned None"),
        ("broken", 1, "failed: rewards.py:broken raised IndexError: list index out of range"),
        ("everything", 0, "warning: an empty completion is right to it"),
        ("tagged", 0, "warning: the gold answer '7' is wrong to it where it is the whole"),
    ],
)
@pytest.mark.parametrize("data", [{}, {"source": "generate", "task": "chain"}])
def test_a_grader_of_ones_own_is_called(place, capsys, name, code, line, data):
    (place / "rewards.py").write_text(REWARDS)
    path = preset(place, data={"grader": f"rewards.py:{name}"})
    if data:
        content = yaml.safe_load(path.read_text())
        mine = {"mine": {**data, "train": 8, "eval": 4, "grader": f"rewards.py:{name}"}}
        path = changed(path, datasets=mine, models={"nano": {"source": "nano"}})
        content["experiments"]["table1"]["models"] = ["nano"]
        path = changed(path, experiments=content["experiments"])
    found, _ = said(capsys, path, code=code)
    (got,) = found["datasets.mine.grader"]
    assert got.startswith(line if not data else line.split("'7'")[0])


def test_what_a_module_of_ones_own_raises_at_import_is_one_line(place, capsys):
    (place / "zd.py").write_text("x = 1\n1 / 0\n")
    (place / "leaves.py").write_text("raise SystemExit('bye')\n")
    for name, reason in (
        ("zd", "ZeroDivisionError: division by zero"),
        ("leaves", "SystemExit: bye"),
    ):
        for key, changes in (
            ("datasets.mine.grader", {"data": {"grader": f"{name}.py:f"}}),
            ("methods.own.curriculum", {"methods": {"own": {"curriculum": f"{name}:F"}}}),
        ):
            path = preset(place, **changes)
            assert cli.main(["check", "--preset", str(path)]) == 2
            said = capsys.readouterr().err
            assert said.startswith(f"gainrl: {path}: {key}: cannot import '{name}")
            assert f"{reason} ({place / name}.py, line " in said
            assert said.count("\n") == 1


def test_a_policy_that_raises_is_one_line(place, capsys):
    raising = POLICY.replace("return self.rng", "1 / 0; return self.rng")
    (place / "own_policy2.py").write_text(raising)
    bad = {"own": {"curriculum": "own_policy2:Good"}}
    found, _ = said(capsys, preset(place, methods=bad), code=1)
    assert found["methods.own.curriculum"][0].startswith("failed: ZeroDivisionError: division by")


# --- data ----------------------------------------------------------------------------------------


def test_a_fact_is_one_line(place, capsys, caplog):
    rows(place / "test.jsonl", 4)  # as the first training prompts
    found, _ = said(capsys, preset(place))
    assert any("are in the eval split too" in line for line in found["datasets.mine"])
    assert caplog.text == ""


def test_a_test_file_needs_no_difficulties_and_no_categories(place, capsys):
    lines = [
        {"question": f"{row} + 1 = ?", "answer": "7", "solved": 0.5, "kind": "sum"}
        for row in range(12)
    ]
    (place / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    fields = {"category": "kind", "difficulty": {"column": "solved", "scale": "pass_rate"}}
    found, _ = said(capsys, preset(place, data={"fields": fields}))
    assert found["datasets.mine"][0].startswith("ok: 12 train, 4 eval")
    (place / "train.jsonl").write_text((place / "test.jsonl").read_text())
    found, _ = said(capsys, preset(place, data={"fields": fields}), code=1)
    assert "no column 'solved' for the difficulty" in found["datasets.mine"][0]
