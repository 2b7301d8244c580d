"""What the registry says of a data set: its places, columns and answers. Light imports only."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from gainrl.config.base import Count, GraderName, Positive, Section, Share
from gainrl.config.data import DifficultyColumn, Fields

WHOLE = "*"
"""In place of a column's name: the reader gets the whole record; it needs several columns."""


class Columns(Section):
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


class HubTable(Section):
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


class HubTables(Section):
    """Several tables of the hub, whose rows follow each other in this order."""

    tables: tuple[HubTable, ...]

    def __str__(self) -> str:
        return " and ".join(map(str, self.tables))

    @property
    def copy_names(self) -> tuple[str, ...]:
        """The files of a local copy."""
        return tuple(table.copy_name for table in self.tables)


class HubFiles(Section):
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


class PackageFile(Section):
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


class Equals(Section):
    """The rows with one value in a column."""

    column: str
    value: str | int | bool

    def keeps(self, record: Mapping[str, Any]) -> bool:
        """Whether a row is taken. Raises KeyError where it lacks the column."""
        return record[self.column] == self.value


class Between(Section):
    """The rows whose text in a column (a date: ISO 8601) is not before `first` and before `end`."""

    column: str
    first: str
    end: str

    def keeps(self, record: Mapping[str, Any]) -> bool:
        """Whether a row is taken. Raises KeyError where it lacks the column."""
        return self.first <= str(record[self.column]) < self.end


class PublishedDifficulties(Section):
    """Difficulties of a split's problems that others have measured, in a table of their own."""

    hub: HubTable
    """Its place on the Hugging Face hub, or below GAINRL_DATA_DIR by `copy_name`."""
    question: str
    """The column that has our question."""
    difficulty: DifficultyColumn
    """The column that says how hard it is, and what it means."""
    missing: Share = 0.01
    """Share of the problems that it may lack; they get the median of the others."""


class Split(Section):
    """Where one split is."""

    rows: Positive
    """Rows that are taken, from the local copy where there is one, else from the hub."""
    hub: HubPlace | None = None
    """Its place on the Hugging Face hub."""
    columns: Columns
    """Columns of the hub's table."""
    local: str | None = None
    """Its file in a folder of local copies; without it, the hub's own `copy_names`."""
    local_columns: Columns | None = None
    """Columns of the local copy, where they are others."""
    package: PackageFile | None = None
    """An installed file, which comes before the hub and after the local copy, with its columns."""
    only: Equals | Between | None = None
    """Which rows of the source are taken, all without it. Ids keep the source's row numbers."""
    hub_only: Equals | Between | None = None
    """Which rows of the hub's table are taken, where the local copy is another collection."""
    published: PublishedDifficulties | None = None
    """For `datasets.*.difficulty: published`."""
    unanswered: Count = 0
    """How many rows may lack a gold answer. They are left out (the other ids keep their row
    numbers); one more is an error, because then the source has changed."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Split:
        if not (self.hub or self.local):
            raise ValueError("needs the key 'hub' or 'local'")
        return self


Answers = Literal["number", "latex", "letter", "program"]
"""What a gold answer is; a program's is the text of its tests (gainrl.grading.code.encode)."""


class Entry(Section):
    """A known data set: a file `NAME.yaml` in gainrl/data/entries."""

    name: str
    licence: str
    answers: Answers
    grader: GraderName
    """Who compares an answer with the gold one, unless the preset says otherwise."""
    train: Split | None = None
    eval: Split | None = None
