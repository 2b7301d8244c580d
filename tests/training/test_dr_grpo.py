"""Dr. GRPO by hand: no division by the standard deviation, and none by a response's length."""

import pytest
import torch
from trainers import plain_log_probabilities, trainer_for

from gainrl.config.training import Training
from gainrl.training import algorithms

DR_GRPO = algorithms.named("dr_grpo")


def test_advantages_by_hand():
    """(1, 0, 0, 0): mean 1/4; (2, 4, 6, 8): mean 5."""
    found = DR_GRPO.advantages(torch.tensor([[1.0, 0, 0, 0], [2, 4, 6, 8]]))
    torch.testing.assert_close(
        found, torch.tensor([[0.75, -0.25, -0.25, -0.25], [-3.0, -1.0, 1.0, 3.0]])
    )


def test_a_token_weighs_the_same_whatever_the_lengths():
    """Two responses of 2 and 1 tokens, at most 10: each token counts 1 / (2 * 10)."""
    now = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    advantage, response = torch.tensor([0.5, 0.5, -0.5]), torch.tensor([0, 0, 1])
    loss, _ = DR_GRPO.loss(now, now.detach(), advantage, response, Training())
    divisor = DR_GRPO.divisor(tokens=3, responses=2, max_response=10)
    assert divisor == 20
    (loss / divisor).backward()
    torch.testing.assert_close(now.grad, torch.tensor([-0.025, -0.025, 0.025]))
    assert loss.item() / divisor == pytest.approx(-0.025)


def test_the_trainers_gradient_is_that_of_the_paper(tokenizer, prompts, table, gradients):
    """Mean over responses of sum over tokens of A log pi, divided by the longest length."""
    trainer = trainer_for(tokenizer, prompts, table, algorithm="dr_grpo")
    rollouts = trainer._roll_out()
    assert len(set(rollouts.lengths)) > 3
    total = torch.zeros(())
    for k, response in enumerate(rollouts.responses):
        prompt = prompts.tokens[rollouts.rows[k // 4]]
        group = rollouts.rewards[k // 4 * 4 : k // 4 * 4 + 4]
        now, _ = plain_log_probabilities(trainer.model, prompt, response, 1.0)
        total = total - (rollouts.rewards[k] - group.mean()) * now.sum() / 16 / 12
    expected = torch.autograd.grad(total, list(trainer.model.parameters()))
    trainer._update(rollouts)
    for found, wanted in zip(gradients[0], expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)
