"""GRPO's advantage, clipped surrogate and KL estimator against the textbook, by hand."""

import math

import pytest
import torch

from gainrl.config.training import Training
from gainrl.training import algorithms

GRPO = algorithms.named("grpo")


def column(*values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def policy_loss(now, *others, reference=None, **keys):
    """GRPO's, of tokens of one response; keys of `training`."""
    response = torch.zeros(len(now), dtype=torch.long)
    return GRPO.loss(now, *others, response, Training(**keys), reference)


def test_advantages_by_hand():
    """(1, 0, 0, 0): mean 1/4, unbiased std 1/2; (1, 1, 0, 0): mean 1/2, std sqrt(1/3)."""
    rewards = torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 0], [2, 4, 6, 8]])
    third = 0.5 / math.sqrt(1 / 3)
    spread = math.sqrt(20 / 3)
    expected = torch.tensor(
        [
            [1.5, -0.5, -0.5, -0.5],
            [third, third, -third, -third],
            [-3 / spread, -1 / spread, 1 / spread, 3 / spread],
        ]
    )
    torch.testing.assert_close(GRPO.advantages(rewards), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [2, 3, 7, 8])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 0.7, 1 / 3])
def test_equal_rewards_have_no_advantage(size, value):
    """Exactly none: the mean of equal fractions may differ from them in the last bit."""
    rewards = torch.full((2, size), value)
    rewards[1, 0] = 5.0
    advantages = GRPO.advantages(rewards)
    assert torch.equal(advantages[0], torch.zeros(size))
    assert advantages[1].all()


def textbook(now, old, advantage, clip, kl, reference):
    """Token by token, in Python."""
    total, divergence = torch.zeros((), dtype=torch.float64), 0.0
    for i in range(len(now)):
        ratio = torch.exp(now[i] - old[i])
        limited = min(max(ratio.item(), 1 - clip), 1 + clip)
        plain, bound = ratio * advantage[i], limited * advantage[i]
        total = total - (plain if plain.item() <= bound.item() else bound)
        if reference is not None:
            odds = torch.exp(reference[i]) / torch.exp(now[i])
            k3 = odds - torch.log(odds) - 1
            total = total + kl * k3
            divergence += k3.item()
    return total, divergence


@pytest.mark.parametrize("clip", [0.2, 0.05])
@pytest.mark.parametrize("kl", [None, 0.001, 0.7])
def test_loss_and_gradient_equal_the_textbook(clip, kl):
    generator = torch.Generator().manual_seed(2)

    def draw():
        return torch.randn(60, generator=generator, dtype=torch.float64)

    start, advantage = draw() - 3, draw()
    old, reference = start + 0.3 * draw(), None if kl is None else start + 0.3 * draw()
    mine = start.clone().requires_grad_()
    loss, divergence = policy_loss(mine, old, advantage, clip=clip, kl=kl or 0, reference=reference)
    loss.backward()
    theirs = start.clone().requires_grad_()
    expected, total = textbook(theirs, old, advantage, clip, kl, reference)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(mine.grad, theirs.grad)
    assert float(divergence) == pytest.approx(total)
    assert not divergence.requires_grad
    ratio = torch.exp(start - old)
    assert ((ratio - 1).abs() > clip).any()
    assert ((ratio - 1).abs() < clip).any()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.25, 2.0, -2.5, -2.5),  # beyond 1.2, within 1.28
        (1.5, 2.0, -2.56, 0.0),  # up too far and good: bound at 1.28
        (0.7, -2.0, 1.6, 0.0),  # down too far and bad: bound at .8, as without
        (1.5, -2.0, 3.0, 3.0),
    ],
)
def test_the_upper_bound_may_be_further_off_than_the_lower(ratio, advantage, loss, gradient):
    """DAPO's clip-higher (arXiv 2503.14476, Eq. 10): 1 - clip to 1 + clip_high."""
    now = column(math.log(ratio), grad=True)
    value, _ = policy_loss(now, column(0.0), column(advantage), clip=0.2, clip_high=0.28)
    value.backward()
    assert value.item() == pytest.approx(loss)
    assert now.grad.item() == pytest.approx(gradient, abs=1e-12)


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "loss", "gradient"),
    [
        (0.0, 2.0, -2.0, -2.0),  # the first update: plain policy gradient
        (math.log(1.1), 2.0, -2.2, -2.2),
        (math.log(1.5), 2.0, -2.4, 0.0),  # up too far and good: bound
        (math.log(1.5), -2.0, 3.0, 3.0),  # up too far and bad: not bound
        (math.log(0.5), 2.0, -1.0, -1.0),  # down too far and good: not bound
        (math.log(0.5), -2.0, 1.6, 0.0),  # down too far and bad: bound
        (math.log(1.5), 0.0, 0.0, 0.0),
    ],
)
def test_the_clip_binds_only_where_it_would_reward(log_ratio, advantage, loss, gradient):
    now = column(-1.0 + log_ratio, grad=True)
    value, divergence = policy_loss(now, column(-1.0), column(advantage), clip=0.2)
    value.backward()
    assert value.item() == pytest.approx(loss)
    assert now.grad.item() == pytest.approx(gradient, abs=1e-12)
    assert divergence.item() == 0.0


@pytest.mark.parametrize(
    ("bound", "ratio", "advantage", "loss", "gradient"),
    [
        (3.0, 2.9, -2.0, 5.8, 5.8),
        (3.0, 3.1, -2.0, 6.0, 0.0),  # up very far and bad: bound at 3
        (1.1, 1.15, -2.0, 2.2, 0.0),  # also nearer to 1 than `clip`
        (1.1, 1.15, 2.0, -2.3, -2.3),  # only where the advantage is negative
        (None, 50.0, -2.0, 100.0, 100.0),
    ],
)
def test_the_second_bound_holds_bad_tokens_that_have_become_likely(
    bound, ratio, advantage, loss, gradient
):
    now = column(-9.0 + math.log(ratio), grad=True)
    value, _ = policy_loss(now, column(-9.0), column(advantage), clip_negative=bound)
    value.backward()
    assert value.item() == pytest.approx(loss)
    assert now.grad.item() == pytest.approx(gradient, abs=1e-12)


def test_the_kl_estimator_by_hand():
    """d = ln 2: 2 - ln 2 - 1; d = -ln 2: 1/2 + ln 2 - 1; d = 0: 0. Its gradient is 1 - exp(d)."""
    now = column(-2.0, -2.0, -2.0, grad=True)
    reference = now.detach() + column(math.log(2), -math.log(2), 0.0)
    loss, divergence = policy_loss(
        now, now.detach(), column(0.0, 0.0, 0.0), clip=0.2, kl=0.5, reference=reference
    )
    loss.backward()
    assert divergence.item() == pytest.approx(0.5)  # 2 + 1/2 - 2
    assert loss.item() == pytest.approx(0.25)
    torch.testing.assert_close(now.grad, 0.5 * column(-1.0, 0.5, 0.0))


def test_the_kl_estimate_is_unbiased_over_the_policy():
    """Its mean under the policy is KL(policy | reference)."""
    policy = torch.log_softmax(column(0.1, 1.3, -0.7, 0.4), 0)
    reference = torch.log_softmax(column(0.9, 0.2, -0.1, -1.5), 0)
    each = torch.stack(
        [
            policy_loss(p[None], p[None], column(0.0), clip=0.2, kl=1.0, reference=r[None])[1]
            for p, r in zip(policy, reference, strict=True)
        ]
    )
    assert (each >= 0).all()
    exact = (policy.exp() * (policy - reference)).sum()
    torch.testing.assert_close((policy.exp() * each).sum(), exact)
