"""What a preset is refused for before anything is run, beyond its own sections."""

import pytest

from gainrl import plan
from gainrl.errors import ConfigError


def preset(data, **more):
    return {
        "preset": "own",
        "seeds": [0],
        "models": {"nano": {"source": "nano"}},
        "datasets": {"mine": data, "chain": {"source": "generate", "task": "chain"}},
        "training": {"steps": 4, "prompts": 4, "rollouts": 2, "max_response": 8},
        "methods": {"grpo": {"curriculum": "uniform"}},
        "experiments": {
            "table1": {"models": ["nano"], "datasets": ["mine"], "methods": ["grpo"], **more}
        },
    }


@pytest.mark.parametrize(
    "data",
    [
        {"source": "file", "train_file": "train.jsonl"},
        {"source": "hub", "id": "a/b", "eval_split": None},
        {"source": "registry", "name": "deepscaler"},
        {"source": "registry", "name": "gsm8k", "eval": 0},
    ],
)
def test_a_data_set_without_held_out_prompts_cannot_test_its_runs(data):
    with pytest.raises(ConfigError, match=r"experiments\.table1: data set 'mine' has no held-out"):
        plan.load(preset(data))
    assert plan.runs(plan.load(preset(data, benchmarks=["chain"])))


def test_nor_what_is_measured_on_held_out_prompts():
    data = {"source": "file", "train_file": "train.jsonl"}
    asked = preset(data, benchmarks=["chain"])
    linear = {"models": ["nano"], "datasets": ["mine"], "methods": ["grpo"], "every": 1}
    linear |= {"prompts": 2, "samples": 2, "walks": 10, "extrapolate": []}
    with pytest.raises(ConfigError, match="linearity: data set 'mine' has no held-out"):
        plan.load({**asked, "linearity": linear})
