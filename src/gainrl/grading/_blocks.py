"""Where the blocks of code stand in a response, and what Python's own parser says of each.

Fences are read as people write them: of backticks or tildes, longer ones around shorter ones, in
lists, behind text on their line, closed on the last line of code, or opened in the prompt. A fence
inside a docstring belongs to the program.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterator
from functools import lru_cache
from textwrap import dedent
from typing import NamedTuple

LONGEST = 200_000
"""Characters of the longest text that is parsed here; a longer one only runs."""
_TRIES = 8
"""Fences that are looked at for the end of one block; bounds the work on hostile text."""

_PYTHON = re.compile(r"(?:(?:i|c)?python|py)?[\d.]*", re.IGNORECASE)
_LABEL = re.compile(r"\{?\.?([^\s:,={}]*)")
_WORD = re.compile(r"[a-z][\w+#-]*")
_GOES_ON = re.compile(r"[ \t)\]}]|(?:else|elif|except|finally)\b|$")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_CODE = (*_FUNCTIONS, *_IMPORTS, ast.ClassDef, ast.Assign, ast.AugAssign, ast.Return, ast.If,
         ast.For, ast.While, ast.With, ast.Try, ast.Raise)  # fmt: skip
_FILE = "<response>"
warnings.filterwarnings("ignore", module=_FILE)  # such as an unknown escape in a string


class _Fence(NamedTuple):
    """The fence of a line: what stands ahead of it, its signs, and what stands behind."""

    ahead: str
    signs: str
    info: str


class Blocks(NamedTuple):
    """The text ahead of the first fence, and the texts of blocks marked as Python or not marked."""

    ahead: str
    python: list[str]


# --- fences --------------------------------------------------------------------------------------


def blocks(text: str) -> Blocks:
    """All closed blocks that may be Python, in order."""
    lines = text.split("\n")
    found: list[str] = []
    ahead, at = None, 0
    while at < len(lines):
        fence = _fence(lines[at])
        if fence is None or not _opens(fence):
            at += 1
            continue
        if ahead is None:
            ahead = "\n".join([*lines[:at], fence.ahead if fence.ahead.strip() else ""])
            if not fence.info and (is_code(ahead) or is_code(dedent(ahead))):  # the prompt's fence
                found.append(ahead)
                ahead, at = "", at + 1
                continue
        label = _label(fence.info)
        end = _end(lines, at, fence, bool(_PYTHON.fullmatch(label)))
        if end is None:
            break
        inside, at = end
        if _PYTHON.fullmatch(label):
            found.append(inside)
        elif label.lower() in ("markdown", "md"):
            found += blocks(inside).python
    return Blocks(text if ahead is None else ahead, found)


def _fence(line: str) -> _Fence | None:
    bare = line.lstrip(" \t")
    if bare.startswith("~~~"):
        info = bare.lstrip("~")
        return _Fence(line[: len(line) - len(bare)], bare[: len(bare) - len(info)], info.strip())
    at = line.rfind("```") + 3
    ahead = line[:at].rstrip("`")
    if at < 3 or "```" in ahead:  # code within a line has two of them
        return None
    return _Fence(ahead, line[len(ahead) : at], line[at:].strip())


def _label(info: str) -> str:
    match = _LABEL.match(info)
    return match[1] if match else ""


def _opens(fence: _Fence) -> bool:
    """Whether it can begin a block: behind text only with one word or nothing after it."""
    if not fence.ahead.strip():
        return "`" not in fence.info
    return not fence.info or _is_label(fence.info)


def _is_label(info: str) -> bool:
    label = _label(info)
    return bool(label and _PYTHON.fullmatch(label)) or bool(_WORD.fullmatch(info))


def _end(lines: list[str], at: int, fence: _Fence, python: bool) -> tuple[str, int] | None:
    """The text of the block that begins at a line, and the line to go on from; None: no end."""
    indent = "" if fence.ahead.strip() else fence.ahead
    tries, first = 0, None
    for here in range(at + 1, len(lines)):
        close = _fence(lines[here])
        if close is None or not close.signs.startswith(fence.signs):
            continue
        glued = bool(close.ahead.strip())  # on the last line of code
        if glued and (not python or close.info or tries >= _TRIES):
            continue
        tries += 1
        text = "".join(f"{_without(indent, line)}\n" for line in lines[at + 1 : here])
        if glued:
            whole = text + _without(indent, close.ahead)
            if parsed(whole) and not parsed(whole + close.signs):  # else in a comment
                return whole, here + 1
            continue
        found = text, here if close.info and _is_label(close.info) else here + 1
        first = first or found
        if not (python and unfinished(text)):  # else in a docstring
            return found
        if tries >= _TRIES:
            break
    return first


def _without(indent: str, line: str) -> str:
    """A line without the indentation of its fence, or what it has of it."""
    if not indent:
        return line
    return line[: len(indent)].lstrip(" \t") + line[len(indent) :]


# --- Python --------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _parse(text: str) -> tuple[ast.Module | None, str]:
    if len(text) > LONGEST:
        return None, ""
    try:
        return ast.parse(text, _FILE), ""
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return None, str(error)


def parsed(text: str) -> ast.Module | None:
    """The text's tree, or None if it is no Python."""
    return _parse(text)[0]


def unfinished(text: str) -> bool:
    """Whether it ends within a string of several lines."""
    return ('"""' in text or "'''" in text) and "unterminated triple-quoted" in _parse(text)[1]


def is_code(text: str) -> bool:
    """Whether it is Python and not one or two words that happen to be."""
    tree = parsed(text)
    return tree is not None and any(
        isinstance(node, _CODE)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _calls(node.value))
        for node in tree.body
    )


def _calls(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) or getattr(call.func, "id", "") in ("print", "main")


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the text does, also those within `if`, `try`, `with`, `for`."""
    for node in body:
        yield node
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            for part in ("body", "handlers", "orelse", "finalbody"):
                yield from top_level(getattr(node, part, []))


def bound(node: ast.stmt) -> set[str]:
    """The names that a statement gives a value."""
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        return {node.name}
    if isinstance(node, _IMPORTS):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        targets = [node.target]
    return {name.id for each in targets for name in ast.walk(each) if isinstance(name, ast.Name)}


def defines(code: str, entry_point: str) -> bool:
    """Whether a text gives a function (or "Class.method") more than a head without a body.

    Text that is no Python counts by its words: an answer with a mistake is still the answer.
    """
    owner, _, method = entry_point.rpartition(".")
    name = owner or method
    tree = parsed(code) or parsed(f"{code.rstrip()}\n{' ' * 64}pass")
    if tree is None:
        head = rf"^(?:(?:async )?def|class)[ \t]+{re.escape(name)}\b"
        return re.search(head, code, re.MULTILINE) is not None
    for node in top_level(tree.body):
        if name not in bound(node) or _is_foreign(node) or _is_stub(node):
            continue
        if not owner or not isinstance(node, ast.ClassDef) or node.bases:
            return True
        if any(method in bound(part) and not _is_stub(part) for part in top_level(node.body)):
            return True
    return False


def _is_foreign(node: ast.stmt) -> bool:
    """Whether it imports from a module that is not Python's own: a test does, from the answer."""
    if not isinstance(node, ast.ImportFrom):
        return False
    return node.level > 0 or (node.module or "").partition(".")[0] not in sys.stdlib_module_names


def _is_stub(node: ast.stmt) -> bool:
    """Whether it is a function that shows only how it is called."""
    if not isinstance(node, _FUNCTIONS):
        return False
    return all(
        isinstance(each, ast.Pass)
        or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        for each in node.body
    )


def chunks(text: str) -> Iterator[str]:
    """Top-level statements as text, one or a few at a time; prose by the line."""
    chunk: list[str] = []
    double = single = 0
    for line in re.split(r"(?<=\n)", text):
        quoted = double % 2 or single % 2
        if chunk and not (quoted or chunk[-1].startswith("@") or _GOES_ON.match(line)):
            yield "".join(chunk)
            chunk, double, single = [], 0, 0
        chunk.append(line)
        double, single = double + line.count('"""'), single + line.count("'''")
    yield "".join(chunk)
