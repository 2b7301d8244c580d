"""The grader of mathematical answers, on answers written for it (test_maths_sets.py: real ones)."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from importlib import metadata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gainrl.grading import maths
from gainrl.grading.maths import ALTERNATIVES, canonical, extract, grade

# --- extract -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"a stray } and { before \boxed{3}", "3"),
        (r"\boxed{8} and a cut-off \boxed{9", None),
        ("#### 7\nso \\boxed{8}", "8"),
        ("2 + 2 = 4\n#### 4", "4"),
        ("#### 4\n#### 5 \nmore text", "5"),
        ("####\n 6", "6"),
        ("The answer is 12.", "12"),
        ("The answer is: **3.5**. Then more 9", "3.5"),
        ("the answer is 1. No, the Answer is 2", "2"),
        ("it is 42", None),
        ("42", None),
        ("", None),
        ("#### ", None),
        (r"\boxed{}", None),
        (r"\boxed{3", None),
    ],
)
def test_extract(response: str, expected: str | None) -> None:
    assert extract(response) == expected


_balanced = st.recursive(
    st.text(alphabet="abc 123+-\\{}", max_size=8).map(
        lambda text: re.sub(r"[\\{}]", lambda m: "\\\\" if m[0] == "\\" else "\\" + m[0], text)
    ),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda parts: "".join(f"x{{{part}}}" for part in parts)
    ),
    max_leaves=12,
)


@given(
    content=_balanced, before=st.text(max_size=30), after=st.text(alphabet="abc }{.", max_size=20)
)
@settings(max_examples=300, deadline=None)
def test_extract_finds_a_nested_box(content: str, before: str, after: str) -> None:
    # A backslash at the end of `before` would escape the one of \boxed.
    response = f"{before.rstrip(chr(92))} \\boxed{{{content}}}{after}"
    assert extract(response) == (content.strip() or None)


@given(response=st.text(), gold=st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_input_makes_the_grader_raise(response: str, gold: str) -> None:
    grade(response, gold)
    grade(f"#### {response}", gold)


_PIECES = (
    r"( ) [ ] { } \{ \} , ; = . - + ^ _ & $ ~ ' x 12 .5 \\ \, \cup \pm \in \frac \text{ cm} \infty"
    r" < and A (C) \begin{pmatrix} \end{pmatrix}"
)
_latex = st.lists(st.sampled_from(_PIECES.split()), max_size=14).map(" ".join)


@given(left=_latex, right=_latex)
@settings(max_examples=500, deadline=None)
def test_no_latex_makes_the_reader_raise(left: str, right: str) -> None:
    canonical(left)
    assert maths._plain(left, left, 0.0)[0] is not False
    maths._plain(left, right, 0.0)


@pytest.mark.parametrize(
    "part",
    ["a ", "a a", "\\in x", "1, ", "\\angle A ", "((", "\\text{ a", "= x", "~ ", "2 x ", "a_a'"],
)
def test_reading_is_quick_whatever_the_answer(part: str) -> None:
    begin = time.process_time()
    for answer in (part * 600, "(" + part * (500 // len(part)) + ")x = 1"):
        canonical(answer)
        maths._plain(answer[:600], "(1, 2)", 0.0)
    assert time.process_time() - begin < 1


def test_extraction_is_linear_in_unclosed_boxes() -> None:
    begin = time.process_time()
    assert extract("\\boxed{" * 50_000) is None
    assert time.process_time() - begin < 2


# --- grade ---------------------------------------------------------------------------------------

RIGHT = [
    ("18", "18", "same text"),
    ("18.", "18", "same number"),
    ("$18", "18", "same number"),
    ("1,080", "1080", "same number"),
    (r"33,\!800,\!000", "33800000", "same text"),
    (r"14{,}238", "14238", "same text"),
    ("25", "025", "same number"),
    ("142.0", "142", "same number"),
    ("0.5", r"\frac12", "same number"),
    (r"\dfrac{3}{6}", "1/2", "same number"),
    (r"-\frac{1}2", "-0.5", "same number"),
    (r"22\frac{1}{2}^\circ", "22.5", "same number"),
    (r"8.7 \times 10^{8}", "8.7e8", "same number"),
    (r"50\%", "50", "same number"),
    (r"90^{\circ}", "90", "same number"),
    (r"10\text{ cm}", "10", "same number"),
    ("10", r"10\text{ cm}^2", "same number"),
    ("18 dollars", "18", "same number"),
    ("2516", "2516_8", "same number"),
    ("East", r"\text{east}", "same text"),
    ("(C)", "C", "same text"),
    (r"\textbf{(C)}", "C", "same text"),
    (r"\textbf{(A)}\ 26", "26", "same text"),
    ("26", r"\textbf{(A)}\ 26", "same text"),
    ("A", r"\textbf{(A)}\ 26", "same text"),
    ("40", r"40\textbf{ (B)}", "same text"),
    ("f(A)", "f(A)", "same text"),
    ("9.60", f"8{ALTERNATIVES}9.6", "same number"),
    ("-q + p", "p - q", "equivalent"),
    (r"1/\sqrt{2}", r"\frac{\sqrt{2}}{2}", "equivalent"),
    ("x=5", "5", "same text"),
    ("-2, 1", "1,-2", "equivalent"),
    ("(x-1)(x+1)", "x^2-1", "equivalent"),
    ("(1,2)", "1 < x < 2", "equivalent"),  # not symmetric: the gold answer has to come first
    ("1 < x < 2", "(1,2)", "equivalent"),
    (r"[2,\infty)", r"k \geqslant 2", "equivalent"),
    (r"-2 \le x \le 7", r"x \in [-2,7]", "equivalent"),
    ("3, 1, 2", "1,2,3", "equivalent"),
    (r"\{3, 1\}", "1 , 3", "equivalent"),
    ("8,221", "221,8", "equivalent"),
    (".5, 3.", "0.5, 3", "equivalent"),
    ("100, 200", "200, 100", "equivalent"),
    ("(4,5,7), (1,8,19)", "(1,8,19), (4,5,7)", "equivalent"),
    ("1, 2", "(1, 2)", "equivalent"),
    ("x=1, y=2", "y=2, x=1", "equivalent"),
    ("2", "k=2", "same text"),
    ("f(x)=1+x", "x+1", "equivalent"),
    ("x = 2 + 3 = 5", "5", "equivalent"),
    (r"x = 2 \text{ or } x = 3", "3, 2", "equivalent"),
    (r"1-\sqrt{19}, 1+\sqrt{19}", r"1 \pm \sqrt{19}", "equivalent"),
    (r"(3, \infty) \cup (-\infty, 2)", r"(-\infty, 2) \cup (3, \infty)", "equivalent"),
    (r"\mathbb{R} \setminus \{1\}", r"(-\infty,1) \cup (1,\infty)", "equivalent"),
    (r"\left( \frac{3}{5}, \frac83 \right]", r"(\frac35,\frac{8}{3}]", "equivalent"),
    (r"\begin{pmatrix}-1\\2\end{pmatrix}", r"\begin{pmatrix} -1 \\ 2 \end{pmatrix}", "same text"),
    ("(-1, 2)", r"\begin{pmatrix} -1 \\ 2 \end{pmatrix}", "equivalent"),
    ("2x - y + 3 = 0", "y = 2x + 3", "equivalent"),
    ("2x > 3", r"\frac32 < x", "equivalent"),
    (r"e^{2it}(1-i)", r"\frac{2e^{2 i t}}{1+i}", "equivalent"),
    (r"\frac{(2n)!}{n!^2}", r"\binom{2n}{n}", "equivalent"),
    ("E_1", "E_{1}", "same text"),
    ("0.003", r"0.003^{\prime \prime}", "same number"),
    ("1950", r"1950^\circ C", "same number"),
    (r"0.\overline{3}", r"\frac13", "same number"),
    (r"10^{-3}", "0.001", "same number"),
    (r"\frac{-1}{2}", "-0.5", "same number"),
]

WRONG = [
    ("19", "18", "different number"),
    ("-18", "18", "different number"),
    ("0.333", r"\frac{1}{3}", "different number"),
    ("1 2", "12", "not read: 1 2"),
    ("52_9", "52_8", "different number"),
    (r"10\text{ m}", r"10\text{ cm}", "different text"),
    ("stop", "pots", "different text"),
    ("B", "C", "different text"),
    ("$", "C", "different text"),
    (r"\textbf{(A)}\ 27", r"\textbf{(A)}\ 26", "different number"),
    ("B", r"\textbf{(A)}\ 26", "different text"),
    ("(2,1)", "(1,2)", "not equivalent"),
    ("x+1", "x-1", "not equivalent"),
    (r"\frac{1}{0}", "0", "not equivalent"),
    ("7", f"8{ALTERNATIVES}9.6", "different number"),
    ("x" * 700, "y", "too long"),
    (r"\frac{", "3", "not equivalent"),
    ("2, 1, 1", "1, 2", "not equivalent"),
    ("1, 2", "1, 2, 2", "not equivalent"),
    ("1, 2, 1", "1, 2, 2", "not equivalent"),
    (".5, 3", "5, 3", "not equivalent"),
    ("(1, 2), (4, 3)", "(1, 2), (3, 4)", "not equivalent"),
    ("2, 1", "(1, 2)", "not equivalent"),
    (r"(3, 4)", "(3, 4]", "not equivalent"),
    (r"(0,9) \cup [9,36)", r"(0,9) \cup (9,36)", "not equivalent"),
    ("y=5", "x=5", "not equivalent"),
    ("6", "6m", "not equivalent"),  # the library takes m for a unit
    ("7", "2(5)", "not equivalent"),  # and this for a mixed number
    ("x", "x'", "not equivalent"),
    (r"2 \sqrt2 \cdot 10^{-20}", r"\sqrt2 \cdot 10^{-20}", "not equivalent"),  # and both for 0
    (r"\frac{dx}{dt} = a - kx", r"\frac{dx}{dt} = kx - a", "not equivalent"),
    ("6x - 7y + 4 = 0", "5x - 7y + 4 = 0", "not equivalent"),
    ("x > 2", r"x \ge 2", "not equivalent"),
    ("|x|", "x", "not equivalent"),
    ("|x| + 1", "x + 1", "not equivalent"),
    (r"\lfloor n/9 \rfloor + n", r"\lfloor n/8 \rfloor + n", "not equivalent"),
    ("x < 2", "x > 2", "not equivalent"),
    ("[1,2,3]", "(1,2,4)", "not equivalent"),
    (r"\lfloor n/2 \rfloor", r"\lfloor (n+1)/2 \rfloor", "not equivalent"),
    (
        r"\begin{pmatrix} 2 \\ -1 \end{pmatrix}",
        r"\begin{pmatrix} -1 \\ 2 \end{pmatrix}",
        "not equivalent",
    ),
    ("8,221", "221, 9", "not equivalent"),
]


@pytest.mark.parametrize(("answer", "gold", "reason"), RIGHT)
def test_right(answer: str, gold: str, reason: str) -> None:
    got = grade(f"Thus #### {answer}", gold)
    assert (got.correct, got.reason) == ((True, "same text") if answer == gold else (True, reason))


@pytest.mark.parametrize(("answer", "gold", "reason"), WRONG)
def test_wrong(answer: str, gold: str, reason: str) -> None:
    got = grade(f"Thus #### {answer}", gold)
    assert (got.correct, got.reason) == (False, reason)


@pytest.mark.parametrize(
    ("answer", "gold", "tolerance", "correct"),
    [
        ("9.6009", "9.6", 1e-4, True),
        ("9.602", "9.6", 1e-4, False),
        ("9.6009", "9.6", 0.0, False),
        ("-9.6", "9.6", 0.5, False),
        ("0.001", "0", 0.5, False),
        ("(1.00001, 2)", "(1, 2)", 1e-4, True),
        ("3.1417", r"\pi", 1e-4, True),
        ("3.1417", r"\pi", 0.0, False),
        ("4.4e7", r"4.4001 \times 10^7", 1e-4, True),
    ],
)
def test_tolerance_is_relative_to_the_gold_answer(answer, gold, tolerance, correct) -> None:
    assert grade(rf"\boxed{{{answer}}}", gold, tolerance=tolerance).correct == correct


@pytest.mark.parametrize(
    "same",
    [
        ("1,000", "1000.0", "1000", r"1{,}000", r"\$1,000", "x=1000", r"1000 \text{ cm}"),
        (r"\frac{1}{2}", "1/2", "0.5", ".50", r"50 \cdot 10^{-2}"),
        ("East", r"\text{east}", "EAST"),
        ("(C)", "C", r"\text{(C)}"),
        ("3, 1, 2.0", "1,2,3", r"\{2, 3, 1\}"),
        ("(1, 2)", "(1.0,2)", r"\left(1, \frac{4}{2}\right)"),
        ("x + 1", "x+1"),
    ],
)
def test_equal_answers_have_one_canonical_form(same: tuple[str, ...]) -> None:
    assert len({canonical(answer) for answer in same}) == 1


def test_different_answers_have_different_canonical_forms() -> None:
    forms = ["1", "-1", "10", "1/3", "0.333", "(1,2)", "(2,1)", "[1,2)", "1,2,2", "1,2", "52_8"]
    forms += ["52_9", "A", "B", "east", "west", "x", "x+1"]
    assert len(set(map(canonical, forms))) == len(forms)


def test_a_response_without_an_answer_is_wrong() -> None:
    assert grade("18", "18") == maths.Grade(False, None, "no answer")


@given(st.fractions(max_denominator=1000), st.fractions(max_denominator=1000))
def test_fractions_are_compared_exactly(left, right) -> None:
    sign, top = ("-", -left.numerator) if left < 0 else ("", left.numerator)
    answer = rf"{sign}\frac{{{top}}}{{{left.denominator}}}"
    assert grade(rf"\boxed{{{answer}}}", str(right)).correct == (left == right)


def test_plain_numbers_are_graded_in_microseconds() -> None:
    responses = [f"{n} + 1 = {n + 1}\n#### {n + 1}" for n in range(5000)]
    begin = time.process_time()
    assert all(grade(response, str(n + 1)).correct for n, response in enumerate(responses))
    assert not any(grade(response, str(n)).correct for n, response in enumerate(responses))
    assert (time.process_time() - begin) / 10_000 < 1e-3


def test_numbers_need_neither_torch_nor_sympy() -> None:
    code = (
        "import sys; from gainrl.grading.maths import grade; assert grade('#### 3', '3.0').correct;"
        "print(sorted({'torch', 'transformers', 'sympy', 'math_verify'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_names_the_library_too() -> None:
    parser = metadata.version("latex2sympy2_extended")
    assert maths.version() == f"maths {maths.VERSION}, latex2sympy2-extended {parser}"
