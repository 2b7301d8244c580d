"""PPO's advantages and value loss by hand, and against formulas written another way."""

import numpy as np
import pytest
import torch

from gainrl.training.algorithms.ppo import explained_variance, gae, value_loss, whiten


def column(*values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def test_advantages_by_hand():
    """delta = (0.9 * 0.6 - 0.5, 0.9 * 0.7 - 0.6, 1 - 0.7), A_t = delta_t + 0.72 A_t+1."""
    values = column([0.5, 0.6, 0.7], [0.5, 0.2, 0.0])
    rewards = column([0.0, 0.0, 1.0], [0.0, 1.0, 0.0])  # the second response has two tokens
    found = gae(values, rewards, discount=0.9, gae_lambda=0.8)
    expected = column([0.04 + 0.72 * 0.246, 0.03 + 0.72 * 0.3, 0.3], [-0.32 + 0.72 * 0.8, 0.8, 0.0])
    torch.testing.assert_close(found, expected)


def test_without_discount_the_return_is_the_reward():
    values = column([0.5, -0.6, 0.7], [0.25, 0.0, 0.0])
    rewards = column([0.0, 0.0, 1.0], [0.5, 0.0, 0.0])
    returns = gae(values, rewards, discount=1.0, gae_lambda=1.0) + values
    torch.testing.assert_close(returns, column([1.0, 1.0, 1.0], [0.5, 0.0, 0.0]))


@pytest.mark.parametrize(("discount", "weight"), [(1.0, 1.0), (1.0, 0.95), (0.9, 0.7), (0.9, 0.0)])
def test_advantages_are_the_weighted_mean_of_n_step_ones(discount, weight):
    """Eq. 16: (1 - lambda) sum of lambda^(n-1) A^(n), the last of which has all the weight left."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=7)
    rewards = np.append(np.zeros(6), 1.5)
    later = np.append(values, 0.0)
    expected = []
    for t in range(7):
        total, left = 0.0, 1.0
        for n in range(1, 8 - t):
            step = sum(discount**i * rewards[t + i] for i in range(n))
            step += discount**n * later[t + n] - values[t]
            share = left if n == 7 - t else (1 - weight) * weight ** (n - 1)
            total, left = total + share * step, left - share
        expected.append(total)
    found = gae(
        torch.tensor(values)[None], torch.tensor(rewards)[None], discount=discount,
        gae_lambda=weight,
    )  # fmt: skip
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


def test_whitening_looks_at_the_tokens_of_responses_only():
    rng = np.random.default_rng(4)
    given, mask = torch.tensor(rng.normal(3, 5, (4, 6))), torch.tensor(rng.random((4, 6)) < 0.6)
    found = whiten(given, mask)
    chosen = given[mask].numpy()
    wanted = (chosen - chosen.mean()) / np.sqrt(chosen.var(ddof=1) + 1e-8)
    np.testing.assert_allclose(found[mask], wanted, atol=1e-12)
    assert not found[~mask].any()
    assert torch.equal(whiten(given.masked_fill(~mask, 9.0), mask), found)


def test_advantages_that_are_all_equal_are_whitened_to_zero():
    assert not whiten(torch.full((2, 3), 0.25), torch.ones(2, 3, dtype=torch.bool)).any()


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "gradient"),
    [
        (1.0, 1.0, 3.0, 2.0, -2.0),  # not moved: plain half squared error
        (1.3, 1.0, 3.0, 0.5 * 1.7**2, -1.7),  # within 0.5
        (1.8, 1.0, 3.0, 0.5 * 1.5**2, 0.0),  # moved too far towards the target
        (1.8, 1.0, 0.0, 0.5 * 1.8**2, 1.8),  # moved too far away from it
        (0.2, 1.0, -3.0, 0.5 * 3.5**2, 0.0),
    ],
)
def test_the_value_loss_by_hand(value, old, target, loss, gradient):
    now = column(value, grad=True)
    found = value_loss(now, column(old), column(target), clip=0.5)
    found.backward()
    assert found.item() == pytest.approx(loss)
    assert now.grad.item() == pytest.approx(gradient)


def test_explained_variance_of_a_perfect_a_constant_and_a_wrong_critic():
    returns = column(0.0, 1.0, 1.0, 0.0)
    for values, expected in ((returns, 1.0), (torch.full((4,), 0.3), 0.0), (1 - returns, -3.0)):
        assert explained_variance(values, returns) == pytest.approx(expected, abs=2e-4)
