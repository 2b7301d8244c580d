"""The registry of algorithms: a file is an algorithm, without torch, and a preset may name it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from presets import changed, error_of
from trainers import same, through_a_file, trainer_for, weights

import gainrl.training.algorithms as algorithms
from gainrl import plan
from gainrl.errors import ConfigError
from gainrl.training.algorithms.base import Algorithm, register

FOLDER = Path(algorithms.__file__).parent
GROUP_RELATIVE = [name for name, each in algorithms.REGISTRY.items() if not each.critic]


def test_every_file_is_an_algorithm_of_its_name():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "base"}
    assert set(algorithms.REGISTRY) == files
    assert {"dr_grpo", "grpo", "gspo", "ppo", "rloo"} <= files
    assert all(each.name == name for name, each in algorithms.REGISTRY.items())


def test_torch_is_not_imported():
    code = "import sys, gainrl.training.algorithms; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("backend", ["local", "verl"])
@pytest.mark.parametrize("name", sorted(algorithms.REGISTRY))
def test_a_preset_names_it_on_both_backends(name, backend):
    data = changed("methods", "grpo", "algorithm", to=name)
    data["training"]["backend"] = backend
    preset = plan.load(data)
    found = plan.run_slice(preset, "nano", "chain", "grpo")
    assert found["method"]["algorithm"] == name
    assert ("ppo" in found) is algorithms.named(name).critic


def test_an_unknown_one_is_refused_with_the_nearest():
    expected = "methods.grpo.algorithm: unknown algorithm 'grop'; did you mean 'grpo'?"
    assert error_of(changed("methods", "grpo", "algorithm", to="grop")).endswith(expected)
    with pytest.raises(ConfigError, match="algorithm: unknown algorithm 'rlo'"):
        algorithms.named("rlo")


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="'grpo' is registered twice"):
        register("grpo")(Algorithm)


@pytest.mark.parametrize("name", GROUP_RELATIVE)
def test_the_closed_form_for_rewards_of_0_and_1_is_the_mean_absolute_advantage(name):
    """What the simulator uses, which has accuracies and no responses."""
    algorithm = algorithms.named(name)
    for size in (1, 2, 5, 8):
        correct = torch.arange(size + 1)
        rewards = (torch.arange(size) < correct[:, None]).double()
        found = algorithm.mean_abs_advantage(
            correct.numpy() / size, np.full(size + 1, size, dtype=np.int64)
        )
        if size > 1:
            wanted = algorithm.advantages(rewards).abs().mean(1)
            np.testing.assert_allclose(found, wanted, atol=1e-12)
        else:
            assert not found.any()


@pytest.mark.parametrize("name", GROUP_RELATIVE)
def test_groups_of_equal_rewards_have_no_advantage(name):
    rewards = torch.tensor([[0.1, 0.1, 0.1], [0.1, 0.1, 5.0]])
    advantages = algorithms.named(name).advantages(rewards)
    assert torch.equal(advantages[0], torch.zeros(3))
    assert advantages[1].all()


# --- in the trainer ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GROUP_RELATIVE)
def test_one_token_a_response_and_one_update_differ_by_advantages_alone(
    name, tokenizer, prompts, table, gradients
):
    """Then the ratio is 1 and all aggregations are means over responses."""
    trainer = trainer_for(tokenizer, prompts, table, algorithm=name, max_response=1)
    rollouts = trainer._roll_out()
    wanted = algorithms.named(name).advantages(rollouts.rewards.view(4, 4)).flatten()
    torch.testing.assert_close(rollouts.advantages, wanted)
    _, losses = trainer._update(rollouts)
    assert losses["loss"] == pytest.approx(-wanted.mean().item(), abs=1e-6)
    other = trainer_for(tokenizer, prompts, table, max_response=1)
    assert same(weights(other), weights(trainer_for(tokenizer, prompts, table)))
    mine = other._roll_out()
    mine.advantages = wanted
    other._update(mine)
    for found, expected in zip(gradients[0], gradients[1], strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", GROUP_RELATIVE)
def test_a_run_goes_on_exactly(name, tokenizer, prompts, table):
    def make():
        return trainer_for(tokenizer, prompts, table, algorithm=name, mini_batch=2, kl=0.1)

    trainer = make()
    trainer.step()
    state = through_a_file(trainer.state_dict())
    expected = [trainer.step()[0] for _ in range(2)]
    again = make()
    again.load_state_dict(state)
    assert [again.step()[0] for _ in range(2)] == expected
    assert same(weights(trainer), weights(again))
