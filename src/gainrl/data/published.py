"""Difficulties that others have measured of a data set's problems, joined to it by the question."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean

import pandas as pd

from gainrl.data.answers import READERS
from gainrl.data.entry import PublishedDifficulties
from gainrl.data.reading import Placed
from gainrl.errors import DataError

log = logging.getLogger(__name__)


def joined(
    frame: pd.DataFrame, published: PublishedDifficulties, rows: Iterable[Placed]
) -> pd.DataFrame:
    """A prompt table with the published difficulties, on the scale of `published.difficulty`.

    Questions are equal if they are but for white space; of several rows with a question the mean
    counts. Prompts without a row get the median of the others and are counted in the log.

    Args:
        rows: of the table of difficulties, with their places.

    Raises:
        DataError: a row lacks a column or has a number outside the range, or more prompts than
            `published.missing` allows have no row.
    """
    known = _by_question(published, rows)
    found = frame["question"].map(_plain).map(known)
    lacking = frame.loc[found.isna(), "id"].tolist()
    if len(lacking) > published.missing * len(frame):
        raise DataError(
            f"{published.hub}: has no difficulty for {len(lacking)} of {len(frame)} prompts (the "
            f"first is '{lacking[0]}'), more than {published.missing:.0%}"
        )
    if lacking:
        log.warning(
            "%s: no difficulty for %d of %d prompts, which get the median: %s",
            *(published.hub, len(lacking), len(frame), ", ".join(lacking)),
        )
    return frame.assign(difficulty=found.fillna(found.median()).astype(float))


def _by_question(published: PublishedDifficulties, rows: Iterable[Placed]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    column = published.difficulty.column
    for place, record in rows:
        for name in (published.question, column):
            if record.get(name) is None:
                raise DataError(f"{place} has no '{name}'")
        try:
            value = READERS["number"](record[column])
            if not isinstance(value, float):
                raise ValueError("is empty")
            values[_plain(record[published.question])].append(published.difficulty.hardness(value))
        except ValueError as error:
            raise DataError(f"{place}: '{column}' {error}") from error
    return {question: fmean(found) for question, found in values.items()}


def _plain(question: str) -> str:
    return " ".join(question.split())
