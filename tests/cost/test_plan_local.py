"""`gainrl plan` of runs on one device: what their steps have taken here."""

from __future__ import annotations

import shlex

import pandas as pd
import pytest
import yaml
from planned import PROFILE, REPOSITORY, options, planned

from gainrl import cli


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_local_runs_get_a_script_and_no_estimate(here, capsys):
    data = yaml.safe_load((REPOSITORY / "experiments/tiny.yaml").read_text())
    assert planned(here, data, "--root", "else where") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("25 runs on the local backend")
    assert "Sum" not in printed
    assert "No step has been timed here yet" in printed
    assert "hours" not in printed
    assert "Disk: " in printed
    names = sorted(path.name for path in (here / "plan/nano/chain/gain").iterdir())
    assert names == ["seed0.sh", "seed1.sh", "seed2.sh"]
    text = (here / "plan/nano/chain/gain/seed1.sh").read_text()
    assert "gpus-per-node" not in options(text)
    assert shlex.split(text.splitlines()[-1])[-2:] == ["--root", "else where"]
    assert pd.read_csv(here / "plan/plan.csv")["gpu_hours_high"].isna().all()


def test_local_runs_take_what_their_steps_have_taken_here(here, capsys):
    data = yaml.safe_load((REPOSITORY / "experiments/tiny.yaml").read_text())
    data["experiments"] = {"table1": data["experiments"]["table1"]}  # three methods, three seeds
    data["claims"] = {}
    del data["studies"], data["linearity"], data["tuning"]
    run = here / "results/tiny/runs/nano/chain/grpo/seed0"
    run.mkdir(parents=True)
    (run / "done.json").touch()
    (run / "timing.jsonl").write_text(
        '{"step": 1, "seconds_step": 700}\n{"step": 2, "seconds_step": 1100}\n'
    )
    note = here / "results/tiny/models/nano/gainrl.json"
    note.parent.mkdir(parents=True)
    note.write_text('{"seconds": 90.0}')
    assert planned(here, data) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("9 runs on the local backend, a device each, 1 of them finished.")
    # eight runs of four steps of 900 s
    assert "Steps that are left: 8.0 hours, one run after another" in printed
    assert "methods without any like the mean of the others" in printed
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in printed.splitlines()]
    assert ["models, with their warm-up", "1", "1", "90"] in cells
    assert ["prefill scoring", "1", "0", "–"] in cells  # by GAIN-RL alone, once for all seeds
    lines = [row for row in cells if row and "nano/" in row[0]]
    assert [row[-1] for row in lines] == ["900", "–", "–"]


def test_runs_that_end_by_tokens_say_how_many(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny = str(REPOSITORY / "experiments" / "tiny.yaml")
    assert cli.main(["plan", "--preset", tiny, "--out", "out", "--profile", str(PROFILE)]) == 0
    text = capsys.readouterr().out
    assert "Those that end by tokens generate 5,200 in all." in text  # 13 runs of 400
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert ["nano/chain/tuned-gain.try1", "1", "400 tokens", "–"] in lines
    assert ["nano/chain/grpo", "3", "4", "–"] in lines
