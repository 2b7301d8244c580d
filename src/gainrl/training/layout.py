"""How a model's sequences are laid out in training: in packed rows, or one a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, cycle, islice
from typing import Any

import torch

from gainrl.errors import ModelError
from gainrl.signals.plain import LEAK, objection, refusing, say
from gainrl.signals.shared_prefix import reach
from gainrl.training.packing import ALONE, Suffix, pack, split_rows, target_logits

HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
"""Keys of configurations that make logits more than a linear map of the last hidden states."""
PREFIX, SIZES, TARGETS = 8, (7, 5), 8
"""Tokens of the rows that packing is tried out on: prefix, short suffixes, targets a suffix."""


def row_tokens_for(
    model: Any, row_tokens: int, prompts: Sequence[Sequence[int]], longest: int, pad: int
) -> int:
    """`row_tokens` where packed rows give what single sequences give, else ALONE, and a line.

    Packing is tried out on tokens of the prompts, in a sequence of `longest` tokens too. Weights,
    gradients and random states stay as they are.

    Args:
        longest: tokens of the longest sequence that there can be.

    Raises:
        ModelError: transformers cannot run the model or not differentiate it, or it sees padding.
    """
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = min(longest, context or longest)
    with _evaluating(model):
        why = _unlike(model, longest) or _objection(model, prompts, longest, pad)
        if why is None:
            return row_tokens
        _check_alone(model, prompts, longest, pad)
    say(model, f"run one sequence a row, not in packed rows ({why}): slower")
    return ALONE


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout within the block."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


def _unlike(model: Any, longest: int) -> str | None:
    """What in the configuration packed rows lack."""
    config = model.config.get_text_config()
    for key in HEAD:
        if getattr(config, key, None) not in (None, 0, 1):
            return f"its {key} is {getattr(config, key)}"
    end = reach(model)
    return f"its attention is windowed from {end:.0f} tokens on" if longest > end else None


def _objection(model: Any, prompts: Sequence[Sequence[int]], longest: int, pad: int) -> str | None:
    """What packed rows gave else than single sequences, or raised."""
    with torch.no_grad():
        with refusing(model):
            expected = _logits(model, ALONE, prompts, longest, pad)
        one_row = PREFIX + longest + sum(SIZES)
        return objection(model, lambda: _logits(model, one_row, prompts, longest, pad), expected)


def _check_alone(model: Any, prompts: Sequence[Sequence[int]], longest: int, pad: int) -> None:
    """Refuse models that see the padding after a sequence, or cannot be differentiated."""
    with torch.no_grad():
        expected = _logits(model, ALONE, prompts, longest, pad)
        with refusing(model):
            padded = _logits(model, ALONE, prompts, longest, pad, together=True)
    why = objection(model, lambda: padded, expected, LEAK)
    if why is not None:
        raise ModelError(
            f"model type '{model.config.model_type}': padding after a sequence changes its logits "
            f"({why}), so it cannot be trained"
        )
    with torch.enable_grad(), refusing(model):
        total = torch.cat(_logits(model, ALONE, prompts, PREFIX + 1, pad)).sum()
        weights = [each for each in model.parameters() if each.requires_grad]
        if weights:
            torch.autograd.grad(total, weights, allow_unused=True)


def _logits(
    model: Any,
    row_tokens: int,
    prompts: Sequence[Sequence[int]],
    longest: int,
    pad: int,
    together: bool = False,
) -> list[torch.Tensor]:
    """(n, V) logits of the last n <= TARGETS tokens of three suffixes of one prefix.

    Rows are run one by one, without padding, or together.
    """
    stream = cycle(chain.from_iterable(prompts))
    prefix = list(islice(stream, PREFIX))
    sizes = (SIZES[0], max(longest - PREFIX, 1), SIZES[1])
    suffixes = [
        Suffix(k, list(islice(stream, size)), max(size - TARGETS, 0))
        for k, size in enumerate(sizes)
    ]
    rows = split_rows(prefix, suffixes, row_tokens)
    batches = [rows] if together else [[row] for row in rows]
    logits = torch.cat([target_logits(model, pack(batch, pad)) for batch in batches])
    return list(logits.split([min(size, TARGETS) for size in sizes]))
