"""What the documents promise."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from outcomes import next_batch, outcome
from presets import changed

from gainrl import cli, curricula, plan
from gainrl.curricula import Setting
from gainrl.curricula.registry import ALLOCATIONS, FILTERS, parameters_of
from gainrl.data import registry

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def undecided(tmp_path, monkeypatch):
    """The document's example, as the module that the document saves it as."""
    text = (DOCS / "curricula.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    text = (DOCS / "check-curriculum.md").read_text(encoding="utf-8")
    (test,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "my_policies.py").write_text(example, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield test
    sys.modules.pop("my_policies", None)


UNDECIDED = {"name": "my_policies:Undecided", "floor": 0.001}


@pytest.mark.usefixtures("undecided")
def test_the_example_curriculum_prefers_undecided_prompts_and_resumes_exactly():
    setting = Setting(size=40, batch=8, seed=3)
    policy = curricula.build(UNDECIDED, setting)
    everything = np.arange(40)
    policy.observe(outcome(everything, everything < 10))  # all solved or failed
    policy.observe(outcome(everything[30:], np.full(10, 0.5)))  # but for the last ten
    drawn = np.concatenate([next_batch(policy) for _ in range(50)])
    assert (drawn >= 30).mean() > 0.9
    other = curricula.build(UNDECIDED, setting)
    other.load_state_dict(json.loads(json.dumps(policy.state_dict())))
    assert [next_batch(policy).tolist() for _ in range(5)] == [
        next_batch(other).tolist() for _ in range(5)
    ]


def test_the_example_curriculum_keeps_the_contract_by_the_test_that_is_shown(undecided):
    names = {}
    exec(compile(undecided, "docs/check-curriculum.md", "exec"), names)
    for check in names["CHECKS"]:
        names["test_contract"](check)


@pytest.mark.usefixtures("undecided")
def test_the_commands_that_check_it_run_as_they_are_written(capsys):
    text = (DOCS / "check-curriculum.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    page, tests = map(shlex.split, block.splitlines())
    assert cli.main([*page[1:], "--size", "20000"]) == 0
    assert "| check_state | passed |" in capsys.readouterr().out
    command = [sys.executable, "-m", *tests, "-q"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert "9 passed" in done.stdout


@pytest.mark.usefixtures("undecided")
def test_the_presets_that_are_shown_are_presets():
    pages = ("curricula.md", "training-options.md")
    text = "".join((DOCS / page).read_text(encoding="utf-8") for page in pages)
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    methods = {k: v for each in shown for k, v in each.get("methods", {}).items()}
    assert {"undecided", "mine", "grpo-d3s"} <= set(methods)
    for name, method in methods.items():
        plan.load(changed("methods", name, to=method))


@pytest.mark.parametrize(("first", "known"), [("filter", FILTERS), ("rollouts", ALLOCATIONS)])
def test_the_tables_of_parts_are_those_of_the_registry(first, known):
    text = (DOCS / "curricula.md").read_text(encoding="utf-8")
    lines = text.partition(f"\n| {first} |")[2].partition("\n\n")[0].splitlines()[2:]
    documented = {}
    for line in lines:
        name, _, parameters = (cell.strip() for cell in line[1:-1].split("|"))
        documented[name] = yaml.safe_load(parameters.strip("`")) or {}
    assert documented == {name: parameters_of(part) for name, part in known.items()}


def test_the_table_of_curricula_is_that_of_the_registry():
    text = (DOCS / "curricula.md").read_text(encoding="utf-8")
    section = text.partition("## Curricula that are there")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    documented = {}
    for line in lines:
        name, _, _, parameters, _ = (cell.strip() for cell in line[1:-1].split("|"))
        pairs = re.findall(r"`([^`]*)`", parameters)
        documented[name] = {
            key: value for pair in pairs for key, value in yaml.safe_load(pair).items()
        }
    assert documented == {
        name: parameters_of(policy) for name, policy in curricula.REGISTRY.items()
    }


def test_the_ablations_of_predicted_are_methods_of_a_preset():
    text = (DOCS / "predicted.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    data = changed("methods", to=yaml.safe_load(block)["methods"])
    data["experiments"] = {"table1": {**data["experiments"]["table1"], "methods": ["grpo", "full"]}}
    methods = plan.load(data).methods
    several = [name for name in methods if plan.policy_of(methods[name]).several_draws]
    assert several == ["full", "no-features", "length", "all", "adaptive", "oracle"]
    parameters = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    policy = plan.policy_of(methods["full"]).sampler
    for names, values in parameters:
        for name, value in zip(names.split(","), values.split(","), strict=True):
            default = getattr(policy, name.strip(" `"))
            assert default == yaml.safe_load(value.strip(" `"))


def test_the_table_of_benchmarks_is_that_of_the_registry():
    text = (DOCS / "evaluation.md").read_text(encoding="utf-8")
    section = text.partition("## Benchmarks")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == 11
    for line in lines:
        name, rows, hub, licence, answers, grader = (
            cell.strip() for cell in line.strip("|").split(" | ")
        )
        entry = registry.find(name)
        assert entry.eval is not None
        assert int(rows) == entry.eval.rows - entry.eval.unanswered
        assert getattr(entry.eval.hub, "id", None) == hub
        assert (licence, answers, grader) == (entry.licence, entry.answers, entry.grader)


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "seen_share"), (1, "2 16\n"), (2, "{'target': 23.1")]
)
def test_the_loops_that_are_shown_run_as_they_are_written(number, shown, tmp_path):
    text = (DOCS / "any-loop.md").read_text(encoding="utf-8")
    script = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number]
    (tmp_path / "loop.py").write_text(script, encoding="utf-8")
    code = "import runpy, sys; runpy.run_path('loop.py'); assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
