"""`gainrl check-curriculum`: a page of a policy of one's own."""

from __future__ import annotations

import re

import pytest

from gainrl.cli import main

POLICIES = """
from dataclasses import dataclass
import numpy as np
from gainrl.curricula import Sampler

@dataclass
class Fine(Sampler):
    share: float = 1.0
    def draw(self, count):
        return self.rng.permutation(self.setting.size)[:count]

class Twice(Fine):
    def draw(self, count):
        return np.zeros(count, dtype=int)

class Forgets(Fine):
    def start(self):
        self.turn = 0
    def draw(self, count):
        return (np.arange(count) + self.turn) % self.setting.size
    def observe(self, outcome):
        self.turn += 1

class Falls(Fine):
    def observe(self, outcome):
        {}["nothing"]

class Listed(Fine):
    def draw(self, count):
        return list(range(count))

class Unasked(Fine):
    def draw(self, count):
        return np.argsort(self.setting.difficulty)[:count]
"""


@pytest.fixture
def policies(tmp_path, monkeypatch):
    (tmp_path / "policies_of_a_test.py").write_text(POLICIES, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "policies_of_a_test"


def test_a_policy_that_keeps_the_contract_has_a_page(policies, capsys):
    arguments = ["--set", "share=0.5", "--size", "5000"]
    assert main(["check-curriculum", f"{policies}:Fine", *arguments]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"# {policies}:Fine, share=0.5\n")
    assert page.count("| passed |") == 9
    assert "failed" not in page
    assert "## Time and memory, 5,000 prompts, 1,024 a step" in page
    numbers = re.search(
        r"ends ([+-][\d.]+) points \[([+-][\d.]+), ([+-][\d.]+)\] from uniform", page
    )
    assert abs(float(numbers[1])) < 3
    assert len(page.splitlines()) < 60


@pytest.mark.parametrize(
    ("name", "check", "said"),
    [
        ("Twice", "check_draws", "drew row 0 twice"),
        ("Forgets", "check_state", "another course after a restart"),
        ("Falls", "check_draws", "KeyError: 'nothing' (policies_of_a_test.py:26)"),
        ("Falls", "check_state", "| as check_draws |"),
        ("Listed", "check_draws", "a draw is list, not a numpy array (P,) of whole numbers"),
        ("Unasked", "check_draws", "drew 1 rows, not 6"),  # it does not say what it needs
    ],
)
def test_a_policy_that_breaks_it_is_told_where_and_is_not_measured(
    policies, tmp_path, name, check, said
):
    out = tmp_path / "page.md"
    assert main(["check-curriculum", f"{policies}:{name}", "--out", str(out)]) == 1
    page = out.read_text(encoding="utf-8")
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {check} |"))
    assert said in line
    assert "Time and memory" not in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "unknown curriculum 'nothing'"),
        (["mopps", "--set", "poool=3"], "has no parameter 'poool'; did you mean 'pool'"),
        (["mopps", "--set", "pool"], "--set pool: not KEY=VALUE"),
        (['{"sampler": "mopps"}', "--set", "pool=3"], "--set pool=3: goes with a name; in JSON"),
        (["[" * 3, "--set", "pool=3"], "unknown curriculum '[[['"),
        (['{"a":' * 10**5], "curriculum: no JSON: nested too deeply"),
        (['{"name"'], "curriculum: no JSON"),
    ],
)
def test_what_is_no_policy_is_one_line(arguments, said, capsys):
    assert main(["check-curriculum", *arguments]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert not shown.out


def test_a_policy_that_reads_states_has_a_page(capsys):
    """Its states are noise there; so what it saves, if anything, is by the prompts' own records."""
    assert main(["check-curriculum", "vip_uniform", "--size", "3000"]) == 0
    page = capsys.readouterr().out
    assert page.count("| passed |") == 9
    assert "from uniform, paired by seed" in page


def test_the_paper_has_policies_that_save_what_dead_prompts_cost(capsys):
    assert main(["check-curriculum", "mopps", "--size", "5000"]) == 0
    found = re.search(r"ends [+-][\d.]+ points \[([+-][\d.]+),", capsys.readouterr().out)
    assert float(found[1]) > 0


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("hive", "the entropy of prompts under the policy"),
        ('{"sampler": "uniform", "rollouts": "noise_batch"}', "the noise of the policy's gradient"),
    ],
)
def test_what_a_simulated_step_does_not_have_is_said_after_the_contract(spec, said, capsys):
    assert main(["check-curriculum", spec]) == 0
    page = capsys.readouterr().out
    assert "check_draws | passed" in page
    assert page.endswith(f"Not measured: it goes by {said}, which a simulated step has not.\n")


@pytest.mark.parametrize("size", ["0", "-5"])
def test_no_prompts_are_one_line(size, capsys):
    assert main(["check-curriculum", "uniform", "--size", size]) == 2
    assert capsys.readouterr().err == f"gainrl: --size {size}: must be at least 1\n"


def test_a_module_that_raises_at_import_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zd.py").write_text("1 / 0\n")
    assert main(["check-curriculum", "zd.py:Policy"]) == 2
    assert capsys.readouterr().err == (
        "gainrl: curriculum: cannot import 'zd.py': ZeroDivisionError: division by zero "
        f"({tmp_path / 'zd.py'}, line 1)\n"
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{}", "curriculum: {} names no sampler"),
        (
            '{"name": 3}',
            "curriculum: {'name': 3} is neither the name of a curriculum nor a mapping",
        ),
        (
            '{"sampler": 3}',
            "curriculum.sampler: 3 is neither the name of a curriculum nor a mapping",
        ),
        ('{"sampler": {}}', "curriculum.sampler: {} is neither the name of a curriculum nor"),
        (
            '{"sampler": "uniform", "filtr": "mixed"}',
            "curriculum: no part of a curriculum is a 'filtr'; did you mean 'filter'?",
        ),
    ],
)
def test_json_that_is_no_composition_is_one_line(spec, said, capsys):
    assert main(["check-curriculum", spec]) == 2
    assert capsys.readouterr().err.startswith(f"gainrl: {said}")
