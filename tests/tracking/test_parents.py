"""What parent runs show of their seeds, in a real SQLite store."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracking_stores import OTHER, PARENT, client_of, opened, points, set_up, steps

from gainrl.errors import TrackingError
from gainrl.tracking.journal import JournaledRun, sync
from gainrl.tracking.names import URI
from gainrl.tracking.parents import CHILD_OF, KEY, read_index

TABLE = {"experiment": OTHER, "name": "table1", "parent": None}
TAGS = {"gainrl.seeds": "2", "gainrl.health": "yellow, 1 of 2"}


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv(URI, raising=False)
    return set_up(tmp_path)


def seed(index: Path, number: int):
    run = opened(index, f"seed{number}.json", name=f"gain seed{number}")
    run.dataset("chain", "0123", index, 3)
    run.metrics(steps(1, 3))
    run.finish()
    return run.run_id


def table(index: Path, rows, tags=TAGS):
    run = opened(index, "table.json", **TABLE)
    run.summary(PARENT, rows, tags)
    run.finish()


def parent_of(index: Path):
    """The parent, which is the only one of its key."""
    client, known = client_of(index), read_index(index)
    (found,) = client.search_runs(list(known["experiments"].values()), f"tags.`{KEY}` = '{PARENT}'")
    assert found.info.run_id == known["parents"][PARENT]
    return found


def test_a_parent_shows_points_tags_and_the_data_set_of_its_seeds_once(index):
    for number in (0, 1):
        seed(index, number)
    for _ in range(2):  # the table is made again
        table(index, steps(1, 3))
    found = parent_of(index)
    assert points(index, found.info.run_id, "accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert TAGS.items() <= found.data.tags.items()
    (given,) = found.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("chain", "0123")
    assert found.info.status == "FINISHED"


def test_other_means_are_not_drawn_over_the_old_ones(index):
    children = [seed(index, 0)]
    table(index, steps(1, 3))
    before = parent_of(index).info.run_id
    children.append(seed(index, 1))
    other = [{"step": step, "accuracy": 0.5} for step in (1, 2, 3, 4)]
    table(index, other, {"gainrl.seeds": "3"})
    after = parent_of(index)
    assert after.info.run_id != before
    assert points(index, after.info.run_id, "accuracy") == [(s, 0.5) for s in (1, 2, 3, 4)]
    assert after.data.tags["gainrl.seeds"] == "3"
    assert after.data.tags["gainrl.method"] == "gain"
    client = client_of(index)
    assert client.get_run(before).info.lifecycle_stage == "deleted"
    for child in children:
        assert client.get_run(child).data.tags[CHILD_OF] == after.info.run_id


def test_a_summary_that_was_cut_off_is_completed(index, monkeypatch):
    seed(index, 0)
    run = opened(index, "table.json", **TABLE)

    def refuse(*_args, **_kwargs):
        raise OSError("the cable was pulled")

    with monkeypatch.context() as patched:
        patched.setattr(run.client, "log_batch", refuse)
        run.summary(PARENT, steps(1, 3), TAGS)
    with pytest.raises(TrackingError, match=f"summary of {PARENT}"):
        run.finish()
    table(index, steps(1, 3))
    found = parent_of(index)
    assert len(points(index, found.info.run_id, "accuracy")) == 3


def test_a_journal_holds_summaries_too(index, tmp_path):
    seed(index, 0)
    before = (tmp_path / "mlflow.db").read_bytes()
    opening = {"config_hash": "abc", "tags": {}, "params": {}}
    run = JournaledRun(index, tmp_path / "table.json", **TABLE, **opening)
    run.summary(PARENT, steps(1, 3), TAGS)
    run.finish()
    assert (tmp_path / "mlflow.db").read_bytes() == before
    assert sync(index, tmp_path) == 1
    found = parent_of(index)
    assert len(points(index, found.info.run_id, "accuracy")) == 3
    assert found.data.tags["gainrl.health"] == "yellow, 1 of 2"


def test_a_parent_that_the_index_lacks(index):
    run = opened(index, "table.json", **TABLE)
    with pytest.raises(
        TrackingError, match="knows no 'nano/chain/new'; run 'gainrl tracking init'"
    ):
        run.summary("nano/chain/new", steps(1, 3), TAGS)
