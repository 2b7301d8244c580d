"""docs/compare.md: its commands run as they are written, and print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from curve_logs import lines, trl_state, verl_rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compare.md"


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def shell(tmp_path):
    """Runs a command line in a folder of its own, where `gainrl` is this source."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "gainrl"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gainrl.cli "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path}/mlflow.db"

    def run(command):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_first_commands_make_the_table_that_is_shown(shell, tmp_path):
    (tmp_path / "curves.csv").write_text(blocks("csv")[0])
    install, *commands = re.findall(r"(?m)^    (.*)$", PAGE.read_text(encoding="utf-8"))[:3]
    assert install == "pip install 'gainrl[plot]'"
    assert "| mopps |" in shell(commands[0])
    (shown,) = blocks("text")
    assert shell(commands[1]) == shown
    assert (tmp_path / "comparison.md").read_text() == shown
    wanted = {f"comparison.{end}" for end in ("md", "tex", "json")} | {"all.png", "all.pdf"}
    assert wanted <= {path.name for path in tmp_path.iterdir()}


def test_the_commands_for_logs_run_as_they_are_written(shell, tmp_path):
    for method, rise in (("grpo", 0.1), ("mopps", 0.2)):
        for seed in (0, 1):
            state = tmp_path / "runs" / method / f"seed{seed}" / "trainer_state.json"
            state.parent.mkdir(parents=True)
            state.write_text(lines([trl_state([0.2, 0.25, 0.3 + rise])]))
            log = tmp_path / "logs" / f"{method}-seed{seed}.jsonl"
            log.parent.mkdir(exist_ok=True)
            log.write_text(lines(verl_rows(0, 4)))
    runs = [f"{method}-seed0" for method in ("grpo", "mopps")]
    for name, metric, values in (
        ("accuracy", "eval/acc", ("0,0.2,0.2", "2,0.2,0.3", "5,0.3,0.4")),
        ("tokens", "num_tokens", ("0,0,0", "2,50,50", "5,100,100")),
    ):
        head = ",".join(["Step", *(f"{run} - {metric}" for run in runs)])
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *values, ""]))
    _store(tmp_path, runs)
    commands = blocks("bash")[0].splitlines()
    assert len(commands) == 4
    for command in commands:
        printed = shell(command)
        assert "2 methods" in printed, command
        assert "Speed-up in tokens" in printed, command


def _store(folder, runs):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.create_experiment("mine")
    for run in runs:
        made = client.create_run(experiment, run_name=run)
        for step in range(1, 5):
            client.log_metric(made.info.run_id, "tokens", 10.0, step=step)
            client.log_metric(made.info.run_id, "accuracy", 0.1 * step, step=step)


def test_the_example_in_python_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "curves.csv").write_text(blocks("csv")[0])
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[0], str(PAGE), "exec"), {})
    assert "uniform 0.3733" in capsys.readouterr().out
