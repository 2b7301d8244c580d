r"""Where the final answer of a response stands. Pure text work, linear in the response's length.

In this order, after the thinking part: the last complete \boxed{...} (or \fbox); else the last of
an answer phrase ("the answer is", "Answer:", <answer>...</answer>) and a line of '####' that is a
mark and no heading. Nothing else counts: a number that merely stands in the text is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

_THOUGHT = re.compile(
    r"<(?P<close>/)?(?:think|thinking|thought|reasoning|scratchpad)>"
    r"|(?P<open>\[THINK\]|<\|begin_of_thought\|>|<\|channel\|>analysis)"
    r"|(?P<end>\[/THINK\]|<\|end_of_thought\|>|<\|channel\|>final(?:<\|message\|>)?)"
)
_BOX = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)
_FRAME = re.compile(r"\\fbox\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(
    r"\\boxed\s*(?P<value>[-+]?(?:\d+(?:[.,/]\d+)*|\.\d+)|\\[a-zA-Z]+(?:\{[^{}]*\})*\d*|[A-Za-z](?![A-Za-z]))"
)
_BETWEEN = re.compile(r"[\s$*]*(?:,|;|&|(?:,\s*)?(?:and|or)\b)[\s$*]*", re.IGNORECASE)
_PHRASE = re.compile(
    r"\banswers?(?: to [^.\n]{1,60})?\s+(?:is|are|equals|(?:should|would|will|must) be|comes to|=)"
    r"(?![a-z])[ \t:]*"
    r"|\banswer[ \t*_]*[:=]|^[ \t>*_#]*(?:final |correct )?answer[ \t*_]*$",
    re.IGNORECASE | re.MULTILINE,
)
_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_DISPLAY = re.compile(r"\s*(?:\\\[(.*?)\\\]|\$\$(.*?)\$\$|```\w*\n(.*?)```)", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<!\.)\.(?=\s|\*|$)")
_BULLET = re.compile(r"^(?:[-+]\s+|\d+[.)]\s+)")
_SPECIAL = re.compile(r"<\|[\w-]{2,40}\|>|</?s>|<(?:eos|end_of_turn)>")
_GLUED_AHEAD = re.compile(r"(?:(?<![\w)}])-|\d)\Z")
_GLUED_BEHIND = re.compile(
    r"[ $]*(?:(?:\\text\{\s*)?(?:hundred|thousand|million|billion|trillion|dozen)\b|\^"
    r"|\\(?:cdot|times)(?![a-z]))(?:[^\s$.,]| (?=\\(?!end)|\d|\^))*"
)
_STRIPPED = " \t\r\n*_:`>"


class Found(NamedTuple):
    """An answer and the rule that found it: 'box', 'phrase', 'tag', 'mark'."""

    text: str | None
    rule: str | None


NOTHING = Found(None, None)


def after_thinking(response: str) -> str:
    """What follows the thinking part; nothing if that never ends, all if there is none.

    A template may have opened the part in the prompt, so its end counts without a beginning.
    """
    start, opened = 0, False
    if "<" not in response and "[" not in response:
        return response
    for match in _THOUGHT.finditer(response):
        opened = not (match["close"] or match["end"])
        start = match.end()
    return "" if opened else response[start:]


def find(response: str, is_answer: Callable[[str], bool]) -> Found:
    r"""The final answer of a response.

    Args:
        response: the model's text.
        is_answer: whether a text behind '####' is an answer and not the words of a heading.
    """
    text = _SPECIAL.sub("", after_thinking(response))
    if "\\boxed" in text or "\\fbox" in text:
        box = last_box(text)
        if box is None:
            return NOTHING
        if box:
            return Found(box, "box")
    stated, marked = _last_stated(text), _last_mark(text, is_answer)
    place, found = max(stated, marked, key=lambda one: one[0])
    return found if place >= 0 and found.text else NOTHING


def last_box(text: str) -> str | None:
    r"""Content of the last \boxed{...} that holds something; '\boxed 5' counts.

    Boxes that only 'and', 'or' or a comma stands between are one list. '' if no box holds anything,
    None if the last one is cut off: what it would have held is not known, and an earlier one is not
    the answer. One pass, whatever the nesting.
    """
    found, cut = _boxes(text)
    last = found[-1][0] if found else -1
    if cut > last:
        return None
    return _listed(text, [box for box in found if box[2]])


def boxes(text: str) -> list[str]:
    r"""What is in each complete \boxed{...} and '\boxed 5', by where it begins."""
    return [inner for _, _, inner in _boxes(text)[0]]


def _boxes(text: str) -> tuple[list[tuple[int, int, str]], int]:
    """Begin, end and content of each complete box; where the last one that is cut off begins."""
    opened: list[tuple[int, int] | None] = []
    found: list[tuple[int, int, str]] = []
    for match in (_BOX if "\\boxed" in text else _FRAME).finditer(text):
        token = match.group()
        if token == "}":
            if opened and (begin := opened.pop()) is not None:
                found.append((begin[0], match.end(), text[begin[1] : match.start()].strip()))
        elif token == "{":
            opened.append(None)
        elif len(token) > 2:
            opened.append((match.start(), match.end()))
    bare = [] if found else _BARE_BOX.finditer(text)
    found += [(match.start(), match.end(), match["value"]) for match in bare]
    return sorted(found), max((begin[0] for begin in opened if begin), default=-1)


def _listed(text: str, boxes: list[tuple[int, int, str]]) -> str:
    """The last outer box with those that it is listed with, or with what is glued to it."""
    boxes = [box for box in boxes if not any(one[0] < box[0] and box[1] < one[1] for one in boxes)]
    if not boxes:
        return ""
    begin, end, inner = boxes[-1]
    if len(boxes) == 1 or not _BETWEEN.fullmatch(text[boxes[-2][1] : begin]):
        ahead = _GLUED_AHEAD.search(text[:begin])
        behind = _GLUED_BEHIND.match(text, end)
        return (ahead[0] if ahead else "") + _unboxed(inner) + (behind[0] if behind else "")
    parts = [inner]
    for (_, end, inner), (begin, _, _) in zip(boxes[-2::-1], boxes[:0:-1], strict=True):
        if not _BETWEEN.fullmatch(text[end:begin]):
            break
        parts.insert(0, inner)
    return ", ".join(dict.fromkeys(map(_unboxed, parts)))


def _unboxed(inner: str) -> str:
    r"""'\\boxed{5}' within a box is 5; a box beside other text is not read."""
    while match := re.fullmatch(r"\\(?:boxed|fbox)\s*\{(.*)\}", inner, re.DOTALL):
        inner = match[1].strip()
    return inner


def _last_stated(text: str) -> tuple[int, Found]:
    """What follows the last answer phrase, and where it stands."""
    best = (-1, NOTHING)
    if "answer" not in text.lower():
        return best
    for match in _PHRASE.finditer(text):
        if answer := _behind(text, match.end()):
            best = match.start(), Found(answer, "phrase")
    for match in _TAG.finditer(text):
        if match.start() > best[0]:
            best = match.start(), Found(match[1].strip(_STRIPPED), "tag")
    return best


def _behind(text: str, place: int) -> str:
    """The rest of the line up to its sentence's end; else the display or the line that follows."""
    display = _DISPLAY.match(text, place)
    if display is None:
        line, _, rest = text[place:].partition("\n")
        if line.strip(_STRIPPED):
            return (
                _SENTENCE_END.split(line, maxsplit=1)[0]
                .partition("</")[0]
                .strip(_STRIPPED)
                .rstrip("!")
            )
        place = len(text) - len(_BULLET.sub("", rest.lstrip(_STRIPPED)))
        display = _DISPLAY.match(text, place)
    if display is not None:
        return next(filter(None, display.groups()), "").strip(_STRIPPED)
    line = text[place:].partition("\n")[0]
    return _SENTENCE_END.split(line, maxsplit=1)[0].strip(_STRIPPED)


def _last_mark(text: str, is_answer: Callable[[str], bool]) -> tuple[int, Found]:
    """What stands behind the last '####' that marks an answer, and where.

    Words count only at the very end: with text below them they are a heading.
    """
    place = len(text)
    while (place := text.rfind("####", 0, place)) >= 0:
        rest = text[place:].lstrip("#").lstrip()
        line, _, below = rest.partition("\n")
        line = line.strip(_STRIPPED)
        if line and (not below.strip() or is_answer(line)):
            return place, Found(line, "mark")
    return -1, NOTHING
