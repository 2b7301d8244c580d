"""Packed log-probabilities: sequences with a common start share its computation.

A row holds one trunk (a prompt, or the prefix that a data set shares) and several branches (the
group's responses, or questions with their solutions). Every branch sees the trunk and itself, so
the result equals that of separate sequences, but the trunk is run once: a group of 8 rollouts
costs one prompt, not eight. The same forward pass yields the prompt's hidden states, from which the
angle signal is taken at no further cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gainrl.errors import ModelError


@dataclass(frozen=True)
class Branch:
    """Tokens after the trunk; `index` says whose they are, predictions start at `first`."""

    index: int
    tokens: Sequence[int]
    first: int = 0


@dataclass(frozen=True)
class Row:
    """One trunk with its branches."""

    trunk: Sequence[int]
    branches: Sequence[Branch]
    index: int = 0

    @property
    def length(self) -> int:
        """Tokens in the row."""
        return len(self.trunk) + sum(len(branch.tokens) for branch in self.branches)


@dataclass(frozen=True)
class Packed:
    """A micro-batch of R rows padded to L tokens.

    inputs, positions: (R, L); mask: (R, 1, L, L) bool, true where a token may look; source: (T,)
    flat positions in R * L of the states that predict the T target tokens; targets: (T,);
    branch: (T,) index of the branch that a target belongs to; trunks: (R,) trunk lengths.
    """

    inputs: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    source: torch.Tensor
    targets: torch.Tensor
    branch: torch.Tensor
    trunks: torch.Tensor
    rows: Sequence[Row]

    @property
    def places(self) -> torch.Tensor:
        """(T,) which token of its branch a target is, from 0 on."""
        row = self.source // self.inputs.shape[1]
        return self.positions.flatten()[self.source] + 1 - self.trunks[row]


def split_rows(
    trunk: Sequence[int], branches: Sequence[Branch], row_tokens: int, index: int = 0
) -> list[Row]:
    """Deal branches out to rows of at most `row_tokens` (but at least one branch a row)."""
    rows: list[Row] = []
    current: list[Branch] = []
    length = len(trunk)
    for branch in branches:
        if current and length + len(branch.tokens) > row_tokens:
            rows.append(Row(trunk, current, index))
            current, length = [], len(trunk)
        current.append(branch)
        length += len(branch.tokens)
    return [*rows, Row(trunk, current, index)] if current else rows


def micro_batches(rows: Sequence[Row], tokens: int) -> Iterator[list[Row]]:
    """Rows by length, in batches of at most `tokens` tokens with padding (at least one row)."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: row.length):
        if batch and row.length * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def pack(rows: Sequence[Row], pad: int) -> Packed:
    """Lay rows out as tensors."""
    width = max(row.length for row in rows)
    inputs = torch.full((len(rows), width), pad)
    positions = torch.zeros((len(rows), width), dtype=torch.long)
    segment = torch.full((len(rows), width), -1)
    source: list[int] = []
    targets: list[int] = []
    owner: list[int] = []
    for r, row in enumerate(rows):
        tokens, places, parts = list(row.trunk), list(range(len(row.trunk))), [0] * len(row.trunk)
        for number, branch in enumerate(row.branches, start=1):
            here, size = len(tokens), len(branch.tokens)
            for j in range(branch.first, size):
                source.append(r * width + (here + j - 1 if j else len(row.trunk) - 1))
            targets += branch.tokens[branch.first :]
            owner += [branch.index] * (size - branch.first)
            tokens += branch.tokens
            places += range(len(row.trunk), len(row.trunk) + size)
            parts += [number] * size
        inputs[r, : len(tokens)] = torch.tensor(tokens)
        positions[r, : len(tokens)] = torch.tensor(places)
        segment[r, : len(tokens)] = torch.tensor(parts)
    same = segment[:, :, None] == segment[:, None, :]
    mask = (same | (segment[:, None, :] == 0)) & torch.ones(width, width, dtype=torch.bool).tril()
    return Packed(
        inputs,
        positions,
        mask[:, None],
        torch.tensor(source, dtype=torch.long),  # there are none if no row has a branch
        torch.tensor(targets, dtype=torch.long),
        torch.tensor(owner, dtype=torch.long),
        torch.tensor([len(row.trunk) for row in rows]),
        rows,
    )


def check_packable(model: Any) -> None:
    """Refuse models whose logits are more than a linear map of the last hidden states.

    Raises:
        ModelError: the configuration caps or scales logits, or windows attention.
    """
    config = model.config
    for key in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if getattr(config, key, None):
            raise ModelError(f"model type '{config.model_type}' sets {key}, which packing lacks")
    if getattr(config, "use_sliding_window", False):
        raise ModelError(f"model type '{config.model_type}' uses sliding-window attention")


def final_states(decoder: Any, packed: Packed) -> torch.Tensor:
    """The (R, L, d) final hidden states of a micro-batch, after the norm."""
    device = next(decoder.parameters()).device
    states: torch.Tensor = decoder(
        input_ids=packed.inputs.to(device),
        attention_mask=packed.mask.to(device),
        position_ids=packed.positions.to(device),
        use_cache=False,
    ).last_hidden_state
    return states


def log_probabilities(
    model: Any, packed: Packed, temperature: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One forward pass over a micro-batch.

    Returns:
        (T,) log-probabilities of the targets, (T,) entropies of their distributions (detached),
        both in nats, and the (R, L, d) final hidden states after the norm.
    """
    states = final_states(model.get_decoder(), packed)
    device = states.device
    chosen = states.flatten(0, 1)[packed.source.to(device)]
    logits = model.get_output_embeddings()(chosen).float() / temperature
    everything = torch.log_softmax(logits, -1)
    picked = everything.gather(1, packed.targets.to(device)[:, None]).squeeze(1)
    with torch.no_grad():
        entropy = -(everything.exp() * everything).sum(-1)
    return picked, entropy, states
