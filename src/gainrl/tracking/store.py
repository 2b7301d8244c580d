"""The file of a tracking store in SQLite: made whole beside its name, then renamed.

MLflow makes a store by some seventy migrations that are committed one by one. What a process leaves
behind that is killed among them is neither completed nor replaced by MLflow, so it never gets the
store's name here; one that is found under it (MLflow makes stores in place) is replaced if nothing
was recorded in it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from gainrl.errors import TrackingError
from gainrl.files import alone

QUIET_SECONDS = 5.0
"""A half-made store that has not changed for so long is not being made any more."""
BUSY_SECONDS = 20.0
"""How long a writer is waited for, as by MLflow."""
COMPANIONS = ("-journal", "-wal", "-shm")
ABSENT, HALF, WHOLE = "absent", "half-made", "whole"


@contextmanager
def made(uri: str) -> Iterator[None]:
    """Make the store of `uri` unless it is there; in the block no other process does so.

    Stores that are no SQLite file are left to MLflow.

    Raises:
        TrackingError: a file of this name is something else, holds runs of another version of
            MLflow, or is in use.
        OSError, SQLAlchemyError: the file cannot be written.
    """
    path = _file(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path):
        if _settled(uri, path) != WHOLE:
            _make(uri, path)
        yield


def need_whole(uri: str) -> None:
    """Refuse a store in SQLite that is not there or half-made: MLflow would begin to make it.

    Raises:
        TrackingError: as `made`; or the store is not whole.
    """
    path = _file(uri)
    if path is not None and (found := _look(uri, path)) != WHOLE:
        raise TrackingError(f"tracking store {uri}: {found}; run 'gainrl tracking init'")


def settle_artifacts(uri: str, folder: Path) -> None:
    """Let a store that was moved with its results find the files there that it keeps beside it.

    MLflow notes the whole path of each run's folder.

    Args:
        folder: of the store's files, as it is now.
    """
    path = _file(uri)
    if path is None or path.parent.resolve() != folder.parent.resolve():
        return  # a server's, or one that the user has put elsewhere
    here, mark = folder.resolve().as_uri(), f"/{folder.name}/"
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as store, store:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            store.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, instr({column}, ?))"
                f" WHERE {column} LIKE 'file://%' AND instr({column}, ?) > 0"
                f" AND substr({column}, 1, ?) != ?",
                (here.removesuffix(mark[:-1]), mark, mark, len(here), here),
            )


def _file(uri: str) -> Path | None:
    """The file of a SQLite URI, None for another store."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy import make_url

    name = make_url(uri).database or ":memory:"
    if name.startswith((":", "file:")):
        raise TrackingError(
            f"tracking store {uri}: names no file that lasts; write sqlite:////folder/mlflow.db"
        )
    return Path(name)


def _settled(uri: str, path: Path) -> str:
    """As `_look`, when nobody is making the store any more."""
    while (found := _look(uri, path)) == HALF:
        before = path.stat().st_mtime_ns
        time.sleep(QUIET_SECONDS)
        if path.exists() and path.stat().st_mtime_ns == before:
            break
    return found


def _look(uri: str, path: Path) -> str:
    """ABSENT, HALF (with nothing recorded in it) or WHOLE.

    Raises:
        TrackingError: a file that is neither; nothing is changed.
    """
    if not path.exists():
        return ABSENT
    where = f"file:{quote(str(path.absolute()))}?mode=rw"
    try:
        with closing(sqlite3.connect(where, uri=True, timeout=BUSY_SECONDS)) as database:
            tables, revision, recorded = _content(database)
    except sqlite3.Error as error:
        hint = "; move this file away, or name another" if "locked" not in str(error) else ""
        raise TrackingError(f"tracking store {uri}: {error}{hint}") from error
    head, known, wanted = _schema()
    if revision == head and wanted <= tables:
        return WHOLE
    foreign = sorted(
        name for name in tables - wanted - {"alembic_version"} if not name.startswith("_alembic_")
    )
    if foreign:
        raise TrackingError(
            f"tracking store {uri}: a database of something else (table '{foreign[0]}'); name "
            "another file"
        )
    if revision is not None and revision not in known:
        raise TrackingError(
            f"tracking store {uri}: made by a newer MLflow (its schema is {revision}, this one's "
            f"{head}); use that version, or name another file"
        )
    if recorded:
        raise TrackingError(
            f"tracking store {uri}: of an older MLflow, or half-made (its schema is {revision}, "
            f"this one's {head}), with {recorded} in it; copy the file and run 'mlflow db upgrade "
            f"{uri}', or move it away to begin a new store"
        )
    return HALF


def _content(database: sqlite3.Connection) -> tuple[set[str], str | None, str]:
    """Tables, revision of the schema, and what was recorded, in words."""
    tables = {
        name
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith("sqlite_")
    }
    row = None
    if "alembic_version" in tables:
        row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    own = {"experiments": "name != 'Default'", "workspaces": "name != 'default'"}  # MLflow's rows
    counts = {
        name: database.execute(
            f'SELECT count(*) FROM "{name}" WHERE {own.get(name, "1")}'
        ).fetchone()[0]
        for name in sorted(tables - {"alembic_version"})
    }
    found = [name for name in ("runs", "experiments", *counts) if counts.get(name)]
    return tables, row and row[0], f"{counts[found[0]]} {found[0]}" if found else ""


def _schema() -> tuple[str | None, set[str], set[str]]:
    """This MLflow's newest revision, all that it knows, and the tables of a whole store."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.db.utils import _get_alembic_config  # imports what declares the tables

    script = ScriptDirectory.from_config(_get_alembic_config(""))
    known = {each.revision for each in script.walk_revisions()}
    return script.get_current_head(), known, set(Base.metadata.tables)


def _make(uri: str, path: Path) -> None:
    """Make the store beside `path` and rename it, unless somebody else has made one meanwhile."""
    from mlflow.store.db import utils
    from sqlalchemy import event, make_url

    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    beside = make_url(uri).set(database=str(partial)).render_as_string(hide_password=False)
    try:
        engine = utils.create_sqlalchemy_engine_with_retry(beside)
        engine.dispose()  # of its first connection, made before the next line
        event.listen(engine, "connect", lambda made, _: made.execute("PRAGMA synchronous = OFF"))
        utils._initialize_tables(engine)
        engine.dispose()
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        if _settled(uri, path) == WHOLE:
            return
        # SQLite would play a journal that is left there into the new file. To look has emptied it.
        used = [name for name in _companions(path) if path.exists() and name.stat().st_size]
        if used:
            raise TrackingError(f"tracking store {uri}: half-made and in use ({used[0].name})")
        for name in _companions(path):
            name.unlink()
        os.replace(partial, path)
    finally:
        _remove(partial)


def _companions(path: Path) -> list[Path]:
    names = (path.with_name(path.name + end) for end in COMPANIONS)
    return [name for name in names if name.exists()]


def _remove(path: Path) -> None:
    for name in (path, *_companions(path)):
        name.unlink(missing_ok=True)
