"""The file of a tracking store: whole under its name or not there, whoever is killed making it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy import Engine, event
from tracking_stores import OTHER, PARENT, TRAIN, client_of, opened, set_up

from gainrl.errors import TrackingError
from gainrl.records import read_json
from gainrl.tracking import store as tracking_store
from gainrl.tracking.names import URI, store_uri
from gainrl.tracking.parents import initialise, read_index
from gainrl.tracking.record import TrackedRun, missing
from gainrl.tracking.store import COMPANIONS

OLD = "bd07f7e963c5"
"""A revision of MLflow's schema from 2024."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv(URI, raising=False)
    monkeypatch.setattr(tracking_store, "QUIET_SECONDS", 0.1)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A store in which nothing was recorded, made once."""
    folder = tmp_path_factory.mktemp("bare")
    with tracking_store.made(store_uri(None, folder)):
        pass
    assert [path.name for path in folder.iterdir()] == ["mlflow.db"]
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def used(tmp_path_factory, bare):
    """A store with a parent run, made once."""
    folder = tmp_path_factory.mktemp("used")
    shutil.copy(bare, folder)
    set_up(folder)
    return folder / "mlflow.db"


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"tracking.json", "note.json"}


def refused(folder: Path) -> str:
    """The one line that `init` ends with; the file is as it was, and nothing is left beside it."""
    before = (folder / "mlflow.db").read_bytes()
    with pytest.raises(TrackingError) as caught:
        set_up(folder)
    start = f"tracking store {store_uri(None, folder)}: "
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)
    assert (folder / "mlflow.db").read_bytes() == before
    assert left(folder) == {"mlflow.db"}
    assert not (folder / "tracking.json").exists()
    return str(caught.value).removeprefix(start)


# --- killed --------------------------------------------------------------------------------------


def killed_at(statement: int, work, *arguments) -> None:
    """Do the work, and die before the given statement of SQL."""
    count = 0

    @event.listens_for(Engine, "before_cursor_execute")
    def _count(*_arguments):
        nonlocal count
        count += 1
        if count == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    work(*arguments)


def in_place(folder: Path) -> None:
    """Have MLflow make the store where it is, as a server does."""
    MlflowClient(tracking_uri=store_uri(None, folder)).search_experiments()


def run_in_fork(target, *arguments) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode


def test_whoever_is_killed_while_the_store_is_made_leaves_no_half_of_it(tmp_path, bare):
    """Within the first tables, early, midway and late in the migrations, one after another."""
    for statement in (3, 40, 150, 300, 420):
        assert run_in_fork(killed_at, statement, set_up, tmp_path) == -signal.SIGKILL, statement
        assert not (tmp_path / "mlflow.db").exists()
        assert ".mlflow.db.partial" in left(tmp_path)
    index = set_up(tmp_path)
    assert left(tmp_path) == {"mlflow.db"}
    assert tables(tmp_path / "mlflow.db") == tables(bare)
    opened(index).finish()


@pytest.mark.parametrize("statement", [5, 60, 260])
def test_a_store_whose_making_in_place_was_killed_is_made_anew(tmp_path, bare, statement):
    assert run_in_fork(killed_at, statement, in_place, tmp_path) == -signal.SIGKILL
    with pytest.raises(TrackingError, match="half-made"):
        tracking_store.need_whole(store_uri(None, tmp_path))
    index = set_up(tmp_path)
    assert tables(tmp_path / "mlflow.db") == tables(bare)
    opened(index).finish()


def test_a_store_that_another_program_is_making_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking_store, "QUIET_SECONDS", 3.0)
    path = tmp_path / "mlflow.db"
    other = multiprocessing.get_context("fork").Process(target=in_place, args=(tmp_path,))
    other.start()
    while other.is_alive() and not (path.exists() and path.stat().st_size):
        time.sleep(0.01)
    begun = path.stat().st_ino
    index = set_up(tmp_path)
    other.join(120)
    assert (other.exitcode, path.stat().st_ino) == (0, begun)
    opened(index).finish()


def test_two_that_set_up_at_once_share_one_store(tmp_path):
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(2)

    def work(name: str) -> None:
        gate.wait()
        uri = store_uri(None, tmp_path)
        initialise(uri, tmp_path, tmp_path / name, [OTHER, TRAIN], {PARENT: (TRAIN, {})})

    workers = [context.Process(target=work, args=(f"{n}.json",)) for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert read_json(tmp_path / "0.json") == read_json(tmp_path / "1.json")
    assert left(tmp_path) == {"mlflow.db", "0.json", "1.json"}


# --- half-made -----------------------------------------------------------------------------------

HALVES = {
    "an older revision": [f"UPDATE alembic_version SET version_num = '{OLD}'"],
    "a table missing": ["DROP TABLE secrets"],
    "an older revision and later tables missing": [
        f"UPDATE alembic_version SET version_num = '{OLD}'",
        "DROP TABLE secrets",
        "DROP TABLE webhooks",
    ],
    "no revision": ["DELETE FROM alembic_version"],
    "no table of revisions": ["DROP TABLE alembic_version"],
    "a table of a migration that was under way": [
        f"UPDATE alembic_version SET version_num = '{OLD}'",
        "CREATE TABLE _alembic_tmp_runs (run_uuid TEXT)",
    ],
}


@pytest.mark.parametrize("statements", HALVES.values(), ids=HALVES)
def test_a_half_made_store_is_told_apart(tmp_path, bare, statements):
    path = Path(shutil.copy(bare, tmp_path))
    tracking_store.need_whole(store_uri(None, tmp_path))
    change(path, *statements)
    with pytest.raises(TrackingError, match="half-made; run 'gainrl tracking init'"):
        tracking_store.need_whole(store_uri(None, tmp_path))


def test_a_half_made_store_is_replaced_if_nothing_is_in_it(tmp_path, bare):
    path = Path(shutil.copy(bare, tmp_path))
    change(path, *HALVES["an older revision and later tables missing"])
    index = set_up(tmp_path)
    assert tables(path) == tables(bare)
    assert left(tmp_path) == {"mlflow.db"}
    opened(index).finish()


@pytest.mark.parametrize("statements", HALVES.values(), ids=HALVES)
def test_a_half_made_store_with_runs_is_never_replaced(tmp_path, used, statements):
    change(Path(shutil.copy(used, tmp_path)), *statements)
    message = refused(tmp_path)
    assert "with 1 runs in it" in message
    assert f"run 'mlflow db upgrade {store_uri(None, tmp_path)}'" in message


def test_what_is_not_a_run_is_kept_too(tmp_path, bare):
    path = Path(shutil.copy(bare, tmp_path))
    model = "INSERT INTO registered_models (name, workspace) VALUES ('mine', 'default')"
    change(path, model, f"UPDATE alembic_version SET version_num = '{OLD}'")
    assert "with 1 registered_models in it" in refused(tmp_path)


def test_a_half_made_store_that_a_writer_left_in_mid_transaction(tmp_path, bare):
    """SQLite would play the journal that lies beside it into whatever has its name."""
    path = Path(shutil.copy(bare, tmp_path))
    change(path, f"UPDATE alembic_version SET version_num = '{OLD}'")

    def die() -> None:
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA cache_size = 1")  # pages go to the disk before the end
        database.execute("BEGIN")
        database.execute("CREATE TABLE filler (text TEXT)")
        database.executemany("INSERT INTO filler VALUES (?)", [("x" * 4000,)] * 50)
        os.kill(os.getpid(), signal.SIGKILL)

    assert run_in_fork(die) == -signal.SIGKILL
    assert "mlflow.db-journal" in left(tmp_path)
    opened(set_up(tmp_path)).finish()
    assert left(tmp_path) == {"mlflow.db"}


def test_a_journal_without_its_store_is_not_played_into_the_new_one(tmp_path):
    for end in COMPANIONS:
        (tmp_path / f"mlflow.db{end}").write_bytes(b"of a file that was deleted" * 100)
    opened(set_up(tmp_path)).finish()
    assert left(tmp_path) == {"mlflow.db"}


# --- something else ------------------------------------------------------------------------------


def test_an_empty_file_becomes_a_store(tmp_path):
    (tmp_path / "mlflow.db").touch()
    opened(set_up(tmp_path)).finish()


def test_a_folder_that_is_not_there_is_made(tmp_path, monkeypatch):
    folder = tmp_path / "a" / "b c?#%41"
    monkeypatch.setenv(URI, f"sqlite:///{folder}/runs.db".replace("?", "_"))
    opened(set_up(tmp_path)).finish()
    assert [path.name for path in Path(str(folder).replace("?", "_")).iterdir()] == ["runs.db"]


def test_what_is_no_database_is_left_alone(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"notes of somebody, not a database" * 100)
    assert refused(tmp_path) == "file is not a database; move this file away, or name another"


def test_a_database_of_something_else_is_left_alone(tmp_path):
    change(tmp_path / "mlflow.db", "CREATE TABLE recipes (name TEXT)")
    assert "a database of something else (table 'recipes')" in refused(tmp_path)


def test_a_store_of_a_newer_mlflow_is_left_alone(tmp_path, bare):
    path = Path(shutil.copy(bare, tmp_path))
    change(path, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    assert "made by a newer MLflow (its schema is ffffffffffff" in refused(tmp_path)


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?uri=true"])
def test_a_store_that_ends_with_its_process_is_refused(tmp_path, uri):
    with pytest.raises(TrackingError, match="names no file that lasts"):
        initialise(uri, tmp_path, tmp_path / "tracking.json", [TRAIN], {})


def test_no_store_is_begun_by_what_only_uses_it(tmp_path, used):
    path = Path(shutil.copy(used, tmp_path))
    index = set_up(tmp_path)
    note = opened(index)
    path.unlink()
    with pytest.raises(TrackingError, match="absent; run 'gainrl tracking init'"):
        opened(index)
    with pytest.raises(TrackingError, match="absent; run 'gainrl tracking init'"):
        missing(note.uri, [("run", tmp_path / "note.json", None)])
    assert not path.exists()


def test_an_older_store_is_whole_after_the_upgrade_that_the_error_names(tmp_path):
    """The command of the error on a store that MLflow's own migrations made, up to a revision."""
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base

    uri = store_uri(None, tmp_path)
    engine = utils.create_sqlalchemy_engine_with_retry(uri)
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLD)
    values = "('abc', 1, 'me', 'FINISHED', 'LOCAL', '', 1, 2, 'active', '')"
    columns = "run_uuid, experiment_id, user_id, status, source_type, source_name, start_time,"
    columns += " end_time, lifecycle_stage, artifact_uri"
    run = f"INSERT INTO runs ({columns}) VALUES {values}"
    experiment = "INSERT INTO experiments (experiment_id, name) VALUES (1, 'x')"
    change(tmp_path / "mlflow.db", experiment, run)
    assert "with 1 runs in it" in refused(tmp_path)
    utils._upgrade_db(engine)  # what `mlflow db upgrade` calls
    engine.dispose()
    index = set_up(tmp_path)
    assert client_of(index).get_run("abc")
    assert isinstance(opened(index), TrackedRun)


# --- many at once --------------------------------------------------------------------------------

# Forked, so that MLflow is imported once, and released together.
WRITERS = """
import multiprocessing, sys
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from gainrl.tracking.record import TrackedRun

index = Path(sys.argv[1])
context = multiprocessing.get_context("fork")
gate = context.Barrier(12)


def write(number):
    gate.wait()
    run = TrackedRun(
        index, index.parent / f"note{number}.json", experiment="gainrl/small/table1",
        name=f"seed{number}", parent="nano/chain/gain", config_hash="abc", tags={},
        params={"seed": number},
    )
    for step in range(1, 11):
        run.metrics([{"step": step, **{f"m{n}": float(step) for n in range(10)}, "accuracy": 0.5}])
    run.finish()


writers = [context.Process(target=write, args=(number,)) for number in range(12)]
for writer in writers:
    writer.start()
for writer in writers:
    writer.join()
sys.exit(sum(writer.exitcode != 0 for writer in writers))
"""


def test_twelve_processes_write_at_once(tmp_path, used):
    shutil.copy(used, tmp_path)
    index = set_up(tmp_path)
    command = [sys.executable, "-c", WRITERS, str(index)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.returncode} writers failed: {done.stderr}"
    notes = [(str(n), index.parent / f"note{n}.json", 10) for n in range(12)]
    assert missing(read_index(index)["uri"], notes) == []
    assert len({read_json(note)["run_id"] for _, note, _ in notes}) == 12


def test_results_can_be_moved(tmp_path):
    """The index has no path of the machine, and what was stored as a file is found again."""
    before, after = tmp_path / "before", tmp_path / "after"
    index = before / "nano" / "tracking.json"
    initialise(store_uri(None, before), before, index, [TRAIN], {PARENT: (TRAIN, {})})
    run_id = read_index(index)["parents"][PARENT]
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    client_of(index).log_artifact(run_id, str(kept))
    assert str(tmp_path) not in index.read_text()

    before.rename(after)
    index = after / "nano" / "tracking.json"
    uri = store_uri(None, after)
    assert read_index(index)["uri"] == uri
    initialise(uri, after, index, [TRAIN], {PARENT: (TRAIN, {})})
    assert read_index(index)["parents"][PARENT] == run_id
    # In another process, as a later call is: MLflow remembers where it has written.
    code = "import sys, mlflow; uri, run, path = sys.argv[1:]\n"
    code += "client = mlflow.MlflowClient(uri); client.log_artifact(run, path, 'more')\n"
    code += "print(*(each.path for each in client.list_artifacts(run)))"
    command = [sys.executable, "-c", code, uri, run_id, str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["kept.txt", "more"]
    assert not before.exists()
