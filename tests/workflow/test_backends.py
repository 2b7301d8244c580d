"""A backend that gainrl does not know, docs/backends.md's, from a preset to a table."""

import json
import re
import shutil

import pandas as pd
import pytest
import yaml
from project import COPIED, REPOSITORY, Project, jobs_in

from gainrl.config import arithmetic

PRESET = yaml.safe_load(
    """
preset: own
seeds: [0, 1]
seeds_together: true
models:
  nano: {source: nano, hidden: 16, layers: 1, heads: 2, feed_forward: 32, context: 96}
datasets:
  chain: {source: generate, task: chain, train: 8, eval: 4, levels: [1]}
training: {backend: "untrained:Untrained", keep_model: false, steps: 4, prompts: 4, rollouts: 2,
           max_response: 8}
evaluation: {every: 2}
methods:
  grpo: {curriculum: uniform}
  sorted: {curriculum: {name: gain, alpha: 1.5}, order: angle}
experiments:
  table1: {models: [nano], datasets: [chain], methods: [grpo, sorted]}
"""
)
TABLE = "results/own/table1.csv"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A project with the example of the docs beside its presets."""
    folder = tmp_path_factory.mktemp("own")
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, folder / name)
    text = (REPOSITORY / "docs" / "backends.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (folder / "untrained.py").write_text(block)
    (folder / "own.yaml").write_text(yaml.safe_dump(PRESET))
    project = Project(folder)
    done = project.snakemake(TABLE, preset="own.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def test_its_runs_end_in_a_table(own):
    table = pd.read_csv(own.folder / TABLE)
    assert set(table["method"]) == {"grpo", "sorted"}
    for method in ("grpo", "sorted"):
        for seed in (0, 1):
            run = own.folder / f"results/own/runs/nano/chain/{method}/seed{seed}"
            written = json.loads((run / "run.json").read_text())
            assert written["training"]["backend"] == "untrained:Untrained"
            assert written["machine"]["gpus"] == 0
            assert written["machine"]["processor"] == arithmetic.processor()
            assert written["slice"]["training"] == written["training"]
            assert "verl" not in written["slice"]
            done = json.loads((run / "done.json").read_text())
            start = json.loads((own.folder / "results/own/evals/nano/chain.json").read_text())
            assert done["steps"] == 4
            assert done["final"] == {"chain": start["accuracy"]}
            tests = [json.loads(line) for line in (run / "eval.jsonl").read_text().splitlines()]
            assert [row["step"] for row in tests] == [0, 2, 4]


def test_a_finished_project_is_left_alone(own):
    done = own.snakemake(TABLE, "--dry-run", "--quiet", "rules", preset="own.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs_in(done.stdout + done.stderr) == {}


def test_its_runs_are_in_a_plan(own):
    done = own.call("gainrl", "plan", "--preset", "own.yaml", "--out", "plan", "--profile", "slurm")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("4 runs on the untrained backend")
    assert len(list((own.folder / "plan").rglob("*.sh"))) == 4
    assert not list((own.folder / "plan").rglob("*.txt"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"keep_model": True},
            "methods.grpo: training.backend 'untrained' cannot train it (nano on chain): it writes "
            "no model: training.keep_model must be false",
        ),
        ({"format_weight": 0.5}, "training.format_weight is an option of backend 'local'"),
        ({"extra": {"rl": 2, "jump": 2}}, "training.extra is an option of backend 'local'"),
        ({"backend": "untrained:Trained"}, "training.backend: 'untrained' has no 'Trained'"),
        ({"backend": "nowhere:Backend"}, "training.backend: cannot import 'nowhere'"),
        ({"backend": "untrained:UntrainedRun"}, "is no gainrl.plan.backends.Backend"),
        ({"backend": "untraned"}, "training.backend: unknown backend 'untraned'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_it_cannot_do_is_said_before_anything_runs(own, monkeypatch, changes, message):
    from presets import error_of

    monkeypatch.chdir(own.folder)
    monkeypatch.syspath_prepend(str(own.folder))
    assert message in error_of({**PRESET, "training": {**PRESET["training"], **changes}})
