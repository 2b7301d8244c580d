"""Which rows of a source a preset takes: by seeded draws, nested for one seed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gainrl.config.data import Files, Hub, Registered
from gainrl.errors import DataError


def cut(
    spec: Registered | Files | Hub, name: str, train: pd.DataFrame, evaluation: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Take the rows that the preset asks for."""
    order = np.random.default_rng([spec.seed, 0]).permutation(len(train))
    solved = train["solution"].notna() if "solution" in train else np.zeros(len(train), bool)
    # Warm-up rows come from the far end, so that a larger warm-up leaves the train rows in place.
    candidates = order[np.asarray(solved)[order]][::-1]
    warmup = _first(candidates, spec.warmup, f"data set '{name}': warmup (rows with a solution)")
    rest = order[~np.isin(order, warmup)]
    eval_order = np.random.default_rng([spec.seed, 1]).permutation(len(evaluation))
    taken = {
        "train": (train, _first(rest, spec.train, f"data set '{name}': train")),
        "eval": (evaluation, _first(eval_order, spec.eval, f"data set '{name}': eval")),
        "warmup": (train, warmup),
    }
    few = spec.few
    if few:
        sizes = {"train": few.train, "eval": few.eval, "warmup": few.warmup}
        taken = {
            split: (frame, _with_longest(frame, rows, sizes[split], few.longest))
            for split, (frame, rows) in taken.items()
        }
    return {split: _rows(frame, rows) for split, (frame, rows) in taken.items()}


def _with_longest(frame: pd.DataFrame, rows: np.ndarray, most: int, longest: int) -> np.ndarray:
    """The first of some rows, the last of these replaced by those with the longest questions."""
    if len(rows) <= most:
        return rows
    lengths = frame["question"].str.len().to_numpy()[rows]
    extreme = rows[np.argsort(-lengths, kind="stable")[: min(longest, most)]]
    return np.concatenate([extreme, rows[~np.isin(rows, extreme)][: most - len(extreme)]])


def _first(candidates: np.ndarray, count: int | None, what: str) -> np.ndarray:
    if count is not None and count > len(candidates):
        raise DataError(f"{what} asks for {count} rows; there are {len(candidates)}")
    return candidates[:count]


def _rows(frame: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    return frame.iloc[np.sort(rows)].reset_index(drop=True)
