"""The grader of mathematical answers on perturbed answers and on those of the real data sets."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from gainrl.config.data import Registered
from gainrl.data.registry import find
from gainrl.data.sources import load_splits
from gainrl.grading._reading import Leaf, leaf
from gainrl.grading._structure import parse, unread
from gainrl.grading._symbols import same_symbols
from gainrl.grading.maths import ALTERNATIVES, grade, grade_many

DATA = Path(
    os.environ.get("GAINRL_DATA_DIR")
    or Path(__file__).resolve().parents[2].parent / "shared" / "data"
)

_path = Path(__file__).resolve().parents[2] / "benchmarks" / "perturbations.py"
_spec = importlib.util.spec_from_file_location("perturbations", _path)
assert _spec is not None
assert _spec.loader is not None
perturbations = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(perturbations)

# --- perturbations --------------------------------------------------------------------------------

PERTURBED = {
    "18": {"-18": "wrong sign", "19": "off by one"},
    "-0.5": {"0.5": "wrong sign", "-1.5": "off by one"},
    "0": {"1": "off by one"},
    r"\frac{3}{56}": {r"-\frac{3}{56}": "wrong sign", r"\frac{56}{3}": "reciprocal",
                      r"\frac{4}{56}": "off by one", r"\frac{3}{57}": "off by one"},
    r"\text{(C)}": {r"\text{(D)}": "other letter"},
    "(3,4]": {"(-3,4]": "wrong sign", "(4,3]": "swapped", "[3,4]": "other bracket",
              "(4,4]": "off by one", "(3,5]": "off by one"},
    r"(-\infty, 2]": {r"( 2,-\infty]": "swapped", r"(-\infty, 2)": "other bracket",
                      r"(\infty, 2]": "wrong sign", r"(-\infty, 3]": "off by one"},
    "1, -1": {"-1, -1": "wrong sign", "1": "dropped", "2, -1": "off by one", "1, -2": "off by one"},
    "(1,2), (2,1)": {
        "(1,2)": "dropped", "(2,2), (2,1)": "off by one", "(1,3), (2,1)": "off by one"},
    "x^2 - 1": {"x^3 - 1": "off by one", "x^2 - 2": "off by one",
                "-(x^2 - 1)": "wrong sign", "x^{3} - 1": "other exponent"},
}  # fmt: skip


@pytest.mark.parametrize("answer", PERTURBED)
def test_perturbations_are_the_mistakes_that_they_say(answer: str) -> None:
    assert perturbations.perturb(answer) == PERTURBED[answer]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("-0", "wrong sign"),
        ("0.0", "wrong sign"),
        ("(2,2)", "swapped"),
        ("(1,2), (2,1)", "swapped"),
        ("1,1", "dropped"),
        (r"\frac{3}{3}", "reciprocal"),
        ("1,000", "dropped"),
        (r"1 \pm \sqrt{2}", "wrong sign"),
        ("1^{2}", "other exponent"),
    ],
)
def test_no_perturbation_leaves_the_value(answer: str, kind: str) -> None:
    assert kind not in perturbations.perturb(answer).values()


OURS = [*PERTURBED, "-2, 1", r"\{1 \pm \sqrt{5}, -2\}", "(1,8,19), (2,7,13)", "x^2-1", "p - q"]
OURS += [
    r"\frac{\sqrt{2}}{2}",
    r"8.7 \times 10^{8}",
    r"10\text{ cm}^2",
    "2516_8",
    "x=5",
    "y = 2x + 3",
]
OURS += [
    r"\begin{pmatrix} -1 \\ 2 \end{pmatrix}",
    r"(0,9) \cup (9,36)",
    "5x - 7y + 11z + 4 = 0",
    "6m",
]
OURS += [
    r"\frac{dx}{dt} = kx - a",
    r"I(0)e^{-\frac{t}{RC}}",
    "f(n)=n, g(n)=1",
    r"\binom{2n}{n}",
    "7.6Z",
]
OURS += [r"\lfloor\frac{2 n-1}{5}\rfloor", "(a+5)(b+2)", r"m_{p} c^{2}(\gamma^{2}-1)", "1+274i"]


def test_perturbed_answers_of_our_own_are_wrong() -> None:
    rows = [(form, gold) for gold in OURS for form in perturbations.perturb(gold)]
    grades = grade_many([_box(form) for form, _ in rows], [gold for _, gold in rows])
    assert len(rows) > 90
    assert [row for row, got in zip(rows, grades, strict=True) if got.correct] == []


# --- the gold answers of the real data sets -------------------------------------------------------

SETS = [
    ("gsm8k", "train"),
    ("gsm8k", "eval"),
    ("math", "train"),
    ("math", "eval"),
    ("amc", "train"),
    ("amc23", "eval"),
    ("aime24", "eval"),
    ("olympiadbench", "eval"),
    ("minerva", "eval"),
]


def _table(name: str, split: str) -> pd.DataFrame:
    if not DATA.is_dir():
        pytest.skip(f"no copies of the real data sets in {DATA}: set GAINRL_DATA_DIR")
    where = getattr(find(name), split)
    if not (DATA / where.local).is_file():
        pytest.skip(f"{DATA} has no {where.local}")
    spec = Registered(source="registry", name=name)
    return load_splits(spec, data_dir=DATA, name=name)[split]


def _golds(name: str, split: str, count: int | None = None) -> list[str]:
    table = _table(name, split)
    size = min(count or len(table), len(table))
    return list(table["answer"].sample(size, random_state=0))


def _reversed(answer: str) -> str:
    """A list in another order; anything else as it is."""
    item = parse(answer).item
    if item is None or item.kind != "list" or "\\pm" in answer or "where" in answer:
        return answer
    return ", ".join(part.text for part in reversed(item.parts))


def _rewritten(answer: str) -> str:
    """The same answer, written as another author might."""
    text = re.sub(r"\\frac(?![a-z])", r"\\dfrac", answer)
    text = re.sub(r"\\left(?![a-z])|\\right(?![a-z])", "", text)
    return f" {text} ."


@pytest.mark.parametrize(("name", "split"), SETS)
def test_a_gold_answer_in_a_box_is_right(name: str, split: str) -> None:
    golds = _golds(name, split, 150)
    wrong = [gold for gold in golds if not grade(_box(_rewritten(_form(gold))), gold).correct]
    share = 1 - len(wrong) / len(golds)
    assert share >= 0.97, f"{name} {split}: {share:.3f} of the gold answers; not {wrong[:5]}"


@pytest.mark.parametrize(("name", "split"), SETS)
def test_sympy_agrees_that_a_gold_answer_is_itself(name: str, split: str) -> None:
    """Without the short cuts, on what is not a number: shows how far the library can be trusted."""
    leaves = [_leaf(gold) for gold in map(_form, _golds(name, split, 400))]
    symbols = [one.latex for one in leaves if one and one.number is None and not one.words][:25]
    wrong = [gold for gold in symbols if not same_symbols(f"{gold} ", gold, 0.0)]
    share = 1 - len(wrong) / max(1, len(symbols))
    assert share >= 0.8, f"{name} {split}: {share:.3f} of {len(symbols)}; not {wrong[:5]}"


TESTS = ("gsm8k", "math500", "amc23", "aime24", "olympiadbench", "minerva")


@pytest.mark.parametrize("name", TESTS)
def test_every_form_of_a_gold_answer_in_a_box_is_right(name: str) -> None:
    rows = [(form, gold) for gold in _golds(name, "eval") for form in gold.split(ALTERNATIVES)]
    rows += [(_reversed(form), gold) for form, gold in rows]
    grades = grade_many([_box(form) for form, _ in rows], [gold for _, gold in rows], workers=2)
    wrong = [row for row, got in zip(rows, grades, strict=True) if not got.correct]
    assert len(wrong) <= 0.005 * len(rows), wrong


@pytest.mark.parametrize("name", TESTS)
def test_a_perturbed_gold_answer_is_wrong(name: str) -> None:
    rows = [
        (form, gold)
        for gold in _golds(name, "eval")
        for form in perturbations.perturb(gold.split(ALTERNATIVES)[0])
    ]
    grades = grade_many([_box(form) for form, _ in rows], [gold for _, gold in rows], workers=2)
    right = [row for row, got in zip(rows, grades, strict=True) if got.correct]
    assert len(right) <= 0.01 * len(rows), right


@pytest.mark.parametrize("name", ["gsm8k", "aime24"])
def test_a_worked_solution_is_right(name: str) -> None:
    table = _table(name, "eval")
    table = table[table["solution"].str.contains(r"\\boxed|####")]
    grades = grade_many(list(table["solution"]), list(table["answer"]))
    assert len(grades) >= 25
    assert all(got.correct for got in grades)


@pytest.mark.parametrize(("name", "split"), SETS)
def test_a_perturbed_number_is_wrong(name: str, split: str) -> None:
    golds = [(gold, _leaf(gold)) for gold in map(_form, _golds(name, split, 150))]
    numbers = [(gold, one.number) for gold, one in golds if one and one.number]
    assert len(numbers) >= 15
    for gold, number in numbers:
        for other in (number + 1, -number, number * 10):
            assert not grade(f"#### {other}", gold).correct, (gold, other)


def _leaf(gold: str) -> Leaf | None:
    """A gold answer that is one value, and read."""
    item = parse(gold).item
    if item is None or item.kind or unread(item, gold=True) is not None:
        return None
    return leaf(item.value, gold=True)


def _form(gold: str) -> str:
    return gold.split(ALTERNATIVES)[0]


def _box(answer: str) -> str:
    return f"Therefore, the answer is \\boxed{{{answer}}}."
