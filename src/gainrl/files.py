"""Files that appear under their final name only when they are complete; JSON and JSON lines.

A write goes to a temporary file beside the target, which is synced and renamed, so a killed job or
a full disk leaves nothing that a later step could mistake for a result. No pandas.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from gainrl.errors import DataError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; fsync and rename it when the block succeeds.

    Raises:
        DataError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    target = Path(path)
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        file_above = next((each for each in target.parents if each.is_file()), None)
        why = f"{file_above} is a file, no folder" if file_above else error.strerror or error
        raise DataError(f"{target}: cannot write: {why}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def keep_inputs(targets: Iterable[Path], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse an --out that would write over what is read (DataError)."""
    sources = [Path(each) for each in inputs]
    for target in targets:
        for source in sources:
            if target.exists() and source.exists() and target.samefile(source):
                raise DataError(f"--out {target} is an input ({source}); name another file")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock beside `path`; the kernel frees it when its holder is killed."""
    lock = path.with_name(f".{path.name}.lock")
    while (handle := _locked(lock)) is None:
        pass
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        _flock(handle, fcntl.LOCK_UN, lock)  # a fork may have it open too
        os.close(handle)


def _locked(lock: Path) -> int | None:
    """The open file of a lock, None if whoever held it has just removed it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle, held = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666), False
    try:
        _flock(handle, fcntl.LOCK_EX, lock)
        held = os.path.samestat(os.fstat(handle), os.stat(lock))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):  # the latter on NFS
            raise
    finally:
        if not held:
            os.close(handle)
    return handle if held else None


def _flock(handle: int, how: int, lock: Path) -> None:
    """Some network file systems have no locks: then nobody waits, which a warning says."""
    try:
        fcntl.flock(handle, how)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        reason = "%s: cannot lock files (%s): let no two calls work here at a time"
        logging.getLogger(__name__).warning(reason, lock.parent, error.strerror)


def keep(path: Path, text: str) -> bool:
    """Write a file that stays as it is until this process ends, however it does.

    Returns:
        False, and nothing is written, if another process keeps it with another text.
    """
    with alone(path):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            if path.exists() and _kept(path):
                return False
            write_text(path, text)
        _flock(os.open(path, os.O_RDONLY), fcntl.LOCK_SH, path)  # never closed
    return True


def _kept(path: Path) -> bool:
    with open(path, "rb+") as file, suppress(BlockingIOError):
        _flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB, path)
        return False
    return True


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file atomically."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON atomically, keys sorted, so that equal values give equal bytes.

    Raises:
        DataError: as `write_text`; or a number is NaN or infinite.
    """
    write_text(path, _json(value, path, indent=1))


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return parse_json(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from error


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; ValueError also where Python's reader gives up in another way."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def in_utf8(text: str) -> bytes:
    """A JSON text as a file has it; half of a surrogate pair, which UTF-8 has not, escaped."""
    return text.encode("utf-8", "backslashreplace")


def not_utf8(path: str | os.PathLike[str], remedy: str = "save it as UTF-8") -> DataError:
    """The error that names the first row of a file that is not UTF-8."""
    try:
        row = Path(path).read_bytes().decode("utf-8").count("\n")
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n")
    return DataError(f"{path}: row {row + 1} is not UTF-8 text; {remedy}")


def finite(value: float) -> float | None:
    """NaN and infinities as null: JSON has no name for them."""
    return float(value) if math.isfinite(value) else None


def append_lines(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows to a JSON-lines file and fsync; a kill can tear only the last line.

    Raises:
        DataError: a number is NaN or infinite (nothing is written), or the disk is full.
    """
    text = "".join(_json(row, path) for row in rows)
    try:
        with open(path, "ab") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DataError(f"{path}: cannot append: {error.strerror}") from error


def _json(value: Any, path: str | os.PathLike[str], indent: int | None = None) -> str:
    """A value as JSON, which has no name for numbers that are NaN or infinite (DataError)."""
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False, indent=indent) + "\n"
    except ValueError as error:
        step = value.get("step") if isinstance(value, dict) else None
        at = "" if step is None else f" of step {step}"
        key, number = next(not_finite(value), ("", error))
        raise DataError(f"{path}: cannot record: '{key}'{at} is {number}") from error


def not_finite(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Dotted keys of numbers that are NaN or infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        yield key, value
    elif isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, below in items:
            yield from not_finite(below, f"{key}.{name}" if key else str(name))


def read_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a JSON-lines file; a torn last line is dropped, any other bad line is an error.

    Raises:
        DataError: a line before the last is not JSON.
    """
    rows: list[dict[str, Any]] = []
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        return rows
    for number, line in enumerate(lines, start=1):
        if number == len(lines):
            break  # after the last newline: nothing, or a torn line
        try:
            rows.append(parse_json(line))
        except ValueError as error:
            raise DataError(f"{path}: line {number} is not valid JSON") from error
    return rows


def truncate_lines(path: str | os.PathLike[str], last_step: int) -> list[dict[str, Any]]:
    """Keep the rows whose step is at most `last_step`, atomically; return them."""
    if not Path(path).exists():
        return []
    rows = [row for row in read_lines(path) if row["step"] <= last_step]
    text = "".join(json.dumps(row, sort_keys=True, allow_nan=False) + "\n" for row in rows)
    write_text(path, text)
    return rows
