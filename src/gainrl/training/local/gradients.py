"""Per-prompt gradient norms of the GRPO loss: what Eq. 4 says the angles stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch

from gainrl.config.preset import Training
from gainrl.data.prompts import Prompts
from gainrl.grading.graders import Reward
from gainrl.models.loading import end_tokens, pad_token
from gainrl.models.sampling import Sampling, generate
from gainrl.models.texts import texts_of
from gainrl.training import algorithms
from gainrl.training.layout import row_tokens_for
from gainrl.training.packing import Suffix, log_probabilities, micro_batches, pack, split_rows

GRPO = algorithms.named("grpo")


def gradient_norms(
    model: Any,
    tokenizer: Any,
    prompts: Prompts,
    answers: Sequence[str],
    settings: Training,
    rollouts: int,
    seed: int,
    reward: Reward,
) -> pd.DataFrame:
    """Norm of the whole model's gradient for each prompt by itself, without an update.

    The loss is GRPO's: clipped policy gradient over the group's tokens, divided by their number,
    without a KL term. A group of equal rewards has norm 0.

    Args:
        rollouts: responses a prompt; the group of the loss.

    Returns:
        id, gradient_norm, pass_rate, rollouts.
    """
    place = next(model.parameters()).device
    generator = torch.Generator(device=place).manual_seed(seed)
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_response)
    ends, pad = end_tokens(model, tokenizer), pad_token(model, tokenizer)
    longest = max(map(len, prompts.tokens)) + settings.max_response
    row_tokens = row_tokens_for(model, settings.row_tokens, prompts.tokens, longest, pad)
    settings = settings.model_copy(update={"row_tokens": row_tokens})
    found = []
    for name, tokens, gold in zip(prompts.ids, prompts.tokens, answers, strict=True):
        responses = generate(model, [tokens], rollouts, sampling, generator, ends=ends, pad=pad)
        texts = texts_of(tokenizer, responses)
        rewards = torch.tensor([reward(texts, [gold] * len(texts))])
        advantages = GRPO.advantages(rewards)[0]
        norm = 0.0
        if advantages.any():
            norm = _norm(model, tokens, responses, advantages.to(place), settings, pad)
        found.append((name, norm, float(rewards.mean()), rollouts))
    return pd.DataFrame(found, columns=["id", "gradient_norm", "pass_rate", "rollouts"])


def _norm(
    model: Any,
    prompt: Sequence[int],
    responses: Sequence[Sequence[int]],
    advantages: torch.Tensor,
    settings: Training,
    pad: int,
) -> float:
    model.zero_grad(set_to_none=True)
    rows = split_rows(prompt, [Suffix(k, r) for k, r in enumerate(responses)], settings.row_tokens)
    tokens = sum(map(len, responses))
    divisor = GRPO.divisor(tokens, len(responses), settings.max_response)
    for batch in micro_batches(rows, settings.micro_batch_tokens):
        packed = pack(batch, pad)
        now, _ = log_probabilities(model, packed, settings.temperature)
        owner = packed.suffix.to(advantages.device)
        loss, _ = GRPO.loss(now, now.detach(), advantages[owner], owner, settings)
        (loss / divisor).backward()
    squares = [p.grad.double().square().sum() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    return float(torch.stack(squares).sum().sqrt())
