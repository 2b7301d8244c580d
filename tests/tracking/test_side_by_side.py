"""Runs that begin at the same time on the same data set, in a real SQLite store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from tracking_stores import client_of, opened, set_up, steps

from gainrl.tracking.names import URI

RUNS, ROUNDS = 6, 8


def test_runs_side_by_side_share_a_data_set_that_the_store_has_not_seen(tmp_path, monkeypatch):
    """MLflow looks whether it has a data set and then adds it: of two that do, one is refused."""
    monkeypatch.delenv(URI, raising=False)
    index = set_up(tmp_path)
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
