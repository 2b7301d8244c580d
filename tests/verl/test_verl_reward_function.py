"""The grader as a reward function in verl: found by its own loader, called as its loop does."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from place import PYTHON

CODE = """
import json
from omegaconf import OmegaConf
from verl.trainer.ppo.reward import get_custom_reward_fn
where = {"path": "pkg://gainrl.grading.rewards", "name": "compute_score"}
reward = {"reward": {"custom_reward_function": {**where, "reward_kwargs": {"grader": "maths"}}}}
score = get_custom_reward_fn(OmegaConf.create(reward))
said = {"data_source": "mine", "extra_info": {"num_turns": None, "rollout_reward_scores": {}}}
print(json.dumps(score(solution_str="so \\\\boxed{1/2}", ground_truth="0.5", **said)))
"""


@pytest.mark.verl
def test_verl_finds_the_function_that_the_document_names():
    done = subprocess.run(
        [PYTHON, "-c", CODE], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "score": 1.0,
        "acc": 1.0,
        "extracted": "1/2",
        "reason": "same number",
        "rule": "box",
    }
