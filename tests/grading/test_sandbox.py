"""The sandbox against honest and hostile programs."""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from gainrl.errors import GradingError
from gainrl.grading import sandbox
from gainrl.grading.code import FunctionTests, StreamTests, grade_program
from gainrl.grading.sandbox import Limits, run, started

SHORT = Limits(seconds=3.0, cpu_seconds=2, memory_mb=256, processes=6, output_bytes=10_000)
SECRET = 918273645


@pytest.fixture(params=["bubblewrap", "namespaces"])
def isolation(request):
    reason = sandbox.unavailable(request.param)
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return request.param


@pytest.fixture(params=["bubblewrap", "namespaces", "limits"])
def any_isolation(request):
    reason = sandbox.unavailable(request.param)
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return request.param


def _report(source: str, isolation, data: str = "") -> dict:
    """Run a program that prints one JSON object, and read it."""
    done = run(source, data.encode(), SHORT, isolation)
    assert (done.exit, done.reason) == (0, "ended"), done
    return json.loads(done.output)


def _outcome(source: str, isolation) -> tuple[str, float]:
    """The reason why a program ended, and how long any of its processes lived on (s)."""
    read, write = os.pipe()
    with tempfile.TemporaryFile() as empty:
        output = os.pipe()
        with started(source, SHORT, isolation, empty.fileno(), output[1], stderr=write) as running:
            os.close(write)
            os.close(output[1])
            running.await_ready()
            done = running.collect(output[0], SHORT)
        os.close(output[0])
    begin = time.monotonic()
    while select.select([read], [], [], 10)[0]:
        if not os.read(read, 1 << 16):  # nobody holds the other end any more
            os.close(read)
            return done.reason, time.monotonic() - begin
    raise AssertionError("a process of the program has outlived it")


# --- the sandbox and honest programs -------------------------------------------------------------


def test_a_program_gets_its_input_and_its_own_directory(any_isolation) -> None:
    source = (
        "import os, pathlib, subprocess, sys\n"
        "pathlib.Path('note').write_text(input())\n"
        "print(pathlib.Path('note').read_text(), __name__, os.listdir(), sys.argv)\n"
        "exit(3)\n"
    )
    done = run(source, b"h\xc3\xa9llo", SHORT, any_isolation)
    assert (done.exit, done.reason) == (3, "ended")
    assert done.output.decode() == "héllo __main__ ['note'] ['program.py']\n"


def test_threads_and_the_standard_library_work(any_isolation) -> None:
    source = (
        "import asyncio, collections, concurrent.futures as f, decimal, heapq, random, sqlite3\n"
        "with f.ThreadPoolExecutor(2) as pool: print(sum(pool.map(abs, range(-4, 4))))\n"
        "print(asyncio.run(asyncio.sleep(0, 'slept')))\n"
    )
    assert run(source, b"", SHORT, any_isolation).output == b"16\nslept\n"


@pytest.mark.parametrize(
    ("source", "exit_status", "reason"),
    [
        ("raise ValueError", 1, "ended"),
        ("def f(:", 1, "ended"),
        ("import os; os.abort()", 134, "ended"),
        ("import time; time.sleep(100)", None, "time limit"),
        ("while True: pass", 128 + signal.SIGXCPU, "cpu limit"),
        ("import sys; sys.stdout.close(); __import__('time').sleep(100)", None, "time limit"),
    ],
)
def test_how_programs_end(source: str, exit_status, reason: str, isolation) -> None:
    seconds = 2.0 if reason == "time limit" else 60.0  # other work may have the processors
    limits = Limits(seconds=seconds, cpu_seconds=1)
    done = run(source, b"", limits, isolation)
    assert (done.exit, done.reason) == (exit_status, reason)


def test_a_sandbox_that_cannot_be_set_up_is_an_error_and_no_grade(monkeypatch) -> None:
    monkeypatch.setattr(sandbox, "_inside", lambda: b"no code")
    with pytest.raises(GradingError, match="failed"):
        run("print()", isolation="limits")


def test_without_isolation_nothing_runs_unless_the_user_says_so(monkeypatch) -> None:
    monkeypatch.setattr(
        sandbox, "unavailable", lambda kind: None if kind == "limits" else "not here"
    )
    with pytest.raises(GradingError, match="bubblewrap: not here; namespaces: not here"):
        sandbox.choose()
    with pytest.raises(GradingError):
        run("print()")
    assert sandbox.choose(unsafe=True) == "limits"


def test_every_descriptor_is_closed_again(any_isolation) -> None:
    tests = FunctionTests("def f():\n", "f", "assert f() == 1")
    grade_program("    return 1", tests, SHORT, any_isolation)
    before = len(os.listdir("/proc/self/fd"))
    assert grade_program("    return 1", tests, SHORT, any_isolation).correct
    assert not grade_program("def f(: pass", tests, SHORT, any_isolation).correct
    assert len(os.listdir("/proc/self/fd")) == before


# --- the sandbox and hostile programs ------------------------------------------------------------


def test_fork_bomb(isolation) -> None:
    source = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"
    reason, after = _outcome(source, isolation)
    assert reason in ("time limit", "cpu limit")
    assert after < 5


def test_processes_and_threads_are_counted(isolation) -> None:
    fork = (
        "import json, os, time\nn = 1\nwhile n < 200:\n    try: child = os.fork()\n"
        "    except OSError: break\n    if not child: time.sleep(100)\n    n += 1\n"
        "print(json.dumps({'n': n}))\n"
    )
    assert 2 <= _report(fork, isolation)["n"] <= SHORT.processes + 2
    thread = (
        "import json, threading, time, os\nn = 1\nwhile n < 200:\n"
        "    try: threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n"
        "    except RuntimeError: break\n    n += 1\n"
        "print(json.dumps({'n': n}), flush=True)\nos._exit(0)\n"
    )
    assert 2 <= _report(thread, isolation)["n"] <= SHORT.processes + 2


def test_memory_bomb(any_isolation) -> None:
    source = (
        "import json\nheld = []\ntry:\n    while True: held.append(bytearray(1 << 20))\n"
        "except MemoryError:\n    n = len(held); del held\nprint(json.dumps({'mb': n}))\n"
    )
    assert 50 < _report(source, any_isolation)["mb"] < SHORT.memory_mb
    tests = StreamTests((("", "1\n"),))
    got = grade_program("x = [0] * 10 ** 12\nprint(1)", tests, SHORT, any_isolation)
    assert (got.correct, got.reason) == (False, "exception")


def test_endless_output(any_isolation) -> None:
    done = run("while True: print('y' * 1000)", b"", SHORT, any_isolation)
    assert done.reason == "output limit"
    assert len(done.output) == SHORT.output_bytes


def test_scratch_space_ends(isolation) -> None:
    source = (
        "import json, os\nn = 0\ntry:\n"
        "    for k in range(40):\n"
        "        with open(f'f{k}', 'wb') as f: n += f.write(bytes(1 << 20))\n"
        "except OSError: pass\nprint(json.dumps({'mb': n >> 20}))\n"
    )
    assert _report(source, isolation)["mb"] <= sandbox.SCRATCH_MB


def test_environment_home_and_other_processes_are_out_of_sight(
    isolation, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("GAINRL_SECRET", str(SECRET))
    (tmp_path / "secret").write_text(str(SECRET))
    home = pwd.getpwuid(os.getuid()).pw_dir
    paths = [f"/proc/{os.getpid()}/environ", "/proc/self/environ", "/proc/1/environ",
             f"/proc/{os.getpid()}/cwd", str(tmp_path / "secret"), "/etc/passwd", "/../etc/passwd",
             str(Path(__file__)), "/sys/kernel", "/dev/shm", "/dev/kmsg"]  # fmt: skip
    source = f"""
import json, os, sys
seen = []
for path in {paths}:
    try: os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(1); seen.append(path)
    except OSError: pass
inside = sys.base_prefix
def strangers(path):  # what is in the home besides the interpreter
    try: return [n for n in os.listdir(path) if not (inside + '/').startswith(f'{{path}}/{{n}}/')]
    except OSError: return []
print(json.dumps({{'seen': seen, 'environ': dict(os.environ), 'home': strangers({home!r})}}))
"""
    got = _report(source, isolation)
    assert got["seen"] == []
    assert got["home"] == []
    assert set(got["environ"]) <= {"HOME", "PWD", "LC_CTYPE"}


def test_nothing_outside_can_be_written(isolation, tmp_path) -> None:
    folders = ["/", "/usr", "/usr/lib", "/dev", "/run", sys.base_prefix, str(tmp_path), "/root",
               os.path.dirname(os.__file__), "/home", "/var/tmp"]  # fmt: skip
    source = f"""
import json, os, sys
written = []
for folder in {folders}:
    name = os.path.join(folder, 'gainrl-was-here')
    for act in (lambda: open(name, 'w').close(), lambda: os.makedirs(name),
                lambda: os.chmod(folder, 0o777), lambda: os.symlink('/', name)):
        try: act(); written.append(name)
        except OSError: pass
print(json.dumps({{'written': written, 'uid': os.getuid()}}))
"""
    got = _report(source, isolation)
    assert [path for path in got["written"] if not path.startswith("/tmp/")] == []  # its own /tmp
    assert got["uid"] != 0
    assert not any(os.path.exists(os.path.join(path, "gainrl-was-here")) for path in folders)


def test_no_sockets(any_isolation) -> None:
    source = """
import json, socket
opened = []
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
    try: socket.socket(family, socket.SOCK_STREAM if family < 16 else socket.SOCK_RAW)
    except OSError: continue
    opened.append(family)
print(json.dumps(opened))
"""
    assert _report(source, any_isolation) == []


def test_kernel_calls_that_escape_limits_are_refused(isolation) -> None:
    source = """
import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
user, pid, mount = 0x10000000, 0x20000000, 0x00020000
tries = {
    'unshare': lambda: libc.unshare(user), 'unshare mounts': lambda: libc.unshare(mount),
    'mount': lambda: libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None),
    'memfd': lambda: libc.memfd_create(b'x', 0), 'shm': lambda: libc.shmget(0, 4096, 0o1600),
    'ptrace': lambda: libc.ptrace(16, 1, 0, 0), 'chroot': lambda: libc.chroot(b'/tmp'),
    'setuid': lambda: libc.setuid(0), 'sethostname': lambda: libc.sethostname(b'x', 1),
    'umount': lambda: libc.umount2(b'/usr', 2),
}
print(json.dumps([name for name, attempt in tries.items() if attempt() >= 0]))
"""
    assert _report(source, isolation) == []


def test_the_grader_and_others_cannot_be_killed(any_isolation) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        source = f"""
import os, signal
for target in ({os.getpid()}, {other.pid}, os.getppid(), 1, -1, *range(2, 300)):
    for number in (signal.SIGTERM, signal.SIGKILL):
        if target != os.getpid():
            try: os.kill(target, number)
            except OSError: pass
print(1)
"""
        if any_isolation == "limits":  # there -1 would be everybody's end if it were allowed
            source = source.replace("-1, ", "")
        run(source, b"", SHORT, any_isolation)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_program_that_ignores_signals_is_killed(isolation) -> None:
    source = """
import signal, time
for number in range(1, 65):
    try: signal.signal(number, lambda *_: None)
    except (OSError, ValueError): pass
while True: time.sleep(1)
"""
    reason, after = _outcome(source, isolation)
    assert (reason, after < 5) == ("time limit", True)


def test_a_daemon_dies_with_the_program(isolation) -> None:
    source = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(100)
    os._exit(0)
os.wait()
"""
    read, write = os.pipe()
    with tempfile.TemporaryFile() as empty, open(os.devnull, "w") as null:
        with started(source, SHORT, isolation, empty.fileno(), null.fileno(), write) as running:
            os.close(write)
            running.process.wait(10)
        assert select.select([read], [], [], 10)[0]
        assert os.read(read, 1000) == b""
    os.close(read)


def test_nothing_lives_on_when_the_grader_is_killed(any_isolation, tmp_path) -> None:
    read, write = os.pipe()
    script = (
        "import sys\nfrom gainrl.grading.sandbox import *\n"
        "program = 'import time; time.sleep(100)'\n"
        f"with started(program, DEFAULT, {any_isolation!r}, 0, 1, {write}) as p:"
        "\n    p.await_ready()\n    print('up', flush=True)\n    sys.stdin.read()\n"
    )
    grader = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[write],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    os.close(write)
    assert grader.stdout is not None
    assert grader.stdout.readline() == b"up\n"
    grader.kill()
    grader.communicate()
    assert select.select([read], [], [], 10)[0]
    assert os.read(read, 1000) == b""
    os.close(read)


def test_two_sandboxes_of_one_moment_are_of_two_users(monkeypatch):
    """The kernel counts processes by user: as one they would meet each other's limit."""
    monkeypatch.setattr(sandbox, "_privileged", lambda: True)
    monkeypatch.setattr(sandbox.time, "monotonic_ns", lambda: 77 << 10)
    first, second = (sandbox._job("", None, Limits(), "namespaces")["uid"] for _ in range(2))
    assert first != second
    assert {first >> 29, second >> 29} == {2}
