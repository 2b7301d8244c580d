"""Files that one process at a time works on, or that stay as they are while somebody needs them."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gainrl.files import alone, keep

KEEPS = """
import sys
from pathlib import Path
from gainrl.files import keep
print(keep(Path(sys.argv[1]), sys.argv[2]), flush=True)
sys.stdin.read()
"""


def keeper(path: Path, text: str) -> tuple[subprocess.Popen[str], str]:
    """A process that keeps a file, and whether it could, as it says."""
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPS, str(path), text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_text_stays_until_all_have_ended_who_keep_it(tmp_path):
    path = tmp_path / "new" / "preset.json"
    path.parent.mkdir()
    path.write_text("of a call that has ended")
    (first, said), (second, also) = keeper(path, "a"), keeper(path, "a")
    try:
        assert (said, also, path.read_text()) == ("True", "True", "a")
        for process in (first, second):
            assert not keep(path, "b")
            assert path.read_text() == "a"
            process.kill()
            process.wait()
    finally:
        first.kill(), second.kill()
    assert keep(path, "b")
    assert path.read_text() == "b"


def test_those_who_begin_at_once_agree_on_one_text(tmp_path):
    path = tmp_path / "preset.json"
    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(lambda number: keep(path, str(number % 4)), range(16)))
    assert [number % 4 for number in range(16) if said[number]] == [int(path.read_text())] * 4


def test_threads_change_a_file_one_after_another(tmp_path):
    path = tmp_path / "number"
    path.write_text("0")

    def count(_number: int) -> None:
        for _ in range(50):
            with alone(path):
                path.write_text(str(int(path.read_text()) + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert path.read_text() == "200"
    assert os.listdir(tmp_path) == ["number"]


def test_a_lock_that_nfs_has_lost_while_it_was_waited_for_is_taken_anew(tmp_path, monkeypatch):
    whole, left = fcntl.flock, [OSError(errno.ESTALE, "Stale file handle")]

    def stale(handle: int, how: int) -> None:
        if left:
            raise left.pop()
        whole(handle, how)

    monkeypatch.setattr(fcntl, "flock", stale)
    with alone(tmp_path / "index"):
        assert os.listdir(tmp_path) == [".index.lock"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog, number):
    def none(_handle: int, _how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    with alone(tmp_path / "index"):
        pass
    assert f"{tmp_path}: cannot lock files" in caplog.text
    assert keep(tmp_path / "preset.json", "a")
    assert keep(tmp_path / "preset.json", "b")


def test_a_fork_does_not_keep_a_lock(tmp_path):
    with alone(tmp_path / "index"):
        waiting = os.open(tmp_path / ".index.lock", os.O_RDWR)
        child = os.fork()
        if child == 0:
            os.read(os.pipe()[0], 1)
    try:
        fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
