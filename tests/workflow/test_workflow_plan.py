"""`snakemake plan`, and the preset that a call on a cluster takes."""

from __future__ import annotations

import shlex
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from project import COPIED, REPOSITORY, TINY, Project, jobs_in

from gainrl import files, plan
from gainrl.stages.common import Context
from gainrl.stages.train_verl import VerlRun
from gainrl.training.verl.settings import place_of

pytestmark = pytest.mark.timeout(1200)  # about two minutes of one core; others may need it too


def on_verl(preset, **changes):
    """Without tuned methods, whose runs end by tokens, which verl's do not, and without what reads
    kept models, which not every caller keeps."""
    preset["training"].update(backend="verl", **changes)
    del preset["tuning"], preset["experiments"]["tuned"]
    preset.pop("studies"), preset.pop("claims")


def test_a_plan_is_printed_on_every_call_and_touches_no_store(project):
    results = project.folder / "results"
    for _ in range(2):
        done = project.snakemake("plan", preset="experiments/paper.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
        assert jobs_in(done.stdout + done.stderr) == {"plan": 1}
        assert "| qwen2.5-math-7b/deepscaler/gain " in done.stdout
    made = [path for path in (results / "paper").rglob("*") if path.is_file()]
    runs = [path.name for path in made if path.name.startswith("seed")]
    assert sum(name.endswith(".sh") for name in runs) == 153
    others = sorted({path.name for path in made} - set(runs))
    assert others == ["plan.csv", "plan.log", "plan.md", "preset.json"]


def test_the_settings_stay_while_a_call_works_with_them(tmp_path):
    """The call is another process here that keeps them, as `onstart` of one does."""
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    own = Project(tmp_path)
    tiny = own.edited(lambda p: None)
    settings = plan.load(tmp_path / tiny).model_dump_json(indent=1) + "\n"
    kept = tmp_path / "results/tiny/preset.json"
    with ProcessPoolExecutor(1) as call:
        assert call.submit(files.keep, kept, settings).result(60)
        equal = own.snakemake("plan", preset=tiny)
        assert equal.returncode == 0, equal.stderr
        other = own.edited(lambda p: p["training"].update(lr=2e-4))
        refused = own.snakemake("plan", preset=other)
        assert refused.returncode != 0
        said = [line for line in refused.stderr.splitlines() if "gainrl:" in line]
        assert said == [
            "gainrl: results/tiny/preset.json: another call works with other settings of preset "
            "'tiny': wait for it, or give yours another name (key preset)"
        ]
        assert "Traceback" not in refused.stderr
        assert kept.read_text() == settings
    assert own.snakemake("plan", preset=other).returncode == 0  # and left no lock of Snakemake's
    assert kept.read_text() != settings


@pytest.mark.parametrize("keep", [True, False])
def test_the_command_line_of_a_plan_is_what_a_run_asks_of_verl(project, monkeypatch, keep):
    monkeypatch.chdir(project.folder)
    preset = plan.load(project.edited(lambda p: on_verl(p, keep_model=keep)))
    context = Context(preset, Path("results"))
    key = plan.RunKey("nano", "chain", "gain", 1)
    try:
        job = VerlRun(context, key)._job(0)
        text = plan.backend_of(preset, "chain", "nano").command(preset, context.layout, key)
        assert shlex.split(text.replace("\\\n", ""), comments=True)[3:] == job["overrides"]
        place = place_of(context.layout.run(key), context.layout.model("nano"), ["chain"])
        assert all(path.is_file() for path in (place.train, *place.tests))
    finally:
        shutil.rmtree(project.run("gain", 1) / "verl", ignore_errors=True)


def test_a_plan_that_fails_says_why(project):
    edited = project.edited(
        lambda p: (
            p["models"].update(nano={"source": "local", "path": "nowhere"}),
            on_verl(p),
        )
    )
    done = project.snakemake("plan", preset=edited)
    assert done.returncode != 0
    assert "gainrl: models.nano: nowhere: no such folder" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "preset"), [((), "paper"), (("--configfile", TINY), "tiny")], ids=["", "named"]
)
def test_on_a_cluster_the_preset_is_the_papers_unless_another_is_named(project, arguments, preset):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    command = ("snakemake", "--profile", "slurm", "all", "--forceall", "--dry-run")
    done = project.call(*command, *arguments)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert f"gainrl train --preset results/{preset}/preset.json" in output
