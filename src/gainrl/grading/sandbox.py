"""Runs a Python program that nobody trusts: in its own namespaces, with limits on what it uses.

Three kinds of isolation, of which the first that works here is used:

- 'bubblewrap': the program `bwrap`, where it is installed and may be used;
- 'namespaces': the same by ourselves: user, mount, process, network, IPC and host name namespaces
  (user namespaces must be allowed, or we are root with CAP_SYS_ADMIN; Linux 5.14 or newer);
- 'limits': no namespaces. Resource limits and the filter of kernel calls only, which leave no
  sockets, no further processes and no signals, but every file that the user may read or write.
  Never used unless it is asked for.

In the first two a program sees the interpreter and /usr read-only, four devices and an empty /tmp
of SCRATCH_MB; no home, no /proc, no network, no other process, no variable of our environment.
Containers usually forbid both kinds (Docker without further options does); so do systems that
restrict user namespaces (Ubuntu from 23.10 on, unless bwrap has an AppArmor profile).

Memory is limited per process: a program can take processes * memory_mb. Under memory pressure the
kernel takes it before anything else (oom_score_adj). A grader that is killed takes its programs
along; under 'limits' an empty temporary directory stays behind.
"""

from __future__ import annotations

import marshal
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, Literal, get_args

from gainrl.errors import GradingError

Isolation = Literal["bubblewrap", "namespaces", "limits"]

SCRATCH_MB = 16
"""Size of the program's /tmp, and the most that one file can hold."""

START_SECONDS = 20
"""Limit for what comes before the program: starting an interpreter and enclosing it."""

INSIDE = Path(__file__).with_name("_inside.py")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    `seconds` is time by the clock, less what it waits for a processor; `cpu_seconds` computing time
    of each process; `memory_mb` the address space of each process in MiB (20 of them the
    interpreter's own); `processes` counts threads too and is never below 1; `output_bytes` is what
    the program may write to its output.
    """

    seconds: float = 10.0
    cpu_seconds: int = 10
    memory_mb: int = 512
    processes: int = 8
    output_bytes: int = 1 << 20


DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended: exit status (128 + n for signal n, None if we killed it), output.

    `reason` is 'ended', or which limit it ran into: 'time limit', 'cpu limit', 'output limit'.
    """

    exit: int | None
    output: bytes
    reason: str


# --- what is available ---------------------------------------------------------------------------


@lru_cache
def unavailable(isolation: Isolation) -> str | None:
    """Why this isolation does not work here, or None. Found out once, by using it."""
    if sys.platform != "linux":
        return "not Linux"
    if isolation == "bubblewrap" and shutil.which("bwrap") is None:
        return "bwrap is not installed"
    try:
        done = run("print('works')", isolation=isolation)
    except GradingError as error:
        return str(error)
    return None if done.output == b"works\n" else f"the test program: {done}"


def choose(unsafe: bool = False) -> Isolation:
    """The best isolation that works here.

    Args:
        unsafe: also accept 'limits', which protects no files.

    Raises:
        GradingError: none works; the message says why not.
    """
    kinds = get_args(Isolation) if unsafe else get_args(Isolation)[:2]
    for kind in kinds:
        if unavailable(kind) is None:
            return kind
    reasons = "; ".join(f"{kind}: {unavailable(kind)}" for kind in kinds)
    raise GradingError(f"generated code cannot be run safely here ({reasons})")


# --- running -------------------------------------------------------------------------------------


class Running:
    """A program that was started in a sandbox, which may not be complete yet."""

    def __init__(self, process: subprocess.Popen[bytes], status: int, isolation: Isolation):
        self.process, self._status, self._isolation = process, status, isolation

    def await_ready(self) -> None:
        """Return when the program runs and all limits hold; to be called once.

        Raises:
            GradingError: the sandbox could not be set up.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._status, selectors.EVENT_READ)
            ready = selector.select(START_SECONDS)
        said = os.read(self._status, 4096).decode(errors="replace") if ready else "no time to start"
        if said != "ready":
            raise GradingError(f"the sandbox ({self._isolation}) failed: {said or 'no start'}")

    def collect(self, output: int, limits: Limits, *beside: Running) -> Finished:
        """Read what the program writes until it ends or meets a limit; it is left as it is then.

        Args:
            beside: programs that it waits for.
        """
        clock = _Clock(limits.seconds, [each.process.pid for each in (self, *beside)])
        text, code, ended = bytearray(), None, False
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while not ended and (left := clock.left()):
                if selector.select(left):
                    chunk = os.read(output, 1 << 16)
                    ended = not chunk
                    text += chunk
                if len(text) > limits.output_bytes:
                    return Finished(None, bytes(text[: limits.output_bytes]), "output limit")
        while code is None and (left := clock.left()):
            with suppress(subprocess.TimeoutExpired):
                code = self.process.wait(left)
        if code is None:
            return Finished(None, bytes(text), "time limit")
        code = code if code >= 0 else 128 - code
        return Finished(code, bytes(text), "cpu limit" if code == 128 + signal.SIGXCPU else "ended")


class _Clock:
    """Time by the clock, less what a process of some programs was kept waiting for a processor.

    So a busy machine changes no verdict: there the limit of computing time comes first.
    """

    def __init__(self, seconds: float, programs: list[int]) -> None:
        self.programs = programs
        self.kept, self.deadline = self._kept(), time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, at least 0."""
        if time.monotonic() >= self.deadline:
            kept = max(self.kept, self._kept())
            self.deadline += kept - self.kept
            self.kept = kept
        return max(0.0, self.deadline - time.monotonic())

    def _kept(self) -> float:
        """Seconds that the one that waited longest has waited (proc(5), schedstat)."""
        longest, ahead = 0, [Path(f"/proc/{number}") for number in self.programs]
        while ahead:
            process = ahead.pop()
            with suppress(OSError):  # it has ended, or this kernel does not count
                for thread in (process / "task").iterdir():
                    longest = max(longest, int((thread / "schedstat").read_text().split()[1]))
                    children = (thread / "children").read_text().split()
                    ahead += [Path(f"/proc/{number}") for number in children]
        return longest / 1e9


def run(
    source: str,
    data: bytes = b"",
    limits: Limits = DEFAULT,
    isolation: Isolation | None = None,
) -> Finished:
    """Run a Python program with `data` as its standard input; its errors go nowhere.

    Args:
        source: the program's text; it runs as `__main__`, with the standard library only.
        data: what it can read from standard input.
        limits: what it may use.
        isolation: None for the best that works here.

    Raises:
        GradingError: the sandbox could not be set up. Never because of what the program does.
    """
    with ExitStack() as stack:
        stdin = stack.enter_context(_held(data))
        read, write = os.pipe()
        stack.callback(os.close, read)
        try:
            running = stack.enter_context(started(source, limits, isolation, stdin, write))
        finally:
            os.close(write)
        running.await_ready()
        return running.collect(read, limits)


@contextmanager
def started(
    source: str,
    limits: Limits,
    isolation: Isolation | None,
    stdin: int,
    stdout: int,
    stderr: int = subprocess.DEVNULL,
    before: CodeType | None = None,
) -> Iterator[Running]:
    """A program that runs in a sandbox on the given descriptors; killed when the block is left.

    `before` is code of ours that runs ahead of the program, as its first lines would.

    Raises:
        GradingError: no isolation works here, or no process can be started.
    """
    isolation = isolation or choose()
    with ExitStack() as stack:
        scratch = None
        if isolation == "limits":
            scratch = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="gainrl-", ignore_cleanup_errors=True)
            )
        status, reported = os.pipe()
        stack.callback(os.close, status)
        try:
            content = _job(source, before, limits, isolation) | {"status": reported}
            job = stack.enter_context(_held(_inside() + marshal.dumps(content)))
            process = subprocess.Popen(
                _command(isolation, job),
                stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=(job, reported),
                cwd=scratch or "/", env={"HOME": scratch or "/tmp"}, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise GradingError(f"the sandbox ({isolation}) cannot be started: {error}") from error
        finally:
            os.close(reported)
        stack.callback(_stop, process)
        with suppress(OSError):
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")
        yield Running(process, status, isolation)


@contextmanager
def _held(data: bytes) -> Iterator[int]:
    """A descriptor from which `data` can be read, and which nobody can write to."""
    import fcntl

    descriptor = os.memfd_create("gainrl", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        yield descriptor
    finally:
        os.close(descriptor)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group; namespaces end with it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# --- what is started -----------------------------------------------------------------------------


def _privileged() -> bool:
    return os.geteuid() == 0


def _job(
    source: str, before: CodeType | None, limits: Limits, isolation: Isolation
) -> dict[str, Any]:
    """What `_inside.py` reads, but for the status descriptor."""
    own = {"bubblewrap": 2, "namespaces": 2, "limits": 0}[isolation]
    uid = None
    if _privileged() and isolation != "limits":
        # The kernel counts processes per user id and exempts root: so one for each sandbox.
        uid = (1 << 30) + secrets.randbelow(1 << 29)
        own = 0
    return {
        "kind": isolation,
        "before": before,
        "source": source,
        "limits": asdict(limits) | {"processes": max(1, limits.processes) + own},
        "scratch_bytes": SCRATCH_MB << 20,
        "visible": _visible(),
        "uid": uid,
    }


@lru_cache
def _inside() -> bytes:
    """`_inside.py`, compiled: the interpreter that reads it is of our version.

    Nothing is inherited: what it compiles would have our `__future__` imports, too.
    """
    return marshal.dumps(compile(INSIDE.read_text(), INSIDE.name, "exec", dont_inherit=True))


def _interpreter() -> list[str]:
    """Not the environment's interpreter: its packages are no business of the program."""
    return [getattr(sys, "_base_executable", sys.executable), "-I", "-S", "-B", "-X", "utf8"]


@lru_cache
def _visible() -> tuple[str, ...]:
    """The paths that an interpreter needs, outer ones first and none inside another."""
    wanted = ["/usr", "/lib", "/lib64", sys.base_prefix, sys.base_exec_prefix]
    kept: list[str] = []
    for path in sorted({os.path.abspath(path) for path in wanted if os.path.exists(path)}):
        if not any(f"{path}/".startswith(f"{outer}/") for outer in kept):
            kept.append(path)
    return tuple(kept)


def _command(isolation: Isolation, job: int) -> list[str]:
    load = f"import marshal; job_file = open({job}, 'rb'); exec(marshal.load(job_file))"
    python = [*_interpreter(), "-c", load]
    if isolation != "bubblewrap":
        return python
    bwrap = [shutil.which("bwrap") or "bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net"]
    bwrap += ["--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--new-session"]
    if _privileged():  # to take another user id; all the others are dropped
        bwrap += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        bwrap += ["--unshare-user"]
    parents = {str(parent) for path in (*_visible(), "/dev/null")
               for parent in Path(path).parents} - {"/"}  # fmt: skip
    for path in sorted(parents):  # bwrap alone would close them to the other user id
        bwrap += ["--perms", "0755", "--dir", path]
    for path in _visible():
        link = os.path.islink(path)
        bwrap += ["--symlink", os.readlink(path), path] if link else ["--ro-bind", path, path]
    for name in ("null", "zero", "random", "urandom"):
        bwrap += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    bwrap += ["--perms", "1777", "--size", str(SCRATCH_MB << 20), "--tmpfs", "/tmp"]
    bwrap += ["--remount-ro", "/", "--chdir", "/tmp", "--"]
    return [*bwrap, *python]
