"""Our own problems that a program solves: `code`, one-line functions of one number.

A question describes the function in closed-vocabulary English, one phrase an operation; the
solution is the whole function on one line, with a space around every symbol, so that a word-level
tokenizer gives it back as it was. The level of a problem is its number of operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gainrl.grading.code import FunctionTests, encode

INPUTS = (-50, -31, -13, -6, -1, 0, 1, 3, 8, 17, 26, 32, 45)
"""What every function is tested on; two that differ at all differ here, but for about 1 in 1000."""

LEAST_VALUES = 4  # a function that is nearly constant has many wrong programs that pass
HEAD = "Write f ( x ) :"


@dataclass(frozen=True)
class Operation:
    """One operation on the value so far.

    phrase: with `it` for the value and `n` for the operand. code: with `e` for the expression so
    far. numbers: smallest and largest operand; None if it takes none. mistaken: the operation that
    a careless pupil takes for this one; the two take the same kind of operand.
    """

    phrase: str
    code: str
    value: Callable[[int, int], int]
    mistaken: str
    numbers: tuple[int, int] | None = None
    or_x: bool = False

    @property
    def is_call(self) -> bool:
        """Whether the code is a call, inside and around which nothing needs parentheses."""
        return self.code.endswith(")")


OPERATIONS = {
    "add": Operation(
        "add {n} to {it}", "{e} + {n}", lambda e, n: e + n, "subtract", (1, 15), or_x=True
    ),
    "subtract": Operation(
        "subtract {n} from {it}", "{e} - {n}", lambda e, n: e - n, "reverse", (1, 15), or_x=True
    ),
    "reverse": Operation(
        "subtract {it} from {n}", "{n} - {e}", lambda e, n: n - e, "subtract", (1, 15)
    ),
    "multiply": Operation(
        "multiply {it} by {n}", "{e} * {n}", lambda e, n: e * n, "add", (4, 9), or_x=True
    ),
    "double": Operation("double {it}", "{e} * 2", lambda e, n: e * 2, "triple"),
    "triple": Operation("triple {it}", "{e} * 3", lambda e, n: e * 3, "double"),
    "negate": Operation("negate {it}", "- {e}", lambda e, n: -e, "absolute"),
    "absolute": Operation(
        "take the absolute value of {it}", "abs ( {e} )", lambda e, n: abs(e), "negate"
    ),
    "quotient": Operation(
        "divide {it} by {n} rounding down", "{e} // {n}", lambda e, n: e // n, "remainder", (2, 9)
    ),
    "remainder": Operation(
        "take the remainder of {it} divided by {n}",
        "{e} % {n}",
        lambda e, n: e % n,
        "quotient",
        (4, 9),
    ),
    "larger": Operation(
        "take the larger of {it} and {n}",
        "max ( {e} , {n} )",
        lambda e, n: max(e, n),
        "smaller",
        (1, 15),
    ),
    "smaller": Operation(
        "take the smaller of {it} and {n}",
        "min ( {e} , {n} )",
        lambda e, n: min(e, n),
        "larger",
        (1, 15),
    ),
}

_TEXTS = (
    HEAD,
    "def f ( x ) : return , then it x .",
    *(op.phrase.format(it="it", n="x") for op in OPERATIONS.values()),
    *(op.code.format(e="x", n="x") for op in OPERATIONS.values()),
)
WORDS = tuple(dict.fromkeys(word for text in _TEXTS for word in text.split()))
"""Every token but the numbers that questions and solutions use."""


@dataclass(frozen=True)
class Instruction:
    """An operation with its operand: a number, 'x', or '' if it takes none."""

    name: str
    operand: str = ""

    @property
    def operation(self) -> Operation:
        """What `name` stands for."""
        return OPERATIONS[self.name]


Steps = tuple[Instruction, ...]


@dataclass(frozen=True)
class CodeProblem:
    """A function of one number by its operations, first to last."""

    steps: Steps

    @property
    def question(self) -> str:
        """The description, and the head of the function."""
        its = ["x", *["it"] * (len(self.steps) - 1)]
        phrases = [
            step.operation.phrase.format(it=it, n=step.operand)
            for it, step in zip(its, self.steps, strict=True)
        ]
        return f"{HEAD} {' , then '.join(phrases)} ."

    @property
    def answer(self) -> str:
        """Its tests as text (gainrl.grading.code.encode)."""
        pairs = zip(INPUTS, values(self.steps), strict=True)
        tests = "\n".join(f"assert f({given}) == {value}" for given, value in pairs)
        return encode(FunctionTests("def f(x):\n", "f", tests))

    @property
    def solution(self) -> str:
        """The whole function on one line."""
        return program(self.steps)

    def noisy_solution(self, rng: np.random.Generator, corrupt: float, direct: float) -> str:
        """The function as a careless pupil writes it; it is what leaves RL something to improve.

        Each operation becomes another one or gets another number with probability `corrupt`; then
        with probability `direct` one operation is left out or two neighbours change places.
        """
        steps = [_slip(rng, step) if rng.random() < corrupt else step for step in self.steps]
        if rng.random() < direct:
            at = int(rng.integers(len(steps)))
            dropped = steps.pop(at)
            if steps and rng.random() < 0.5:
                steps.insert(at - 1 if at else 1, dropped)
        return program(tuple(steps))


def code(rng: np.random.Generator, level: int) -> CodeProblem:
    """A function of `level` operations, none of which can be left out: `f(x) = (x + 3) * 2`."""
    while True:
        steps = tuple(_draw(rng) for _ in range(level))
        if _is_sound(steps):
            return CodeProblem(steps)


def program(steps: Steps) -> str:
    """The function as one line of Python, tokens separated by spaces."""
    text, needs_none = "x", True
    for step in steps:
        call = step.operation.is_call
        inner = text if call or needs_none else f"( {text} )"
        text, needs_none = step.operation.code.format(e=inner, n=step.operand), call
    return f"def f ( x ) : return {text}"


def values(steps: Steps, inputs: tuple[int, ...] = INPUTS) -> tuple[int, ...]:
    """What the function gives for each input."""
    found = []
    for x in inputs:
        value = x
        for step in steps:
            operand = x if step.operand == "x" else int(step.operand or 0)
            value = step.operation.value(value, operand)
        found.append(value)
    return tuple(found)


def _draw(rng: np.random.Generator) -> Instruction:
    name = list(OPERATIONS)[rng.integers(len(OPERATIONS))]
    return Instruction(name, _operand(rng, OPERATIONS[name]))


def _operand(rng: np.random.Generator, operation: Operation) -> str:
    if operation.numbers is None:
        return ""
    if operation.or_x and rng.random() < 0.15:
        return "x"
    low, high = operation.numbers
    return str(rng.integers(low, high + 1))


def _is_sound(steps: Steps) -> bool:
    """Whether the function has enough values and needs each of its operations."""
    right = values(steps)
    shorter = (steps[:i] + steps[i + 1 :] for i in range(len(steps)))
    return len(set(right)) >= LEAST_VALUES and all(values(rest) != right for rest in shorter)


def _slip(rng: np.random.Generator, step: Instruction) -> Instruction:
    """Another operation on the same operand or, half of the time, another operand."""
    if step.operation.numbers and rng.random() < 0.5:
        return Instruction(step.name, _operand(rng, step.operation))
    return Instruction(step.operation.mistaken, step.operand)
