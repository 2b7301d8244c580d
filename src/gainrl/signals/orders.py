"""Orders of prompts from a column: what is sorted by, which way round, and ties. No torch."""

from __future__ import annotations

import numpy as np
import pandas as pd

SHUFFLE_SEED = 0
ASCENDING = frozenset({"reversed", "length", "difficulty-column", "shuffled"})
"""Orders that begin with the lowest value."""


def ranked(frame: pd.DataFrame, ascending: bool) -> pd.DataFrame:
    """A table with the columns id and value in order, with the column rank, from 0, before them.

    Ties go by id; prompts without a value stand first.
    """
    frame = frame.sort_values("id", kind="stable").sort_values(
        "value", ascending=ascending, kind="stable", na_position="first"
    )
    frame.insert(0, "rank", np.arange(len(frame)))
    return frame.reset_index(drop=True)


def residual(value: pd.Series, length: pd.Series) -> pd.Series:
    """Rank of `value` less its linear regression on the rank of `length`."""
    known = value.notna()
    ranks, given = value[known].rank(), length[known].rank()
    spread = given.var()
    slope = ranks.cov(given) / spread if spread else 0.0
    left = (ranks - ranks.mean()) - slope * (given - given.mean())
    return left.reindex(value.index)


def random_keys(ids: pd.Series, seed: int = SHUFFLE_SEED) -> pd.Series:
    """A fixed random key a prompt, the same whatever order the table is in."""
    rank = ids.rank(method="first").astype(int) - 1
    keys = np.random.default_rng([seed, 31]).permutation(len(ids))
    return pd.Series(keys[rank.to_numpy()].astype(float), index=ids.index)
