"""A run or a stage has one process at a time: what was left behind is ended, others stay."""

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

from gainrl import cli
from gainrl.commands import command as command_of
from gainrl.errors import BackendError
from gainrl.owner import Owner, owned
from gainrl.training.files import OWNER

TRAINS = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from gainrl.owner import owned
    with owned(Path(sys.argv[1])):
        print("trains", flush=True)
        time.sleep(600)
""")

SLOW = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from gainrl import owner
    from gainrl.errors import BackendError
    write = owner.write_json
    owner.write_json = lambda *note: (time.sleep(0.5), write(*note))
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        with owner.owned(Path(sys.argv[1])):
            print("at work", flush=True)
            sys.stdin.readline()
    except BackendError:
        print("refused", flush=True)
""")

TINY = str(Path(__file__).resolve().parents[2] / "experiments" / "tiny.yaml")
STAGE = textwrap.dedent(f"""
    import time
    from gainrl.commands import command
    def work(context, subject, shard):
        print("works", flush=True)
        time.sleep(600)
    stage = command("stage", "", work, "subject", "shard", alone=True)
    stage.run({{"preset": {TINY!r}, "root": None, "subject": "runs/m/seed0", "shard": None}})
""")


def started(folder: Path, through: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A process that owns the folder, or what starts it."""
    command = [*through, sys.executable, "-c", TRAINS, str(folder / OWNER)]
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
    with owned(tmp_path / OWNER):
        assert owner_in(tmp_path) == Owner.this()
        with owned(tmp_path / OWNER):  # of this very process
            pass
    run = tmp_path / "runs" / "m" / "seed0"
    with pytest.raises(ValueError, match="failed"), owned(run / OWNER):
        raise ValueError("failed")
    assert not (tmp_path / "runs").exists()
    with owned(run / OWNER):
        (run / "steps.jsonl").touch()
    assert [path.name for path in run.iterdir()] == ["steps.jsonl"]


def test_a_second_process_is_refused_while_the_first_lives(tmp_path) -> None:
    process = started(tmp_path)
    try:
        taken = pytest.raises(
            BackendError, match=f"{tmp_path / OWNER}: process {process.pid} is at this work"
        )
        with taken, owned(tmp_path / OWNER):
            pass
        assert process.poll() is None
        assert owner_in(tmp_path).process == process.pid
    finally:
        process.kill()
        process.wait()
    with owned(tmp_path / OWNER):  # killed, it left its note behind
        assert owner_in(tmp_path).process == os.getpid()


def test_what_a_killed_controller_left_running_is_ended(tmp_path, controller, capsys) -> None:
    parent = started(tmp_path, controller)
    left = psutil.Process(owner_in(tmp_path).process)
    assert owner_in(tmp_path).controller == parent.pid
    with pytest.raises(BackendError, match="is at this work"), owned(tmp_path / OWNER):
        pass  # its controller lives
    parent.kill()
    parent.wait()
    assert left.is_running()
    with owned(tmp_path / OWNER):
        assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
    assert f"ending process {left.pid}" in capsys.readouterr().out


def test_another_process_with_the_same_number_is_not_taken_for_it(tmp_path) -> None:
    process = started(tmp_path)
    try:
        note = replace(owner_in(tmp_path), began=1.0, controller=1, controller_began=1.0)
        (tmp_path / OWNER).write_text(json.dumps(asdict(note)))
        with owned(tmp_path / OWNER):
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
    with owned(tmp_path / OWNER):
        assert time.monotonic() - began >= 1
        assert (tmp_path / "cancelled").read_text() == "17\n"
    assert "cancelling job 17" in capsys.readouterr().out
    (tmp_path / OWNER).write_text(json.dumps(asdict(note)))
    with owned(tmp_path / OWNER):  # it has ended: nothing is cancelled again
        assert (tmp_path / "cancelled").read_text() == "17\n"


def test_of_two_that_begin_at_once_one_is_refused(tmp_path) -> None:
    """Each is slow between its look for a note and its own note."""
    command = [sys.executable, "-c", SLOW, str(tmp_path / OWNER)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for each in both:
        assert each.stdout.readline() == "ready\n"
    for each in both:
        each.stdin.write("go\n")
        each.stdin.flush()
    said = [each.stdout.readline() for each in both]
    for each in both:
        each.communicate("end\n", timeout=60)
    assert sorted(said) == ["at work\n", "refused\n"]


def test_a_stage_that_a_killed_controller_left_running_is_ended_before_it_begins_anew(
    tmp_path, controller, monkeypatch
) -> None:
    """As `gainrl difficulty`: both would write answers into one file."""
    (tmp_path / "stage.py").write_text(STAGE)
    command = [*controller, sys.executable, str(tmp_path / "stage.py")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "works\n"
    (note,) = (tmp_path / "results" / "tiny").glob(".*.owner.json")
    assert note.name == ".stage+runs+m+seed0+None.owner.json"
    left = psutil.Process(Owner(**json.loads(note.read_text())).process)
    parent.kill()
    parent.wait()

    def begin(context, subject: str, shard: int | None) -> None:
        assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
        assert note.exists()

    monkeypatch.chdir(tmp_path)
    stage = command_of("stage", "", begin, "subject", "shard", alone=True)
    stage.run({"preset": TINY, "root": None, "subject": "runs/m/seed0", "shard": None})
    assert not note.exists()


def test_commands_that_go_on_from_files_of_their_own_are_alone() -> None:
    alone = [each.name for each in cli.COMMANDS if each.alone]
    assert alone == ["model", "score", "difficulty", "evaluate", "benchmark"]
