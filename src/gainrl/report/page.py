"""The page that a reader opens first: one HTML file, from content that was already read.

`render` is pure: equal content gives equal bytes. All text is escaped, so that a name in a file can
bring in no link, picture or script.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from gainrl.claims.table import DecidedClaim, Verdict
from gainrl.compare.render import Block
from gainrl.errors import DataError
from gainrl.plan.results import PageSection, Picture
from gainrl.records import health
from gainrl.records.health import LIGHTS, Light


@dataclass(frozen=True)
class Document:
    """A table with the words around it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Drawn:
    """A figure as PNG, and what is said of it."""

    picture: Picture
    png: bytes


@dataclass(frozen=True)
class Chapter:
    """A section of the page and what stands in it, in this order."""

    section: PageSection
    content: Sequence[Document | Drawn]


@dataclass(frozen=True)
class Cost:
    """Sums over the runs of one method of an experiment; `seconds` are of training.

    None is not known. tests: seconds of answering and grading under protocols; jobs: seconds of the
    whole training jobs; gpu_hours, core_hours: training seconds times GPUs or threads.
    """

    experiment: str
    method: str
    runs: int
    tokens: int
    seconds: float
    tests: float | None
    jobs: float | None
    gpu_hours: float | None
    core_hours: float | None


@dataclass(frozen=True)
class PreparationCost:
    """Seconds of something that was made once, before or beside the runs."""

    what: str
    subject: str
    seconds: float | None


@dataclass(frozen=True)
class HealthRow:
    """How the runs of one method on one model and data set fared.

    lights: how many runs are green, yellow and red; reasons: what is not green, each once, with
    how many runs it is said of.
    """

    model: str
    dataset: str
    method: str
    lights: Mapping[Light, int]
    reasons: Mapping[str, int]

    @property
    def light(self) -> Light:
        """The worst of them."""
        return max((each for each, count in self.lights.items() if count), key=LIGHTS.index)


@dataclass(frozen=True)
class RunRow:
    """A finished run; final: accuracy in [0, 1] of the last test by benchmark."""

    model: str
    dataset: str
    method: str
    seed: int
    steps: int
    final: Mapping[str, float]
    config_hash: str
    commit: str
    run_id: str
    link: str


@dataclass(frozen=True)
class Origins:
    """What made the numbers, each with how many runs and tests say so.

    versions: package -> version -> count; machines: a line for people -> count of runs.
    """

    runs: int
    tests: int
    commits: Mapping[str, int]
    versions: Mapping[str, Mapping[str, int]]
    machines: Mapping[str, int]

    @property
    def mixed(self) -> list[str]:
        """What is not the same everywhere: 'git commit' and packages."""
        found = ["git commit"] if len(self.commits) > 1 else []
        return found + [name for name, seen in self.versions.items() if len(seen) > 1]


@dataclass(frozen=True)
class Counts:
    """What was run: distinct models, data sets, methods and seeds of the runs, and RL steps."""

    models: int = 0
    datasets: int = 0
    methods: int = 0
    seeds: int = 0
    runs: int = 0
    steps: int = 0


@dataclass(frozen=True)
class Report:
    """Everything on the page; claims and chapters are empty where the preset has none.

    answers: what the tables say, in words; settings: the preset as YAML; local_store: whether the
    links need `make ui`.
    """

    preset: str
    counts: Counts
    tests: Counts
    answers: Sequence[str]
    health: Sequence[HealthRow]
    claims: Sequence[DecidedClaim]
    chapters: Sequence[Chapter]
    costs: Sequence[Cost]
    whole: Cost | None
    preparation: Sequence[PreparationCost]
    settings: str
    origins: Origins
    runs: Sequence[RunRow]
    ui: str
    local_store: bool

    @property
    def unwell(self) -> Sequence[HealthRow]:
        """Those with a run that is not green."""
        return [row for row in self.health if row.light != "green"]

    @property
    def protocols(self) -> bool:
        """Whether seconds of tests under protocols are known."""
        return any(row.tests is not None for row in self.costs)

    @property
    def gpus(self) -> bool:
        """Whether GPU-hours of any row are known."""
        return any(row.gpu_hours is not None for row in self.costs)

    @property
    def cores(self) -> bool:
        """Whether core-hours of any row are known."""
        return any(row.core_hours is not None for row in self.costs)


def render(report: Report) -> str:
    """The page as HTML, without anything that it would have to load."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        count=_count,
        seconds=_seconds,
        hours=_hours,
        interval=_interval,
        picture=_picture,
        kind=lambda block: type(block).__name__,
        unbroken=_unbroken,
        share=lambda value: f"{value:.0%}",
    )
    source = (files("gainrl.report") / "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(report=report, rule=health)


# --- numbers -------------------------------------------------------------------------------------

UNKNOWN = "–"


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _seconds(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"


def _hours(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return (
        f"{value:,.1f}" if value >= 9.95 else f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"
    )


def _interval(part: Verdict) -> str:
    """'2.81 [2.1, 4.2]'; '' where nothing is known, no brackets without limits."""
    if math.isnan(part.mean) and math.isnan(part.low):
        return ""
    mean = "not determined" if math.isnan(part.mean) else _short(part.mean)
    if math.isnan(part.low) or math.isnan(part.high):
        return mean
    return f"{mean} [{_short(part.low)},\N{NO-BREAK SPACE}{_short(part.high)}]"


def _short(value: float) -> str:
    """Three significant digits, and no fewer than all digits before the point."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


# --- pictures ------------------------------------------------------------------------------------

SCALE = 0.6
"""Pixels of the page for one of a figure, whose resolution is that of print (200 dpi)."""
_PNG = b"\x89PNG\r\n\x1a\n"


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels.

    Raises:
        DataError: the bytes are no PNG; the caller knows the file's name.
    """
    if not png.startswith(_PNG) or len(png) < 24:
        raise DataError("not a PNG picture")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _picture(drawn: Drawn) -> Markup:
    width, height = (round(SCALE * pixels) for pixels in png_size(drawn.png))
    data = base64.b64encode(drawn.png).decode("ascii")
    return Markup('<img src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">').format(
        data, width, height, f"{drawn.picture.title}: {drawn.picture.caption}"
    )


# --- cells ---------------------------------------------------------------------------------------

_BRACKETS = re.compile(r"\[[^\]]*\]|\(n = [^)]*\)")


def _unbroken(cell: str) -> str:
    """An interval stays on one line, and so does a count; wide tables put it below its number."""
    return _BRACKETS.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), cell)
