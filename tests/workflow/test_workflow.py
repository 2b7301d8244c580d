"""The workflow, run for real on the tiny preset in a folder of its own.

One run serves all tests; those that change something put it back.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shutil
import stat
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from project import TINY, jobs_in

from gainrl import plan
from gainrl.linearity import plan as linearity_plan
from gainrl.records import read_json, read_lines

pytestmark = pytest.mark.timeout(1200)  # about two minutes of one core; others may need it too

METHODS, SEEDS = ("grpo", "adarft", "gain"), (0, 1, 2)
FEW = "1 model on 1 data set, trained by 3 methods"


# --- what a run leaves ---------------------------------------------------------------------------


def test_everything_is_there(project):
    results = project.folder / "results/tiny"
    expected = [
        *("preset.json", "tracking.json", "evals/nano/chain.json", "models/nano/gainrl.json"),
        *(f"data/chain/{split}.parquet" for split in ("train", "eval", "warmup")),
        *("signals/nano/chain/scores.parquet", "signals/nano/chain/difficulty.parquet"),
        "signals/nano/chain/order/angle.parquet",
    ]
    views = ["table1.csv", "table1.md", "table1.tex", "report.html", "../mlflow.db"]
    views += [f"claims_first.{kind}" for kind in ("csv", "md", "tex")]
    views += [
        f"figures/figure7{part}.{kind}" for part in ("", "_curriculum") for kind in ("png", "pdf")
    ]
    for path in map(results.joinpath, [*expected, *views]):
        assert path.stat().st_size > 0, path
    for method in METHODS:
        for seed in SEEDS:
            folder = project.run(method, seed)
            assert read_json(folder / "done.json")["steps"] == 4
            assert [row["step"] for row in read_lines(folder / "steps.jsonl")] == [1, 2, 3, 4]
            assert [row["step"] for row in read_lines(folder / "eval.jsonl")] == [0, 2, 4]
            assert (folder / "model" / "model.safetensors").exists()
            assert not (folder / "checkpoints").exists()
    hidden = [path for path in results.rglob(".*") if path.name != ".snakemake_timestamp"]
    assert hidden == []  # no temporary or partial file is left


def test_the_store_has_what_ran_and_nothing_else(project):
    client = MlflowClient(f"sqlite:///{project.folder}/results/mlflow.db")
    names = {each.name: each for each in client.search_experiments()}
    # Other tests of this project may have run what has tests of final models.
    extra = {"Default", "gainrl/tiny/final"}
    assert names.keys() - extra == {f"gainrl/tiny/{name}" for name in ("preparation", "table1")}
    runs = client.search_runs([names["gainrl/tiny/table1"].experiment_id])
    parents = {run.info.run_name for run in runs if run.data.tags["gainrl.complete"] == "parent"}
    assert parents == {f"nano/chain/{method}" for method in METHODS}
    assert all(run.data.tags["mlflow.source.name"].startswith("gainrl ") for run in runs)
    for run in runs:  # tables and figures are files there, and no metrics
        if run.data.tags.get("gainrl.stage") in ("table", "figures"):
            assert not run.data.metrics
            assert client.list_artifacts(run.info.run_id)


def test_the_preset_that_the_stages_read_is_the_one_that_was_given(project):
    written = plan.load(project.folder / "results/tiny/preset.json")
    given = plan.load(project.folder / TINY)
    assert written == given
    for part in ("experiments", "methods", "claims"):
        assert list(getattr(written, part)) == list(getattr(given, part))


def test_the_table_has_a_row_for_each_method(project):
    table = pd.read_csv(project.folder / "results/tiny/table1.csv")
    final = table[table["metric"] == "final_accuracy"].set_index("method")
    assert list(final.index) == list(METHODS)
    for method in METHODS:
        runs = [read_json(project.run(method, seed) / "done.json") for seed in SEEDS]
        mean = sum(run["final"]["chain"] for run in runs) / len(runs)
        assert final.loc[method, "mean"] == pytest.approx(mean)
    assert (final["n"] == len(SEEDS)).all()


def test_the_report_holds_the_table_the_figures_and_what_it_cost(project):
    text = (project.folder / "results/tiny/report.html").read_text()
    seen = re.sub(r"<[^>]*>", "|", text).replace("\xa0", " ")
    lines = (project.folder / "results/tiny/table1.md").read_text().splitlines()
    for line in lines:
        if line.startswith("| ") and "---" not in line:
            cells = line.strip("| ").split(" | ")
            assert "||".join(cells) in seen.replace("\n", ""), line
    for name in ("figure7", "figure7_curriculum"):
        picture = (project.folder / f"results/tiny/figures/{name}.png").read_bytes()
        assert base64.b64encode(picture).decode() in text
    folders = [project.run(method, seed) for method in METHODS for seed in SEEDS]
    steps = [row for folder in folders for row in read_lines(folder / "steps.jsonl")]
    assert f"9 finished training runs: {FEW} with 3 seeds, {len(steps)} RL steps" in seen
    tokens = sum(row["rollout_tokens"] for row in steps)
    assert f"All runs, each once||9||{tokens:,}||" in seen
    index = read_json(project.folder / "results/tiny/tracking.json")["experiments"]
    home = f"http://127.0.0.1:5000/#/experiments/{index['gainrl/tiny/table1']}/runs"
    for folder in folders:
        assert f'href="{home}/{read_json(folder / "tracking.json")["run_id"]}"' in text
        assert f"||{read_json(folder / 'run.json')['config_hash']}||" in seen
    assert "The angle signal" in text
    verdicts = pd.read_csv(project.folder / "results/tiny/claims_first.csv")
    assert set(verdicts["claim"]) == {"steps", "beyond-length", "overhead"}
    assert seen.index("Verdicts") < seen.index("Tables and learning curves")
    for statement in verdicts["statement"].unique():
        assert statement in html.unescape(seen)
    assert "<script" not in text


def test_the_preset_alone_decides_the_order_of_the_prompts(project):
    scores = pd.read_parquet(project.folder / "results/tiny/signals/nano/chain/scores.parquet")
    order = pd.read_parquet(project.folder / "results/tiny/signals/nano/chain/order/angle.parquet")
    train = pd.read_parquet(project.folder / "results/tiny/data/chain/train.parquet")
    assert set(order["id"]) == set(scores["id"]) == set(train["id"])
    combined = scores.set_index("id")[["c_intra", "c_inter"]].sum(axis=1)
    assert (combined[order["id"]].diff().dropna() <= 0).all()


def test_a_second_run_does_nothing(project):
    before = project.state()
    done = project.snakemake()
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr
    assert project.state() == before


def test_all_claims_rest_on_the_runs_that_they_name(project):
    """PPO on half of the data, the histograms of its draw, probes, and the verdicts of it all."""
    targets = [
        "results/tiny/claims.csv",
        "results/tiny/halves.csv",
        "results/tiny/figures/figure8_selection.png",
    ]
    done = project.snakemake(*targets)
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs_in(done.stdout + done.stderr)["train"] == 3
    results = project.folder / "results/tiny"
    verdicts = pd.read_csv(results / "claims.csv", keep_default_na=False)
    preset = plan.load(project.folder / TINY)
    whole = verdicts[verdicts["model"] == ""]
    assert list(whole["claim"]) == list(preset.claims)
    assert set(verdicts["verdict"]) <= {"supported", "not supported", "undecided"}
    parts = verdicts[verdicts["model"] != ""].drop_duplicates("claim").set_index("claim")
    settings = read_json(project.run("ppo-half", 1) / "run.json")
    assert settings["overrides"] == ["prompts"]
    assert settings["slice"]["signal"][2] == 2
    rows = read_lines(project.run("ppo-half", 1) / "steps.jsonl")
    assert all({"value_loss", "explained_variance"} <= set(row) for row in rows)
    levels = {}  # means of the three tests, in percent, over all seeds
    for name in ("ppo-half", "gain"):
        tests = [
            row for seed in SEEDS for row in read_lines(project.run(name, seed) / "eval.jsonl")
        ]
        levels[name] = 100 * sum(row["accuracy"] for row in tests) / len(tests)
    difference = levels["ppo-half"] - levels["gain"]
    assert float(parts.loc["half-data", "mean"]) == pytest.approx(difference)
    signal = pd.read_csv(results / "signal.csv", keep_default_na=False)
    cell = signal[(signal["signal"] == "c") & (signal["quantity"] == "gradient_norm")]
    # Nobody solves anything here, so there is no gradient and no correlation: an empty cell.
    assert parts.loc["beyond-length", "mean"] == cell[cell["given"] == "tokens"]["rho"].iloc[0]


def test_traced_runs_have_a_table_figures_and_verdicts(project):
    """Nothing is learnt here, so no weight moves: there is no R^2, and that is said."""
    names = [f"results/tiny/figures/{name}.png" for name in linearity_plan.FIGURES]
    done = project.snakemake("results/tiny/linearity.csv", *names, "results/tiny/claims.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    results = project.folder / "results/tiny"
    for name in (*names, *(f"results/tiny/linearity.{kind}" for kind in ("md", "tex"))):
        assert (project.folder / name).stat().st_size > 0
    for seed in SEEDS:
        kept = sorted(path.name for path in (project.run("grpo", seed) / "snapshots").iterdir())
        assert kept == [f"step{step:06d}" for step in (1, 2, 3, 4)]
    table = pd.read_csv(results / "linearity.csv").set_index(["part", "selection", "metric"])
    table = table.sort_index()
    walk = float(table.loc[("random_walk", "all", "r2_median"), "mean"])
    assert 0.4 < walk < 0.9
    weights = table[table["group"] == "all"].loc[("weights", "all")]
    assert (weights.loc["r2_median", "n"] == 0) == (weights.loc["constant", "mean"] == 1)
    verdicts = pd.read_csv(results / "claims.csv", keep_default_na=False)
    parts = verdicts[verdicts["model"] != ""].set_index("claim")
    assert float(parts.loc["ahead", "n"]) == 2  # linearity.seeds
    assert parts.loc["straight", "quantity"].startswith("median R² of weights")


# --- failures ------------------------------------------------------------------------------------


DYING = """#!{python}
import os, signal, sys
from gainrl import cli
from gainrl.training.local.loop import LocalTrainer

step = LocalTrainer.step


def dying(self):
    if self.step_number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self)


LocalTrainer.step = dying
sys.exit(cli.main())
"""


def test_a_killed_run_is_not_done_and_a_rerun_goes_on_to_the_same_result(project):
    folder = project.run()
    names = ("steps.jsonl", "eval.jsonl", "done.json", "model/model.safetensors")
    whole = {name: (folder / name).read_bytes() for name in names}
    shutil.rmtree(folder)
    programs = project.folder / "dying"
    programs.mkdir()
    program = programs / "gainrl"
    program.write_text(DYING.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    target = str((folder / "done.json").relative_to(project.folder))
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])

    killed = project.snakemake(target, PATH=path)
    assert killed.returncode != 0
    assert jobs_in(killed.stdout + killed.stderr) == {"train": 1}
    assert not (folder / "done.json").exists()
    assert [item.name for item in (folder / "checkpoints").iterdir()] == ["step-000002"]
    assert len(read_lines(folder / "steps.jsonl")) == 3
    note = read_json(folder / "tracking.json")

    again = project.snakemake(target)
    assert again.returncode == 0, again.stdout + again.stderr
    log = (project.folder / "results/tiny/logs/train/nano-chain-gain-seed0.log").read_text()
    assert "going on from step 2" in log
    assert read_json(folder / "tracking.json") == note
    assert {name: (folder / name).read_bytes() for name in names} == whole
    # The same done.json: nothing below it has to be made again.
    assert project.planned(lambda _: None) == {}


def test_the_tracking_store_is_checked_and_says_what_is_missing(project):
    clean = project.gainrl("tracking", "check")
    assert (clean.returncode, clean.stderr) == (0, "")
    # Those of tuned methods and their settings are not made here (test_workflow_tuning).
    assert re.search(r" (0|13) unfinished runs", clean.stdout)
    note = project.run("adarft", 1) / "tracking.json"
    kept = note.read_bytes()
    note.unlink()
    try:
        broken = project.gainrl("tracking", "check")
    finally:
        note.write_bytes(kept)
    assert broken.returncode == 2
    line = "gainrl: nano/chain/adarft/seed1: never tracked ("
    assert broken.stderr.startswith(line)
    assert broken.stderr.count("\n") == 1
    assert project.gainrl("tracking", "check").returncode == 0


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p: p.update(trainin={}), "unknown key 'trainin'; did you mean 'training'?"),
        (lambda p: p["methods"]["gain"].pop("order"), "curriculum 'gain' needs the key 'order'"),
    ],
    ids=["key", "method"],
)
def test_a_preset_that_cannot_be_run_is_one_line_and_an_error(project, edit, message):
    done = project.snakemake("--dry-run", preset=project.edited(edit))
    assert done.returncode != 0
    profile, output = (done.stdout + done.stderr).strip().split("\n")
    assert profile.startswith("Using workflow specific profile")
    assert output.startswith("gainrl: ")
    assert output.endswith(message)


def test_a_store_that_cannot_be_reached_stops_the_run_before_its_first_job(project):
    edited = project.edited(lambda p: p["experiments"]["table1"].update(caption="New"))
    before = (project.folder / "results/tiny/table1.csv").stat().st_mtime_ns
    done = project.snakemake(
        "results/tiny/table1.csv",
        preset=edited,
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "gainrl: tracking store http://127.0.0.1:9: " in output
    assert "Traceback" not in output
    assert (project.folder / "results/tiny/table1.csv").stat().st_mtime_ns == before
    assert json.loads((project.folder / "results/tiny/tracking.json").read_text())[
        "uri"
    ].startswith("sqlite")


def test_a_copy_of_the_table_has_its_presets_name(project):
    done = project.snakemake("results/table1.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs_in(done.stdout + done.stderr) == {"copy": 1}
    made = pd.read_csv(project.folder / "results/tiny/table1.csv")
    copy = pd.read_csv(project.folder / "results/table1.csv")
    assert set(copy.pop("preset")) == {"tiny"}
    pd.testing.assert_frame_equal(copy, made)
    planned = project.planned(lambda p: p.update(preset="other"), "results/table1.csv")
    assert planned["copy"] == 1  # not taken for the other's


def test_no_file_names_this_machines_folders(project):
    """So that results can be moved; MLflow's own database is mended at the next call."""
    texts = (".json", ".jsonl", ".csv", ".md", ".tex", ".html", ".yaml")
    files = [p for p in (project.folder / "results").rglob("*") if p.suffix in texts]
    assert len(files) > 100
    assert [p for p in files if str(project.folder) in p.read_text(encoding="utf-8")] == []
