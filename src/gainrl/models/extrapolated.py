"""From two models to one further along the line through them: in the weights, or in the logits.

Both formulas are those of the work on the linearity of RLVR (arXiv:2601.04537, eq. 1 and 2), with a
= (t' - t0) / (t1 - t0) for models at RL steps t0 and t1 and a target t'. Weights: W0 + a (W1 - W0)
in fp32, once. Logits: l0 + a (l1 - l0), token by token with both models live; temperature and top-p
come after.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import chain
from typing import Any, NamedTuple

import torch

from gainrl.errors import ModelError
from gainrl.models.decoding import fast_decoding, roomy_cache, with_cache


def extrapolated_weights(first: Any, second: Any, factor: float) -> Any:
    """A copy of `second` with the weights first + factor * (second - first).

    A factor of 0 gives the first model's weights exactly, a factor of 1 the second's.

    Raises:
        ModelError: the two do not have the same weights.
    """
    made, begin = copy.deepcopy(second), dict(first.named_parameters())
    with torch.no_grad():
        for name, weight in made.named_parameters():
            other = begin.pop(name, None)
            if other is None or other.shape != weight.shape:
                raise ModelError(_unlike(first, second, f"of '{name}'"))
            weight.copy_(torch.lerp(other.float(), weight.float(), factor))
    if begin:
        raise ModelError(_unlike(first, second, f"of '{next(iter(begin))}'"))
    return made


class Logits(NamedTuple):
    """What is used of a model's output: (B, L, V) logits in fp32."""

    logits: torch.Tensor


class CachePair:
    """The keys and values of two models, whose rows come and go together."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = roomy_cache(first.config), roomy_cache(second.config)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        for cache in (self.first, self.second):
            cache.batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows."""
        for cache in (self.first, self.second):
            cache.batch_select_indices(indices)


class Extrapolated:
    """A model whose logits are first + factor * (second - first); for `generate` as any other.

    A factor of 0 gives the first model's logits exactly, a factor of 1 the second's.

    Raises:
        ModelError: the vocabularies differ in size.
    """

    def __init__(self, first: Any, second: Any, factor: float) -> None:
        if _vocabulary(first) != _vocabulary(second):
            sizes = f"{_vocabulary(first)} and {_vocabulary(second)} tokens"
            raise ModelError(_unlike(first, second, f"of the vocabulary: {sizes}"))
        self.first, self.second, self.factor = first, second, factor
        self.config, self.generation_config = second.config, second.generation_config

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The weights of both."""
        return chain(self.first.parameters(), self.second.parameters())

    def new_cache(self) -> CachePair:
        """An empty cache for each of the two."""
        return CachePair(self.first, self.second)

    def fast_decoding(self) -> AbstractContextManager[Any]:
        """As `decoding.fast_decoding`, for both."""
        stack = ExitStack()
        for model in (self.first, self.second):
            stack.enter_context(fast_decoding(model))
        return stack

    def mix(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Logits of the two models as one, in fp32."""
        return torch.lerp(first.float(), second.float(), self.factor)

    def with_cache(
        self, cache: CachePair, input_ids: torch.Tensor, mask: torch.Tensor, **options: Any
    ) -> Logits:
        """As `decoding.with_cache`, for both."""
        both = ((self.first, cache.first), (self.second, cache.second))
        found = [with_cache(model, own, input_ids, mask, **options) for model, own in both]
        return Logits(self.mix(found[0].logits, found[1].logits))


def _vocabulary(model: Any) -> int:
    return int(model.get_output_embeddings().weight.shape[0])


def _unlike(first: Any, second: Any, what: str) -> str:
    both = f"{first.name_or_path or 'the first'} and {second.name_or_path or 'the second'}"
    return f"{both}: no line goes through two models that differ in the shape {what}"
