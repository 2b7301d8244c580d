"""The public pieces: a page of reference each, and one file with every name and signature.

`python -m gainrl.plan.reference` renews docs/reference/*.md and tests/public.json with the rest; a
test holds them against the code, so that nothing public changes unnoticed.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gainrl.commands import Option

PIECES = ("curricula", "signals", "grading", "compare")
FOLDER, SNAPSHOT = Path("docs/reference"), Path("tests/public.json")
HEAD = """\
# gainrl.{piece}

{about}

Everything in `gainrl.{piece}.__all__`, made from the docstrings by `make reference`. What is not
here may change without notice.
"""
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields):$")
_ENTRY = re.compile(r"^\*{0,2}[\w, .*]+:(?= |$)")


def snapshot() -> dict[str, dict[str, Any]]:
    """Names and signatures of each piece: what may not change unnoticed."""
    return {piece: {name: _shape(found) for name, found in _names(piece)} for piece in PIECES}


def page(piece: str) -> str:
    """docs/reference/<piece>.md: a section a name, classes with their methods."""
    module = importlib.import_module(f"gainrl.{piece}")
    parts = [HEAD.format(piece=piece, about=_prose(inspect.getdoc(module) or ""))]
    for name, found in _names(piece):
        parts.append(f"## {name}\n")
        if not callable(found):
            keys = ", ".join(f"`{key}`" for key in sorted(found))
            parts.append(f"{type(found).__name__.capitalize()} of {len(found)} names: {keys}.\n")
            continue
        parts += [_code(name, found), _prose(inspect.getdoc(found) or "") + "\n"]
        for below, member in _members(found):
            if isinstance(member, property):
                parts.append(f"### {name}.{below}\n\n{_prose(inspect.getdoc(member) or '')}\n")
            else:
                parts += [f"### {name}.{below}\n", _code(below, member)]
                parts.append(_prose(inspect.getdoc(member) or "") + "\n")
    return "\n".join(parts)


def commands() -> str:
    """docs/reference/cli.md: every subcommand with its options, by group."""
    cli = importlib.import_module("gainrl.cli")
    every = {each.name: each for each in cli.COMMANDS}
    parts = ["# Commands\n", "What `gainrl COMMAND --help` says; made by `make reference`.\n"]
    for title, names in cli.grouped().items():
        parts.append(f"## {title[:1].upper()}{title[1:]}\n")
        for name in names:
            parts += [
                f"### gainrl {name}\n",
                f"{every[name].help}.\n",
                "| option | |",
                "| --- | --- |",
            ]
            parts += [_option(each) for each in every[name].all_options()]
            parts.append("")
    return "\n".join(parts)


def _option(option: Option) -> str:
    """A row: how it is written, and what it means."""
    said = option.settings
    value = "" if said.get("action") == "store_true" else said.get("metavar") or _value(option)
    shown = f"{', '.join(option.flags)} {value}".strip() if option.flags[0][0] == "-" else value
    needed = " (required)" if said.get("required") else ""
    return f"| `{shown}`{needed} | {said.get('help') or ''} |".replace("|  |", "| |")


def _value(option: Option) -> str:
    if choices := option.settings.get("choices"):
        return "{" + ",".join(map(str, choices)) + "}"
    return option.flags[-1].lstrip("-").upper().replace("-", "_")


def write() -> None:
    """Write the pages and the snapshot below the working folder."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "cli.md").write_text(commands(), encoding="utf-8")
    for piece in PIECES:
        (FOLDER / f"{piece}.md").write_text(page(piece), encoding="utf-8")
    SNAPSHOT.write_text(json.dumps(snapshot(), indent=1) + "\n", encoding="utf-8")


# --- what there is -------------------------------------------------------------------------------


def _names(piece: str) -> Iterator[tuple[str, Any]]:
    module = importlib.import_module(f"gainrl.{piece}")
    for name in sorted(module.__all__, key=lambda name: (name.lower(), name)):
        yield name, getattr(module, name)


def _shape(found: Any) -> Any:
    """The signature of a function; of a class that of its parts too; the keys of a mapping."""
    if isinstance(found, Mapping):
        return sorted(found)
    if not inspect.isclass(found):
        return _signature(found)
    shapes = {name: "property" if isinstance(member, property) else _signature(member)
              for name, member in _members(found)}  # fmt: skip
    return {"": _signature(found), **shapes}


def _members(found: Any) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that a class of ours defines or inherits from one."""
    if not inspect.isclass(found):
        return
    seen: dict[str, Any] = {}
    for base in reversed(found.__mro__):
        if base.__module__.startswith("gainrl"):
            seen.update(vars(base))
    for name, member in sorted(seen.items()):
        if isinstance(member, classmethod | staticmethod):
            member = member.__func__
        if not name.startswith("_") and (
            inspect.isfunction(member) or isinstance(member, property)
        ):
            yield name, member


def _signature(found: Any) -> str:
    try:
        text = str(inspect.signature(found))
    except (TypeError, ValueError):
        return ""
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)  # annotations are strings
    return re.sub(r" at 0x[0-9a-f]+", "", text)


# --- how it reads --------------------------------------------------------------------------------


def _code(name: str, found: Any) -> str:
    """A declaration; one that is long has a line an argument."""
    signature = _signature(found)
    kind = "class " if inspect.isclass(found) else ""
    if len(kind + name + signature) > 96:
        inside, _, result = signature.rpartition(")")
        arguments = _split(inside.removeprefix("("))
        signature = "(\n" + "".join(f"    {each},\n" for each in arguments) + ")" + result
    return f"```python\n{kind}{name}{signature}\n```\n"


def _split(arguments: str) -> list[str]:
    """Arguments at the commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(arguments):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(arguments[start:place].strip())
            start = place + 1
    return [*parts, arguments[start:].strip()]


def _prose(doc: str) -> str:
    """A docstring as Markdown: sections of arguments and errors become lists."""
    lines: list[str] = []
    section = False
    for line in doc.splitlines():
        if title := _SECTION.match(line):
            section = True
            lines += [f"**{title[1]}**", ""]
        elif not section or not line.strip():
            lines.append(line)
        elif _ENTRY.match(line.strip()) and len(line) - len(line.lstrip()) == 4:
            name, _, text = line.strip().partition(":")
            lines.append(f"- `{name}`:{text}")
        else:
            lines.append(f"  {line.strip()}" if lines[-1] else f"- {line.strip()}")
    return "\n".join(lines).strip()
