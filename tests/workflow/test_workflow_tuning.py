"""Tuning, the choice and the comparison, run for real on the tiny preset."""

from __future__ import annotations

import pandas as pd
import pytest
from project import jobs_in

from gainrl import plan
from gainrl.records import append_lines, read_json, read_lines

pytestmark = pytest.mark.timeout(1200)  # about two minutes of one core; others may need it too

TARGETS = ("results/tiny/tuning.csv", "results/tiny/tuned.csv")
METHODS = ("tuned-grpo", "tuned-gain")


@pytest.fixture(scope="module")
def tuned(project):
    """The project with its tuned comparison made, and the jobs that it took."""
    done = project.snakemake(*TARGETS)
    assert done.returncode == 0, done.stdout + done.stderr
    return project, jobs_in(done.stdout + done.stderr)


def choice(project, method):
    return project.folder / f"results/tiny/tuning/nano/chain/{method}.json"


def test_settings_are_tried_one_is_chosen_and_the_compared_runs_have_it(tuned):
    project, jobs = tuned
    assert {name: jobs[name] for name in ("try_setting", "tune", "train")} == {
        "try_setting": 4,  # two methods, two settings, one tuning seed
        "tune": 2,
        "train": 9,  # and one that borrows
    }
    preset = plan.load(project.folder / "experiments/tiny.yaml")
    for method in METHODS:
        record = read_json(choice(project, method))
        assert record["values"] == plan.settings_of(preset, method)[record["chosen"]]
        for seed in preset.seeds:
            run = read_json(project.run(method, seed) / "run.json")
            assert run["method"] == method
            noted = run["slice"]["tuning"]
            assert noted == {key: record[key] for key in ("chosen", "tried", "results")}
            assert run["training"]["lr"] == record["values"]["lr"]
            assert run["training"]["prompts"] == record["values"]["prompts"]
            assert run["training"]["tokens"] == 400
    chosen = read_json(choice(project, "tuned-gain"))
    run = read_json(project.run("as-gain", preset.seeds[0]) / "run.json")
    assert run["slice"]["tuning"]["chosen"] == chosen["chosen"]
    assert run["training"]["lr"] == chosen["values"]["lr"]
    assert run["slice"]["method"]["curriculum"] == {"name": "uniform"}
    table = pd.read_csv(project.folder / TARGETS[0])
    assert table.groupby("method")["chosen"].sum().to_dict() == dict.fromkeys(METHODS, 1)
    assert set(pd.read_csv(project.folder / TARGETS[1])["method"]) >= {*METHODS, "as-gain"}


def test_a_second_call_does_nothing_and_another_grid_tries_chooses_and_trains_anew(tuned):
    project, _ = tuned
    again = project.snakemake(*TARGETS, "--dry-run")
    assert jobs_in(again.stdout + again.stderr) == {}

    def other_grid(preset):
        preset["tuning"]["grid"]["lr"] = [2.0e-4, 2.0e-3]

    # A tried setting keeps its name, so its run is made again; other methods' runs are left alone.
    found = project.planned(other_grid, *TARGETS)
    assert found == {"try_setting": 4, "tune": 2, "train": 9, "make_tuning": 1, "make_tuned": 1}
    # What the grid says of the rate holds, not the preset's own.
    assert project.planned(lambda p: p["tuning"].update(tokens=500), *TARGETS) == {
        "train": 9,
        "make_tuned": 1,
    }


def test_a_choice_that_is_there_is_not_replaced_by_other_results(tuned):
    project, _ = tuned
    path = choice(project, "tuned-grpo")
    before = path.read_bytes()
    tests = project.run("tuned-grpo.try1", 10) / "eval.jsonl"
    kept = tests.read_text()
    path.unlink()
    try:
        *first, last = read_lines(tests)
        tests.unlink()
        append_lines(tests, [*first, {**last, "accuracy": 1.0}])
        done = project.snakemake(str(path.relative_to(project.folder)))
        assert done.returncode != 0
        assert "delete this file to choose again" in done.stdout + done.stderr
        assert not path.exists()
    finally:
        tests.write_text(kept)
    done = project.snakemake(str(path.relative_to(project.folder)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert path.read_bytes() == before
