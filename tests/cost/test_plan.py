"""`gainrl plan`: a bill that adds up, and scripts and command lines of every run."""

from __future__ import annotations

import copy
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from planned import PROFILE, REPOSITORY, options, planned

from gainrl import cli, plan
from gainrl.config.data import Files, Generated, Hub, Registered
from gainrl.config.files import extended
from gainrl.config.preset import Preset
from gainrl.cost.rows import Costs
from gainrl.data.registry import known_rows
from gainrl.errors import ConfigError
from gainrl.plan import Layout
from gainrl.training.slurm import read_site

PAPER = REPOSITORY / "experiments" / "paper.yaml"
SEVEN = "qwen2.5-math-7b/deepscaler/gain/seed1"


def changed(**sections):
    """The paper's preset with some sections replaced or, if mappings, extended."""
    data = yaml.safe_load(PAPER.read_text())
    data = extended({**data, "extends": str(REPOSITORY / data["extends"])}, "here")
    for name in ("claims", "studies"):  # they are about runs that the tests leave out
        del data[name]
    for name, value in sections.items():
        merged = {**data.get(name, {}), **value} if isinstance(value, dict) else value
        data[name] = copy.deepcopy(merged)
    return data


def small(**sections):
    """One model, two methods (one of them with measured difficulties), two seeds."""
    experiment = {"models": ["qwen2.5-math-1.5b"], "datasets": ["deepscaler"]}
    experiment |= {"methods": ["grpo", "adarft"], "benchmarks": ["aime24", "amc23"]}
    data = changed(**{"seeds": [0, 1], **sections})
    if "experiments" not in sections:
        data["experiments"] = {"table1": experiment}
    return data


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """The folder of the paper's plan."""
    out = tmp_path_factory.mktemp("paper") / "plan"
    arguments = ["--preset", str(PAPER), "--out", str(out), "--profile", str(PROFILE)]
    assert cli.main(["plan", *arguments]) == 0
    return out


# --- the paper's preset --------------------------------------------------------------------------


def test_every_run_has_a_script_and_a_command_line(paper):
    keys = plan.runs(plan.load(PAPER))
    expected = {f"{key.parent}/seed{key.seed}{end}" for key in keys for end in (".sh", ".verl.txt")}
    found = {str(path.relative_to(paper)) for path in paper.rglob("seed*")}
    assert len(found) == 306
    assert found == expected


def test_the_scripts_are_bash(paper):
    for path in paper.rglob("seed*"):
        done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_script_asks_for_what_the_profile_and_the_preset_say(paper):
    text = (paper / f"{SEVEN}.sh").read_text()
    site = read_site(PROFILE)
    expected = {
        "nodes": "1",
        "ntasks-per-node": "1",
        "gpus-per-node": f"{site.gpu_model}:8",
        "cpus-per-task": str(site.train_cpus),
        "mem": f"{site.train_mem_mb}M",
        "time": str(site.train_minutes),
        "requeue": "",
        "job-name": "paper-qwen2.5-math-7b-deepscaler-gain-seed1",
        "output": str(paper / f"{SEVEN}-%j.log"),
    }
    assert options(text) == expected
    head, *_ = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert head == "set -euo pipefail"
    run = ["gainrl", "train", "--preset", str(PAPER), "--model", "qwen2.5-math-7b"]
    run += ["--dataset", "deepscaler", "--method", "gain", "--seed", "1"]
    assert shlex.split(text.splitlines()[-1]) == run


def test_the_command_line_has_the_papers_values(paper):
    text = (paper / f"{SEVEN}.verl.txt").read_text()
    command = shlex.split(text.replace("\\\n", ""), comments=True)
    assert command[:3] == ["python", "-m", "verl.trainer.main_ppo"]
    given = dict(item.split("=", 1) for item in command[3:])
    actor = "actor_rollout_ref.actor"
    expected = {
        "algorithm.adv_estimator": '"grpo"',
        "data.train_batch_size": "1024",
        "data.max_prompt_length": "1024",
        "data.max_response_length": "8192",
        "actor_rollout_ref.rollout.n": "8",
        f"{actor}.ppo_mini_batch_size": "256",
        f"{actor}.optim.lr": "1e-06",
        f"{actor}.use_kl_loss": "true",
        f"{actor}.kl_loss_coef": "0.001",
        f"{actor}.kl_loss_type": '"low_var_kl"',
        f"{actor}.entropy_coeff": "0",
        "trainer.total_training_steps": "200",
        "trainer.save_freq": "20",
        "trainer.test_freq": "5",
        "trainer.n_gpus_per_node": "8",
    }
    assert {key: given[key] for key in expected} == expected
    assert given["actor_rollout_ref.model.path"].endswith('results/paper/models/qwen2.5-math-7b"')
    names = ["gsm8k", "math500", "amc23", "aime24", "olympiadbench", "minerva"]
    tests = [Path(path).name for path in yaml.safe_load(given["data.val_files"])]
    assert tests == [f"eval-{name}.parquet" for name in names]
    other = (paper / "llama-3.2-3b/deepscaler/gain/seed1.verl.txt").read_text()
    assert "    data.max_response_length=3000 \\\n" in other


def test_the_bill_is_the_sum_of_its_runs(paper):
    frame = pd.read_csv(paper / "plan.csv")
    assert len(frame) == 51
    assert frame["runs"].sum() == 153
    text = (paper / "plan.md").read_text()
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    (last, _) = [line for line in lines if line[0].startswith("| **Sum**")]
    sums = last[-1].strip("|* ").replace(",", "").split(" to ")
    beside = [line[-1].strip("| ") for line in lines if line[0].startswith("| measured diff")]
    assert len(beside) == 2  # the bill, and where it goes
    assert beside[0] == beside[1]
    for end, total in zip(("low", "high"), sums, strict=True):
        per_run = frame[f"gpu_hours_run_{end}"]
        assert frame[f"gpu_hours_{end}"].tolist() == pytest.approx(frame["runs"] * per_run)
        assert per_run.tolist() == pytest.approx(frame["gpus"] * frame[f"hours_{end}"])
        assert (
            frame[f"gpu_hours_{end}"].sum() < float(total) < 1.05 * frame[f"gpu_hours_{end}"].sum()
        )
    assert (frame["gpu_hours_low"] < frame["gpu_hours_high"]).all()
    for row in frame.itertuples():
        name = f"{row.model}/{row.dataset}/{row.method}"
        assert text.count(f"| {name} ") == 1
        assert text.count(f"| {name}, low ") == text.count(f"| {name}, high ") == 2


def test_the_tests_of_a_run_are_its_benchmarks_problems():
    work = rows_of(plan.load(PAPER))[0].cost.high.work
    assert work.evaluation_samples == 1319 + 500 + 83 + 30 + 675 + 272
    assert (work.gpus, work.kl, work.critic, work.longest) == (8, True, False, 3000)


# --- what changes it -----------------------------------------------------------------------------


def rows_of(preset, root="nowhere", job_hours=24.0):
    return Costs(preset, Layout(preset.preset, Path(root)), job_hours).rows()


def cost_of(**sections):
    return rows_of(plan.load(small(**sections)))[0].cost


def test_assumptions_come_from_the_preset():
    fixed = {"response_tokens": {"qwen2.5-math-1.5b": 900}, "forward_mfu": 0.4}
    slow = cost_of(cost={**fixed, "train_mfu": 0.175})
    fast = cost_of(cost={**fixed, "train_mfu": 0.35})
    for end in ("low", "high"):
        before, after = getattr(fast, end), getattr(slow, end)
        assert after.step.update == pytest.approx(2 * before.step.update)
    assert fast.low.step.update == fast.high.step.update  # a number is both of its ends
    both = cost_of(cost={**fixed, "train_mfu": [0.175, 0.35]})
    assert (both.low.step, both.high.step) == (fast.low.step, slow.high.step)


def test_a_runs_gpus_are_those_of_its_nodes(here):
    data = small(verl={"nodes": 2, "gpus_per_node": 4})
    assert rows_of(plan.load(data))[0].cost.low.work.gpus == 8
    assert planned(here, data) == 0
    text = next((here / "plan").rglob("seed0.sh")).read_text()
    assert (options(text)["nodes"], options(text)["gpus-per-node"]) == ("2", "a100:4")


def test_ppo_pays_for_its_critic():
    methods = {"grpo": {"curriculum": "uniform", "algorithm": "ppo"}}
    assert cost_of(methods=methods).low.work.critic
    assert cost_of(methods=methods).low.gpu_hours > cost_of().low.gpu_hours


def test_notes_say_what_is_not_counted(here, capsys):
    hub = {"other": {"source": "hub", "id": "some/thing"}}
    data = small(datasets=hub)
    data["methods"]["adarft"]["difficulty"] = "measured"
    data["experiments"]["table1"]["benchmarks"] = ["aime24", "other"]
    data["training"]["max_response"] = 16384
    assert planned(here, data) == 0
    printed = capsys.readouterr().out
    assert "Counted as 0 tests, because their size is unknown: other." in printed
    assert "| measured difficulties " in printed
    assert "4 runs may be longer than a job's 24 h" in printed
    assert printed.split("\n- ")[0] in (here / "plan/plan.md").read_text()


def test_shorter_runs_without_difficulties_need_no_such_notes(here, capsys):
    data = small(cost={"response_tokens": {"qwen2.5-math-1.5b": 300}})
    data["experiments"]["table1"]["methods"] = ["grpo"]
    assert planned(here, data) == 0
    printed = capsys.readouterr().out
    assert "Response tokens, given: qwen2.5-math-1.5b 300." in printed
    assert "- GPU: 312 TFLOP/s in bf16, 2,039 GB/s (keys cost.peak_tflops" in printed
    assert "- One after another the runs take " in printed
    for word in ("longer", "measured difficulties", "Counted as 0"):
        assert word not in printed


@pytest.mark.parametrize(
    ("spec", "split", "rows"),
    [
        (Registered(source="registry", name="gsm8k"), "eval", 1319),
        (Registered(source="registry", name="gsm8k", eval=24), "eval", 24),
        (Registered(source="registry", name="gsm8k", warmup=3000), "train", 4473),
        (Registered(source="registry", name="math"), "train", 7470),
        (Registered(source="registry", name="deepscaler"), "eval", 0),
        (Generated(source="generate", task="chain", eval=16), "eval", 16),
        (Files(source="file", eval_file="x.json"), "eval", None),
        (Hub(source="hub", id="a/b", eval=7), "eval", 7),
    ],
)
def test_rows_of_a_data_set_that_nobody_has_read(spec, split, rows):
    assert known_rows(spec, split) == rows


def test_a_preset_may_have_runs_of_both_kinds(here, capsys):
    data = small(models={"nano": {"source": "nano"}})
    data["experiments"]["table1"]["models"] = ["nano", "qwen2.5-math-1.5b"]
    data["overrides"] = {"nano": {"training": {"backend": "local"}}}
    assert planned(here, data) == 0
    printed = capsys.readouterr().out
    assert "| qwen2.5-math-1.5b/deepscaler/grpo " in printed.split("local backend")[0]
    assert "| nano/deepscaler/grpo " in printed.split("local backend")[1]


# --- files ---------------------------------------------------------------------------------------


def test_nothing_is_written_beside_the_plan(here):
    assert planned(here, small()) == 0
    assert {path.name for path in here.iterdir()} == {"preset.yaml", "plan"}
    assert {path.name for path in (here / "plan").iterdir()} == {
        "qwen2.5-math-1.5b",
        "plan.md",
        "plan.csv",
    }


def test_scripts_of_runs_that_are_gone_are_removed_and_nothing_else_is(here):
    assert planned(here, small()) == 0
    log = here / "plan/qwen2.5-math-1.5b/deepscaler/adarft/seed1-7.log"
    log.write_text("kept")
    data = small(seeds=[0])
    data["experiments"]["table1"]["methods"] = ["grpo"]
    assert planned(here, data) == 0
    kept = {path.name for path in (here / "plan").rglob("seed*")}
    assert kept == {"seed0.sh", "seed0.verl.txt", log.name}


def test_a_plan_of_the_same_preset_is_the_same(here):
    def state():
        files = (path for path in (here / "plan").rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in files}

    assert planned(here, small()) == 0
    before = state()
    assert planned(here, small()) == 0
    assert state() == before


# --- refusals ------------------------------------------------------------------------------------


def test_a_model_that_cannot_be_sized_is_one_line_and_nothing_is_written(here, capsys):
    data = small(models={"qwen2.5-math-1.5b": {"source": "local", "path": "model"}})
    said = "gainrl: models.qwen2.5-math-1.5b: model: "
    assert planned(here, data) == 2
    assert capsys.readouterr().err == f"{said}no such folder\n"
    (here / "model").mkdir()
    assert planned(here, data) == 2
    assert capsys.readouterr().err == f"{said}has no config.json\n"
    assert not (here / "plan").exists()


def test_only_models_that_are_trained_on_verl_are_sized():
    data = small(models={"spare": {"source": "local", "path": "nowhere"}})
    assert len(rows_of(plan.load(data))) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read the cluster profile: No such file or directory"),
        ("site: [", "cannot read the cluster profile: "),
        ("executor: slurm", "the cluster profile has no block 'site'"),
        ("site: {train_minutes: 2d, train_cpus: 1, train_mem_mb: 1}", "site: train_minutes: "),
        ("a: 1\na: 2\n", "cannot read the cluster profile: the key 'a' stands twice"),
        ("site: {train_minutes: 9, train_cpus: 1}", "site: train_mem_mb: "),
    ],
)
def test_a_profile_that_cannot_be_used(tmp_path, text, words):
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_site(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/config.yaml: {words}")
    assert "\n" not in str(caught.value)


def test_the_profile_fills_in_partition_and_account(here):
    text = "site: {gpu_partition: big, account: 17, train_minutes: 9, train_cpus: 2, "
    (here / "config.yaml").write_text(text + "train_mem_mb: 3, gpu_model: null}")
    assert planned(here, small(), "--profile", ".") == 0
    found = options(next((here / "plan").rglob("seed0.sh")).read_text())
    wanted = {"partition": "big", "account": "17", "gpus-per-node": "8", "time": "9"}
    assert {key: found[key] for key in wanted} == wanted


def test_the_cost_section_is_in_no_slice():
    def slices(data: dict) -> dict:
        preset: Preset = plan.load(data)
        return plan.run_slice(preset, "qwen2.5-math-1.5b", "deepscaler", "adarft")

    assert slices(small()) == slices(small(cost={"peak_tflops": 989.0}))
