r"""What an expression is allowed to hold, and the form in which the library reads it as we do.

latex2sympy2_extended reads LaTeX to sympy, but takes words for products of letters, 7 0 for 7·0, x'
for x and \gamma for Euler's constant. `canonical` goes through the signs once: each is known and
stands where its meaning is plain, or the whole expression is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache

from gainrl.grading._notation import uniform


class NotRead(Exception):  # noqa: N818 - not an error: an answer of which a part means nothing here
    """An answer that is not read; the text is the place."""


_TOKEN = re.compile(
    r"(?P<words>\\text\{[^{}]*\})|(?P<degrees>\^\\circ(?![a-zA-Z]))|(?P<command>\\[A-Za-z]+)"
    r"|(?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3}(?!\w))?)|(?P<letters>[A-Za-z]+)"
    r"|(?P<blank>\s+)|(?P<sign>\\.|.)",
    re.DOTALL,
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TRIGONOMETRIC = _names("sin cos tan cot sec csc")
_FUNCTIONS = _TRIGONOMETRIC | _names(
    "arcsin arccos arctan arccot sinh cosh tanh coth ln log lg exp sqrt"
)
_GREEK = _names("""alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho
sigma tau upsilon phi chi psi omega hbar ell Gamma Delta Theta Lambda Xi Pi Sigma Upsilon
Phi Psi Omega""")
_OPERATORS = {
    "times": r"\times ", "cdot": r"\cdot ", "div": r"\div ", "le": r"\le ", "ge": r"\ge ",
    "ne": r"\ne ", "sum": r"\sum ", "prod": r"\prod ", "int": r"\int ", "lim": r"\lim ",
    "to": r"\to ", "in": r"\in ", "cup": r"\cup ", "cap": r"\cap ", "setminus": r"\setminus ",
    "frac": r"\frac", "binom": r"\binom", "lfloor": r"\lfloor ", "lceil": r"\lceil ",
}  # fmt: skip
_VALUES = {
    "pi": r"\pi ", "infty": r"\infty ", "emptyset": r"\emptyset ", "rfloor": r"\rfloor ",
    "rceil": r"\rceil ",
}  # fmt: skip
_TYPED = _FUNCTIONS | _GREEK | {"pi", "infty"}
_APPLIED = re.compile(r"(sin|cos|tan|ln|log)([a-z])")
_SPELT = {"infinity": "infty", "inf": "infty", "asin": "arcsin", "acos": "arccos", "atan": "arctan"}
_NO_PRODUCT = _names("""not the and or for no yes any all one two six ten of per mod max min gcd
lcm non nor but odd""")
"""Runs of letters that are words, though short enough for a product."""
_MARKED = re.compile(
    r"\\(?P<mark>angle|measuredangle|triangle|overline|overrightarrow|overarc|vec|hat|widehat|bar"
    r"|tilde|dot|ddot)(?![a-zA-Z])\s*(?P<inner>\{[^{}]*\}|(?:[A-Z](?:_\{?\w\}?|')*\s*)+|[a-z]"
    r"|\\(?:alpha|beta|gamma|theta|phi|omega)(?![a-zA-Z]))"
)
_INNER = re.compile(r"\{?\s*(?:(?:[A-Za-z]|\\[a-z]+)(?:_\{?\w\}?|')*\s*)+\}?")
_SUBSCRIPT = re.compile(r"\s*_\s*(?:\{(?P<group>[^{}]*(?:\{[^{}]*\}[^{}]*)*)\}|(?P<one>\d+|\\?\w))")
_INDEX = re.compile(r"\s*\[(?P<group>[^\[\]]*)\](?P<one>)")
_POWER = re.compile(_SUBSCRIPT.pattern.replace("_", r"\^", 1))
_CALL = re.compile(r"\s*\(\s*(?P<inner>[^()]*)\)")
_CALLED = frozenset("fghFGH")
_MIXED = re.compile(r"\s*(?P<whole>\d+)\s*\\frac\{(?P<above>\d+)\}\{(?P<below>\d+)\}")
_TYPED_MIXED = re.compile(r"(?<![\d./^_{\w])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])")
_ONE = r"(?:\s*\{|\s*(?P<one>\d|[A-Za-z]|\\[a-zA-Z]+))"


def braced(text: str) -> str:
    r"""\frac12, \sqrt[3]8, x^-2 and sqrt(2) with the braces that they leave out."""
    text = re.sub(r"(?<![A-Za-z\\])sqrt(?![a-zA-Z])", r"\\sqrt", text)
    text = re.sub(r"\\(frac|binom)\s+([a-z])\s*([a-z])(?![a-z])", r"\\\1{\2}{\3}", text)
    text = re.sub(r"\\(frac|binom)\s*(\d|[A-Za-z](?![A-Za-z])|\\pi\b\s*)", r"\\\1{\2}", text)
    text = re.sub(
        r"(\\(?:frac|binom)\s*\{(?:[^{}]|\{[^{}]*\})*\})\s*(\d|[A-Za-z]|\\pi\b\s*)", r"\1{\2}", text
    )
    text = re.sub(
        r"(\\sqrt\s*(?:\[[^\]]*\])?)\s*(\d+(?:\.\d+)?|[A-Za-z]|\\[a-z]+)", r"\1{\2}", text
    )
    text = re.sub(r"(\\sqrt(?:\[[^\]]*\])?)\s*\(([^()]*(?:\([^()]*\)[^()]*)*)\)", r"\1{\2}", text)
    text = re.sub(
        r"\^\s*(-?)\s*(\d+|[A-Za-z](?![A-Za-z])|\\(?!circ|frac)[a-zA-Z]+)", r"^{\1\2}", text
    )
    text = re.sub(r"\^\s*(-?\s*\\frac\{[^{}]*\}\{[^{}]*\})", r"^{\1}", text)
    return re.sub(r"\^\s*\(([^()]*)\)", r"^{(\1)}", text)


@lru_cache(maxsize=8192)
def canonical(text: str) -> str:
    """The expression (of `uniform`) as LaTeX in which each sign has one reading.

    Raises:
        NotRead: a sign or word that is not known, or stands where it has no plain meaning.
    """
    text = _TYPED_MIXED.sub(r"\1\\frac{\2}{\3}", text)
    return _Writer(braced(text)).write()


class _Writer:
    """One pass over the signs; `last` is what a value that follows would be multiplied with."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0
        self.out: list[str] = []
        self.last = ""  # '', 'number', 'zero', 'value' or 'function'
        self.degrees = False

    def write(self) -> str:
        while self.place < len(self.text):
            if (mixed := _MIXED.match(self.text, self.place)) and self.last in ("", "function"):
                self._mixed(mixed)
            elif marked := _MARKED.match(self.text, self.place):
                self._marked(marked)
            else:
                token = _TOKEN.match(self.text, self.place)
                assert token is not None
                self.place = token.end()
                getattr(self, f"_{token.lastgroup}")(token.group())
        return "".join(self.out).strip()

    def _refuse(self, place: str) -> None:
        raise NotRead(place.strip())

    def _value(self, latex: str, last: str = "value") -> None:
        """A symbol, number or bracket: multiplied with the value before it."""
        if self.last == "zero":  # 0(7) is not how anybody writes 0
            self._refuse(self.text[: self.place])
        self.out.append(latex)
        self.last = last

    def _mixed(self, match: re.Match[str]) -> None:
        self.place = match.end()
        whole, above, below = match["whole"], match["above"], match["below"]
        self._value(rf"({whole}+\frac{{{above}}}{{{below}}})")

    def _marked(self, match: re.Match[str]) -> None:
        r"""\angle ABC and \overline{AB}: one symbol, whichever end comes first."""
        if not _INNER.fullmatch(match["inner"]):
            self._refuse(match.group())
        self.place = match.end()
        letters = re.findall(r"(?:[A-Za-z]|\\[a-z]+)(?:_\{?\w\}?|')*", match["inner"])
        if match["mark"] in ("angle", "measuredangle", "overline") and len(letters) > 1:
            letters = min(letters, letters[::-1])
        self._symbol(match["mark"] + "".join(letters))

    def _symbol(self, name: str) -> None:
        """A symbol with its primes and subscript, or a called function, under one plain name."""
        while self.text.startswith("'", self.place):
            name, self.place = name + "prime", self.place + 1
        if match := _SUBSCRIPT.match(self.text, self.place):
            self.place = match.end()
            inner = (match["group"] if match["one"] is None else match["one"]).replace(" ", "")
            name += "sub" + re.sub(r"\\text\{([^{}]*)\}", r"\1", inner)
            while self.text.startswith("'", self.place):
                name, self.place = name + "prime", self.place + 1
        call = _CALL.match(self.text, self.place)
        if call and (name[0] in _CALLED or call["inner"].strip().isdigit()):  # I(0) is no product
            self.place = call.end()
            name += "of" + canonical(call["inner"])
        self._named(name)

    def _named(self, name: str) -> None:
        if len(name) == 1 and name.islower():
            self._value(f"{name} ")
        else:
            digits = "".join(
                f"{ord(one):03d}" for one in name
            )  # letters may spell a command, I or E a constant
            self._value(f"x_{{{digits}}} ")

    def _limits(self, pattern: re.Pattern[str], form: str) -> None:
        r"""What belongs to the sign before it: the 3 of \sqrt[3]{x}, the limits of a sum."""
        if match := pattern.match(self.text, self.place):
            self.place = match.end()
            self.out.append(form.format(canonical(match["one"] or match["group"] or "")))

    # one method a kind of token

    def _blank(self, text: str) -> None:
        pass

    def _words(self, text: str) -> None:
        inside = text[6:-1].strip()
        if len(inside) != 1 or not inside.isalpha():
            self._refuse(inside)
        self._symbol(inside)

    def _degrees(self, text: str) -> None:
        if self.last != "number" and self.last != "value":
            self._refuse(text)
        if self.degrees and self.last == "number":
            self.out[-1] = rf"\frac{{{self.out[-1].strip()} \cdot \pi}}{{180}}"
        self.last = "value"

    def _number(self, text: str) -> None:
        power = self.last == "value" and re.match(r"\s*\^", self.text[self.place :])
        if self.last in ("number", "value", "zero") and not power:  # (n-2) 2^n is a product
            self._refuse(self.text[: self.place])
        if float(text) == 0 and self.out and self.out[-1].startswith((r"\cdot", r"\times")):
            self._refuse(self.text[: self.place])
        number, _, ten = text.lower().partition("e")
        self.out.append(
            rf"{number} \cdot 10^{{{ten}}} " if ten else rf"\cdot {text} " if power else f"{text} "
        )
        self.last = "number" if float(text) else "zero"

    def _letters(self, text: str) -> None:
        text = _SPELT.get(text, text)
        if applied := _APPLIED.fullmatch(text):  # 'sinx'
            self._command(f"\\{applied[1]}")
            return self._symbol(applied[2])
        if text in _TYPED:
            return self._command(f"\\{text}")
        if len(text) > 1 and is_word(text):
            self._refuse(text)
        for place, letter in enumerate(text):
            if place < len(text) - 1:
                self._named(letter)
            else:
                self._symbol(letter)
        return None

    def _command(self, text: str) -> None:
        name = text[1:]
        if name in _GREEK:
            self._symbol(name)
        elif name in _FUNCTIONS:
            self.degrees = self.degrees or name in _TRIGONOMETRIC
            self._value(f"\\{name} " if name != "sqrt" else r"\sqrt", "function")
            self._limits(_INDEX, "[{}]") if name == "sqrt" else self._limits(_SUBSCRIPT, "_{{{}}}")
            self._limits(_POWER, "^{{{}}}")
        elif name in _OPERATORS:
            if self.last == "zero" and name in ("cdot", "times"):
                self._refuse(self.text[: self.place])
            self.out.append(_OPERATORS[name])
            self.last = "function" if name in ("frac", "binom", "sum", "prod", "int", "lim") else ""
            if self.last == "function":
                self._limits(_SUBSCRIPT, "_{{{}}}")
                self._limits(_POWER, "^{{{}}}")
        elif name == "mathbb" and re.match(r"\{[RZNQC]\}", self.text[self.place :]):
            self._value(rf"\mathbb{{{self.text[self.place + 1]}}}")
            self.place += 3
        elif name in _VALUES:
            if name == "infty" and re.search(r"[\d/*^]|\\frac|\\cdot|\\times", self.text):
                self._refuse(text)  # no arithmetic with it
            self._value(_VALUES[name])
        else:
            self._refuse(text)

    def _sign(self, text: str) -> None:
        if text in "([{" or text == "\\{":
            product = r"\cdot " if text in "([" and self.last in ("number", "value") else ""
            if text in "([":
                self._value(product + "(", "")
            else:
                self.out.append(text)
            self.last = ""
        elif text in ")]}" or text == "\\}":
            self.out.append(")" if text in ")]" else text)
            self.last = "value"
        elif text in "+-*/<>=|":
            if text in "+-" and self.out and self.out[-1] in ("+", "-"):
                self._refuse(self.out[-1] + text)
            self.out.append(r"\cdot " if text == "*" else text)
            self.last = "" if text != "|" else self.last
        elif text == "!" and self.last:
            if self.out[-1].strip().isalnum():  # n!^2 is not read
                self.out[-1] = f"({self.out[-1]}!)"
            else:
                self.out.append("!")
            self.last = "value"
        elif text in "^_" and self.out:
            self.out.append(text)
            self.last = ""
        elif text == "," and self.out:
            self.out.append(",")
            self.last = ""
        else:
            self._refuse(text)


def is_word(letters: str) -> bool:
    """Whether a run of letters is a word and no product: 'stop' is, 'mgh' and 'xyz' are not."""
    if letters.lower() in _NO_PRODUCT:
        return True
    return len(letters) > 3 and re.search("[aeiouAEIOU]", letters) is not None


def read_whole(text: str) -> str:
    """`canonical` of text in any notation."""
    return canonical(uniform(text))
