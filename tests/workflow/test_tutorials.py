"""README and the tutorials: their commands as they are written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import COPIED, REPOSITORY

from gainrl.config.models import Nano
from gainrl.models.nano import build_model, build_tokenizer

PAGES = REPOSITORY / "docs" / "tutorials"
README = REPOSITORY / "README.md"
SMALLER = {"steps": 4, "every": 2}  # in place of two hours


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a user has after `make setup`."""
    folder = tmp_path / "clone"
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, folder / name)
    for name in ("Makefile", "config.yaml", "pyproject.toml", "experiments", "envs"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        if not (folder / name).exists():
            copy(REPOSITORY / name, folder / name)
    (folder / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (folder / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    (folder / ".venv" / ".ready").touch()
    return folder


def called(clone: Path, command: str, code: int = 0) -> str:
    path = os.pathsep.join((str(clone / ".venv" / "bin"), os.environ["PATH"]))
    source = os.environ.get("PYTHONPATH", str(REPOSITORY / "src"))
    outside = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}  # `make test`'s own
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=clone,
        env={**outside, "PATH": path, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == code, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def commands(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    fenced = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    indented = re.findall(r"^    (\S.*?)(?: {2,}#.*)?$", text, re.MULTILINE)
    return fenced.splitlines() or indented


def own_model_and_data(clone: Path, model: str, before: str) -> None:
    tokenizer = build_tokenizer()
    spec = Nano(source="nano", hidden=32, layers=1, heads=2, feed_forward=64)
    build_model(spec, len(tokenizer)).save_pretrained(clone / model)
    tokenizer.save_pretrained(clone / model)
    for name, count, sign in (("train", 40, "+"), ("test", 12, "-")):
        rows = [{"question": f"{i} {sign} 1 = ?", "answer": f"{before}{i}"} for i in range(count)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (clone / f"{name}.jsonl").write_text(text)


def made_smaller(preset: Path) -> None:
    preset.write_text(
        re.sub(r"\b(steps|every): \d+", lambda m: f"{m[1]}: {SMALLER[m[1]]}", preset.read_text())
    )


def assert_answered(clone: Path, printed: str) -> None:
    said = printed.strip().splitlines()
    assert any(line.startswith("table1, mine trained on mine: GRPO ends at") for line in said)
    assert any(line.startswith("health of ") for line in said)  # that model cannot read
    assert said[-1] == "more: results/mine/report.html"
    page = (clone / "results/mine/report.html").read_text(encoding="utf-8")
    assert re.search(r'<p class="answer">[^<]+</p>', page)


def test_from_a_model_and_two_files_to_a_report_with_a_sentence(clone: Path) -> None:
    own_model_and_data(clone, "model", before="So #### ")
    first, init, check, run = commands(PAGES / "own-data.md")
    assert "####" in called(clone, first)
    assert "2 runs of" in called(clone, f"{init} --methods grpo mopps --seeds 1")
    made_smaller(clone / "mine.yaml")
    assert "52 of 52 gold answers are read" in called(clone, check)
    assert_answered(clone, called(clone, run))


def test_what_readme_says_of_ones_own_model_and_data(clone: Path) -> None:
    own_model_and_data(clone, "FOLDER", before="")
    told = commands(README)
    at = next(i for i, each in enumerate(told) if each.startswith("make setup"))
    setup, init, run = told[at : at + 3]
    assert "2 runs of" in called(clone, f"{setup} && {init} --methods grpo mopps --seeds 1")
    made_smaller(clone / "mine.yaml")
    assert_answered(clone, called(clone, f"{setup} && {run}"))


def test_all_other_commands_of_readme(clone: Path) -> None:
    """What takes minutes or a cluster is asked what it would do."""
    pytest.importorskip("snakemake_executor_plugin_slurm")
    told = [each for each in commands(README) if re.match(r"(make|snakemake|gainrl) \S", each)]
    assert len(told) >= 12
    (clone / "mine.yaml").write_text("extends: experiments/tiny.yaml\npreset: mine\n")
    for command in told:
        if command.startswith("make"):
            called(clone, command.replace("make ", "make --dry-run ", 1))
        elif "plan" in command:
            assert "GPU-hours" in called(clone, command)
        elif command.startswith("snakemake"):
            assert re.search(r"^total +\d+", called(clone, f"{command} -n"), re.MULTILINE)
        elif "doctor" in command:  # of a cluster, which is not here
            assert "failed   " in called(clone, command, code=1)
        else:
            assert command.startswith("gainrl init")


def test_one_more_method_of_the_nano_model(clone: Path) -> None:
    text = (PAGES / "nano.md").read_text(encoding="utf-8")
    (preset,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (clone / "more.yaml").write_text(preset)
    run, activate, check, plan, one, ui = commands(PAGES / "nano.md")
    assert (run, activate, ui) == ("make run", "source .venv/bin/activate", "make ui")
    assert "0 failed" in called(clone, check)
    assert re.search(r"train +6\b", called(clone, plan))  # a job a method
    assert re.search(r"train +6\b", called(clone, f"{one} -n"))
    assert re.search(r"\b180 runs\b", called(clone, "snakemake plan --configfile more.yaml"))
    for target in ("run", "ui"):
        called(clone, f"make --dry-run {target}")
