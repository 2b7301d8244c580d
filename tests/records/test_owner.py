"""One process trains a run: what was left behind is ended, what somebody runs is left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from gainrl.errors import BackendError
from gainrl.training.files import OWNER
from gainrl.training.owner import Owner, owned

TRAINS = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from gainrl.training.owner import owned
    with owned(Path(sys.argv[1])):
        print("trains", flush=True)
        time.sleep(600)
""")


def started(folder: Path, through: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A process that owns the folder, or what starts it."""
    command = [*through, sys.executable, "-c", TRAINS, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "trains\n"
    return process


def owner_in(folder: Path) -> Owner:
    return Owner(**json.loads((folder / OWNER).read_text()))


@pytest.fixture
def controller(tmp_path) -> tuple[str, ...]:
    """A program named snakemake that starts a command as that does, with a shell between."""
    program = tmp_path / "bin" / "snakemake"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport shlex, subprocess, sys\n"
        "subprocess.run(['bash', '-c', shlex.join(sys.argv[1:]) + '; true'])\n"
    )
    program.chmod(0o755)
    return (str(program),)


def test_a_folder_is_owned_while_it_is_trained_in(tmp_path) -> None:
    (tmp_path / "steps.jsonl").touch()
    with owned(tmp_path):
        assert owner_in(tmp_path) == Owner.this()
        with owned(tmp_path):  # of this very process
            pass
    run = tmp_path / "runs" / "m" / "seed0"
    with pytest.raises(ValueError, match="failed"), owned(run):
        raise ValueError("failed")
    assert not (tmp_path / "runs").exists()
    with owned(run):
        (run / "steps.jsonl").touch()
    assert [path.name for path in run.iterdir()] == ["steps.jsonl"]


def test_a_second_process_is_refused_while_the_first_lives(tmp_path) -> None:
    process = started(tmp_path)
    try:
        taken = pytest.raises(BackendError, match=f"process {process.pid} trains this run")
        with taken, owned(tmp_path):
            pass
        assert process.poll() is None
        assert owner_in(tmp_path).process == process.pid
    finally:
        process.kill()
        process.wait()
    with owned(tmp_path):  # killed, it left its note behind
        assert owner_in(tmp_path).process == os.getpid()


def test_what_a_killed_controller_left_running_is_ended(tmp_path, controller, capsys) -> None:
    parent = started(tmp_path, controller)
    left = psutil.Process(owner_in(tmp_path).process)
    assert owner_in(tmp_path).controller == parent.pid
    with pytest.raises(BackendError, match="trains this run"), owned(tmp_path):
        pass  # its controller lives
    parent.kill()
    parent.wait()
    assert left.is_running()
    with owned(tmp_path):
        assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
    assert f"ending process {left.pid}" in capsys.readouterr().out


def test_another_process_with_the_same_number_is_not_taken_for_it(tmp_path) -> None:
    process = started(tmp_path)
    try:
        note = replace(owner_in(tmp_path), began=1.0, controller=1, controller_began=1.0)
        (tmp_path / OWNER).write_text(json.dumps(asdict(note)))
        with owned(tmp_path):
            pass
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_job_that_was_left_in_the_queue_is_cancelled_and_waited_for(
    tmp_path, monkeypatch, capsys
) -> None:
    """With programs in the place of SLURM's; tests/slurm has the real ones."""
    programs = {
        "squeue": f"#!/bin/sh\ncat {tmp_path}/state\n",
        "scancel": f"#!/bin/sh\necho $1 >> {tmp_path}/cancelled\n"
        f"(sleep 1; echo CANCELLED > {tmp_path}/state) >/dev/null 2>&1 &\n",
    }
    for name, text in programs.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "state").write_text("RUNNING\n")
    note = replace(Owner.this(), host="elsewhere", job="17")
    (tmp_path / OWNER).write_text(json.dumps(asdict(note)))
    began = time.monotonic()
    with owned(tmp_path):
        assert time.monotonic() - began >= 1
        assert (tmp_path / "cancelled").read_text() == "17\n"
    assert "cancelling job 17" in capsys.readouterr().out
    (tmp_path / OWNER).write_text(json.dumps(asdict(note)))
    with owned(tmp_path):  # it has ended: nothing is cancelled again
        assert (tmp_path / "cancelled").read_text() == "17\n"
