r"""The worker process that compares answers as symbols; started and killed by `_workers`.

Run as `python -m gainrl.grading._symbols PARENT MEMORY_MB`. One JSON list a line comes on standard
input (the fields of `_workers.Comparison`, seconds of the processor and seconds by the clock), one
JSON object a line goes to standard output: first {"ready": true} or {"error": ...}, then
{"same": ..., "last": ...} for each line. After a last one it ends by itself, before memory that
sympy keeps makes comparisons fail.

It ends at the end of its input, when its parent is gone, and when one comparison takes longer than
it may, which the kernel sees to: sympy may be in C code for hours.
"""

from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import sys
from functools import lru_cache
from typing import Any

from gainrl.grading._expressions import NotRead, canonical
from gainrl.grading._reading import leaf, same_plain
from gainrl.grading._structure import ORDER, Item, differently_named, parse, same_structure

DIGITS = 30
"""Values without an exact form are computed to this many digits ..."""
RELATIVE = 1e-12
"""... and are the same up to this, relative to the gold one; decimal fractions up to ROUNDED."""
ROUNDED = 1e-9
POINTS = 4
"""Expressions are compared at this many points before they are simplified."""
PARENT_SECONDS = 5
WARM_UP = (("-q+p", "p-q"), (r"\frac{\sqrt{8}}{2}", r"\sqrt{2}"), ("x<1", "x<2"))


def equivalent(answer: str, gold: str, tolerance: float, lists: bool = False) -> bool:
    """Whether two answers are the same, leaf by leaf (see `_structure`)."""

    def same(ours: Item, theirs: Item) -> bool:
        if ours.kind or theirs.kind:
            return same_sets(ours, theirs)
        one, other = leaf(ours.value), leaf(theirs.value, True)
        if differently_named(ours, theirs):
            return same_symbols(canonical(ours.text), canonical(theirs.text), tolerance)
        plain = same_plain(one, other, tolerance)
        if plain is not None:
            return plain[0]
        if same_symbols(one.latex, other.latex, tolerance):
            return True
        return one.whole and same_symbols(canonical(ours.value), canonical(theirs.value), tolerance)

    one, other = parse(answer, lists).item, parse(gold, lists).item
    return one is not None and other is not None and bool(same_structure(one, other, same))


def same_symbols(answer: str, gold: str, tolerance: float) -> bool:
    """Compare values at points if that can settle it, else by what is left of their difference."""
    from sympy import Expr, simplify
    from sympy.core.random import seed

    seed(0)  # simplify draws points at random
    if answer == gold:
        return True
    theirs, ours = _with_equal_names(_to_sympy(gold), _to_sympy(answer))
    close = _close(ours, theirs, tolerance)
    if close is not None:
        return close
    if isinstance(ours, Expr) and isinstance(theirs, Expr):
        return bool(simplify((ours - theirs).doit()) == 0)
    return bool(ours == theirs)


def same_sets(answer: Item, gold: Item) -> bool:
    """Compare unions, differences and intervals as sets of numbers, lists as finite ones."""
    equations = "chain" in (answer.kind, gold.kind)
    if equations or all(ORDER.search(item.text) for item in (answer, gold)):
        return same_symbols(canonical(answer.text), canonical(gold.text), 0.0)
    ours, theirs = _to_set(answer), _to_set(gold)
    return bool(ours == theirs or ours.symmetric_difference(theirs).is_empty)


def _to_set(item: Item) -> Any:
    import sympy

    parts = item.parts
    if item.kind == "union":
        return sympy.Union(*map(_to_set, parts))
    if item.kind == "difference":
        if not parts[0].kind and "\\mathbb" not in parts[0].text:
            raise NotRead(item.text)  # a number is no set to take something from
        return _to_set(parts[0]) - sympy.Union(*map(_to_set, parts[1:]))
    if item.kind in ("list", "set"):
        return sympy.FiniteSet(*(_to_sympy(leaf(part.value).latex) for part in parts))
    if len(item.kind) == 2 and len(parts) == 2:
        ends = (_to_sympy(leaf(part.value).latex) for part in parts)
        return sympy.Interval(*ends, item.kind[0] == "(", item.kind[1] == ")")
    if match := re.fullmatch(r"\\mathbb\{?([RZNQC])\}?", item.value):
        sets = sympy.S
        return {"R": sets.Reals, "Z": sets.Integers, "N": sets.Naturals, "Q": sets.Rationals,
                "C": sets.Complexes}[match[1]]  # fmt: skip
    if not_equal := re.fullmatch(r"\\?\w+\s*\\ne(?![a-z])(.+)", item.value):
        return sympy.S.Reals - sympy.FiniteSet(_to_sympy(canonical(not_equal[1])))
    return sympy.FiniteSet(_to_sympy(leaf(item.value).latex))


@lru_cache(maxsize=256)  # many answers have the same gold answer
def _to_sympy(latex: str) -> Any:
    """What the library reads in an expression of `_expressions.canonical`."""
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy

    config = ConversionConfig(interpret_as_mixed_fractions=False, lowercase_symbols=False)
    return latex2sympy(latex, normalization_config=None, conversion_config=config)


def _with_equal_names(*values: Any) -> list[Any]:
    """Make symbols of one name equal: the library guesses for each answer which are complex."""
    from sympy import Basic, Derivative, I, Symbol
    from sympy.core.function import AppliedUndef

    def named(value: Any) -> Any:
        if not isinstance(value, Basic):
            return value
        # The derivative of a symbol would be 0, and f(x) has no value.
        value = value.replace(
            lambda part: isinstance(part, Derivative | AppliedUndef), lambda part: Symbol(str(part))
        )
        names = {one: one.name for one in value.free_symbols}
        return value.xreplace(
            {one: I if name == "i" else Symbol(name, real=True) for one, name in names.items()}
        )

    return [named(value) for value in values]


def _close(answer: Any, gold: Any, tolerance: float) -> bool | None:
    """Compare numbers, expressions or equations by value; None if that does not settle it."""
    from sympy import Expr, Float, Rational
    from sympy.core.relational import Relational

    if isinstance(answer, Relational) and isinstance(gold, Relational):
        return _close_relations(answer, gold)
    if not (isinstance(answer, Expr) and isinstance(gold, Expr)):
        return None
    if answer.is_Symbol or gold.is_Symbol:
        return None
    if answer.is_number and gold.is_number:
        answer, gold = answer.doit(), gold.doit()
        if isinstance(answer, Rational) and isinstance(gold, Rational):
            return bool(abs(answer - gold) <= Rational(tolerance) * abs(gold))
    else:
        tolerance = 0.0
    limit = max(ROUNDED if answer.has(Float) or gold.has(Float) else RELATIVE, tolerance)
    ratios = _ratios(answer, gold)
    if not ratios:
        return None
    return all(abs(ratio - 1) <= limit for ratio in ratios) and (_smooth(answer, gold) or None)


def _close_relations(answer: Any, gold: Any) -> bool | None:
    """Equations and inequalities are the same if one is a multiple of the other."""
    from sympy import Eq, StrictGreaterThan, StrictLessThan
    from sympy.core.relational import _Inequality

    if isinstance(answer, Eq) and isinstance(gold, Eq):
        sides = answer.lhs - answer.rhs, gold.lhs - gold.rhs
        ratios = _ratios(*sides)
        return _constant(ratios) and _smooth(*sides) if ratios else None
    if not (isinstance(answer, _Inequality) and isinstance(gold, _Inequality)):
        return None
    strict = [isinstance(one, StrictGreaterThan | StrictLessThan) for one in (answer, gold)]
    ratios = _ratios(answer.gts - answer.lts, gold.gts - gold.lts)
    same = strict[0] == strict[1] and ratios and ratios[0].real > 0 and _constant(ratios)
    return True if same else None


def _constant(values: list[complex]) -> bool:
    return all(abs(value - values[0]) <= RELATIVE * abs(values[0]) for value in values)


def _ratios(answer: Any, gold: Any) -> list[complex]:
    """The quotient of two expressions at some points; none if one has no value there."""
    import random

    from sympy import Float

    names = {one.name for one in answer.free_symbols}
    if names != {one.name for one in gold.free_symbols}:
        return []
    draw, ratios = random.Random(0), []
    for point in range(POINTS if names else 1):
        sign = -1 if point % 2 else 1  # |x| is not x
        at = {name: Float(sign * draw.uniform(0.3, 2.5), DIGITS) for name in sorted(names)}
        above, below = (
            one.evalf(DIGITS, subs={name: at[name.name] for name in one.free_symbols})
            for one in (answer, gold)
        )
        if not (above.is_number and below.is_number and above.is_finite and below.is_finite):
            return []
        if below.is_zero:
            return []
        ratios.append(complex((above / below).evalf(DIGITS)))
    return ratios


def _smooth(*values: Any) -> bool:
    """Whether agreement at some points is agreement everywhere."""
    from sympy import Abs, Mod, Piecewise, ceiling, floor, sign

    return not any(value.has(floor, ceiling, Mod, Piecewise, Abs, sign) for value in values)


# --- the process ---------------------------------------------------------------------------------


def main() -> None:
    """Answer lines until there are no more."""
    parent, memory = int(sys.argv[1]), int(sys.argv[2]) << 20
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library prints is no reply
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    for expires in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(expires, signal.SIG_DFL)  # their default is to end the process
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [expires])
    for which, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(which)[1]
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(which, (value, value))
    reply(out, prepare())
    for line in lines(parent):
        *job, seconds, clock = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, clock)
        same = safely(*job)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        last = resident() > memory // 2
        reply(out, {"same": same, "last": last})
        if last:
            break


def resident() -> int:
    """Bytes of memory in use. Not getrusage: that begins with what the parent had at the fork."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def prepare() -> dict[str, Any]:
    """Import the libraries and use them once: that is slow, and no comparison should pay for it."""
    try:
        import logging

        logging.disable(logging.CRITICAL)
        for answer, gold in WARM_UP:
            equivalent(answer, gold, 0.0)
    except Exception as error:  # noqa: BLE001 - the parent has to hear of it
        return {"error": f"{type(error).__name__}: {error}"}
    return {"ready": True}


def safely(answer: str, gold: str, tolerance: float, lists: bool) -> bool:
    """What cannot be compared is not equivalent."""
    try:
        return equivalent(answer, gold, tolerance, lists)
    except Exception:  # noqa: BLE001 - sympy raises whatever it likes on strange input
        return False


def lines(parent: int) -> Any:
    """Lines of standard input, as long as the parent lives.

    A process that the parent has forked may hold the other end of the pipe, so its end is not all
    that counts.
    """
    buffer = b""
    while os.getppid() == parent:
        if not select.select([0], [], [], PARENT_SECONDS)[0]:
            continue
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        *whole, buffer = (buffer + chunk).split(b"\n")
        yield from whole


def reply(out: Any, message: dict[str, Any]) -> None:
    """Write one line; a parent that is gone needs none."""
    try:
        print(json.dumps(message), file=out, flush=True)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
