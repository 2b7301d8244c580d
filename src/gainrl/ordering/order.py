"""The command `gainrl order FILE`: drop, sort, write, and say how the order goes with length."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from gainrl.data.prompts import Prompts
from gainrl.errors import DataError
from gainrl.grading.graders import find
from gainrl.ordering import columns, table
from gainrl.ordering.asked import SIGNALS, Asked
from gainrl.ordering.measure import Start, pass_rates, scores, take
from gainrl.ordering.table import Rows
from gainrl.owner import owned
from gainrl.signals.concentration import concentration
from gainrl.signals.orders import ASCENDING, random_keys, residual

FIRST = {
    "angle": "highest C first",
    "offdiagonal": "highest C without its diagonal first",
    "residual": "highest C for its length first",
    "length": "shortest first",
    "pass-rate": "most often solved first",
    "difficulty-column": "lowest first",
    "shuffled": "at random",
}
IS_LENGTH = 0.9
"""Rank correlation with length from which on an order is said to be one of length."""


@dataclass
class Dropped:
    """How many rows were left out, by why; `left`: the rows that stay."""

    left: list[int]
    why: dict[str, int] = field(default_factory=dict)

    def keep(self, kept: Sequence[bool], why: str) -> None:
        """Keep some of those that are left.

        Raises:
            DataError: none stays.
        """
        if lost := len(kept) - sum(map(bool, kept)):
            self.why[why] = lost
        self.left = [row for row, stays in zip(self.left, kept, strict=True) if stays]
        if not self.left:
            said = ", ".join(f"{count} {reason}" for reason, count in self.why.items())
            raise DataError(f"no row is left ({said})")


def order_file(asked: Asked) -> None:
    """Write the order and print a summary; or measure one shard of it.

    Raises:
        DataError: a file, column or row that cannot be used; nothing is written.
        ModelError: a model that cannot be used.
        BackendError: vLLM failed, or another call measures the same.
    """
    with ExitStack() as stack:
        for shard in asked.jobs.mine if asked.measures else ():
            stack.enter_context(owned(asked.store / f"shard{shard}.owner.json"))
        _order(asked)


def _order(asked: Asked) -> None:
    began = time.perf_counter()
    rows = table.read(asked.source, asked.split, asked.config, asked.out)
    question = columns.found_column(
        rows, asked.question_column, columns.QUESTIONS, "--question-column"
    )
    chats = columns.conversations(rows, question, asked.system)
    dropped, unit = Dropped(list(range(len(chats)))), "characters"
    lengths = np.array([sum(len(each["content"]) for each in chat) for chat in chats], dtype=float)
    start, prompts = None, None
    if asked.model is not None:
        start, unit = Start.named(asked.model), "tokens"
        whole = start.prompts(chats, asked.system)
        _drop_long(dropped, whole, start, asked.max_prompt)
        prompts = take(whole, dropped.left)
        lengths = whole.lengths.astype(float)
    measured = time.perf_counter()
    rates = _rates(asked, rows, start, prompts, dropped) if asked.rated else None
    found = None
    if asked.by in SIGNALS:
        assert start is not None
        assert prompts is not None
        found = scores(start, prompts, asked.store, asked.jobs)
    if asked.shard is not None:
        print(f"shard {asked.shard} of {asked.shards} is measured: {asked.store}")
        return
    measured = time.perf_counter() - measured
    value = pd.Series(_values(asked, rows, dropped.left, lengths, rates, found))
    value.index = pd.Index(dropped.left)
    if rates is not None:
        _drop_rated(asked, dropped, rates)
    value = value.loc[dropped.left].sort_values(
        ascending=asked.by in ASCENDING, kind="stable", na_position="last"
    )
    goes = _rank_correlation(lengths[value.index])
    if asked.top is not None and len(value) > asked.top:
        dropped.why[f"after the first {asked.top} (--top)"] = len(value) - asked.top
        value = value.iloc[: asked.top]
    table.write(asked.out, rows, value.index.tolist(), value.tolist())
    shutil.rmtree(asked.store, ignore_errors=True)
    _say(asked, rows, question, dropped, len(value), goes, unit)
    print(f"{time.perf_counter() - began:.1f} s, {measured:.1f} s of them measuring")


def _drop_long(dropped: Dropped, prompts: Prompts, start: Start, limit: int | None) -> None:
    lengths = prompts.lengths
    if limit is not None:
        dropped.keep((lengths <= limit).tolist(), f"longer than {limit} tokens (--max-prompt)")
    if (window := start.window) is not None:
        fits = [bool(lengths[row] < window) for row in dropped.left]
        dropped.keep(fits, f"longer than the model's context of {window} tokens")


def _rates(
    asked: Asked,
    rows: Rows,
    start: Start | None,
    prompts: Prompts | None,
    dropped: Dropped,
) -> np.ndarray | None:
    """(M,) pass rates of the rows that are left; None where only one shard was generated."""
    if asked.pass_rate_column is not None:
        name = columns.found_column(rows, asked.pass_rate_column, (), "--pass-rate-column")
        found = np.array(columns.numbers(rows, name))
        if ((found < 0) | (found > 1)).any():
            row = int(((found < 0) | (found > 1)).argmax())
            raise DataError(f"{rows.places[row]}: '{name}' is {found[row]}, no share from 0 to 1")
        return found[dropped.left]
    assert start is not None
    assert prompts is not None
    column = columns.found_column(rows, asked.answer_column, columns.ANSWERS, "--answer-column")
    every = columns.golds(rows, column, asked.grader == "code")
    golds = [every[row] for row in dropped.left]
    grader = find(asked.grader)
    return pass_rates(start, prompts, golds, grader, asked.answering, asked.store, asked.jobs)


def _drop_rated(asked: Asked, dropped: Dropped, rates: np.ndarray) -> None:
    solved, impossible = rates >= 1, rates <= 0
    if asked.drop_solved:
        dropped.keep((~solved).tolist(), "always solved (--drop-solved)")
        impossible = impossible[~solved]
    if asked.drop_impossible:
        dropped.keep((~impossible).tolist(), "never solved (--drop-impossible)")


def _values(
    asked: Asked,
    rows: Rows,
    left: Sequence[int],
    lengths: np.ndarray,
    rates: np.ndarray | None,
    found: pd.DataFrame | None,
) -> np.ndarray:
    """(M,) what the rows that are left are sorted by."""
    if found is not None:
        name = "c_intra_offdiagonal" if asked.by == "offdiagonal" else "c_intra"
        c = concentration(found[name], found["c_inter"], 1.0)
        by_length = asked.by == "residual"
        return (residual(c, found["n_question"].astype(float)) if by_length else c).to_numpy()
    if asked.by == "pass-rate":
        assert rates is not None
        return rates
    if asked.by == "length":
        return lengths[list(left)]
    if asked.by == "shuffled":
        places = pd.Series([f"{row:012d}" for row in left])
        return random_keys(places, asked.seed).to_numpy()
    name = columns.found_column(rows, asked.difficulty_column, (), "--difficulty-column")
    every = np.array(columns.numbers(rows, name), dtype=float)
    return every[list(left)]


def _rank_correlation(lengths: np.ndarray) -> float:
    """Of lengths, in the order, with their places; NaN if all are equal or there is one."""
    ranks = pd.Series(lengths).rank()
    places = pd.Series(np.arange(len(ranks), dtype=float))
    return float(ranks.corr(places)) if ranks.nunique() > 1 else float("nan")


def _say(
    asked: Asked,
    rows: Rows,
    question: str,
    dropped: Dropped,
    written: int,
    goes: float,
    unit: str,
) -> None:
    """Print the summary."""
    print(f"{rows.name}: {len(rows.records)} rows, questions from '{question}'")
    for why, count in dropped.why.items():
        print(f"dropped: {count} {why}")
    print(f"{asked.out}: {written} rows by {asked.by}, {FIRST[asked.by]}")
    if np.isnan(goes):
        print(f"all prompts are equally long ({unit})")
        return
    print(f"rank correlation of the order with the length in {unit}: {goes:+.2f}")
    if abs(goes) >= IS_LENGTH and asked.by != "length":
        first = "shortest" if goes > 0 else "longest"
        print(
            f"warning: this order is nearly that of length, {first} first; compare it with --by "
            "length, and see --by residual"
        )
