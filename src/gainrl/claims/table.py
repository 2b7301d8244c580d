"""The table of verdicts: typed rows, which are written here and read here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from gainrl.claims.verdicts import Measurement, overall, rule, verdict
from gainrl.compare.render import Caption, Heading, Table, write_views
from gainrl.compare.statistics import interval_words
from gainrl.compare.verdicts import VERDICTS
from gainrl.config.claims import Claim
from gainrl.config.preset import Statistics
from gainrl.errors import DataError, nearest
from gainrl.records import write_text


@dataclass(frozen=True)
class Verdict:
    """A row: what one part of a claim comes to or, without a model, the claim as a whole.

    mean, low, high: in the unit that `rule` names, NaN where there are none. n: what was measured,
    of a whole claim its parts; None is not known.
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


COLUMNS = [field.name for field in fields(Verdict)]


@dataclass(frozen=True)
class DecidedClaim:
    """A claim's overall verdict and, below it, its parts."""

    whole: Verdict
    parts: tuple[Verdict, ...]


def decide(
    claims: Mapping[str, Claim], parts: Mapping[str, Sequence[Measurement]]
) -> list[DecidedClaim]:
    """The verdict on each claim, and on each of its parts.

    Args:
        parts: name of a claim -> its measurements, at least one.
    """
    decided = []
    for name, claim in claims.items():
        found = [_verdict(name, claim, part) for part in parts[name]]
        said = [row.verdict for row in found]
        counts = ", ".join(f"{said.count(each)} {each}" for each in dict.fromkeys(said))
        whole = Verdict(
            *(name, claim.statement, "", "", "", claim.measure),
            *(math.nan, math.nan, math.nan, len(found)),
            *(rule(claim), overall(said), counts),
        )
        decided.append(DecidedClaim(whole, tuple(found)))
    return decided


def _verdict(name: str, claim: Claim, part: Measurement) -> Verdict:
    found = part.interval
    return Verdict(
        *(name, claim.statement, part.model, part.dataset, part.benchmark, part.quantity),
        *(found.mean, found.low, found.high, found.n),
        *(rule(claim), verdict(claim, found.low, found.high), part.note),
    )


# --- writing -------------------------------------------------------------------------------------


def write_claims(decided: Iterable[DecidedClaim], path: Path, config: Statistics) -> None:
    """Write the CSV and, beside it as .md and .tex, verdicts for people; each atomically."""
    rows, lines = [], [["Claim", "Verdict", "Measured", "Rule"]]
    for claim in decided:
        whole = claim.whole
        rows += [asdict(row) for row in (whole, *claim.parts)]
        lines.append([whole.statement, whole.verdict, "", whole.rule])
        lines += [[f"– {_where(row)}", row.verdict, shown(row), ""] for row in claim.parts]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    write_text(path, frame.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
    note = (
        f"{interval_words(config.confidence)}; where it says so, it is a bootstrap over prompts."
        " Rules are the preset's, fixed before the runs. A claim is supported if all its parts "
        "are, not supported if one of them is not, else undecided. Nothing is corrected for the "
        "number of comparisons."
    )
    write_views(path, [Heading("Verdicts"), Table(lines), Caption(note)])


def _where(row: Verdict) -> str:
    named = row.benchmark and row.benchmark != row.dataset
    tested = f", tested on {row.benchmark}" if named else ""
    return f"{row.quantity} ({row.model}, {row.dataset}{tested})"


def shown(row: Verdict) -> str:
    """Value, interval and note of a part, as a table prints them."""
    text = "not determined" if math.isnan(row.mean) else f"{row.mean:.3g}"
    if not math.isnan(row.low):
        text += f" [{row.low:.3g}, {row.high:.3g}]"
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
    numbers = {name: _number(where, name, cells[name]) for name in ("mean", "low", "high", "n")}
    n = None if math.isnan(numbers["n"]) else int(numbers["n"])
    return Verdict(**{**cells, **numbers, "n": n})  # type: ignore[arg-type]


def _number(where: str, column: str, text: str) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError as error:
        raise DataError(f"{where}: '{column}' is '{text}', no number") from error
