"""Which part of a response is the program that is graded.

What follows the thinking part counts, and of it:

- for tests of a function: the last block that defines the entry point; else such a function outside
  of any fence; else a block that continues the prompt (its first line is indented); else the last.
- for whole programs: the last block that reads standard input; else the last that writes; else the
  last.

Blocks with another language's label are none. Names that the block uses and does not define are
taken from the definitions (imports, functions, classes, constants) of earlier blocks.
"""

from __future__ import annotations

import ast
import builtins
import re
from textwrap import dedent

from gainrl.grading._blocks import blocks, bound, chunks, defines, is_code, parsed, top_level
from gainrl.grading._finding import after_thinking

_BODY = re.compile(r"(?:[ \t]*\n)*((?: {2,}|\t)[^\n]*(?:\n(?:[ \t][^\n]*)?)*)")
_INDENTED = re.compile(r"(?:[ \t]*\n)*[ \t]+\S")
_FUTURE = re.compile(r"^from __future__ import [^\n(;]*\n", re.MULTILINE)
_READS = re.compile(r"\b(?:input|stdin)\b")
MOST = 50
"""Blocks that are looked at, from the end: an answer has fewer, a loop without end has more."""
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom,
                ast.Assign)  # fmt: skip
_KNOWN = set(dir(builtins)) | {"__name__", "__file__", "__doc__"}


def extract(response: str, entry_point: str | None = None) -> str | None:
    """The program of a response, or None.

    Args:
        response: the model's text.
        entry_point: the function or "Class.method" that is tested; None for a whole program.
    """
    text = after_thinking(response.replace("\r\n", "\n"))
    ahead, found = blocks(text)
    found = [_flush(block, entry_point) for block in found[-MOST:] if block.strip()]
    if entry_point is None:
        return _whole_program(ahead, found)
    for at in reversed(range(len(found))):
        if defines(found[at], entry_point):
            return _joined(found, at)
    loose = _outside(ahead, entry_point)
    if loose is not None:
        return loose
    last = [block for block in found if _INDENTED.match(block)] or found
    return last[-1] if last else None


def _flush(block: str, entry_point: str | None) -> str:
    """A block that is indented as a whole, as in a list, moved to the left; bodies stay."""
    if parsed(block):
        return block
    moved = dedent(block)
    right = parsed(moved) if entry_point is None else defines(moved, entry_point)
    return moved if right and moved != block else block


# --- functions -----------------------------------------------------------------------------------


def _outside(text: str, entry_point: str) -> str | None:
    """A function without a fence, as base models write it.

    It goes on inside a function (the first line is indented) until a line is not indented, which is
    where HumanEval's usual stop words stand; or it is the first function of that name, with the
    code ahead of it and without the prose.
    """
    body = _BODY.match(text)
    if body:
        return body[1]
    text = text.removeprefix(" ")  # the space between prompt and answer
    found = _first_definition(text, entry_point)
    if found is None:
        name = re.escape(entry_point.partition(".")[0])
        head = re.search(rf"^[ \t]+(?=(?:async def|def|class)[ \t]+{name}\b)", text, re.MULTILINE)
        if head:
            rest = re.sub(rf"^{head[0]}", "", text[head.start() :], flags=re.MULTILINE)
            found = _first_definition(rest, entry_point)
    return found


def _first_definition(text: str, entry_point: str) -> str | None:
    kept: list[str] = []
    for chunk in chunks(text):
        if defines(chunk, entry_point):
            return "".join([*kept, chunk])
        if is_code(chunk):
            kept.append(chunk)
    return None


# --- whole programs ------------------------------------------------------------------------------


def _whole_program(ahead: str, found: list[str]) -> str | None:
    programs = [_joined(found, at) for at in range(len(found))]
    loose = _loose_program(ahead)
    if loose is not None:
        programs.insert(0, loose)
    for wanted in (_reads, _writes):
        for program in reversed(programs):
            if wanted(program):
                return program
    return programs[-1] if programs else None


def _loose_program(text: str) -> str | None:
    """A program without a fence: from the first code on, as far as it is Python."""
    kept = ""
    for chunk in chunks(text.removeprefix(" ")):
        if kept and parsed(chunk) is None:
            break
        if kept or is_code(chunk):
            kept += chunk
    return kept if _reads(kept) or _writes(kept) else None


def _reads(code: str) -> bool:
    """Whether it reads standard input; by its words if it is no Python."""
    tree = parsed(code)
    if tree is None:
        return _READS.search(code) is not None
    return any(map(_is_input, ast.walk(tree)))


def _is_input(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id == "input" and isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Attribute):
        ours = node.attr == "stdin" or ast.unparse(node) in ("os.read", "fileinput.input")
        return ours and isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        return node.args[0].value in (0, "/dev/stdin") and "open" in ast.unparse(node.func)
    return isinstance(node, ast.alias) and node.name == "stdin"


def _writes(code: str) -> bool:
    tree = parsed(code)
    return tree is not None and any(
        isinstance(node, ast.Call)
        and (getattr(node.func, "id", "") == "print" or "write" in getattr(node.func, "attr", ""))
        for node in ast.walk(tree)
    )


# --- several blocks ------------------------------------------------------------------------------


def _joined(found: list[str], at: int) -> str:
    """A block behind the definitions of earlier ones that it needs, the nearest first."""
    code = found[at]
    for earlier in reversed(found[:at]):
        tree, needed = parsed(earlier), _missing(code)
        if tree is None or not needed:
            continue
        if needed & {name for node in top_level(tree.body) for name in bound(node)}:
            code = _definitions(earlier, tree) + code
            future = "".join(dict.fromkeys(_FUTURE.findall(code)))
            code = future + _FUTURE.sub("", code)
    return code


def _missing(code: str) -> set[str]:
    """Names that are read and nowhere given a value."""
    tree = parsed(code)
    if tree is None:
        return set()
    read: set[str] = set()
    given = set(_KNOWN)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else given).add(node.id)
        elif isinstance(node, ast.arg):
            given.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            given.add(node.name)
        elif isinstance(node, ast.stmt):
            given |= bound(node)
    return read - given


def _definitions(code: str, tree: ast.Module) -> str:
    """Imports, functions, classes and constants of a text; nothing that asks for input."""
    lines, kept = code.split("\n"), ""
    for node in tree.body:
        if isinstance(node, _DEFINITIONS):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            text = "\n".join(lines[first - 1 : node.end_lineno]) + "\n"
            if not (isinstance(node, ast.Assign) and _reads(text)):
                kept += text
    return kept
