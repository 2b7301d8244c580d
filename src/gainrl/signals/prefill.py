"""Prefill scoring: C_intra and C_inter of every prompt (Eq. 5), one forward pass a prompt.

The prefix that the data set shares is run once. Its length is known only when the last prompt has
been tokenised, so scoring begins with the prefix of the first chunk and keeps inner products from
which the signal follows exactly for any shorter prefix (`from_products`). Batches depend on the
data, the token budget and nothing else: shards and resumed jobs give the bits of one whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from gainrl.data.prompts import NO_PREFIX, Chunk, Prompts
from gainrl.errors import DataError
from gainrl.signals.angle import RELEASED_TAP, released, unit
from gainrl.signals.concentration import FloatArray, Products, from_products
from gainrl.signals.shared_prefix import PrefixForward, probe_of

CHUNK = 2048
"""Prompts that are tokenised ahead of the forward pass, and sorted by length together."""

Number = tuple[int, int]
"""A batch's chunk and its place in it."""


@dataclass(frozen=True)
class Batch:
    """Inner products of B prompts (gainrl.signals.concentration.Products), by tap.

    rows: (B,) rows of the data set; size: (B,) tokens after the chunk's prefix of p tokens, suffix
    excluded; square: (B,); dots: (B, p); released: (B,) or None.
    """

    number: Number
    rows: np.ndarray
    size: np.ndarray
    square: dict[str, np.ndarray]
    dots: dict[str, np.ndarray]
    released: np.ndarray | None = None


@dataclass
class Prefill:
    """One pass over a data set, whole or in shards.

    Args:
        model: a causal language model; only its decoder is run.
        batch_tokens: question tokens a batch (at least one prompt).
        taps: where states are read (gainrl.signals.taps.TAPS).
        with_released: give the released script's value too (it needs the up_proj_input tap).

    After `run` is exhausted, n_prefix is the data set's prefix length and gram holds the (P, P)
    inner products of the first chunk's prefix, P >= n_prefix, by tap.
    """

    model: Any
    batch_tokens: int
    taps: Sequence[str] = ("post_norm",)
    with_released: bool = False
    n_prefix: int = 0
    tokens: int = 0
    prefix: list[int] = field(default_factory=list)
    path: str = ""
    gram: dict[str, FloatArray] = field(default_factory=dict)

    def run(
        self, chunks: Iterable[Chunk], wanted: Callable[[Number], bool] = lambda _: True
    ) -> Iterator[Batch]:
        """Score the batches that are wanted; all chunks are read, one ahead of the forward pass.

        Raises:
            DataError: the prompts share no prefix, or what tokenising them raises.
        """
        forward: PrefixForward | None = None
        for position, chunk in enumerate(ahead(chunks)):
            if forward is None:
                self.n_prefix = _some(chunk.common())
                self.prefix = chunk.tokens[0][: self.n_prefix]
                forward = self._start(chunk)
            shared = _some(chunk.common(self.prefix))
            self.n_prefix = min(self.n_prefix, shared)
            sizes = np.array([len(row) for row in chunk.tokens]) - shared - chunk.n_suffix
            for index, members in enumerate(batches(sizes, self.batch_tokens)):
                number = (position, index)
                if wanted(number):
                    yield self._score(forward, chunk, shared, sizes, number, members)

    def _start(self, chunk: Chunk) -> PrefixForward:
        taps = dict.fromkeys([*self.taps, *([RELEASED_TAP] if self.with_released else [])])
        probe = probe_of([row[self.n_prefix :] for row in chunk.tokens])  # the same in every shard
        forward = PrefixForward(self.model, self.prefix, list(taps), probe)
        self.path = forward.path
        self.tokens += len(self.prefix)
        self._units = {tap: unit(states) for tap, states in forward.prefix.items()}
        for tap in self.taps:
            units = self._units[tap].double().cpu().numpy()
            self.gram[tap] = units @ units.T
        return forward

    def _score(
        self,
        forward: PrefixForward,
        chunk: Chunk,
        shared: int,
        sizes: np.ndarray,
        number: Number,
        members: np.ndarray,
    ) -> Batch:
        """Score prompts of a chunk behind the cached prefix, of which `shared` tokens are theirs.

        What comes out are sums that the prefix need not be known for: where a later chunk shares
        less of it, `gather` still has |sum_q u|^2 and, for each prefix token, <sum_q u, u_n>.
        """
        # The released script reads the template's closing tokens too; C ends with the question.
        ends = sizes[members] + shared + (chunk.n_suffix[members] if self.with_released else 0)
        rows = [chunk.tokens[i][shared:end] for i, end in zip(members, ends, strict=True)]
        self.tokens += sum(map(len, rows))
        states = forward.questions(rows, shared)
        with torch.inference_mode():
            place = next(iter(states.values())).device
            length = torch.tensor(sizes[members], device=place)
            width = max(map(len, rows))
            inside = torch.arange(width, device=place)[None, :] < length[:, None]
            units = {tap: unit(found) for tap, found in states.items()}
            # (B, d): sum_q u; then (B,) |sum_q u|^2 and (B, shared) products with each prefix token
            sums = {tap: (units[tap] * inside[..., None]).sum(1) for tap in self.taps}
            square = {tap: total.square().sum(-1) for tap, total in sums.items()}
            dots = {tap: total @ self._units[tap][:shared].T for tap, total in sums.items()}
            value = None
            if self.with_released:
                head = self._units[RELEASED_TAP][:shared].expand(len(rows), -1, -1)
                whole = torch.cat([head, units[RELEASED_TAP]], 1)
                value = released(whole, torch.tensor(ends, device=place)).cpu().numpy()
        return Batch(
            number,
            chunk.start + members,
            sizes[members],
            {tap: found.cpu().numpy() for tap, found in square.items()},
            {tap: found.cpu().numpy() for tap, found in dots.items()},
            value,
        )


def gather(
    ids: Sequence[str], found: Iterable[Batch], gram: dict[str, FloatArray], n_prefix: int
) -> pd.DataFrame:
    """Batches of every shard as one table in the data set's order.

    Returns:
        id, n_prefix, n_question; c_intra, c_inter and c_intra_offdiagonal of the first tap, and of
        a further tap as `<tap>.c_intra` and so on; c_released where it was measured.

    Raises:
        DataError: a prompt has no score or several.
    """
    count = len(ids)
    taps = list(gram)
    columns = ("c_intra", "c_inter", "c_intra_offdiagonal")
    values = {tap: np.full((3, count), np.nan) for tap in taps}
    size, seen = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    released_value = np.full(count, np.nan)
    has_released = False
    for batch in found:
        seen[batch.rows] += 1
        width = batch.dots[taps[0]].shape[1]
        size[batch.rows] = batch.size + width - n_prefix
        for tap in taps:
            products = Products(batch.square[tap], batch.dots[tap], batch.size)
            one = from_products(products, gram[tap], n_prefix)
            values[tap][:, batch.rows] = (one.intra, one.inter, one.intra_offdiagonal)
        if batch.released is not None:
            released_value[batch.rows], has_released = batch.released, True
    if (seen != 1).any():
        row = int((seen != 1).argmax())
        raise DataError(f"prompt '{ids[row]}' was scored {seen[row]} times, not once")
    frame = pd.DataFrame({"id": list(ids), "n_prefix": n_prefix, "n_question": size})
    for tap in taps:
        for name, column in zip(columns, values[tap], strict=True):
            frame[name if tap == taps[0] else f"{tap}.{name}"] = column
    if has_released:
        frame["c_released"] = released_value
    return frame


def score(
    model: Any,
    prompts: Prompts,
    batch_tokens: int,
    taps: Sequence[str] = ("post_norm",),
    with_released: bool = False,
) -> pd.DataFrame:
    """Score prompts that are tokenised already; returns what `gather` does."""
    prefill = Prefill(model, batch_tokens, taps, with_released)
    done = list(prefill.run([Chunk(0, prompts.tokens, prompts.n_suffix)]))
    return gather(prompts.ids, done, prefill.gram, prompts.n_prefix)


def batches(sizes: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Positions sorted by size, cut into batches of nearly equal numbers of tokens.

    Args:
        sizes: (N,) tokens of each prompt.
        budget: tokens a batch at most, where single prompts allow it.
    """
    order = np.argsort(sizes, kind="stable")
    ends = np.cumsum(sizes[order])
    count = -(-int(ends[-1]) // budget)
    start = 0
    while start < len(order):
        done = int(ends[start - 1]) if start else 0
        count = max(count, 1)
        fair = -(-(int(ends[-1]) - done) // count)
        stop = int(np.searchsorted(ends, done + min(fair, budget), side="right"))
        stop = max(stop, start + 1)
        yield order[start:stop]
        start, count = stop, count - 1


def ahead(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """The same chunks, each made in a thread while the one before it is in use."""
    source = iter(chunks)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenise") as pool:
        pending: Future[Chunk | None] = pool.submit(next, source, None)
        while (chunk := pending.result()) is not None:
            pending = pool.submit(next, source, None)
            yield chunk


def _some(n_prefix: int) -> int:
    if n_prefix == 0:
        raise DataError(NO_PREFIX)
    return n_prefix
