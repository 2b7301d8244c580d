"""The page that a reader opens first: one HTML file, from content that was already read.

`render` is pure: equal content gives equal bytes. All text is escaped; of Markdown only paragraphs,
emphasis, lists and tables are rendered, so that a name in a file can bring in no link, picture or
script.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from gainrl.errors import DataError


@dataclass(frozen=True)
class Part:
    """What a claim says of one model and data set; mean and its interval are in quantity's unit.

    Numbers are NaN where there are none.
    """

    model: str
    dataset: str
    benchmark: str
    quantity: str
    mean: float
    low: float
    high: float
    n: str
    verdict: str
    note: str


@dataclass(frozen=True)
class Claim:
    """A claim's overall verdict and, below it, its parts."""

    name: str
    statement: str
    rule: str
    overall: Part
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Picture:
    """A figure as PNG; a folded one is shown on a click."""

    title: str
    caption: str
    png: bytes
    folded: bool = False


@dataclass(frozen=True)
class Table:
    """A table as Markdown, with the figures that belong to it. `name` is the fall-back title."""

    name: str
    markdown: str
    pictures: tuple[Picture, ...] = ()


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
class Preparation:
    """Seconds of something that was made once, before or beside the runs."""

    what: str
    subject: str
    seconds: float | None


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
    """Everything on the page; claims, signal and benchmarks are None where the preset has none.

    settings: the preset as YAML; local_store: whether the links need `make ui`.
    """

    preset: str
    counts: Counts
    tests: Counts
    claims: Sequence[Claim] | None
    tables: Sequence[Table]
    signal: Table | None
    benchmarks: Table | None
    costs: Sequence[Cost]
    whole: Cost | None
    preparation: Sequence[Preparation]
    settings: str
    origins: Origins
    runs: Sequence[RunRow]
    ui: str
    local_store: bool
    studies: Sequence[Picture] = ()

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
        count=_count, seconds=_seconds, hours=_hours, interval=_interval, picture=_picture
    )
    environment.globals.update(markdown=_markdown)
    source = (files("gainrl.report") / "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(report=report)


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


def _interval(part: Part) -> str:
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


def _picture(picture: Picture) -> Markup:
    width, height = (round(SCALE * pixels) for pixels in png_size(picture.png))
    data = base64.b64encode(picture.png).decode("ascii")
    return Markup('<img src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">').format(
        data, width, height, f"{picture.title}: {picture.caption}"
    )


# --- Markdown ------------------------------------------------------------------------------------

_LOADS = ("link", "image", "autolink", "reference", "html_block", "html_inline")


def _markdown(table: Table) -> tuple[str, Markup]:
    """A table's title and the rest as HTML.

    A first paragraph of plain text is the title; else it is the table's name. A paragraph that is
    italic as a whole is a caption.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(list(_LOADS))
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", _close_table)
    tokens = parser.parse(table.markdown)
    found = table.name
    if len(tokens) > 2 and tokens[0].type == "paragraph_open" and _is_text(tokens[1]):
        found = "".join(child.content for child in tokens[1].children or ())
        tokens = tokens[3:]
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type != "inline":
            continue
        children = token.children or []
        if before is not None and before.type == "paragraph_open" and _is_italic(children):
            before.attrSet("class", "caption")
        if before is not None and before.type in ("td_open", "th_open"):
            for child in children:
                child.content = _BRACKETS.sub(_unbroken, child.content)
    return found, Markup(parser.renderer.render(tokens, parser.options, {}))


_BRACKETS = re.compile(r"[^ ]* ?\[[^\]]*\]|\(n = [^)]*\)")


def _unbroken(found: re.Match[str]) -> str:
    """A number and its interval stay on one line, and so does a count."""
    return found[0].replace(" ", "\N{NO-BREAK SPACE}")


def _is_text(token: Token) -> bool:
    return all(child.type in ("text", "text_special") for child in token.children or ())


def _is_italic(children: Sequence[Token]) -> bool:
    shown = [child for child in children if child.type != "text" or child.content]
    return bool(shown) and shown[0].type == "em_open" and shown[-1].type == "em_close"


def _open_table(*_: Any) -> str:
    return '<div class="scroll rows"><table>\n'


def _close_table(*_: Any) -> str:
    return "</table></div>\n"
