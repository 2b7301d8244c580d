"""A start model per seed, from its pre-training to the table: two seeds, trained in one job."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from project import COPIED, REPOSITORY, Project, jobs_in

from gainrl.records import read_json

pytestmark = pytest.mark.timeout(1200)
SEEDS = (0, 1)
STARTS = [f"nano-seed{seed}" for seed in SEEDS]
METHODS = ("grpo", "adarft", "gain")


def per_seed(preset):
    """The tiny preset with a start model per seed, and tests of final models."""
    del preset["linearity"]
    preset["models"]["nano"]["per_seed"], preset["seeds"] = True, list(SEEDS)
    preset["seeds_together"] = True
    preset["protocols"] = {"two": {"samples": 2, "temperature": 1.0, "pass_at": [1]}}
    preset["training"]["keep_model"] = True
    table1 = {"models": ["nano"], "datasets": ["chain"], "methods": list(METHODS)}
    final = {**table1, "methods": ["grpo"], "final": ["two"]}
    preset["experiments"] = {"table1": table1, "final": final}
    del preset["studies"]["layers"]
    kept = ("steps", "beyond-length", "learnt-first", "overhead")
    preset["claims"] = {name: preset["claims"][name] for name in kept}
    preset["studies"]["dynamics"]["seed"] = 1


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    folder = tmp_path_factory.mktemp("per-seed")
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, folder / name)
    project = Project(folder)
    done = project.snakemake("all", preset=project.edited(per_seed))
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    jobs = jobs_in(output)
    assert {name: jobs[name] for name in ("build_model", "evaluate", "score", "difficulty")} == {
        "build_model": 2,
        "evaluate": 2,
        "score": 2,
        "difficulty": 2,
    }
    assert (jobs["train"], jobs["order"], jobs["probe"]) == (3, 2, 1)
    return project


def home(project):
    return project.folder / "results/tiny"


def test_start_models_differ_in_weights_signals_and_orders(made):
    folders = [home(made) / "signals" / name / "chain" for name in STARTS]
    weights = [
        read_json(home(made) / "models" / name / "gainrl.json")["weights"] for name in STARTS
    ]
    assert weights[0] != weights[1]
    prompts = [pd.read_parquet(folder / "prompts.parquet") for folder in folders]
    assert prompts[0].equals(prompts[1])
    orders = [pd.read_parquet(folder / "order/angle.parquet")["id"].tolist() for folder in folders]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    scores = [pd.read_parquet(folder / "scores.parquet").set_index("id")["c"] for folder in folders]
    assert not scores[0].equals(scores[1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_starts_from_its_seeds_model_and_is_tested_from_there(made, method, seed):
    run = made.run(method, seed)
    config = read_json(run / "run.json")
    note = read_json(home(made) / f"models/nano-seed{seed}/gainrl.json")
    assert config["model"] == "nano"
    assert config["slice"]["inputs"]["model"] == note["weights"]
    first = json.loads((run / "eval.jsonl").read_text().splitlines()[0])
    assert first == read_json(home(made) / f"evals/nano-seed{seed}/chain.json")


def _tokens(run):
    rows = map(json.loads, (run / "steps.jsonl").read_text().splitlines())
    before = read_json(run / "run.json")["prepared"]["rollout_tokens"]  # for difficulties
    return before + sum(row["rollout_tokens"] for row in rows)


def test_the_tables_rows_are_means_over_start_models_and_seeds(made):
    table = pd.read_csv(made.folder / "results/tiny/table1.csv")
    assert set(table["model"]) == {"nano"}
    rows = table.set_index(["method", "metric"])
    starts = [read_json(home(made) / f"evals/{name}/chain.json")["accuracy"] for name in STARTS]
    for method in METHODS:
        final = [read_json(made.run(method, s) / "done.json")["final"]["chain"] for s in SEEDS]
        assert np.isclose(rows.loc[(method, "final_accuracy"), "mean"], np.mean(final))
        start = rows.loc[(method, "start_accuracy")]
        assert np.isclose(start["mean"], np.mean(starts))
        assert start["n"] == 2
        # So short a pre-training answers almost nothing: tokens are what differs by seed.
        spent = [_tokens(made.run(method, seed)) for seed in SEEDS]
        assert spent[0] != spent[1]
        assert rows.loc[(method, "rollout_tokens"), "mean"] == np.mean(spent)
    tested = pd.read_csv(made.folder / "results/tiny/final.csv").set_index(["method", "metric"])
    assert tested.loc[("start", "two/pass@1, seeds"), "n"] == 2
    note = rows.loc[("gain", "preparation_seconds"), "note"]
    assert note == "prefill scoring, mean over 2 start models"
    text = (made.folder / "results/tiny/table1.md").read_text()
    assert "n = 2 seeds, each with a start model of its own (nano)" in text


def test_the_signal_table_is_of_the_first_start_model(made):
    assert set(pd.read_csv(made.folder / "results/tiny/signal.csv")["model"]) == {"nano-seed0"}


def test_the_probe_begins_at_its_runs_start_model(made):
    probe = pd.read_parquet(made.run("grpo", 1) / "probe.parquet")
    first = probe[probe["step"] == 0].set_index("id")["c"]
    scores = pd.read_parquet(home(made) / "signals/nano-seed1/chain/scores.parquet")
    assert np.allclose(first, scores.set_index("id")["c"].loc[first.index], atol=1e-6)


def test_everything_is_in_the_tracking_store_and_on_the_page(made):
    checked = made.call("gainrl", "tracking", "check", "--preset", "results/tiny/preset.json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    page = (made.folder / "results/tiny/report_all.html").read_text()
    assert "each with a start model of its own" in page
    assert all(name in page for name in STARTS)


def test_a_second_call_has_nothing_to_do_and_another_seed_adds_its_start_model(made):
    assert made.planned(per_seed, "all") == {}

    def third(preset):
        per_seed(preset)
        preset["seeds"] = [0, 1, 2]
        preset["seeds_together"] = False

    jobs = made.planned(third, "results/tiny/table1.csv")
    assert jobs["build_model"] == jobs["score"] == jobs["difficulty"] == 1


def test_the_model_of_all_seeds_is_no_start_model(made):
    done = made.call("gainrl", "model", "--preset", "results/tiny/preset.json", "--model", "nano")
    assert done.returncode != 0
    assert "models.nano: there is one a seed (per_seed): nano-seed0, nano-seed1" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
