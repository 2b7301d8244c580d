"""Does the angle signal C carry more than prompt length? Rank correlations over prompts.

C is the concentration of the angles between a prompt's final hidden states (*Angles Don't Lie*,
Eq. 5 and 7). The replicate here is the prompt, not the seed: intervals resample prompts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gainrl.compare.render import (
    Block,
    Caption,
    Heading,
    Paragraph,
    Points,
    Table,
    Title,
    write_views,
)
from gainrl.compare.statistics import FloatArray, Interval, _same_length, _vector
from gainrl.errors import DataError
from gainrl.records import Schema, check_table, write_text

SIGNALS = {
    "c": "C",
    "c_intra": "C_intra",
    "c_inter": "C_inter",
    "c_intra_offdiagonal": "C_intra without i = j",
    "c_released": "C, released code",
    "c_post_norm": "C after the last norm",
    "c_pre_norm": "C before the last norm",
    "c_up_proj_input": "C at the input of up_proj",
}
NEEDED = ("c", "c_intra", "c_inter")
QUANTITIES = ("tokens", "difficulty", "pass_rate", "gradient_norm")
LABELS = dict(zip(QUANTITIES, ("length", "difficulty", "pass rate", "gradient norm"), strict=True))
LIMITS = {"tokens": (0, math.inf), "pass_rate": (0, 1), "gradient_norm": (0, math.inf)}
FRAME = Schema(
    "signal frame",
    {"id": "str", "tokens": "int"},
    {name: "float" for name in (*SIGNALS, *QUANTITIES[1:])},
)
COLUMNS = ["model", "dataset", "signal", "quantity", "given", "rho", "low", "high", "n", "note"]
CAPTION = (
    "Cells are Spearman's rank correlation; 'given length' is the partial one, of what a linear "
    "regression on the ranks of the question's length leaves. [low, high] is the {:g}% percentile "
    "bootstrap over prompts ({:,} resamples), for each cell by itself. It covers the choice of "
    "prompts, not the noise of a pass rate or gradient that was measured with few rollouts. "
    "n: prompts, in the head; in a cell where it differs."
)
VANISHED = 1e-10  # share of a variance that is no residual; rounding (sums are exact) is 1e-15
UNDEFINED = 0.1  # largest share of undefined resamples that an interval is still given for
FEW = 20  # prompts below which a note says that the interval is too narrow
CELLS = 2**18  # prompts x resamples that are ranked at once: 2 MB an array
Bootstrap = tuple[np.random.Generator, int, float]


@dataclass(frozen=True)
class RankInterval(Interval):
    """A correlation (`mean`) of `n` prompts; `undefined` counts the resamples that have none."""

    undefined: int = 0


# --- rank correlations ---------------------------------------------------------------------------


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of x and y, (n,), finite, in the same order of prompts.

    Tied values share their average rank (Spearman 1904).

    Returns:
        Dimensionless, in [-1, 1]; NaN if x or y is constant (so also if n = 1).

    Raises:
        ValueError: not (n,) with n > 0, not finite, or of different lengths.
    """
    return _point(_codes(x, y))


def partial_spearman(x: ArrayLike, y: ArrayLike, given: ArrayLike) -> float:
    """Rank correlation of x and y with `given` held fixed; shapes and errors as for `spearman`.

    It is Pearson's correlation of the residuals that a linear regression of the average ranks on
    the ranks of `given` leaves (Kendall 1942). With a constant `given` it equals `spearman`.

    Returns:
        Dimensionless, in [-1, 1]; NaN if a residual vanishes: x or y is constant or has the order
        of `given` or its reverse.
    """
    return _point(_codes(x, y, given))


def rank_interval(
    x: ArrayLike,
    y: ArrayLike,
    given: ArrayLike | None,
    rng: np.random.Generator,
    resamples: int,
    confidence: float,
) -> RankInterval:
    """Percentile bootstrap over prompts (Efron and Tibshirani 1993, chapter 13).

    The rows of x, y and given are drawn together and ranked anew in each resample; shapes and
    errors as for `spearman`.

    Args:
        given: held fixed as in `partial_spearman`; None for the plain correlation.
        rng: source of the resamples.
        resamples: number of bootstrap samples.
        confidence: nominal coverage in (0, 1).

    Returns:
        The correlation and its interval over the resamples that have one; the limits are NaN if
        more than a tenth have none, or the correlation itself is NaN.
    """
    columns = _codes(x, y) if given is None else _codes(x, y, given)
    point, n = _point(columns), columns[0].size
    if math.isnan(point):
        return RankInterval(point, math.nan, math.nan, n, undefined=resamples)
    drawn = np.empty(resamples)
    chunk = max(1, CELLS // n)
    for start in range(0, resamples, chunk):
        part = drawn[start : start + chunk]
        rows = rng.integers(n, size=(part.size, n))
        part[:] = _correlation(*(_ranks(codes[rows]) for codes in columns))
    undefined, tail = int(np.isnan(drawn).sum()), (1 - confidence) / 2
    lost = undefined > UNDEFINED * resamples
    low, high = (math.nan, math.nan) if lost else np.nanquantile(drawn, [tail, 1 - tail])
    return RankInterval(point, float(low), float(high), n, undefined=undefined)


def _point(columns: list[NDArray[np.int64]]) -> float:
    return float(_correlation(*(_ranks(codes[None]) for codes in columns))[0])


def _codes(*columns: ArrayLike) -> list[NDArray[np.int64]]:
    """Each value's place among the distinct values of its column."""
    arrays = [_vector(column, "values") for column in columns]
    for array in arrays:
        _same_length(array.size, arrays[0].size)
    return [np.unique(array, return_inverse=True)[1].astype(np.int64) for array in arrays]


def _ranks(codes: NDArray[np.int64]) -> FloatArray:
    """Twice the average rank less its mean, an exact integer, in each row of (resamples, n)."""
    (resamples, n), levels = codes.shape, int(codes.max()) + 1
    flat = codes + levels * np.arange(resamples)[:, None]
    counts = np.bincount(flat.ravel(), minlength=resamples * levels).reshape(resamples, levels)
    doubled = 2 * counts.cumsum(axis=1) - counts - n
    return doubled.ravel()[flat].astype(np.float64)


def _correlation(x: FloatArray, y: FloatArray, given: FloatArray | None = None) -> FloatArray:
    """(resamples,) correlations of centred ranks (resamples, n); NaN where undefined."""
    dot = partial(np.einsum, "ij,ij->i")
    all_x, all_y, both = dot(x, x), dot(y, y), dot(x, y)
    left_x, left_y = all_x, all_y
    if given is not None:
        scale = np.maximum(dot(given, given), 1)  # 0 only for a constant, and then so is the rest
        with_x, with_y = dot(x, given), dot(y, given)
        left_x, left_y = all_x - with_x**2 / scale, all_y - with_y**2 / scale
        both = both - with_x * with_y / scale
    defined = (left_x > VANISHED * all_x) & (left_y > VANISHED * all_y)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(defined, np.clip(both / np.sqrt(left_x * left_y), -1, 1), math.nan)


# --- table ---------------------------------------------------------------------------------------


def signal_table(
    frames: Mapping[tuple[str, str], pd.DataFrame], resamples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Correlate every signal with every quantity, plainly and with length held fixed.

    Args:
        frames: (model, data set) -> one row a prompt: id, tokens (of the question), the signals of
            SIGNALS (dimensionless; those of NEEDED must be there) and any of QUANTITIES (pass_rate
            in [0, 1], gradient_norm >= 0). A row counts where signal and quantity are finite.
        resamples: bootstrap samples of each interval.
        confidence: nominal coverage in (0, 1).
        seed: with a row's own names it seeds that row's interval, whatever other rows there are.

    Returns:
        The columns COLUMNS, one row for each model, data set, signal, quantity and given ('' or
        'tokens'; only '' for the quantity tokens). n: prompts used; note: what a reader must know
        of the number. `attrs` carries the caption for `write_signal`.

    Raises:
        DataError: no frames, no prompts, a missing, unknown or wrong column, a repeated id.
    """
    if not frames:
        raise DataError("no signals to summarise")
    rows: list[tuple[object, ...]] = []
    for (model, dataset), frame in frames.items():
        columns = _checked(frame, f"{model}/{dataset}")
        for signal, quantity, given in product(SIGNALS, QUANTITIES, ("", "tokens")):
            if signal in columns and quantity in columns and quantity != given:
                names = (model, dataset, signal, quantity, given)
                rng = np.random.default_rng([seed, *"\n".join(names).encode()])
                numbers = _row(columns, signal, quantity, given, (rng, resamples, confidence))
                rows.append((*names, *numbers))
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.attrs["caption"] = CAPTION.format(100 * confidence, resamples)
    return table


def _checked(frame: pd.DataFrame, where: str) -> dict[str, FloatArray]:
    """The numbers of a frame, NaN where it has none."""
    check_table(frame, FRAME, where)
    for column in NEEDED:
        if column not in frame:
            raise DataError(f"{where}: the {FRAME.name} has no column '{column}'")
    if frame.empty:
        raise DataError(f"{where}: no prompts in the {FRAME.name}")
    columns = {str(k): v.to_numpy(float, na_value=math.nan) for k, v in frame.items() if k != "id"}
    for column, (least, most) in LIMITS.items():
        values = columns.get(column, np.empty(0))
        outside = (values < least) | (values > most)
        if outside.any():
            what = f"column '{column}' is {values[outside][0]:g}, not within {least} and {most}"
            raise DataError(f"{where}: row {outside.argmax()}: {what}")
    return columns


def _row(
    columns: dict[str, FloatArray], signal: str, quantity: str, given: str, bootstrap: Bootstrap
) -> tuple[float, float, float, int, str]:
    finite = {name: np.isfinite(columns[name]) for name in (signal, quantity)}
    used = finite[signal] & finite[quantity]
    x, y = columns[signal][used], columns[quantity][used]
    n, resamples, notes = x.size, bootstrap[1], []
    for name, known in finite.items():
        if not known.all():
            notes.append(f"{name}: {(~known).sum()} of {known.size} prompts have no value")
    if quantity == "gradient_norm" and (y == 0).any():
        zero = f"{(y == 0).sum()} of {n} prompts whose group has zero variance count as 0"
        notes.append(f"gradient_norm: {zero}")
    pair = f"{signal} and {quantity}{f' given {given}' if given else ''}"
    found = RankInterval(math.nan, math.nan, math.nan, n, resamples)
    if n:
        found = rank_interval(x, y, columns[given][used] if given else None, *bootstrap)
        constant = [name for name, v in ((signal, x), (quantity, y)) if v.min() == v.max()]
        notes.extend(f"{name}: constant" for name in constant)
        if math.isnan(found.mean) and not constant:
            notes.append(f"{pair}: no residual, one has the order of {given}")
    if found.undefined and not math.isnan(found.mean):
        what = "no interval, " if math.isnan(found.low) else ""
        notes.append(f"{pair}: {what}{found.undefined:,} of {resamples:,} resamples undefined")
    if n < FEW and not math.isnan(found.low):
        notes.append(f"{pair}: interval too narrow at {n} prompts")
    return found.mean, found.low, found.high, n, "; ".join(notes)


# --- report --------------------------------------------------------------------------------------


def verdict(table: pd.DataFrame) -> list[str]:
    """What a table of `signal_table` says of C, in plain English: one text a (model, data set).

    Each says how C goes with length, and whether at equal length it still goes with the pass rate
    and the gradient norm: a relation is established where the interval excludes 0.
    """
    texts = []
    for (model, dataset), group in table.groupby(["model", "dataset"], sort=False):
        rows = _by_name(group)
        length = rows["c", "tokens", ""]
        text = f"{model} on {dataset}: {_relation(length, 'prompt length')}"
        if _sign(length):
            text += f", which accounts for {length.rho**2:.1%} of the variance of C's ranks"
        for quantity in ("pass_rate", "gradient_norm"):
            name = f"the {LABELS[quantity]}"
            if plain := rows.get(("c", quantity, "")):
                text += f". {_relation(plain, name)}{_held(plain, rows['c', quantity, 'tokens'])}"
            else:
                text += f". T{name[1:]} was not measured"
        texts.append(f"{text}.")
    return texts


def _relation(row, name: str) -> str:
    if math.isnan(row.rho):
        return f"Whether C goes with {name} cannot be said ({row.note or 'no correlation'})"
    found = f"C goes with {name}" if _sign(row) else f"No relation of C with {name} is established"
    return f"{found}, rho = {_shown(row)}, n = {row.n:,}"


def _held(plain, fixed) -> str:
    if math.isnan(fixed.rho):
        return "" if math.isnan(plain.rho) else f"; at equal length none is defined ({fixed.note})"
    how = {1: "it still does", 0: "it does", -1: "it does in the opposite direction"}
    found = how[_sign(plain) * _sign(fixed)] if _sign(fixed) else "no relation is established"
    return f"; at equal length {found}, rho = {_shown(fixed)}"


def _by_name(group: pd.DataFrame) -> dict:
    text = group[["given", "note"]].astype(object).fillna("")  # a CSV that is read again has NaN
    return {(row.signal, row.quantity, row.given): row for row in group.assign(**text).itertuples()}


def _sign(row) -> int:
    return int(row.low > 0) - int(row.high < 0)


def write_signal(table: pd.DataFrame, path_csv: str | Path, title: str | None = None) -> None:
    """Write the tidy CSV and, beside it as .md and .tex, the verdict and a table for people.

    Each atomically; `table` is what `signal_table` returned, `title` the first line for people.

    Raises:
        DataError: a file cannot be written.
    """
    path = Path(path_csv)
    write_text(path, table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
    blocks: list[Block] = [Title(title)] if title else []
    blocks.append(Points(tuple(verdict(table))))
    for (model, dataset), group in table.groupby(["model", "dataset"], sort=False):
        blocks += [Heading(f"{model} on {dataset}"), Table(_wide(group))]
        if notes := "; ".join(row.note for row in _by_name(group).values() if row.note):
            blocks.append(Paragraph(f"Notes: {'; '.join(dict.fromkeys(notes.split('; ')))}."))
    if "caption" in table.attrs:
        blocks.append(Caption(table.attrs["caption"]))
    write_views(path, blocks)


def _wide(group: pd.DataFrame) -> list[list[str]]:
    rows, most = _by_name(group), group.groupby("quantity")["n"].max()
    pairs = list(dict.fromkeys((quantity, given) for _, quantity, given in rows))
    lines = [["Signal"]]
    for quantity, given in pairs:
        held = " given length" if given else ""
        lines[0].append(f"{LABELS[quantity].capitalize()}{held} (n = {most[quantity]:,})")
    for signal in dict.fromkeys(group["signal"]):
        lines.append([SIGNALS[signal]])
        for quantity, given in pairs:
            row = rows[signal, quantity, given]
            other = "" if row.n == most[quantity] else f" (n = {row.n:,})"
            lines[-1].append("–" if math.isnan(row.rho) else _shown(row) + other)
    return lines


def _shown(row) -> str:
    """Two digits, or three where two would show a 0 or a 1."""
    numbers = (row.rho, row.low, row.high)
    rho, low, high = (f"{v:.{2 if 0.005 <= abs(v) < 0.995 else 3}f}" for v in numbers)
    return f"{rho} (no interval)" if math.isnan(row.low) else f"{rho} [{low}, {high}]"
