"""A model's own forward pass of whole sequences: right for every model, and slow.

Faster passes (a prefix that is run once, packed rows, cached decoding) are right for models of the
usual build. Whether a model is one is tried out on a few sequences: it counts as such if both
passes give the same within TOLERANCE, else it is run whole, and a line says so.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from gainrl.errors import ModelError
from gainrl.signals.taps import decoder_of, tapped

UNFIT = (
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What transformers' models raise at inputs that they were not written for."""

TOLERANCE = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}
"""Largest distance of a token's vector from the plain pass's, over that vector's length.

In half precision it is that of a sequence's median token: one that rounding sends to another expert
is far off by itself.
"""
LEAK = 0.01
"""The same where what comes later must not matter: some chunked scans give a little for it."""


def say(model: Any, what: str) -> None:
    """One line about a model on stderr."""
    print(f"model type '{model.config.model_type}': {what}", file=sys.stderr, flush=True)


def equal_lengths(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Positions of rows of one length, length by length."""
    sizes = np.array([len(row) for row in rows])
    for size in np.unique(sizes):
        yield np.flatnonzero(sizes == size).tolist()


def plain_states(
    model: Any, rows: Sequence[Sequence[int]], taps: Sequence[str]
) -> dict[str, list[torch.Tensor]]:
    """(n, d) states of whole sequences by tap; nothing is padded.

    Raises:
        ModelError: transformers cannot run the model so.
    """
    device = next(model.parameters()).device
    found: dict[str, list[Any]] = {tap: [None] * len(rows) for tap in taps}
    for members in equal_lengths(rows):
        inputs = torch.tensor([list(rows[i]) for i in members], device=device)
        with tapped(model, taps) as states, refusing(model):
            decoder_of(model)(input_ids=inputs, use_cache=False)
        for tap in taps:
            for i, mine in zip(members, states[tap], strict=True):
                found[tap][i] = mine
    return found


def plain_logits(model: Any, rows: Sequence[Sequence[int]], last: int) -> list[torch.Tensor]:
    """(last, V) logits of the last places of whole sequences, of at least so many tokens.

    Raises:
        ModelError: transformers cannot run the model so.
    """
    device = next(model.parameters()).device
    options = {"logits_to_keep": last} if keeps_some(model) else {}
    found: list[Any] = [None] * len(rows)
    for members in equal_lengths(rows):
        inputs = torch.tensor([list(rows[i]) for i in members], device=device)
        with refusing(model):
            logits = model(input_ids=inputs, use_cache=False, **options).logits
        for i, mine in zip(members, logits, strict=True):
            found[i] = mine[-last:]
    return found


def keeps_some(model: Any) -> bool:
    """Whether a model's forward pass can give the last places' logits alone."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def precision_of(model: Any) -> torch.dtype:
    """The dtype that a model computes in, here and now."""
    weight = next(model.parameters())
    place = weight.device.type
    return torch.get_autocast_dtype(place) if torch.is_autocast_enabled(place) else weight.dtype


@contextmanager
def refusing(model: Any) -> Iterator[None]:
    """What transformers raises within the block, as a ModelError that names the model type."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except UNFIT as error:
        raise ModelError(
            f"model type '{model.config.model_type}': transformers cannot run it: {_line(error)}"
        ) from error


def objection(
    model: Any,
    fast: Callable[[], Sequence[torch.Tensor]],
    expected: Sequence[torch.Tensor],
    tolerance: float = 0.0,
) -> str | None:
    """Why a fast pass does not stand for the plain one; None if it does.

    Args:
        fast: gives an (n, d) tensor for each of `expected`, which are the plain pass's.
        tolerance: where that of the dtype is less.

    Raises:
        ModelError: the plain pass gives no numbers.
    """
    if any(one.isnan().any() for one in expected):
        named = model.name_or_path or f"model type '{model.config.model_type}'"
        raise ModelError(
            f"{named}: its forward pass gives NaN: are its weights whole, "
            "and is its dtype wide enough?"
        )
    precision = precision_of(model)
    try:
        gaps = [_gap(mine, one, precision) for mine, one in zip(fast(), expected, strict=True)]
    except torch.OutOfMemoryError:
        raise
    except UNFIT as error:
        return _line(error)
    gap = float(np.max(gaps))
    return (
        None if gap <= max(TOLERANCE[precision], tolerance) else f"off by {gap:.2g} of its length"
    )


def _gap(mine: torch.Tensor, expected: torch.Tensor, precision: torch.dtype) -> float:
    if mine.shape != expected.shape:
        raise ValueError(f"shape {tuple(mine.shape)} in place of {tuple(expected.shape)}")
    wide = expected.double()
    gaps = (mine.double() - wide).norm(dim=-1) / wide.norm(dim=-1).clamp(min=1e-30)
    exact = precision.itemsize >= torch.float32.itemsize
    return float(gaps.max() if exact else gaps.median())


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
