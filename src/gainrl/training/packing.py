"""Packed log-probabilities: sequences with a common start share its computation.

A row holds one prefix (a prompt, or the prefix that a data set shares) and several suffixes (the
group's responses, or questions with their solutions). Every suffix sees the prefix and itself, so
the result equals that of separate sequences, but the prefix is run once: a group of 8 rollouts
costs one prompt, not eight. The same forward pass yields the prompt's hidden states, from which the
angle signal is taken at no further cost. Of models that this is not right for
(gainrl.training.layout) every row is one sequence, alone, which the model's own forward pass runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gainrl.signals.plain import keeps_some
from gainrl.signals.taps import decoder_of

ALONE = 0
"""In place of a row's tokens: one sequence a row, for the model's own forward pass."""


@dataclass(frozen=True)
class Suffix:
    """Tokens after the prefix; `index` says whose they are, predictions start at `first`."""

    index: int
    tokens: Sequence[int]
    first: int = 0


@dataclass(frozen=True)
class PackedRow:
    """One prefix with its suffixes; with at most one if it is `alone`."""

    prefix: Sequence[int]
    suffixes: Sequence[Suffix]
    index: int = 0
    alone: bool = False

    @property
    def length(self) -> int:
        """Tokens in the row."""
        return len(self.prefix) + sum(len(suffix.tokens) for suffix in self.suffixes)


@dataclass(frozen=True)
class Packed:
    """A micro-batch of R rows padded to L tokens.

    inputs, positions: (R, L); mask: (R, 1, L, L) bool, true where a token may look, or None of rows
    that are alone: padding comes after them, so causality hides it; source: (T,) flat positions in
    R * L of the states that predict the T target tokens; targets: (T,); suffix: (T,) index of the
    suffix that a target belongs to; prefixes: (R,) prefix lengths.
    """

    inputs: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor | None
    source: torch.Tensor
    targets: torch.Tensor
    suffix: torch.Tensor
    prefixes: torch.Tensor
    rows: Sequence[PackedRow]

    @property
    def places(self) -> torch.Tensor:
        """(T,) which token of its suffix a target is, from 0 on."""
        row = self.source // self.inputs.shape[1]
        return self.positions.flatten()[self.source] + 1 - self.prefixes[row]


def split_rows(
    prefix: Sequence[int], suffixes: Sequence[Suffix], row_tokens: int, index: int = 0
) -> list[PackedRow]:
    """Deal suffixes out to rows of at most `row_tokens` (but at least one suffix a row)."""
    if row_tokens == ALONE:
        return [PackedRow(prefix, [suffix], index, alone=True) for suffix in suffixes]
    rows: list[PackedRow] = []
    current: list[Suffix] = []
    length = len(prefix)
    for suffix in suffixes:
        if current and length + len(suffix.tokens) > row_tokens:
            rows.append(PackedRow(prefix, current, index))
            current, length = [], len(prefix)
        current.append(suffix)
        length += len(suffix.tokens)
    return [*rows, PackedRow(prefix, current, index)] if current else rows


def micro_batches(rows: Sequence[PackedRow], tokens: int) -> Iterator[list[PackedRow]]:
    """Rows by length, in batches of at most `tokens` tokens with padding (at least one row)."""
    batch: list[PackedRow] = []
    for row in sorted(rows, key=lambda row: row.length):
        if batch and row.length * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def pack(rows: Sequence[PackedRow], pad: int) -> Packed:
    """Lay rows out as tensors. The prefix p0 p1 with the suffixes a0 a1 a2 and b0 b1 becomes

    inputs     p0  p1  a0  a1  a2  b0  b1
    positions   0   1   2   3   4   2   3    every suffix goes on where the prefix ends
    segment     0   0   1   1   1   2   2    a token sees its own segment and 0 (`_mask`)
    source              1   2   3   1   5    where it is predicted: b0 after p1, not after a2
    """
    width = max(row.length for row in rows)
    inputs = torch.full((len(rows), width), pad)
    positions = torch.zeros((len(rows), width), dtype=torch.long)
    segment = torch.full((len(rows), width), -1)
    source: list[int] = []
    targets: list[int] = []
    owner: list[int] = []
    for r, row in enumerate(rows):
        end = len(row.prefix)
        tokens, places, parts = list(row.prefix), list(range(end)), [0] * end
        for number, suffix in enumerate(row.suffixes, start=1):
            start, size = len(tokens), len(suffix.tokens)
            for j in range(suffix.first, size):
                source.append(r * width + (start + j - 1 if j else end - 1))
            targets += suffix.tokens[suffix.first :]
            owner += [suffix.index] * (size - suffix.first)
            tokens += suffix.tokens
            places += range(end, end + size)
            parts += [number] * size
        inputs[r, : len(tokens)] = torch.tensor(tokens)
        positions[r, : len(tokens)] = torch.tensor(places)
        segment[r, : len(tokens)] = torch.tensor(parts)
    return Packed(
        inputs,
        positions,
        None if rows[0].alone else _mask(segment),
        torch.tensor(source, dtype=torch.long),  # there are none if no row has a suffix
        torch.tensor(targets, dtype=torch.long),
        torch.tensor(owner, dtype=torch.long),
        torch.tensor([len(row.prefix) for row in rows]),
        rows,
    )


def _mask(segment: torch.Tensor) -> torch.Tensor:
    """(R, 1, L, L) from (R, L) parts: 0 the prefix, then the suffixes, -1 after the row's end."""
    width = segment.shape[1]
    same = segment[:, :, None] == segment[:, None, :]
    mask = (same | (segment[:, None, :] == 0)) & torch.ones(width, width, dtype=torch.bool).tril()
    return mask[:, None]


def final_states(decoder: Any, packed: Packed) -> torch.Tensor:
    """The (R, L, d) final hidden states of a micro-batch, after the norm."""
    device = next(decoder.parameters()).device
    if packed.mask is None:
        found: torch.Tensor = decoder(input_ids=packed.inputs.to(device), use_cache=False)[0]
        return found
    states: torch.Tensor = decoder(
        input_ids=packed.inputs.to(device),
        attention_mask=packed.mask.to(device),
        position_ids=packed.positions.to(device),
        use_cache=False,
    ).last_hidden_state
    return states


def target_logits(model: Any, packed: Packed) -> torch.Tensor:
    """The (T, V) logits in fp32 that predict a micro-batch's targets."""
    if packed.mask is None:
        return _own_logits(model, packed)
    states = final_states(decoder_of(model), packed)
    chosen = states.flatten(0, 1)[packed.source.to(states.device)]
    logits: torch.Tensor = model.get_output_embeddings()(chosen).float()
    return logits


def _own_logits(model: Any, packed: Packed) -> torch.Tensor:
    """The same of rows that are alone, by the whole model: its caps and scales are in them."""
    inputs = packed.inputs.to(next(model.parameters()).device)
    row, place = packed.source // inputs.shape[1], packed.source % inputs.shape[1]
    kept = inputs.shape[1] - int(place.min()) if len(place) else 1
    options = {"logits_to_keep": kept} if keeps_some(model) else {}
    logits = model(input_ids=inputs, use_cache=False, **options).logits
    place = place - (inputs.shape[1] - logits.shape[1])
    found: torch.Tensor = logits[row.to(logits.device), place.to(logits.device)].float()
    return found


def log_probabilities(
    model: Any, packed: Packed, temperature: float = 1.0, trains_entropy: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """One forward pass over a micro-batch.

    Args:
        trains_entropy: whether the entropies have a gradient, which takes memory.

    Returns:
        (T,) log-probabilities of the targets and (T,) entropies of their distributions, both in
        nats.
    """
    logits = target_logits(model, packed) / temperature
    everything = torch.log_softmax(logits, -1)
    picked = everything.gather(1, packed.targets.to(logits.device)[:, None]).squeeze(1)
    with torch.set_grad_enabled(trains_entropy and torch.is_grad_enabled()):
        entropy = -(everything.exp() * everything).sum(-1)
    return picked, entropy
