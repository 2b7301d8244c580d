"""`results/table1.csv`: a copy of the table of one preset, which says of which.

A preset's files are below its own folder. What lies beside these folders are copies that a call has
asked for; they are all of one preset, or a reader would see one preset's table beside another's
figure.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from gainrl.errors import ConfigError, DataError
from gainrl.files import alone, atomic_write, read_json, write_json
from gainrl.stages.common import Context

COPIES = "copies.json"
"""Beside the copies: of which preset they are, and their names."""


def copy_result(context: Context, out: Path) -> None:
    """Copy a result's file from its preset's folder, with the preset's name; drop other presets'.

    A CSV gets a column `preset`, Markdown and LaTeX a comment; pages have the name already.

    Args:
        out: below the results' root; the name of the file in the preset's folder.

    Raises:
        ConfigError: `out` lies elsewhere.
        DataError: the preset has no such file.
    """
    root, preset = context.root, context.preset.preset
    if not out.is_relative_to(root):
        raise ConfigError(f"--out {out}: copies lie below {root}")
    name = out.relative_to(root)
    source = context.layout.home / name
    if not source.exists():
        raise DataError(f"{source}: no such file; `snakemake {out}` makes it, and the copy")
    index = root / COPIES
    with alone(index):  # several are copied at once
        known = read_json(index) if index.exists() else {"preset": preset, "files": []}
        if known["preset"] != preset:
            for other in known["files"]:
                (root / other).unlink(missing_ok=True)
            known = {"preset": preset, "files": []}
        write_json(index, {**known, "files": sorted({*known["files"], str(name)})})
        with atomic_write(out) as file:
            file.write(_named(source, preset))


def _named(source: Path, preset: str) -> bytes:
    content = source.read_bytes()
    match source.suffix:
        case ".csv":
            header, *rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""))
            text = io.StringIO(newline="")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerows([["preset", *header], *([preset, *row] for row in rows)])
            return text.getvalue().encode("utf-8")
        case ".md":
            return f"<!-- preset {preset} -->\n\n".encode() + content
        case ".tex":
            return f"% preset {preset}\n".encode() + content
    return content
