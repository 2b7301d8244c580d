"""Made-up scores with known relations, for the tests of the signal table."""

import numpy as np
import pandas as pd

from gainrl.study.table import signal_table

BOOTSTRAP = (400, 0.95)
KEY = ("nano", "chain")


def rng(seed=0):
    return np.random.default_rng(seed)


def three(n, seed=0):
    """x and y both follow z, and x and y share something else too; the last has many ties."""
    draw = rng(seed)
    z, shared = draw.normal(size=(2, n))
    x = z + shared + draw.normal(size=n)
    return x, np.round(shared - z + draw.normal(size=n)), np.round(2 * z)


def frame(n=120, seed=0, **columns):
    draw = rng(seed)
    tokens = draw.integers(10, 60, n)
    c = -tokens + draw.normal(0, 5, n)
    made = {
        "id": [f"p{i}" for i in range(n)],
        "tokens": tokens,
        "c": c,
        "c_intra": c + draw.normal(0, 5, n),
        "c_inter": draw.normal(size=n),
        "pass_rate": draw.integers(0, 9, n) / 8,
    }
    return pd.DataFrame({**made, **columns})


def table_of(made, resamples=200, key=KEY, seed=0):
    return signal_table({key: made}, resamples, 0.95, seed)


def cell(table, signal="c", quantity="pass_rate", given=""):
    wanted = {"signal": signal, "quantity": quantity, "given": given}
    found = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]
