"""The form in which a topic declares its tables and figures, in its plan.py. No torch.

Everything that asks for results iterates over these declarations (`gainrl.report.plan`): the
Snakefile's targets, the rules' inputs and params, the command line and the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gainrl.config.preset import Preset
from gainrl.plan.layout import FIGURES, Layout
from gainrl.plan.runs import runs

AVERAGE = "average"
"""Name of the unweighted mean over a run's benchmarks; no benchmark may be called so."""
Target = Literal["default", "all", "figures"]
"""Snakemake's targets that build results."""


@dataclass(frozen=True)
class PageSection:
    """A part of the page: its anchor, its heading, and the word for it above the page."""

    anchor: str
    heading: str
    word: str


VERDICTS = PageSection("verdicts", "Verdicts", "Verdicts")
TABLES = PageSection("tables", "Tables and learning curves", "Tables")
SIGNAL = PageSection("signal", "The angle signal", "Signal")
BENCHMARKS = PageSection("benchmarks", "Benchmarks", "Benchmarks")
SECTIONS = (VERDICTS, TABLES, SIGNAL, BENCHMARKS)
"""In the order of the page."""


@dataclass(frozen=True)
class Picture:
    """A figure: the name of its PNG and PDF, and what a reader sees above and below it.

    A folded one is shown on a click.
    """

    name: str
    title: str
    caption: str
    folded: bool = False


@dataclass(frozen=True)
class Result:
    """A table, figures, or both, which one job makes.

    name: of the table's files, or "figures/" and that of the first figure, without a suffix: an
    experiment's table and its figure may have the same name. targets: what builds it.
    inputs, fingerprint: files that it is made of, and what it depends on beside them. make: the
    function, as "module:name"; it gets the stage's context, `arguments` and the paths of `files`,
    writes these and what lies `beside` them.
    experiment: in which the store has it; None is "preparation".
    title: what stands above the table if its document does not say. local: it takes seconds, and
    is made beside Snakemake, also where jobs go to a cluster.
    """

    name: str
    section: PageSection
    targets: tuple[Target, ...]
    inputs: tuple[Path, ...]
    fingerprint: Any
    make: str
    arguments: tuple[Any, ...] = ()
    table: bool = False
    pictures: tuple[Picture, ...] = ()
    title: str = ""
    local: bool = True
    experiment: str | None = None

    @property
    def rule(self) -> str:
        """What Snakemake calls the job: `make_`, and the name without slashes."""
        return f"make_{self.name.replace('/', '_')}"

    def files(self, home: Path) -> list[Path]:
        """The CSV and the PNGs; what lies beside them has the same names and other suffixes.

        Snakemake's targets name the first, with which the job makes the others.
        """
        table = [home / f"{self.name}.csv"] if self.table else []
        return table + [home / f"{FIGURES}{picture.name}.png" for picture in self.pictures]

    def beside(self, home: Path) -> list[Path]:
        """The table in other forms (Markdown, LaTeX, blocks), and the figures as PDFs."""
        forms = {".csv": (".md", ".tex", ".json"), ".png": (".pdf",)}
        files = self.files(home)
        return [file.with_suffix(form) for file in files for form in forms[file.suffix]]

    def shown(self, home: Path) -> list[Path]:
        """What the page reads: the table as blocks, and the PNGs."""
        table = [home / f"{self.name}.json"] if self.table else []
        return table + [file for file in self.files(home) if file.suffix == ".png"]


def scope(first: bool, *more: Target) -> tuple[Target, ...]:
    """Targets of what the default target builds only if it is `first`, and `all` always."""
    return ("default", "all", *more) if first else ("all", *more)


def finished(preset: Preset, layout: Layout, experiments: Iterable[str]) -> list[Path]:
    """done.json of every run of some experiments."""
    return [layout.done(key) for key in runs(preset, experiments)]
