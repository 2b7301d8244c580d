"""The lines of a call: what has ended, what runs, and how long the rest takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folders import GAIN, write_lines, write_run

from gainrl.progress import Progress


class Call:
    """A call whose clock stands until it is moved."""

    def __init__(self, **wanted: int) -> None:
        self.now, self.lines = 0.0, []
        self.progress = Progress(self.lines.append, lambda: self.now)
        self.progress.planned({**wanted, "total": sum(wanted.values())})

    def job(self, number: int, rule: str, took: float) -> str:
        self.progress.starts(number, rule, {"dataset": "chain"}, ("somewhere/file",))
        self.now += took
        self.progress.ends(number)
        return self.lines[-1]


def test_the_rest_takes_what_its_like_has_taken():
    call = Call(score=3, order=1)
    # one of each kind is unknown, and counted as the mean of those that have ended
    assert call.job(1, "score", 10) == "1 of 4: score chain, 10 s; roughly 30 s left"
    assert call.job(2, "order", 2) == "2 of 4: order chain, 2 s; about 20 s left"
    assert call.job(3, "score", 20) == "3 of 4: score chain, 20 s; about 15 s left"
    assert call.job(4, "score", 15) == "4 of 4: score chain, 15 s"


def test_jobs_at_the_same_time_and_those_that_run_count():
    call = Call(score=4)
    for number in (1, 2):
        call.progress.starts(number, "score", {"dataset": "chain"}, ())
    call.now = 10
    for number in (1, 2):
        call.progress.ends(number)
    assert call.lines[-1].endswith("about 10 s left")  # two more, two at a time
    call.progress.starts(3, "score", {"dataset": "word"}, ())
    call.now = 14
    call.progress.status()
    # 20 s of work ahead, of which 4 are done; 24 s of work in 14 s so far
    assert call.lines[-1] == f"running: score word, 4 s; about {16 / (24 / 14):.0f} s left"


def test_nothing_is_said_of_what_does_not_run():
    call = Call(score=1)
    call.progress.status()
    call.progress.ends(7)
    call.progress.fails(7)
    assert call.lines == []


@pytest.mark.parametrize(("seconds", "text"), [(99, "99 s"), (119, "2 min"), (9000, "2.5 h")])
def test_times_are_as_precise_as_they_are_long(seconds, text):
    assert Call(score=1).job(1, "score", seconds).endswith(f", {text}")


def test_a_run_says_how_far_it_is(tmp_path):
    runs = [Path(write_run(tmp_path, "gain", seed, GAIN[seed])) for seed in (0, 1)]
    write_lines(runs[1] / "steps.jsonl", [{"step": 3}])
    write_lines(runs[1] / "eval.jsonl", [
        {"step": 2, "accuracy": 0.9}, {"step": 3, "accuracy": 0.5}, {"step": 3, "accuracy": 0.4},
    ])  # fmt: skip
    call = Call(train=1)
    of = {"model": "tiny", "dataset": "chain", "method": "gain"}
    call.progress.starts(1, "train", of, [str(run / "done.json") for run in runs])
    call.progress.status()
    assert call.lines == ["running: train gain of tiny on chain, seed 1, step 3 of 4, 45.0%, 0 s"]
    call.progress.fails(1)
    assert call.lines[-1].startswith("failed: train gain of tiny on chain, seed 1")


def test_a_run_that_begins_anew_as_it_is_looked_at(tmp_path, monkeypatch):
    run = Path(write_run(tmp_path, "gain", 0, GAIN[0]))
    (run / "steps.jsonl").unlink()
    monkeypatch.setattr(Path, "exists", lambda path: True)  # as it was a moment ago
    call = Call(train=1)
    of = {"model": "tiny", "dataset": "chain", "method": "gain"}
    call.progress.starts(1, "train", of, [str(run / "done.json")])
    call.progress.status()
    assert call.lines == ["running: train gain of tiny on chain, 0 s"]
