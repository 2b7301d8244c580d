"""The launcher of verl, with small programs in verl's place."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from gainrl import processes
from gainrl.errors import BackendError
from gainrl.training.verl import launch


def program(folder: Path, body: str) -> Path:
    """An executable that is called as verl's Python is, and does something else."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n" + textwrap.dedent(body))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def start(folder: Path, body: str, patience: float = 60.0) -> None:
    """Run the launcher on a program."""
    launch.run(program(folder, body), {"folder": str(folder)}, {}, patience)


def alive(folder: Path) -> list[int]:
    """Processes of a run that have not ended."""
    return processes.marked(f"{processes.MARK}={folder.resolve()}")


def test_a_run_that_ends_well(tmp_path):
    start(tmp_path, "print(sys.argv, os.environ['RAY_ADDRESS'], os.environ['RAY_TMPDIR'])")
    said = (tmp_path / "verl.log").read_text()
    assert f"'{tmp_path / 'job.json'}'] local /tmp/gainrl-ray-" in said
    assert not Path(said.split()[-1]).exists()


def test_a_failure_names_the_log_and_the_error_in_it(tmp_path):
    body = """
        print("\\x1b[36m(Runner pid=1)\\x1b[0m ValueError: the third layer is missing")
        print("shutting down")
        sys.exit(3)
    """
    with pytest.raises(BackendError) as caught:
        start(tmp_path, body)
    assert str(caught.value) == (
        f"{tmp_path / 'verl.log'}: verl exited with code 3; "
        "error: (Runner pid=1) ValueError: the third layer is missing"
    )


def test_a_full_disk_is_named_where_torch_does_not(tmp_path):
    """What torch says of it: nothing about a disk."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    run = tmp_path / "run"
    run.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(run)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("cannot mount a small file system")
    body = f"""
        with open("{run}/half", "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                sys.exit("RuntimeError: unexpected pos 86400 vs 86288")
    """
    try:
        with pytest.raises(BackendError) as caught:
            launch.run(program(tmp_path, body), {"folder": str(run)}, {}, 60.0)
        assert str(caught.value) == (
            f"{run / 'verl.log'}: verl exited with code 1; {run}: No space left on device"
        )
        assert sorted(path.name for path in run.iterdir()) == [
            "half",
            "job.json",
            "verl",
            "verl.log",
        ]
    finally:
        subprocess.run(["umount", "--lazy", str(run)], check=True)


def test_logs_of_earlier_attempts_are_kept_and_their_errors_are_not_shown(tmp_path):
    (tmp_path / "verl.log").write_text("OSError: of yesterday\n")
    for day in ("today", "tomorrow"):
        with pytest.raises(BackendError, match=f"last line: {day}"):
            start(tmp_path, f"print('{day}'); sys.exit(1)")
    logs = {path.name: path.read_text() for path in tmp_path.glob("*.log")}
    assert logs == {
        "verl-1.log": "OSError: of yesterday\n",
        "verl-2.log": "today\n",
        "verl.log": "tomorrow\n",
    }


def test_a_run_that_hangs_is_ended_with_all_it_started(tmp_path):
    body = f"""
        import subprocess
        # What leaves the process group, as Ray's daemons do, and ignores SIGTERM.
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
        subprocess.Popen(["{sys.executable}", "-c", code], start_new_session=True)
        time.sleep(60)
    """
    with pytest.raises(BackendError, match="nothing new for 2 s"):
        start(tmp_path, body, patience=2)
    assert alive(tmp_path) == []


def test_patience_is_counted_from_the_last_step(tmp_path):
    body = f"""
        for step in range(4):
            time.sleep(1.2)
            with open("{tmp_path}/steps.jsonl", "a") as file:
                file.write("x")
    """
    start(tmp_path, body, patience=2.5)


def test_finished_responses_are_signs_of_life(tmp_path):
    body = """
        from pathlib import Path
        for response in range(4):
            time.sleep(1.2)
            Path(os.environ["GAINRL_HEARTBEAT"]).touch()
    """
    start(tmp_path, body, patience=2.5)


def test_patience_grows_with_the_steps_of_the_run(tmp_path):
    """A step has taken 1 s, so that 4 s are nothing unusual."""
    body = f"""
        with open("{tmp_path}/timing.jsonl", "w") as file:
            file.write('{{"step": 1, "seconds_step": 1.0}}\\n')
        with open("{tmp_path}/steps.jsonl", "w") as file:
            file.write("x")
        time.sleep(3)
    """
    start(tmp_path, body, patience=1.0)


# A trainer that makes a checkpoint a second and, when it is asked to, one at the end of its step.
TRAINER = """
    from pathlib import Path
    folder = Path(sys.argv[-1]).parent
    pointer = folder / "checkpoints" / "latest_checkpointed_iteration.txt"
    pointer.parent.mkdir()
    pointer.write_text("4")
    for step in range(5, 60):
        time.sleep(0.3)
        if (folder / "verl" / "stop").exists():
            pointer.write_text(str(step))
            time.sleep(60)
"""


def test_sigusr1_has_the_trainer_save_and_ends_it(tmp_path):
    path = program(tmp_path, TRAINER)
    code = f"""
        from pathlib import Path
        from gainrl.training.verl import launch
        launch.run(Path({str(path)!r}), {{"folder": {str(tmp_path)!r}}}, {{}}, 60.0)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "checkpoints").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGUSR1)
    said = process.communicate(timeout=30)[1]
    assert process.returncode != 0
    assert "ended, since its job ends soon; start it again" in said
    assert "saved at step" in said
    assert alive(tmp_path) == []


def test_the_trainer_saves_before_the_allocation_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(launch.cluster, "allocation", lambda: {"SLURM_JOB_END_TIME": "1000"})
    with pytest.raises(BackendError, match=r"saved at step 5 and ended, since its job ends soon"):
        start(tmp_path, TRAINER)
    again = tmp_path / "again"  # another day, with hours to go: a stale request is forgotten
    (again / "verl").mkdir(parents=True)
    (again / "verl" / "stop").touch()
    later = {"SLURM_JOB_END_TIME": str(int(time.time()) + 7200)}
    monkeypatch.setattr(launch.cluster, "allocation", lambda: later)
    start(again, f"import pathlib; assert not pathlib.Path('{again}/verl/stop').exists()")


def test_what_gpus_compile_is_kept_outside_of_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", "/of/the/user")
    start(tmp_path, "print(os.environ['VLLM_CACHE_ROOT'], os.environ['TRITON_CACHE_DIR'])")
    vllm, triton = (tmp_path / "verl.log").read_text().split()
    assert vllm.endswith(f"/gainrl-cache-{os.geteuid()}/vllm")
    assert triton == "/of/the/user"


def test_what_a_killed_launcher_left_is_ended_before_the_next_run(tmp_path):
    variables = {**os.environ, processes.MARK: str(tmp_path.resolve())}
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=variables)
    start(tmp_path, "")
    assert left.wait(5) == -signal.SIGTERM


def test_a_terminated_launcher_ends_its_run(tmp_path):
    path = program(tmp_path, "time.sleep(60)")
    code = f"""
        from pathlib import Path
        from gainrl.training.verl import launch
        launch.run(Path({str(path)!r}), {{"folder": {str(tmp_path)!r}}}, {{}}, 60.0)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    deadline = time.monotonic() + 30
    while not alive(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    assert alive(tmp_path) == []


def test_several_nodes_need_an_allocation_of_that_size(tmp_path):
    with pytest.raises(BackendError, match=r"verl.nodes is 2, but the allocation is none"):
        launch.run(program(tmp_path, ""), {"folder": str(tmp_path)}, {}, 5.0, nodes=2)


def test_an_allocation_of_another_size(tmp_path):
    """As in a job: a batch script with SLURM's variables, below it a process without them."""
    code = f"""
        from pathlib import Path
        from gainrl.training.verl import launch
        launch.run(Path("python"), {{"folder": {str(tmp_path)!r}}}, {{}}, 5.0, nodes=2)
    """
    child = ["env", "-u", "SLURM_JOB_NUM_NODES", sys.executable, "-c", textwrap.dedent(code)]
    batch = f"import subprocess; raise SystemExit(subprocess.call({child!r}))"
    done = subprocess.run(
        [sys.executable, "-c", batch],
        env={**os.environ, "SLURM_JOB_NUM_NODES": "3"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "BackendError: verl.nodes is 2, but the allocation has 3" in done.stderr
