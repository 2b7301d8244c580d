"""The next token's logits of growing rows: with a cache, or by whole passes where that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch

from gainrl.models.decoding import fast_decoding, roomy_cache, with_cache
from gainrl.models.extrapolated import Extrapolated
from gainrl.signals.plain import keeps_some, objection, plain_logits, say
from gainrl.signals.shared_prefix import probe_of

WAYS = ("fast", "cached", "whole")
"""With a cache and `fast_decoding`, with a cache and the model's own attention, or without."""
TRIED: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
"""The first of WAYS that is right for a model, as it was found out at its first prompts."""
STEPS = 3


class Cached:
    """Left-padded prompts, prefilled once, and their keys and values.

    logits: (B, V) of every row's next token.
    """

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], pad: int, way: str = "fast"
    ) -> None:
        self.model, self.way = model, way
        self.pair = pair = isinstance(model, Extrapolated)
        device = next(model.parameters()).device
        width = max(map(len, prompts))
        inputs = torch.full((len(prompts), width), pad, dtype=torch.long)
        mask = torch.zeros((len(prompts), width), dtype=torch.long)
        for i, row in enumerate(prompts):
            inputs[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = 1
        inputs, self.mask = inputs.to(device), mask.to(device)
        self.cache: Any = model.new_cache() if pair else roomy_cache(model.config)
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)
        last = {"logits_to_keep": 1} if all(map(keeps_some, _parts(model))) else {}
        self._run(inputs, positions, **last)
        self.position = positions[:, -1]

    def _run(self, inputs: torch.Tensor, positions: torch.Tensor, **options: Any) -> None:
        run = self.model.with_cache if self.pair else partial(with_cache, self.model)
        found = run(self.cache, inputs, self.mask, position_ids=positions, **options)
        self.logits: torch.Tensor = found.logits[:, -1]

    def fast(self) -> AbstractContextManager[Any]:
        """To step in."""
        if self.way != "fast":
            return nullcontext()
        return self.model.fast_decoding() if self.pair else fast_decoding(self.model)

    def repeat(self, times: int) -> None:
        """Repeat every row."""
        self.cache.batch_repeat_interleave(times)
        self.logits, self.mask, self.position = (
            each.repeat_interleave(times, 0) for each in (self.logits, self.mask, self.position)
        )

    def keep(self, rows: torch.Tensor) -> None:
        """Keep some rows; their logits are those of the next step."""
        self.cache.batch_select_indices(rows)
        self.mask, self.position = self.mask[rows], self.position[rows]

    def step(self, chosen: torch.Tensor) -> None:
        """Extend every row by a token, (B,)."""
        self.position = self.position + 1
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        self._run(chosen[:, None], self.position[:, None])


class Whole:
    """The same without a cache: all of every row is run at every step."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self.model, self.rows = model, [list(row) for row in prompts]
        self.logits = self._next()

    def _next(self) -> torch.Tensor:
        return torch.stack([one[0] for one in last_logits(self.model, self.rows, 1)])

    def fast(self) -> AbstractContextManager[Any]:
        """To step in."""
        return nullcontext()

    def repeat(self, times: int) -> None:
        """Repeat every row."""
        self.rows = [list(row) for row in self.rows for _ in range(times)]
        self.logits = self.logits.repeat_interleave(times, 0)

    def keep(self, rows: torch.Tensor) -> None:
        """Keep some rows; their logits are those of the next step."""
        self.rows = [self.rows[i] for i in rows.tolist()]

    def step(self, chosen: torch.Tensor) -> None:
        """Extend every row by a token, (B,)."""
        for row, token in zip(self.rows, chosen.tolist(), strict=True):
            row.append(token)
        self.logits = self._next()


def last_logits(model: Any, rows: Sequence[Sequence[int]], last: int) -> list[torch.Tensor]:
    """As `plain_logits`; also of two models as one."""
    if not isinstance(model, Extrapolated):
        return plain_logits(model, rows, last)
    both = (plain_logits(each, rows, last) for each in _parts(model))
    return [model.mix(*pair) for pair in zip(*both, strict=True)]


def _parts(model: Any) -> tuple[Any, ...]:
    return (model.first, model.second) if isinstance(model, Extrapolated) else (model,)


def start(model: Any, prompts: Sequence[Sequence[int]], pad: int) -> Cached | Whole:
    """Rows that begin with prompts; with a cache where that gives what whole passes give.

    That is tried out once a model, on a few of its first prompts.

    Raises:
        ModelError: transformers cannot run the model.
    """
    parts = _parts(model)
    for part in parts:
        if part not in TRIED:
            TRIED[part] = _way(part, prompts, pad)
    way = max((TRIED[part] for part in parts), key=WAYS.index)
    return Whole(model, prompts) if way == "whole" else Cached(model, prompts, pad, way)


def _way(model: Any, prompts: Sequence[Sequence[int]], pad: int) -> str:
    probe = probe_of(prompts)
    forced = [probe[-1][k % len(probe[-1])] for k in range(STEPS)]
    expected = plain_logits(model, [[*row, *forced] for row in probe], STEPS + 1)
    for way in WAYS[:-1]:
        why = objection(model, partial(_stepped, model, probe, forced, pad, way), expected)
        if why is None:
            return way
    say(model, f"decoded without a cache, all of a row at every token ({why}): slower")
    return WAYS[-1]


def _stepped(
    model: Any, prompts: Sequence[Sequence[int]], forced: Sequence[int], pad: int, way: str
) -> list[torch.Tensor]:
    """(STEPS + 1, V) logits of each prompt's next token and of those after the forced ones."""
    rows = Cached(model, prompts, pad, way)
    found = [rows.logits]
    rows.repeat(2)
    rows.keep(torch.arange(len(prompts), device=rows.logits.device) * 2)
    with rows.fast():
        for token in forced:
            rows.step(rows.position.new_full((len(prompts),), token))
            found.append(rows.logits)
    return list(torch.stack(found, 1))
