"""The table of verdicts: typed rows, which are written here and read here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from gainrl.claims.verdicts import Measurement, overall, p_value, rule, verdict
from gainrl.compare.ratios import OPEN
from gainrl.compare.render import Caption, Heading, Table, write_views
from gainrl.compare.statistics import interval_words
from gainrl.compare.verdicts import SUPPORTED, UNDECIDED, VERDICTS, adjusted, survives
from gainrl.config.claims import Claim
from gainrl.config.preset import Statistics
from gainrl.errors import DataError, nearest
from gainrl.records import write_text


@dataclass(frozen=True)
class Verdict:
    """A row: what one part of a claim comes to or, without a model, the claim as a whole.

    mean, low, high: in the unit that `rule` names, NaN where there are none. n: what was measured,
    of a whole claim its parts; None is not known. p: that a part's true value is the threshold;
    adjusted: the same among the parts of all claims of the table (Benjamini and Hochberg), NaN
    where there is none. survives: whether a decided verdict is kept at the rate of false
    discoveries that the preset allows, "yes" or "no"; else "".
    """

    claim: str
    statement: str
    model: str
    dataset: str
    benchmark: str
    quantity: str
    mean: float
    low: float
    high: float
    n: int | None
    rule: str
    verdict: str
    note: str
    p: float = math.nan
    adjusted: float = math.nan
    survives: str = ""


COLUMNS = [field.name for field in fields(Verdict)]
NUMBERS = ("mean", "low", "high", "n", "p", "adjusted")
ADDED = ("p", "adjusted", "survives")
"""Columns that files from before there was a control of false discoveries lack."""


@dataclass(frozen=True)
class DecidedClaim:
    """A claim's overall verdict and, below it, its parts."""

    whole: Verdict
    parts: tuple[Verdict, ...]


def decide(
    claims: Mapping[str, Claim],
    parts: Mapping[str, Sequence[Measurement]],
    config: Statistics,
) -> list[DecidedClaim]:
    """The verdict on each claim, and on each of its parts.

    A whole claim survives if the parts that decide it do: all, where it is supported; one of those
    that are not supported, where it is not.

    Args:
        parts: name of a claim -> its measurements, at least one.
    """
    p = [p_value(claim, part) for name, claim in claims.items() for part in parts[name]]
    among = iter(zip(p, adjusted(p), strict=True))
    decided = []
    for name, claim in claims.items():
        found = [_verdict(name, claim, part, *next(among), config) for part in parts[name]]
        said = [row.verdict for row in found]
        counts = ", ".join(f"{said.count(each)} {each}" for each in dict.fromkeys(said))
        whole = Verdict(
            *(name, claim.statement, "", "", "", claim.measure),
            *(math.nan, math.nan, math.nan, len(found)),
            *(rule(claim), overall(said), counts),
            survives=_kept(overall(said), found),
        )
        decided.append(DecidedClaim(whole, tuple(found)))
    return decided


def _kept(verdict: str, parts: Sequence[Verdict]) -> str:
    kept = [part.survives == "yes" for part in parts if part.verdict == verdict]
    if verdict == UNDECIDED:
        return ""
    return "yes" if (all(kept) if verdict == SUPPORTED else any(kept)) else "no"


def _verdict(
    name: str, claim: Claim, part: Measurement, p: float, among: float, config: Statistics
) -> Verdict:
    found = part.interval
    said = verdict(claim, found.low, found.high)
    return Verdict(
        *(name, claim.statement, part.model, part.dataset, part.benchmark, part.quantity),
        *(found.mean, found.low, found.high, found.n),
        *(rule(claim), said, part.note),
        *(p, among, "" if said == UNDECIDED else survives(among, config.false_discovery)),
    )


# --- writing -------------------------------------------------------------------------------------


def write_claims(decided: Sequence[DecidedClaim], path: Path, config: Statistics) -> None:
    """Write the CSV and, beside it as .md and .tex, verdicts for people; each atomically."""
    rows, lines = [], [["Claim", "Verdict", "Survives", "Measured", "Rule"]]
    for claim in decided:
        whole = claim.whole
        rows += [asdict(row) for row in (whole, *claim.parts)]
        lines.append([whole.statement, whole.verdict, whole.survives, "", whole.rule])
        lines += [
            [f"– {_where(row)}", row.verdict, row.survives, shown(row), ""] for row in claim.parts
        ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    write_text(path, frame.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
    tests = [part.p for claim in decided for part in claim.parts if not math.isnan(part.p)]
    note = (
        f"{interval_words(config.confidence)}. Where a row says so: a bootstrap over prompts. "
        "Rules are the preset's, fixed before the runs. A claim is supported if all its parts "
        "are, not supported if one of them is not, else undecided. Survives: what is still decided "
        f"where {config.false_discovery:.0%} of all that is may be false (Benjamini and Hochberg, "
        f"p of {len(tests)} parts at their thresholds)."
    )
    write_views(path, [Heading("Verdicts"), Table(lines), Caption(note)])


def _where(row: Verdict) -> str:
    named = row.benchmark and row.benchmark != row.dataset
    tested = f", tested on {row.benchmark}" if named else ""
    return f"{row.quantity} ({row.model}, {row.dataset}{tested})"


def shown(row: Verdict) -> str:
    """Value, interval and note of a part, as a table prints them."""
    text = f"{row.mean:.3g}" if math.isfinite(row.mean) else "not determined"
    if not math.isnan(row.low):
        high = f"{row.high:.3g}" if math.isfinite(row.high) else OPEN
        text += f" [{row.low:.3g}, {high}]"
    return f"{text}; {row.note}" if row.note else text


# --- reading -------------------------------------------------------------------------------------


def read_claims(path: Path) -> list[DecidedClaim]:
    """What `write_claims` wrote, in the order of the file.

    Raises:
        DataError: the file or a column is missing, a cell cannot be read, or a claim has no
            overall verdict or two.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable CSV file ({error})") from error
    frame = frame.assign(**{column: "" for column in ADDED if column not in frame})
    for column in COLUMNS:
        if column not in frame:
            raise DataError(f"{path}: no column '{column}'")
    claims: dict[str, list[Verdict]] = {}
    for at, cells in enumerate(frame[COLUMNS].to_dict("records"), start=1):
        row = _read(f"{path}: row {at}", {str(name): text for name, text in cells.items()})
        claims.setdefault(row.claim, []).append(row)
    decided = []
    for name, rows in claims.items():
        wholes = [row for row in rows if not row.model]
        if len(wholes) != 1:
            raise DataError(f"{path}: claim '{name}' has {len(wholes)} overall verdicts")
        decided.append(DecidedClaim(wholes[0], tuple(row for row in rows if row.model)))
    return decided


def _read(where: str, cells: dict[str, str]) -> Verdict:
    said = cells["verdict"]
    if said not in VERDICTS:
        raise DataError(f"{where}: unknown verdict '{said}'{nearest(said, VERDICTS)}")
    numbers = {name: _number(where, name, cells[name]) for name in NUMBERS}
    n = None if math.isnan(numbers["n"]) else int(numbers["n"])
    return Verdict(**{**cells, **numbers, "n": n})  # type: ignore[arg-type]


def _number(where: str, column: str, text: str) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError as error:
        raise DataError(f"{where}: '{column}' is '{text}', no number") from error
