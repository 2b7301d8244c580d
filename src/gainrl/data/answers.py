"""Readers of a source's cells, which give our text or number, known to the registry by name.

A reader returns None for a cell that holds nothing, and raises ValueError with the end of a
sentence ("is a list of 2 values, not text") for one that it cannot use; the loader adds file and
row. Those of programs are in gainrl.data.programs.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import numpy as np

from gainrl.data import programs
from gainrl.data.cells import opened, stripped, written
from gainrl.grading.maths import ALTERNATIVES, boxes

_CALCULATOR = re.compile(r"<<[^<>]*>>")
_INSTRUCTION = re.compile(r"\s*Let's think step by step and output the final answer .*$", re.DOTALL)
_LISTED = re.compile(r"""\[\s*(['"]).*['"]\s*\]""", re.DOTALL)
_MARKS = re.compile(r"#{4,}")
_ESCAPED = re.compile(r"[\x00-\x09\x0b-\x1f]")  # what \frac, \beta and their like turn into
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?")


def text(value: Any) -> str | None:
    """Text without surrounding space; numbers in full (142.0 as '142'); a list of one opened."""
    value = opened(value)
    if value is None:
        return None
    if isinstance(value, str):
        return stripped(value) or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float | Decimal | np.integer | np.floating):
        return written(value)
    size = f" of {len(value)} values" if isinstance(value, list | tuple | np.ndarray) else ""
    raise ValueError(f"is a {type(value).__name__}{size}, not text")


def number(value: Any) -> float | None:
    """A finite number, also from text."""
    plain = text(value)
    if plain is None:
        return None
    try:
        result = float(plain)
    except ValueError:
        raise ValueError(f"is {plain!r}, not a number") from None
    if not math.isfinite(result):
        raise ValueError(f"is {plain}, not a finite number")
    return result


def level(value: Any) -> float | None:
    """MATH's level 1-5, from 3.0 or 'Level 3'; None for the stray 'Level ?' (0 in copies)."""
    plain = (text(value) or "").removeprefix("Level").strip()
    return None if plain in ("", "?", "0") else number(plain)


def hashes(value: Any) -> str | None:
    """GSM8K's answer: what follows the last '####', without thousands separators."""
    _, mark, answer = (text(value) or "").rpartition("####")
    answer = answer.strip()
    if _THOUSANDS.fullmatch(answer):
        answer = answer.replace(",", "")
    return answer if mark and answer else None


def boxed(value: Any) -> str | None:
    r"""What is in the last \boxed{...} of a worked solution; MATH also writes '\boxed 2'."""
    found = boxes(text(value) or "")
    return found[-1] or None if found else None


def answer(value: Any) -> str | None:
    r"""The gold answer of a data set of the user's own: the answer, or a solution that marks it.

    A mark is a last line '#### answer' (GSM8K) or one \boxed{answer}. A list of one text that was
    written as text (["34"]) is opened, too.

    Raises:
        ValueError: marks that contradict each other or are not at the end, lists of several.
    """
    plain = _unlisted(text(value))
    if plain is None:
        return None
    if marks := _MARKS.findall(plain):
        last = plain.rpartition("####")[2].strip()
        if marks != ["####"] or not last or "\n" in last:
            raise ValueError(
                "has '####', but not once before the answer at its end; "
                "give the answer alone, or end with a line '#### answer'"
            )
        return hashes(plain)
    inside = [content for content in boxes(plain) if "\\boxed" not in content]
    if len(set(inside)) > 1:
        raise ValueError(f"has {len(inside)} different boxes; give the answer alone")
    return inside[0] or None if inside else plain


def after(value: Any, mark: str) -> str:
    """What follows the last `mark` of a text, without a full stop at its end.

    Raises:
        ValueError: it does not occur, or nothing follows it.
    """
    plain = text(value) or ""
    _, found, rest = plain.rpartition(mark)
    rest = rest.strip().removesuffix(".").strip()
    if not found or not rest:
        raise ValueError(f"has no answer after {mark!r} (fields.answer_after)")
    return rest


def _unlisted(plain: str | None) -> str | None:
    """The only text of a list of texts in JSON's or Python's notation; other text as it is."""
    if plain is None or not _LISTED.fullmatch(plain):
        return plain
    try:
        items = _parsed(plain)
    except (ValueError, SyntaxError):
        raise ValueError("looks like a list written as text, but is no valid JSON") from None
    if len(items) != 1:
        raise ValueError(f"is a list of {len(items)} values written as text, not one answer")
    if isinstance(items[0], str) and _ESCAPED.search(items[0]):
        raise ValueError(
            f"is a list written as text, in which a backslash became part of {items[0]!r}; "
            "JSON writes a backslash as two"
        )
    return text(items[0])


def _parsed(plain: str) -> Any:
    try:
        return json.loads(plain)
    except ValueError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of a backslash that stands for itself
            return ast.literal_eval(plain)


def alternatives(value: Any) -> str | None:
    """Minerva's list of forms of one answer, joined by ALTERNATIVES without repetitions."""
    items = value if isinstance(value, list) else [value]
    forms = dict.fromkeys(filter(None, map(text, items)))
    return ALTERNATIVES.join(forms) or None


def joined(value: Any) -> str | None:
    """OlympiadBench's answer, all parts of which are asked for: one list without dollar signs."""
    items = value if isinstance(value, list) else [value]
    parts = [(text(item) or "").replace("$", "").strip() for item in items]
    return ", ".join(filter(None, parts)) or None


def paragraphs(value: Any) -> str | None:
    """A text given as a list of texts."""
    items = value if isinstance(value, list) else [value]
    return "\n\n".join(filter(None, map(text, items))) or None


def without_calculator(value: Any) -> str | None:
    """A GSM8K solution without its calculator notes such as <<48/2=24>>."""
    plain = text(value)
    return None if plain is None else _CALCULATOR.sub("", plain)


def without_instruction(value: Any) -> str | None:
    """A question without the instruction that the copy of AMC has at its end."""
    plain = text(value)
    return None if plain is None else _INSTRUCTION.sub("", plain).strip() or None


Reader = Callable[[Any], str | None] | Callable[[Any], float | None]

READERS: Mapping[str, Reader] = MappingProxyType(
    {
        reader.__name__: reader
        for reader in (
            text,
            answer,
            number,
            level,
            hashes,
            boxed,
            alternatives,
            joined,
            paragraphs,
            without_calculator,
            without_instruction,
            programs.function_to_complete,
            programs.humaneval_tests,
            programs.humanevalplus_tests,
            programs.livecodebench_question,
            programs.livecodebench_tests,
            programs.deepcoder_question,
            programs.deepcoder_tests,
            programs.deepcoder_training_tests,
            programs.first_program,
        )
    }
)
"""The readers by the names that the registry uses."""
