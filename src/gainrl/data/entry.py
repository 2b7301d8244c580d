"""What the registry says of a data set: its places, columns and answers. Light imports only."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gainrl.config.base import GraderName
from gainrl.config.data import DifficultyColumn, Fields

WHOLE = "*"
"""In place of a column's name: the reader gets the whole record; it needs several columns."""


@dataclass(frozen=True)
class Layout:
    """Which columns hold our fields, and the reader of each (gainrl.data.answers.READERS).

    `fields` uses the preset's own notation, dots reach into records and lists, or WHOLE.
    """

    fields: Fields
    question_as: str = "text"
    answer_as: str = "text"
    solution_as: str = "text"
    difficulty_as: str = "number"
    category_as: str = "text"

    def column(self, field: str) -> str | None:
        """The column that holds one of our fields, if any does."""
        found = getattr(self.fields, field)
        return found.column if isinstance(found, DifficultyColumn) else found

    def reader(self, field: str) -> str:
        """The name of the reader of one of our fields."""
        return getattr(self, f"{field}_as")


# --- places --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HubTable:
    """One split of a data set of the Hugging Face hub."""

    id: str
    split: str
    config: str | None = None
    revision: str = "main"

    def __str__(self) -> str:
        config = f", config {self.config}" if self.config else ""
        return f"{self.id} ({self.revision}{config}, split {self.split})"

    @property
    def copy_name(self) -> str:
        """File of a local copy that has the hub's own columns, below GAINRL_DATA_DIR."""
        config = f"--{self.config}" if self.config else ""
        return f"{self.id.replace('/', '--')}{config}/{self.split}.parquet"

    @property
    def copy_names(self) -> tuple[str, ...]:
        """The files of a local copy."""
        return (self.copy_name,)


@dataclass(frozen=True)
class HubTables:
    """Several tables of the hub, whose rows follow each other in this order."""

    tables: tuple[HubTable, ...]

    def __str__(self) -> str:
        return " and ".join(map(str, self.tables))

    @property
    def copy_names(self) -> tuple[str, ...]:
        """The files of a local copy."""
        return tuple(table.copy_name for table in self.tables)


@dataclass(frozen=True)
class HubFiles:
    """Files of a data set of the hub that are read as they are, one after the other.

    For data sets that come with a program to load them, which `datasets` no longer runs.
    """

    id: str
    files: tuple[str, ...]
    revision: str = "main"

    def __str__(self) -> str:
        return f"{self.id} ({self.revision}, {', '.join(self.files)})"

    @property
    def copy_names(self) -> tuple[str, ...]:
        """The files of a local copy."""
        return tuple(f"{self.id.replace('/', '--')}/{file}" for file in self.files)


HubPlace = HubTable | HubTables | HubFiles


@dataclass(frozen=True)
class PackageFile:
    """A data file inside a Python package, which is used where the package is installed."""

    package: str
    file: str

    def find(self) -> Path | None:
        """The file, or None where it is not installed. Runs none of the package's code."""
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder) / self.file
            if path.is_file():
                return path
        return None


# --- rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Equals:
    """The rows with one value in a column."""

    column: str
    value: str | int | bool

    def keeps(self, record: Mapping[str, Any]) -> bool:
        """Whether a row is taken. Raises KeyError where it lacks the column."""
        return record[self.column] == self.value


@dataclass(frozen=True)
class Between:
    """The rows whose text in a column (a date: ISO 8601) is not before `first` and before `end`."""

    column: str
    first: str
    end: str

    def keeps(self, record: Mapping[str, Any]) -> bool:
        """Whether a row is taken. Raises KeyError where it lacks the column."""
        return self.first <= str(record[self.column]) < self.end


@dataclass(frozen=True)
class Split:
    """Where one split is.

    Attributes:
        rows: rows that are taken, from the local copy where there is one, else from the hub.
        hub: its place on the Hugging Face hub.
        local: its file in a folder of local copies; without it, the hub's own `copy_names`.
        package: an installed file, which comes before the hub and after the local copy. It has the
            columns of the local copy.
        only: which rows of the source are taken, all without it. Ids keep the source's row numbers.
        unanswered: how many rows may lack a gold answer. They are left out (the other ids keep
            their row numbers); one more is an error, because then the source has changed.
    """

    rows: int
    hub: HubPlace | None
    layout: Layout
    local: str | None = None
    local_layout: Layout | None = None
    package: PackageFile | None = None
    only: Equals | Between | None = None
    unanswered: int = 0


Answers = Literal["number", "latex", "letter", "program"]
"""What a gold answer is; a program's is the text of its tests (gainrl.grading.code.encode)."""


@dataclass(frozen=True)
class Entry:
    """A known data set: its licence, what its answers are, who grades them, and its splits."""

    name: str
    licence: str
    answers: Answers
    grader: GraderName
    train: Split | None = None
    eval: Split | None = None
