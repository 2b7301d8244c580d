"""Tables for people: the same cells as Markdown, as LaTeX and, for the report, as blocks.

A document is a list of blocks. The LaTeX is a fragment for `\\input`, not a document: it needs the
packages booktabs and graphicx, and leaves floats and captions to the text around it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gainrl.errors import DataError
from gainrl.files import read_json, write_json, write_text

Rows = Sequence[Sequence[str]]
"""Lines of cells; the first line is the head, and the first column is text."""


@dataclass(frozen=True)
class Title:
    """What the document is called; plain text."""

    text: str


@dataclass(frozen=True)
class Heading:
    """A line above a table."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Caption:
    """What a reader must know of the numbers above it."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of statements."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Cells; the first line is the head."""

    rows: Rows


Block = Title | Heading | Paragraph | Caption | Points | Table
KINDS: dict[str, type[Block]] = {
    kind.__name__: kind for kind in (Title, Heading, Paragraph, Caption, Points, Table)
}


def views_of(out: Path, *more: str) -> list[Path]:
    """What `write_views` writes beside `out`, and files with more suffixes (DataError: no name)."""
    if not out.name:
        raise DataError(f"--out {out}: name a file")
    return [out.with_suffix(suffix) for suffix in (".json", ".md", ".tex", *more)]


def write_views(path: Path, blocks: Sequence[Block]) -> None:
    """Write a document beside `path` with the suffixes .json, .md and .tex, each atomically.

    Raises:
        DataError: a file cannot be written.
    """
    kinds = [{"block": type(block).__name__, **asdict(block)} for block in blocks]
    write_json(path.with_suffix(".json"), kinds)
    write_text(path.with_suffix(".md"), markdown(blocks))
    write_text(path.with_suffix(".tex"), latex(blocks))


def read_views(path: Path) -> list[Block]:
    """The document that `write_views` wrote beside `path`.

    Raises:
        DataError: its .json is missing or damaged.
    """
    at = path.with_suffix(".json")
    try:
        return [KINDS[each.pop("block")](**each) for each in read_json(at)]
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{at}: no document of blocks ({error})") from error


def with_interval(mean: float, low: float, high: float, spec: str, scale: float) -> str:
    """Numbers times `scale`, as `format` prints them by `spec`; no interval where `low` is NaN."""
    text = format(scale * mean, spec)
    if math.isnan(low):
        return text
    return f"{text} [{format(scale * low, spec)}, {format(scale * high, spec)}]"


# --- Markdown ------------------------------------------------------------------------------------


def markdown(blocks: Sequence[Block]) -> str:
    """The document as GitHub's Markdown."""
    return "\n".join(_in_markdown(block) for block in blocks)


def _in_markdown(block: Block) -> str:
    match block:
        case Heading(text):
            return f"**{text}**\n"
        case Title(text) | Paragraph(text):
            return f"{text}\n"
        case Caption(text):
            return f"*{text}*\n"
        case Points(items):
            return "".join(f"- {item}\n" for item in items)
        case Table(rows):
            return grid(rows)


def grid(rows: Rows) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows]
    rule = " | ".join(["---"] + ["---:"] * (len(rows[0]) - 1))
    return "".join(f"| {line} |\n" for line in [head, rule, *body])


# --- LaTeX ---------------------------------------------------------------------------------------

PREAMBLE = "% A fragment for \\input; the document needs \\usepackage{booktabs,graphicx}.\n"
FITTED = r"\noindent\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""Before a table: one that is wider than the text is made as narrow."""
_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "²": "$^2$",
    "→": r"$\to$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "†": r"$\dagger$",
    # After the end of a line LaTeX takes a bracket or a star for an argument.
    "[": "{[}",
    "*": "{*}",
}


def latex(blocks: Sequence[Block]) -> str:
    """The document as a LaTeX fragment, with one booktabs `tabular` for each table."""
    return PREAMBLE + "\n".join(_in_latex(block) for block in blocks)


def escape(text: str) -> str:
    """Text that LaTeX prints as it is; a hyphen before a number is a minus."""
    text = re.sub(r"(?<!\w)-(?=\d)", "−", text)
    return "".join(_SPECIAL.get(character, character) for character in text)


def _in_latex(block: Block) -> str:
    match block:
        case Heading(text):
            return f"\\medskip\\noindent\\textbf{{{escape(text)}}}\\par\\smallskip\n"
        case Title(text) | Paragraph(text):
            return f"\\noindent {escape(text)}\\par\n"
        case Caption(text):
            return f"\\smallskip\\noindent{{\\footnotesize {escape(text)}\\par}}\n"
        case Points(items):
            lines = "".join(f"\\item {escape(item)}\n" for item in items)
            return f"\\begin{{itemize}}\n{lines}\\end{{itemize}}\n"
        case Table(rows):
            return _tabular(rows)


def _tabular(rows: Rows) -> str:
    head, *body = [" & ".join(map(escape, row)) + r" \\" for row in rows]
    columns = "l" + "r" * (len(rows[0]) - 1)
    lines = [
        *(FITTED, f"\\begin{{tabular}}{{{columns}}}", "\\toprule", head, "\\midrule"),
        *(*body, "\\bottomrule", "\\end{tabular}}\\par"),
    ]
    return "\n".join(lines) + "\n"
