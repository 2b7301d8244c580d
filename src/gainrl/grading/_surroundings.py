r"""What may stand around an answer's value: the label of a choice, a qualifier, an opening phrase.

An answer is read whole or not at all: what is not named here, nor in `_units`, stays part of the
value, and is refused by `_expressions` if it means nothing there.
"""

from __future__ import annotations

import re

# --- labels --------------------------------------------------------------------------------------

_L = r"(?P<letter>[A-J])"
_LABELS = (
    re.compile(
        rf"(?:\\text\{{)?(?:option|choice)\}}?\s*\(?{_L}\)?\}}?(?:[.:),-]\s*(?P<rest>.*)|(?P<none>))",
        re.IGNORECASE | re.DOTALL,
    ),
    re.compile(
        rf"(?:\\text\{{)?\(\s*(?:\\text\{{)?{_L}\}}?\s*\)\}}?[.:;=]?\s*(?P<rest>.*)", re.DOTALL
    ),
    re.compile(rf"\(?\s*\\text\{{\s*{_L}\s*[.:)]?\s*\}}\s*\)?[:;=.)]?\s*(?P<rest>.*)", re.DOTALL),
    re.compile(rf"(?:\\text\{{)?{_L}(?:\)\}}?\s*|[.:]\}}?\s+)(?P<rest>.*)", re.DOTALL),
    re.compile(
        rf"{_L}\s+-\s+(?P<rest>[A-Za-z\\].*)|\[{_L.replace('letter', 'framed')}\]", re.DOTALL
    ),
    re.compile(rf"(?P<rest>.*?\S)\s*(?:\\(?:Long)?[Rr]ightarrow)?\s*\(\s*{_L}\s*\)", re.DOTALL),
    re.compile(rf"(?P<rest>.*?\S)\s*(?:\\(?:Long)?[Rr]ightarrow)?\s*\\text\{{\s*\(?{_L}\)?\s*\}}"),
    re.compile(rf"(?P<rest>.*\\text\{{[^{{}}]*?)\s*\({_L}\)\}}", re.DOTALL),
    re.compile(rf"\(?{_L}\)?[.:)]?(?P<rest>)"),
)
_OTHER_LABEL = re.compile(
    r"[(\[]\s*(?:\\text\{\s*)?[A-J](?:\s*\})?\s*[)\]]|(?<![A-Za-z\\])[A-J][).:](?!\d)"
    r"|^(?!both|neither).*\b(?:or|nor)\b[\s(\\{}a-z]*[A-J]\b|^(?:\\text\{)?[A-J]\}?\.?$"
    r"|,\s*[A-J]\s+\d|^(?:or|not?|nope|never|isn't|is not|unlikely|wrong|is wrong|incorrect"
    r"|maybe|possibly)\b|\bmaybe\b"
)
_ENDS = re.compile(r"[\d})]$|\\text\{[^{}]*\}$")


def split_label(text: str) -> tuple[str | None, str]:
    r"""'(A) 26' is ('A', '26'); 'E' is ('E', ''); 'f(A)' and '(A) or (B)' have no label."""
    for pattern in _LABELS:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        letter = match["letter"] or text[1]
        rest = (match["rest"] or "").strip()
        behind = match.end("rest") < match.start("letter")
        if _OTHER_LABEL.search(rest) or (rest and behind and not _ENDS.search(rest)):
            continue
        if rest.count("{") < rest.count("}"):
            rest = f"\\text{{{rest}"
        elif rest.count("{") > rest.count("}"):
            rest += "}"
        return letter.upper(), rest
    return None, text


# --- qualifiers ----------------------------------------------------------------------------------

_VARIABLES = r"(?:\\?[A-Za-z]\w*(?:_\{?\w+\}?)?)(?:\s*,\s*\\?[A-Za-z](?:_\{?\w+\}?)?)*"
_SIDE = r"(?:(?!\b(?:and|or|else|otherwise|but|not|wrong)\b)[^,;])+"
_CONDITION = rf"{_VARIABLES}\s*(?:=|<|>|\\(?:le|ge|ne|in)(?![a-z])|\b(?:is|are)\b){_SIDE}"
_NOUNS = (
    r"(?:an?|the|any|some|real|rational|complex|arbitrary|positive|negative|natural|nonnegative"
    r"|non-negative|nonzero|non-zero|integers?|numbers?|constants?|values?|even|odd|prime|whole|of)"
)
_QUALIFIER = re.compile(
    r"\(?(?:only|exactly|in total|in all|altogether|total|respectively|approximately|approx"
    r"|rounded)\)?"
    r"|as (?:required|desired|claimed|needed|expected|wanted)"
    rf"|\(?(?:\\forall|for all|for any|for every)\s*{_CONDITION}\)?|\(?\\forall\s*{_VARIABLES}\)?"
    rf"|\(?[a-z]\s*(?:<|>|\\(?:le|ge|ne)(?![a-z]))\s*-?[\w.\\]+\)?"
    rf"|\(?(?:for|where|with)\s+(?:all|any|every|each|some)\s+(?:{_NOUNS}\s+)*"
    rf"(?:{_VARIABLES}|{_NOUNS})\s*(?:(?:=|<|>|\\(?:le|ge|ne|in)(?![a-z])){_SIDE})?\)?"
    rf"|\(?(?:for|at|when|where|with|if|whenever|given|provided(?: that)?)\s+{_CONDITION}\)?"
    rf"|\(?{_VARIABLES}\s*\\in(?![a-z])\s*(?:\\mathbb|\\\{{|[(\[{{]|[A-Z]\b){_SIDE}?\)?"
    rf"|\(?(?:{_VARIABLES}\s+(?:is|are)|for|where)\s+(?:{_NOUNS}\b\s*)+(?:{_VARIABLES})?\)?"
    rf"|(?:because|since|which)\b(?!.*\b(?:or|not|wrong|could|may|maybe|might)\b).+",
    re.DOTALL | re.IGNORECASE,
)
_OPENER = re.compile(
    r"(?:\s*,\s*|\s+|(?<=[\d})])|\s*\((?=[^()]*\)$))(?=(?:\\text\{\s*[(,]?\s*)?"
    r"\(?(?:only|exactly|in (?:total|all)|approx|rounded|as|\\forall"
    r"|[a-z]\s*(?=[<>]|\\[lgn]e)|altogether|total|respectively|for|all|any|where|with|at|when|if|given"
    r"|provided|whenever|because|since|which|\\?[A-Za-z]\w*\s*\\in|[a-z]\s+(?:is|are)\b))"
)
_PREFIX = re.compile(
    r"(?:\\text\{)?\s*(?:(?:the\s+)?(?:final\s+|correct\s+)?answer(?:\s+is)?\s*:?|exactly|only|about"
    r"|approximately"
    r"|approx\.?|nearly|roughly|around|therefore|thus|so|simply"
    r"|indeed|clearly|just|equal to|given by)\s*(?:\}|(?=[\s\d\\$(,-]))\s*[:,]?|="
    r"|\\approx(?![a-z])|\\implies"
    r"|\\Rightarrow(?![a-z])|\\therefore(?![a-z])",
    re.IGNORECASE,
)


def split_qualifier(text: str) -> tuple[str, str | None]:
    r"""'n \text{ for all } n' is ('n', 'for all n'); what is behind a reason goes with it."""
    for match in _OPENER.finditer(text):
        tail = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text[match.end() :])
        tail = " ".join(tail.split()).lstrip(", ")
        value = text[: match.start()].strip()
        if match.group().strip() == "(":
            tail = f"({tail}"
        membership = tail.startswith(("(", "for", "with", "where")) or "," in match.group()
        if re.match(r"\(?[a-z]\s*(?:[<>]|\\[lgn]e)", tail) and (
            re.search(r"[<>]|\\[lg]e(?![a-z])", value) or not membership
        ):
            continue  # 'x > 1, x < 2' are two conditions
        if "\\in" in tail and not membership and not tail.startswith(("because", "since", "which")):
            continue
        if value and _balanced(value) and _QUALIFIER.fullmatch(tail):
            return value.rstrip(", "), tail.strip("() ")
    return text, None


def strip_prefix(text: str) -> str:
    r"""Without "the answer is", '=' or \approx ahead of the value."""
    while (match := _PREFIX.match(text)) and match.end() < len(text):
        text = text[match.end() :].strip(" :")
    return text


def _balanced(text: str) -> bool:
    return all(text.count(a) == text.count(b) for a, b in ("{}", "()")) or "\\in" in text
