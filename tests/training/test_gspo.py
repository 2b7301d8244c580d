"""GSPO by hand: one ratio a response, the geometric mean of its tokens'."""

import copy
import math

import pytest
import torch
from trainers import nudge, plain_log_probabilities, trainer_for

from gainrl.config.training import Training
from gainrl.training import algorithms

GSPO, GRPO = algorithms.named("gspo"), algorithms.named("grpo")


def column(*values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def test_advantages_are_those_of_grpo():
    rewards = torch.rand(3, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(GSPO.advantages(rewards), GRPO.advantages(rewards))


@pytest.mark.parametrize(
    ("advantage", "loss", "gradient"),
    [
        (1.0, -1.1, 0.0),  # s = 1.2 is up too far and good: bound at 1.1
        (-1.0, 1.2, 0.6),  # up too far and bad: s A / |y| for each token
    ],
)
def test_a_response_is_clipped_as_a_whole(advantage, loss, gradient):
    """Token ratios 1.44 and 1 have the geometric mean 1.2, though one of them is not clipped."""
    now = column(-1.0 + 2 * math.log(1.2), -2.0, grad=True)
    found, _ = GSPO.loss(
        now,
        column(-1.0, -2.0),
        column(advantage, advantage),
        torch.zeros(2).long(),
        Training(clip=0.1),
    )
    found.backward()
    assert found.item() == pytest.approx(loss)
    torch.testing.assert_close(now.grad, column(gradient, gradient))


def test_the_mean_is_over_responses_whatever_their_lengths():
    """Tokens come in any order; ratios 1 and sqrt(1.1 * 0.9), advantages 2 and -1, clip 0.2."""
    response = torch.tensor([7, 2, 7, 2, 7])
    old = column(-1.0, -1.0, -2.0, -2.0, -3.0)
    now = (old + column(0.0, math.log(1.1), 0.0, math.log(0.9), 0.0)).requires_grad_()
    advantage = column(2.0, -1.0, 2.0, -1.0, 2.0)
    loss, _ = GSPO.loss(now, old, advantage, response, Training())
    assert GSPO.divisor(tokens=5, responses=2, max_response=100) == 2
    ratio = math.sqrt(0.99)
    assert loss.item() / 2 == pytest.approx((-2.0 + ratio) / 2)
    loss.backward()
    third, half = -2 / 3, ratio / 2
    torch.testing.assert_close(now.grad, column(third, half, third, half, third))


def test_the_kl_term_is_averaged_over_responses_too():
    """Two tokens with d = 0 and ln 2, a response of one token with d = -ln 2."""
    now = column(-2.0, -2.0, -2.0)
    reference = now + column(0.0, math.log(2), -math.log(2))
    loss, divergence = GSPO.loss(
        now, now, column(0, 0, 0), torch.tensor([0, 0, 1]), Training(kl=0.5), reference
    )
    wanted = (0 + 1 - math.log(2)) / 2 + math.log(2) - 0.5
    assert divergence.item() == pytest.approx(wanted)
    assert loss.item() == pytest.approx(wanted / 2)


@pytest.mark.parametrize("row_tokens", [1, 70])
def test_the_trainers_gradient_is_that_of_the_paper(
    tokenizer, prompts, table, gradients, row_tokens
):
    """Eq. 5 of the paper, one response at a time, after the policy has moved."""
    trainer = trainer_for(
        tokenizer, prompts, table, algorithm="gspo", clip=0.01, row_tokens=row_tokens
    )
    rollouts, start = trainer._roll_out(), copy.deepcopy(trainer.model)
    rollouts.old = trainer._measure(rollouts)
    nudge(trainer.model)
    total, bound = torch.zeros(()), 0
    for k, response in enumerate(rollouts.responses):
        asked = prompts.tokens[rollouts.rows[k // 4]], response, 1.0
        with torch.no_grad():
            before, _ = plain_log_probabilities(start, *asked)
        now, _ = plain_log_probabilities(trainer.model, *asked)
        ratio, advantage = ((now - before).sum() / len(response)).exp(), rollouts.advantages[k]
        clipped = ratio.clamp(0.99, 1.01)
        bound += int(clipped * advantage < ratio * advantage)
        total = total - torch.minimum(ratio * advantage, clipped * advantage) / 16
    assert 0 < bound < 16
    expected = torch.autograd.grad(total, list(trainer.model.parameters()))
    _, losses = trainer._update(rollouts)
    assert losses["loss"] == pytest.approx(total.item(), rel=1e-4)
    for found, wanted in zip(gradients[0], expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-6, rtol=1e-3)
