"""RLOO by hand: the other responses' mean is the baseline."""

import pytest
import torch

from gainrl.config.training import Training
from gainrl.training import algorithms

RLOO = algorithms.named("rloo")


def test_advantages_by_hand():
    """(1, 0, 0, 0): 1 - 0, then 0 - 1/3 each; (2, 4, 6): 2 - 5, 4 - 4, 6 - 3."""
    found = RLOO.advantages(torch.tensor([[1.0, 0, 0, 0]]))
    torch.testing.assert_close(found, torch.tensor([[1, -1 / 3, -1 / 3, -1 / 3]]))
    found = RLOO.advantages(torch.tensor([[2.0, 4.0, 6.0]]))
    torch.testing.assert_close(found, torch.tensor([[-3.0, 0.0, 3.0]]))


def test_the_baseline_is_the_mean_of_the_others():
    rewards = torch.rand(5, 7, generator=torch.Generator().manual_seed(1))
    others = [[row[[*range(i), *range(i + 1, 7)]].mean() for i in range(7)] for row in rewards]
    torch.testing.assert_close(RLOO.advantages(rewards), rewards - torch.tensor(others))


def test_the_first_update_is_reinforce():
    """The gradient of a token's log-probability is minus the advantage over the batch's tokens."""
    now = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    advantage, response = torch.tensor([1.0, 1.0, -0.5]), torch.tensor([0, 0, 1])
    loss, _ = RLOO.loss(now, now.detach(), advantage, response, Training())
    assert RLOO.divisor(tokens=3, responses=2, max_response=100) == 3
    (loss / 3).backward()
    torch.testing.assert_close(now.grad, -advantage / 3)
    assert loss.item() == pytest.approx(-1.5)
