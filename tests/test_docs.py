"""What the documents promise."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from outcomes import outcome
from presets import changed

from gainrl import curricula, plan
from gainrl.curricula import Setting
from gainrl.data import registry

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def undecided():
    text = (DOCS / "curricula.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(block, "docs/curricula.md", "exec"), {"__name__": "undecided"})
    yield
    del curricula.REGISTRY["undecided"]


@pytest.mark.usefixtures("undecided")
def test_the_example_curriculum_prefers_undecided_prompts_and_resumes_exactly():
    setting = Setting(size=40, batch=8, seed=3)
    policy = curricula.build("undecided", {"floor": 0.001}, setting)
    everything = np.arange(40)
    policy.observe(outcome(everything, everything < 10))  # all solved or failed
    policy.observe(outcome(everything[30:], np.full(10, 0.5)))  # but for the last ten
    drawn = np.concatenate([policy.next_batch() for _ in range(50)])
    assert (drawn >= 30).mean() > 0.9
    other = curricula.build("undecided", {"floor": 0.001}, setting)
    other.load_state_dict(json.loads(json.dumps(policy.state_dict())))
    assert [policy.next_batch().tolist() for _ in range(5)] == [
        other.next_batch().tolist() for _ in range(5)
    ]


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
        name: {field.name: field.default for field in dataclasses.fields(policy) if field.init}
        for name, policy in curricula.REGISTRY.items()
    }


def test_the_ablations_of_predicted_are_methods_of_a_preset():
    text = (DOCS / "predicted.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    data = changed("methods", to=yaml.safe_load(block)["methods"])
    data["experiments"] = {"table1": {**data["experiments"]["table1"], "methods": ["grpo", "full"]}}
    methods = plan.load(data).methods
    several = [
        name for name in methods if getattr(plan.policy_of(methods[name]), "several_draws", 0)
    ]
    assert several == ["full", "no-features", "length", "all", "adaptive", "oracle"]
    parameters = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    policy = plan.policy_of(methods["full"])
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
