"""`snakemake rehearse`: what it runs, what it says of failures, and what it leaves alone."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml
from project import jobs_in

pytestmark = pytest.mark.timeout(900)
HOME = "results/edited-rehearsal"


def smallest(preset: dict) -> None:
    """Two data sets, one of which is not there."""
    preset["preset"] = "edited"
    for part in ("studies", "linearity", "claims", "tuning"):
        del preset[part]
    preset["training"]["steps"] = 40
    preset["datasets"]["lost"] = {"source": "file", "train_file": "no.json", "eval_file": "no.json"}
    preset["methods"] = {"grpo": {"curriculum": "uniform"}}
    preset["experiments"] = {
        "table1": {"models": ["nano"], "datasets": ["chain"], "methods": ["grpo"]},
        "table2": {"models": ["nano"], "datasets": ["lost"], "methods": ["grpo"]},
    }


def test_a_rehearsal_runs_all_jobs_but_those_that_need_what_failed(project) -> None:
    before = {path: times for path, times in project.state().items() if "rehearsal" not in path}
    done = project.snakemake("rehearse", "--keep-going", preset=project.edited(smallest))
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "failed: data lost: " in output
    assert "ok       tracking: " in done.stdout  # the doctor, before the first job
    assert "failed   datasets.lost: there is no no.json" in done.stdout

    table = pd.read_csv(project.folder / "results/rehearsal.csv").set_index(["stage", "of"])
    assert table.loc[("data", "lost"), "state"] == "failed"
    assert "no.json" in table.loc[("data", "lost"), "why"]
    waiting = table[table["state"] == "skipped"]
    assert set(waiting["why"]) == {"needs what data lost has not made"}
    stages = set(waiting.index.get_level_values("stage"))
    assert "train" in stages
    assert any(stage.startswith("make_") for stage in stages)
    run = table[table["state"] == "passed"].loc["train"].iloc[0]
    assert run["seconds"] > 0
    assert run["host_mib"] > 0
    assert (project.folder / HOME / "edited/table1.csv").exists()
    page = (project.folder / "results/rehearsal.html").read_text()
    assert "needs what data lost has not made" in page

    numbers = pd.read_csv(project.folder / HOME / "measured.csv").set_index("quantity")
    assert numbers.loc["decoding", "value"] > 0
    assert numbers.loc["training", "value"] > 0
    assert numbers.loc["mean response", "unit"] == "tokens"
    after = project.state()
    assert {path: after[path] for path in before} == before  # nothing of the real results


def test_what_failed_is_said_before_a_store_that_cannot_be_filled_stops_it(project) -> None:
    """A folder in the place of the replay's lock, for a disk that is full."""
    lock = project.folder / HOME / "edited" / "tracking.json.lock"
    page = project.folder / "results/rehearsal.html"
    page.unlink()
    lock.unlink(missing_ok=True)
    lock.mkdir()
    journal = lock.with_name("note.json.journal.jsonl")
    journal.write_text('{"call": "finish", "arguments": {}}\n')
    preset = project.edited(smallest)
    done = project.snakemake("rehearse", "--keep-going", preset=preset, GAINRL_JOURNAL="1")
    lock.rmdir()
    journal.unlink()
    assert done.returncode != 0
    assert f"{lock.name}" in done.stdout + done.stderr
    assert page.exists()
    assert "failed: data lost: " in done.stdout + done.stderr


def test_a_rehearsal_that_is_mended_goes_on(project) -> None:
    """Only what failed, and what needs it, is left; the rest was measured and is still shown."""

    def mended(preset: dict) -> None:
        smallest(preset)
        preset["datasets"]["lost"] = preset["datasets"]["chain"] | {"seed": 1}

    preset = project.edited(mended)
    planned = project.snakemake("rehearse", "--dry-run", "--quiet", "rules", preset=preset)
    jobs = jobs_in(planned.stdout + planned.stderr)
    assert jobs["train"] == 1
    assert jobs["data"] == 1
    done = project.snakemake("rehearse", preset=preset)
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(project.folder / "results/rehearsal.csv")
    assert set(table["state"]) == {"passed"}
    assert (table["stage"] == "train").sum() == 2


def test_a_preset_that_only_extends_another_stands_alone(project) -> None:
    """It has no name of its own, and must not be read on top of config.yaml."""
    own = {"extends": "experiments/tiny.yaml", "seeds": [7]}
    own |= dict.fromkeys(("studies", "linearity", "claims"))
    (project.folder / "own.yaml").write_text(yaml.safe_dump(own))
    done = project.snakemake("all", "--dry-run", "--quiet", "rules", preset="own.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs_in(done.stdout + done.stderr)["train"] == 7
