"""What a rehearsal says of its jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gainrl.errors import DataError
from gainrl.rehearsal.jobs import read_jobs, summary, table

BENCHMARK = "s\th:m:s\tmax_rss\n12.5\t0:00:12\t512.25\n"


def job(rule: str, state: str, inputs=(), outputs=(), log=(), benchmark=None, **of) -> dict:
    files = {"inputs": list(inputs), "outputs": list(outputs), "log": [str(path) for path in log]}
    given = {"rule": rule, "of": of, "state": state, "benchmark": benchmark}
    return {**given, **files}


def read(folder: Path, *jobs: dict):
    path = folder / "jobs.json"
    path.write_text(json.dumps(jobs))
    return read_jobs(path)


def test_a_failed_job_comes_first_with_the_error_of_its_log(tmp_path) -> None:
    log = tmp_path / "score.log"
    log.write_text("loading\ngainrl: model 'm': no such file\n")
    jobs = read(tmp_path, job("data", "passed"), job("score", "failed", log=[log], model="m"))
    rows = table(jobs)
    assert rows["stage"].tolist() == ["score", "data"]
    assert rows["of"].tolist() == ["m", ""]
    assert rows["why"][0] == f"{log}: last line: gainrl: model 'm': no such file"
    assert rows["why"][1] == ""
    assert jobs[0].tail == "loading\ngainrl: model 'm': no such file"


@pytest.mark.parametrize("written", [None, ""])
def test_a_job_that_left_no_log_says_where_to_look(tmp_path, written) -> None:
    log = tmp_path / "train.log"
    if written is not None:
        log.write_text(written)
    (found,) = read(tmp_path, job("train", "failed", log=[log]))
    assert "it left no log" in found.error
    assert found.tail == ""


def test_a_skipped_job_names_the_failure_above_it_however_far(tmp_path) -> None:
    jobs = read(
        tmp_path,
        job("table", "skipped", ["done"], ["table"]),
        job("train", "skipped", ["scores", "data"], ["done"]),
        job("data", "passed", [], ["data"]),
        job("score", "failed", ["data"], ["scores"], model="m", dataset="d"),
        job("report", "skipped", ["data"], ["page"]),
    )
    why = dict(zip(table(jobs)["stage"], table(jobs)["why"], strict=True))
    assert why["train"] == why["table"] == "needs what score m d has not made"
    assert why["report"] == "the rehearsal ended before its turn"
    counts = "1 failed (of 1 rules), 3 skipped (of 3 rules), 1 passed (of 1 rules)"
    assert summary(jobs) == f"5 jobs: {counts}"


def test_seconds_and_memory_are_those_that_snakemake_measured(tmp_path) -> None:
    measured = tmp_path / "score.tsv"
    measured.write_text(BENCHMARK)
    jobs = read(
        tmp_path,
        job("a", "passed", benchmark=str(measured)),
        job("b", "passed", benchmark=str(tmp_path / "none.tsv")),
        job("c", "passed"),
    )
    assert [each.usage for each in jobs] == [(12.5, 512.25), (None, None), (None, None)]


def test_memory_that_was_not_sampled_is_unknown(tmp_path) -> None:
    measured = tmp_path / "short.tsv"
    measured.write_text("s\th:m:s\tmax_rss\n0.02\t0:00:00\t-\n")
    (found,) = read(tmp_path, job("a", "passed", benchmark=str(measured)))
    assert found.usage == (0.02, None)


@pytest.mark.parametrize("text", ['{"rule": 1}', "[3]", '[{"rule": "a"}]'])
def test_a_file_that_is_no_list_of_jobs_is_named(tmp_path, text) -> None:
    path = tmp_path / "jobs.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"jobs\.json"):
        read_jobs(path)
