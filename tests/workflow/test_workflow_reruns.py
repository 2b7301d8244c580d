"""Which jobs a preset and a change to it come to, on the folder of the tiny preset."""

from __future__ import annotations

import shutil

import pytest
from project import REPOSITORY, TINY, Edit, jobs_in

from gainrl import plan

pytestmark = pytest.mark.timeout(1200)  # about two minutes of one core; others may need it too

PRESETS = [
    "config.yaml",
    *sorted(
        f"experiments/{p.name}"
        for p in REPOSITORY.glob("*/*.yaml")
        if p.parent.name == "experiments"
    ),
]
SEEDS = (0, 1, 2)
REPORT = {"report": 1, "default": 1}  # it shows the whole preset
TABLE = {
    **dict.fromkeys(("make_table1", "make_table1_cost"), 1),
    **dict.fromkeys((f"make_figures_figure7{part}" for part in ("", "_training", "_cost")), 1),
    **REPORT,
}
VIEWS = {**TABLE, "make_claims_first": 1}
SIGNAL = {"make_signal": 1}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_resolves(project, preset):
    if not (project.folder / preset).exists():
        pytest.skip(f"{preset} is not there")
    before = project.state()
    done = project.snakemake("default", "all", "--dry-run", "--quiet", "rules", preset=preset)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    if preset != TINY:
        loaded = plan.load(project.folder / preset)
        keys = [key for key in plan.runs(loaded) if not plan.is_tried(loaded, key.method)]
        jobs = {key.parent for key in keys} if loaded.seeds_together else keys
        assert jobs_in(output).get("train", 0) == len(jobs)
    assert project.state() == before  # a dry run writes nothing


EDITS: list[tuple[str, Edit, dict[str, int]]] = [
    ("statistics", lambda p: p.update(statistics={"resamples": 100}),
     {**SIGNAL, **VIEWS}),
    ("caption", lambda p: p["experiments"]["table1"].update(caption="New"), TABLE),
    ("lr", lambda p: p["training"].update(lr=2e-4), {"train": 9, **VIEWS}),
    ("override", lambda p: p.update(overrides={"chain": {"training": {"kl": 0.1}}}),
     {"train": 9, **VIEWS}),
    ("one method", lambda p: p["methods"]["gain"]["curriculum"].update(step=0.5),
     {"train": 3, **VIEWS}),
    ("a fourth seed", lambda p: p["seeds"].append(3), {"train": 3, **VIEWS}),
    ("a new method", lambda p: (
        p["methods"].update(length={"curriculum": "gain", "order": "length"}),
        p["experiments"]["table1"]["methods"].append("length"),
    ), {"order": 1, "train": 3, **TABLE}),
    ("scoring", lambda p: p.update(scoring={"batch_tokens": 512}),
     {"score": 1, "order": 1, "train": 3, **SIGNAL, **VIEWS}),
    ("data", lambda p: p["datasets"]["chain"].update(seed=1),
     {"data": 1, "build_model": 1, "prompts": 1, "score": 1, "difficulty": 1, "order": 1,
      "evaluate": 1, "train": 9, "study_gradients": 1, **SIGNAL, **VIEWS}),
    ("tracking", lambda p: p.update(tracking={"experiment": "other"}), REPORT),
    ("cost", lambda p: p.update(cost={"peak_tflops": 989.0}), REPORT),
    ("an unused method", lambda p: p["methods"].update(spare={"curriculum": "uniform"}), REPORT),
    ("another name", lambda p: p.update(preset="renamed"),
     {"data": 1, "build_model": 1, "prompts": 1, "score": 1, "difficulty": 1, "order": 1,
      "evaluate": 1, "train": 9, "study_gradients": 1, **SIGNAL, **VIEWS}),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "expected"), [e[1:] for e in EDITS], ids=[e[0] for e in EDITS])
def test_a_change_reruns_what_depends_on_it_and_nothing_else(project, edit, expected):
    assert project.planned(edit) == expected


def test_a_changed_preset_is_what_the_rerun_stages_read(project):
    edited = project.edited(lambda p: p["experiments"]["table1"].update(caption="Another title"))
    target = "results/tiny/table1.csv"
    done = project.snakemake(target, preset=edited)
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs_in(done.stdout + done.stderr) == {"make_table1": 1}
    table = project.folder / "results/tiny/table1.md"
    assert table.read_text().startswith("Another title\n")
    back = project.snakemake(target)
    assert back.returncode == 0, back.stdout + back.stderr
    assert "Another title" not in table.read_text()


def test_one_job_can_train_all_seeds(project):
    """The same bytes as from a job for each; Snakemake asks for all in one call of gainrl."""
    names = ("steps.jsonl", "eval.jsonl", "done.json", "model/model.safetensors")
    folders = [project.run(seed=seed) for seed in SEEDS]
    apart = [[(folder / name).read_bytes() for name in names] for folder in folders]
    for folder in folders:
        shutil.rmtree(folder)
    edited = project.edited(lambda data: data.update(seeds_together=True))
    targets = [str((folder / "done.json").relative_to(project.folder)) for folder in folders]
    done = project.snakemake(targets[1], preset=edited)
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs_in(done.stdout + done.stderr) == {"train": 1}
    assert [[(folder / name).read_bytes() for name in names] for folder in folders] == apart
    assert not list(project.folder.glob("results/tiny/runs/nano/chain/gain/*/checkpoints"))
    done = project.snakemake(*targets)  # as the tests that follow expect it
    assert jobs_in(done.stdout + done.stderr) == {"train": 3}
    assert [[(folder / name).read_bytes() for name in names] for folder in folders] == apart
