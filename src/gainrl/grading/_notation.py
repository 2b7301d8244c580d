r"""One notation for one answer: what authors and models type as Unicode, LaTeX or plain text.

`uniform` only rewrites signs that mean the same. It reads nothing and drops nothing but blanks,
sizes and fonts; what stands in \text{...} and is no number or letter stays there, so that words
are never taken for products of letters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_SIGNS = {
    "−–—‐‑‒﹣－": "-", "×✕⨯": r"\times ", "·⋅•∙": r"\cdot ", "÷∕⁄": "/", "≤⩽≦": r"\le ",
    "≥⩾≧": r"\ge ", "≠": r"\ne ", "≈≃≅": r"\approx ", "∞": r"\infty ", "∪": r"\cup ",
    "∩": r"\cap ", "∈": r"\in ", "∅⌀": r"\emptyset ", "±": r"\pm ", "∓": r"\mp ",
    "°º˚": r"^\circ ", "′’‘": "'", "″": "''", "…⋯": r"\ldots ", "∠": r"\angle ", "∖": r"\setminus ",
    "△": r"\triangle ", "→⟶": r"\to ", "⇒": r"\Rightarrow ", "√": r"\sqrt ", "∛": r"\sqrt[3] ",
    "∜": r"\sqrt[4] ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}",
    "ℂ": r"\mathbb{C}", "“”„": '"', "∣": "|", "∑": r"\sum ", "∏": r"\prod ", "∫": r"\int ",
    "∂": r"\partial ", "µ": r"\mu ", "ϕ": r"\phi ", "ϵ": r"\epsilon ",
    "ℏħ": r"\hbar ", "ℓ": r"\ell ", "Å": r"\text{ angstrom}",
    "\u2009\u202f\u00a0\u2007": r"\,", "、": ",", "∨": r"\lor ", "∧": r"\land ",
}  # fmt: skip
_SIGN = {sign: latex for signs, latex in _SIGNS.items() for sign in signs}
_SHIFTED = {"<super>": "^", "<sub>": "_"}

_WORD_STYLE = r"\\(?:text(?:bf|rm|it|normal|up|sf|tt|sc)?|m?box|mathrm|mathit|mathsf|mathtt|rm)"
_WORDS = re.compile(rf"{_WORD_STYLE}\s*\{{((?:[^{{}}\\]|\\[^a-zA-Z])*)\}}")
_BOLD = re.compile(
    r"\\(?:textcolor\{\w+\}|mathbf|boldsymbol|bm|pmb|mathnormal|emph|underline)\s*"
    r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
)
_AND = re.compile(r"\b(and|or)\b")
_BLANK_GROUPS = r"(?<![\d.])\d{1,3}(?:(?:\\,|\s)\d{3})+(?![\d/]|(?:\\,|\s)+\d)"
_END = re.compile(r"[.;,\s\\]+$")
_UNWRAPPED = re.compile(
    r"(?i:\s*(?:the\s)?(?:final\s)?answer\s*(?:is|:).*\d)|"
    r"\s*(?:[A-Za-z]\s*=|[-+]?\\?\$?\.?\d|\(?[A-J]\)?(?:,\s*(?:and\s)?\s*\(?[A-J]\)?)+\s*$)"
)


def _rows(match: re.Match[str]) -> str:
    """The lines of an aligned block as a list."""
    return ", ".join(line.replace("&", "").strip() for line in match[1].split("\\\\"))


_REWRITES = tuple(
    (re.compile(pattern), form)
    for pattern, form in (
        (r"\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])\s*\.?", ""),
        (r"\\(?:displaystyle|textstyle|limits|nolimits|hfill)(?![a-zA-Z])", ""),
        (r"\\(?:tiny|small|normalsize|[lL]arge|LARGE|[hH]uge|bf|it|color\{\w+\})(?![a-zA-Z])", ""),
        (r"\\[hv]space\*?\{[^{}]*\}|\\q?quad(?![a-zA-Z])", "  "),
        (r"(?<=\d),?\s*\\!\s*(?=\d)|\\!", ""),
        (r"(?<=\d)\{,\}(?=\d)", ""),
        (r"(?<!\\)\\(?:[,;:>]|(?=\s))|~", r"\\,"),
        (_BLANK_GROUPS, lambda match: re.sub(r"\\,|\s", "", match[0])),
        (r"\\,", " "),
        (r"\\(?:[dtcs]|nice)frac(?![a-zA-Z])", r"\\frac"),
        (r"\{([^{}]*)\\over(?![a-z])([^{}]*)\}", r"\\frac{\1}{\2}"),
        (r"(?<=\d)\s*[xX]\s*(?=10\^)", r"\\times "),
        (r"\{([^{}]*)\\choose(?![a-z])([^{}]*)\}", r"\\binom{\1}{\2}"),
        (r"(?<=\d\.)(\d*)\((\d+)\)", r"\1\\overline{\2}"),
        (r":=|==", "="),
        (r"\\langle(?![a-zA-Z])", "("),
        (r"\\rangle(?![a-zA-Z])", ")"),
        (r"\\begin\{(?:aligned|align\*?|split)\}(.*?)\\end\{(?:aligned|align\*?|split)\}", _rows),
        (r"\\[dt]binom(?![a-zA-Z])", r"\\binom"),
        (r"\\le(?:q|qslant)(?![a-zA-Z])|<=|=<", r"\\le "),
        (r"\\ge(?:q|qslant)(?![a-zA-Z])|>=", r"\\ge "),
        (r"\\neq(?![a-zA-Z])|!=", r"\\ne "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\\lbrace(?![a-zA-Z])", r"\\{"),
        (r"\\rbrace(?![a-zA-Z])", r"\\}"),
        (r"\\(?:varnothing|empty|O)(?![a-zA-Z])|\\\{\s*\\\}", r"\\emptyset "),
        (r"\\[lr]?vert(?![a-zA-Z])", "|"),
        (r"\\[lc]?dots[cbmio]?(?![a-zA-Z])|\.\.\.+", r"\\ldots "),
        (r"\\(?:simeq|cong|doteq)(?![a-zA-Z])", r"\\approx "),
        (r"\\(?:backslash|smallsetminus)(?![a-zA-Z])", r"\\setminus "),
        (r"\\(?:mathbb|Bbb)\s*\{?([RZNQC])\}?(?![a-zA-Z])", r"\\mathbb{\1}"),
        (r"\\(?:text|math)?dollar(?![a-zA-Z])", r"\\$"),
        (r"(?<!\\)%", r"\\%"),
        (r"(?:\{\s*\})?\^?\s*\{?\s*\\(?:circ|degree)(?![a-zA-Z])\s*\}?", r"^\\circ "),
        (r"\^\s*(?:\{\s*((?:\\prime\s*)+)\}|\\prime(?![a-zA-Z]))",
         lambda match: "'" * match[0].count("prime")),
        (r"(?<=[^\s*])\s*\*\*\s*(?=[^\s*])", "^"),
        (r"\\(begin|end)\s*\{(?:[bpB]|small)?(?:matrix|array)\}(?:\{[clr|\s]*\})?",
         r"\\\1{matrix}"),
        (r"^[(\[]\s*(\\begin\{matrix\}.*\\end\{matrix\})\s*[)\]]$", r"\1"),
        (r"\\(?:colon|ratio)(?![a-zA-Z])", ":"),
        (r"\\(?:lor|vee)(?![a-zA-Z])", r"\\text{or}"),
        (r"\\operatorname\*?\s*\{([a-zA-Z]+)\}", r"\\\1 "),
        (r"\\log\s*_\s*(?:e|\{e\})(?![a-zA-Z])", r"\\ln "),
        (r"\\var(epsilon|phi|theta|rho|sigma|kappa)(?![a-zA-Z])", r"\\\1"),
        (r"\{([-+])\}", r"\1"),
        (r"(?<![\w}\]])\{\}", ""),
        (r"\s+", " "),
    )
)  # fmt: skip


_TYPED = (
    *("1 000", "1{,}000", "<=", "=<", ">=", "!=", "...", "5%", "x**2", ":=", "==", "3x10^2"),
    *("0.(3)", "{-}", "({}", "a  b", "~", "\\,"),
)
_TYPED_REWRITES = tuple(one for one in _REWRITES if any(map(one[0].search, _TYPED)))
"""Those that find something in a text without commands: most answers are such."""


@lru_cache(maxsize=8192)
def uniform(text: str) -> str:
    """The text in one notation."""
    if not text.isascii():
        text = _ascii(text)
    text = _without_dollars(_unwrapped(text.strip()))
    commands = "\\" in text
    text = _without_fonts(text) if commands else text
    for pattern, form in _REWRITES if commands else _TYPED_REWRITES:
        text = pattern.sub(form, text)
    return _unwrapped(text)


def _ascii(text: str) -> str:
    """Signs, powers, fractions and Greek letters as LaTeX; signs without a width are dropped."""
    parts: list[str] = []
    for sign in text:
        kind = unicodedata.decomposition(sign).partition(" ")[0]
        if sign.isascii():
            parts.append(sign)
        elif sign in _SIGN:
            parts.append(_SIGN[sign])
        elif kind in _SHIFTED:
            parts.append(f"{_SHIFTED[kind]}{{{_plain(sign)}}}")
        elif kind == "<fraction>":
            above, _, below = _plain(sign).partition("/")
            parts.append(rf"\frac{{{above}}}{{{below}}}")
        elif unicodedata.category(sign) != "Cf":
            parts.append(_named(_plain(sign)))
    return re.sub(r"\}([\^_])\{(?=[^{}]*\})", _joined, "".join(parts))


def _joined(match: re.Match[str]) -> str:
    """'10^{-}^{3}' is one power; 'x_{1}^{2}' are two signs."""
    begin = match.string.rfind("{", 0, match.start())
    return "" if match.string[begin - 1 : begin] == match[1] else match[0]


def _plain(sign: str) -> str:
    return "".join(_SIGN.get(one, one) for one in unicodedata.normalize("NFKC", sign))


def _named(text: str) -> str:
    r"""'π' is \pi; what has no name stays."""
    if len(text) != 1 or text.isascii():
        return text
    name = unicodedata.name(text, "").split()
    if name[:1] != ["GREEK"] or "LETTER" not in name or "WITH" in name:
        return text
    letter = name[-1].lower().replace("lamda", "lambda")
    return f"\\{letter.capitalize() if 'CAPITAL' in name else letter} "


def _unwrapped(text: str) -> str:
    """Without the signs that only mark it as mathematics, bold or quoted, and a last full stop."""
    before = None
    while text != before:
        before, text = text, text.strip()
        text = text if text.endswith("...") else _END.sub("", text)
        for begin, end in ((r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"), ("**", "**"), ("`", "`"),
                           ('"', '"'), ("'", "'"), ("*", "*"), ("__", "__")):  # fmt: skip
            inner = text[len(begin) : -len(end)]
            if text.startswith(begin) and text.endswith(end) and inner and end not in inner:
                text = inner.strip()
    return text


def _without_dollars(text: str) -> str:
    """Pairs of dollar signs mark mathematics; a single one is money."""
    text = re.sub(r"\\[()\[\]](?=\s|\w|[-+\\$({,.;:]|$)", " ", text) if "\\(" in text else text
    places = [match.start() for match in re.finditer(r"(?<!\\)\$", text)]
    money = {places[-1]} if len(places) % 2 else set()
    signs = [(r"\$" if place in money else " ") if place in places else sign
             for place, sign in enumerate(text)]  # fmt: skip
    return "".join(signs) if places else text


def _without_fonts(text: str) -> str:
    r"""Every kind of upright text as \text{...}; numbers, letters and labels in it unwrapped."""
    for _ in range(8):
        before, text = text, _BOLD.sub(r"\1", _WORDS.sub(_words, text))
        if text == before:
            break
    return text.replace(r"\text<", r"\text{").replace("\0", "}")


def _words(match: re.Match[str]) -> str:
    content = re.sub(r"\\(?=[ ,;:!])|~", " ", match[1])
    if not re.search("[A-Za-z]", content) or _UNWRAPPED.match(content):
        return f" {content} "
    inside = content.strip().replace("{", "").replace("}", "")
    blank = " " if content[:1].isspace() else ""
    parts = [part.strip() for part in _AND.split(inside)]  # 'cm and' before a number is two things
    return blank + " ".join(f"\\text<{part}\0" for part in parts if part)
