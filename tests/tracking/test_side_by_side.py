"""What begins at the same time, runs, tables and calls, in a real SQLite store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier, Thread

import pytest
from mlflow import MlflowClient
from tracking_stores import PARENT, client_of, opened, points, set_up, steps

from gainrl.tracking import parents
from gainrl.tracking.names import URI
from gainrl.tracking.parents import CHILD_OF, KEY, read_index

RUNS, ROUNDS = 6, 8


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv(URI, raising=False)
    return set_up(tmp_path)


def parent_of(index: Path) -> str:
    """The id of the only living parent, which is the one that the index names."""
    client, known = client_of(index), read_index(index)
    (found,) = client.search_runs(list(known["experiments"].values()), f"tags.`{KEY}` = '{PARENT}'")
    assert found.info.run_id == known["parents"][PARENT]
    return found.info.run_id


def parent_id(index: Path, run) -> str:
    return client_of(index).get_run(run.run_id).data.tags[CHILD_OF]


def test_runs_side_by_side_share_a_data_set_that_the_store_has_not_seen(index):
    """MLflow looks whether it has a data set and then adds it: of two that do, one is refused."""
    runs = [opened(index, f"seed{number}.json", name=f"seed{number}") for number in range(RUNS)]
    gate = Barrier(RUNS)

    def record(run) -> None:
        for number in range(ROUNDS):
            gate.wait(60)
            run.dataset("chain", f"digest{number}", index, 3)
        run.metrics(steps(1, 3))
        run.finish()

    with ThreadPoolExecutor(RUNS) as pool:
        list(pool.map(record, runs))
    client = client_of(index)
    for run in runs:
        given = client.get_run(run.run_id).inputs.dataset_inputs
        assert {each.dataset.digest for each in given} == {f"digest{n}" for n in range(ROUNDS)}


def test_tables_made_side_by_side_renew_a_parent_that_they_share_once(index):
    """Tables of several experiments sum up the same runs."""
    seeds = [opened(index, f"seed{n}.json", name=f"seed{n}") for n in (0, 1)]
    tables = [opened(index, f"t{n}.json", name=f"t{n}", parent=None) for n in range(RUNS)]
    for rows in (steps(1, 3), [{"step": step, "accuracy": 0.5} for step in (1, 2, 3, 4)]):
        gate = Barrier(RUNS)
        with ThreadPoolExecutor(RUNS) as pool:
            list(pool.map(partial(sum_up, gate, rows), tables))
    assert [run.failure for run in tables] == [None] * RUNS
    found = parent_of(index)
    assert points(index, found, "accuracy") == [(step, 0.5) for step in (1, 2, 3, 4)]
    for seed in seeds:
        assert parent_id(index, seed) == found


def sum_up(gate: Barrier, rows, run) -> None:
    gate.wait(60)
    run.summary(PARENT, rows, {"gainrl.seeds": "2"})


def test_a_seed_that_a_deleted_parent_has_is_taken_over(index):
    seed, old = opened(index, "seed0.json"), parent_of(index)
    table = opened(index, "table.json", parent=None)
    for value in (0.5, 0.6):
        table.summary(PARENT, [{"step": 1, "accuracy": value}], {})
    seed.client.set_tag(seed.run_id, CHILD_OF, old)
    table.summary(PARENT, [{"step": 1, "accuracy": 0.6}], {})
    assert parent_id(index, seed) == parent_of(index) != old


def test_a_call_that_begins_while_a_parent_is_renewed_does_not_note_the_old_one(index, monkeypatch):
    table = opened(index, "table.json", parent=None)
    table.summary(PARENT, steps(1, 3), {})
    find, renewals = parents._parent, []

    def slow(*asked):
        found = find(*asked)
        renewals.append(Thread(target=table.summary, args=(PARENT, steps(1, 4), {})))
        renewals[0].start()
        renewals[0].join(2)  # a lock makes it wait longer
        return found

    monkeypatch.setattr(parents, "_parent", slow)
    set_up(index.parent)
    renewals[0].join(60)
    assert table.failure is None
    assert len(points(index, parent_of(index), "accuracy")) == 4


def test_a_seed_that_begins_while_its_parent_is_renewed_is_the_new_ones(index, monkeypatch):
    table = opened(index, "table.json", parent=None)
    table.summary(PARENT, steps(1, 3), {})
    create = MlflowClient.create_run

    def late(*asked, **tags):
        monkeypatch.setattr(MlflowClient, "create_run", create)
        table.summary(PARENT, steps(1, 4), {})
        return create(*asked, **tags)

    monkeypatch.setattr(MlflowClient, "create_run", late)
    assert parent_id(index, opened(index, "seed0.json")) == parent_of(index)


def test_an_experiment_that_another_call_makes_meanwhile_is_taken(index, monkeypatch):
    """Two first calls at one server: both look, and then make it."""
    before, look = read_index(index), MlflowClient.get_experiment_by_name

    def early(client, name):
        monkeypatch.setattr(MlflowClient, "get_experiment_by_name", look)

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", early)
    assert read_index(set_up(index.parent)) == before
