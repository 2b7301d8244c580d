"""What the documents promise."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from gainrl import curricula
from gainrl.curricula import Outcome, Setting

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def undecided():
    text = (DOCS / "curricula.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(block, "docs/curricula.md", "exec"), {"__name__": "undecided"})
    yield
    del curricula.REGISTRY["undecided"]


def _outcome(rows, accuracy):
    zeros = np.zeros(len(rows))
    return Outcome(rows, np.asarray(accuracy, dtype=float), zeros, zeros, zeros.astype(np.int64))


@pytest.mark.usefixtures("undecided")
def test_the_example_curriculum_prefers_undecided_prompts_and_resumes_exactly():
    setting = Setting(size=40, batch=8, seed=3)
    policy = curricula.build("undecided", {"floor": 0.001}, setting)
    everything = np.arange(40)
    policy.observe(_outcome(everything, everything < 10))  # all solved or failed
    policy.observe(_outcome(everything[30:], np.full(10, 0.5)))  # but for the last ten
    drawn = np.concatenate([policy.next_batch() for _ in range(50)])
    assert (drawn >= 30).mean() > 0.9
    other = curricula.build("undecided", {"floor": 0.001}, setting)
    other.load_state_dict(json.loads(json.dumps(policy.state_dict())))
    assert [policy.next_batch().tolist() for _ in range(5)] == [
        other.next_batch().tolist() for _ in range(5)
    ]
