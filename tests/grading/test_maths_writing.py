"""The grader on what models write: kinds of answers that were once read in part, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gainrl.grading.maths import grade

RIGHT = [
    # magnitudes, units, money
    ("7 million", "7000000"),
    ("1.25 billion dollars", "1250000000"),
    (r"4\text{ thousand}", "4000"),
    ("6 dozen eggs", "72"),
    ("3 pi", r"3\pi"),
    ("23 km", "23"),
    (r"7\text{ kg}", "7"),
    ("9.8 m/s^2", "9.8"),
    ("45 kilometers per hour", "45"),
    (r"45\ \mathrm{km/h}", r"45 \text{ kilometers per hour}"),
    ("20 square feet", r"20 \text{ ft}^2"),
    ("£12", "12"),
    (r"12 \text{ dollars}", r"\$12"),
    ("3 cubic meters", "3"),
    ("40 apples", "40"),
    ("5 cups of rice", "5"),
    ("8 people", "8"),
    ("25°", "25"),
    ("20 °C", "20"),
    (r"\text{7 hours}", "7"),
    (r"\frac{3}{4} \text{ miles}", r"\frac{3}{4}"),
    (r"20\%", "20"),
    ("20%", "0.2"),
    (r"\frac{1}{4}", r"25\%"),
    # Unicode
    ("−7", "-7"),
    ("—7", "-7"),
    ("y³", "y^3"),
    ("10⁻²", "0.01"),
    ("3¾", r"\frac{15}{4}"),
    ("√5", r"\sqrt{5}"),
    ("5√7", r"5\sqrt7"),
    ("∛2", r"\sqrt[3]{2}"),
    ("3 × 4", "12"),
    ("[1, ∞)", r"[1,\infty)"),
    ("θ/3", r"\frac{\theta}{3}"),
    ("x ≥ 4", r"x \geq 4"),
    ("2 ≤ x < 5", "[2,5)"),
    ("（3，4）", "(3,4)"),
    ("𝑥+1", "x+1"),
    ("x₁+x₂", "x_1+x_2"),
    ("1\u00a0234", "1234"),
    ("12\u200b", "12"),
    # keyboard and LaTeX
    (r"\sqrt3", r"\sqrt{3}"),
    ("sqrt(3)/2", r"\frac{\sqrt{3}}{2}"),
    ("1 3/4", "7/4"),
    ("2*pi/3", r"\frac{2\pi}{3}"),
    ("y^-3", r"\frac{1}{y^3}"),
    ("2**10", "1024"),
    (r"\cos 60^\circ", r"\frac12"),
    (r"\sin(45^{\circ})", r"\frac{\sqrt2}{2}"),
    (r"0.\overline{6}", r"\frac23"),
    ("{3, 4}", r"\{4, 3\}"),
    ("∅", r"\varnothing"),
    (r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    ("5>y>1", "1<y<5"),
    (r"\log_{e} 3", r"\ln 3"),
    (r"\boldsymbol{12}", "12"),
    (r"\dfrac{\dfrac12}{3}", r"\frac16"),
    ("1:3", "1 : 3"),
    ("x = 1,250", "1250"),
    (r"\approx 2.72", "2.72"),
    (r"\( 9 \)", "9"),
    ("3e4", "30000"),
    # letters
    (r"F = ma", "ma"),
    ("ma", "F=ma"),
    ("k m n", "kmn"),
    ("pqr", "rqp"),
    (r"\text{Yes}", "yes"),
    ("North West", r"\text{north-west}"),
    (r"\angle PQR", r"\angle RQP"),
    # equations and chains
    ("7=n", "7"),
    ("g(2)=7", "7"),
    ("x = 3 + 4 = 7", "7"),
    (r"\angle ABC = 40^\circ", "40"),
    ("3 + 4 = 7", "7"),
    # choices
    ("(D) 81", "D"),
    ("D. None of these", "D"),
    ("choice H", "H"),
    (r"\mathrm{(B)}", "B"),
    ("(B) 12", "12"),
    # qualifiers
    (r"2n+1 \text{ for every positive integer } n", "2n+1"),
    ("x=4 (only)", "4"),
    (r"f(x)=ax, a \in \mathbb{R}", "f(x)=ax"),
    ("7 when x = 2", "7"),
    ("12 because 3 * 4 = 12", "12"),
]

WRONG = [
    ("7 billion", "7"),
    (r"4 \text{ hundred}", "4"),
    ("6 dozens", "6"),
    ("3 halves", "3"),
    ("2 ab", "2"),
    ("4 cubed", "4"),
    (r"5\mathrm{i}", "5"),
    ("12 minus two", "12"),
    (r"3\text{ km}", r"3\text{ miles}"),
    ("a-A", "A-a"),
    (r"\frac{k}{K}", r"\frac{K}{k}"),
    (r"\phi", r"\Phi"),
    (r"\frac{1}{5} \mid \frac{2}{5}", r"\frac{2}{5}"),
    (r"\frac{1}{5}? \frac{2}{5}?", r"\frac{2}{5}"),
    (r"8\text{\frac{2}{5}}", r"\frac{2}{5}"),
    (r"\frac{2}{5} \setminus 3", r"\frac{2}{5}"),
    ("3 or 4", "4"),
    ("3 to 4", "4"),
    ("between 3 and 4", "4"),
    ("not 4", "4"),
    ("at least 4", "4"),
    ("4?", "4"),
    ("4 maybe", "4"),
    ("x+2=9", "9"),
    ("-n=9", "9"),
    ("n^2=9", "9"),
    (r"\cos x=9", "9"),
    ("g(9)=3", "9"),
    ("x = 3 = 9", "9"),
    (r"7 \text{ since } 4+5 = 9", "9"),
    (r"7 \text{ at } x = 9", "9"),
    ("nothing 0", "0"),
    ("9 0", "0"),
    ("0 (9)", "0"),
    ("xy0", "0"),
    ("1.2.3", "1.2"),
    (r"\text{on}", "no"),
    ("PQ", "QP"),
    ("g'(x)", "g''(x)"),
    (r"\angle PQR", r"\angle PRQ"),
    ("evil", "live"),
    ("D: 81", "C"),
    ("B, D", "D"),
    ("A or B", "A"),
    (r"f(x)=x \text{ or } f(x)=2x", "f(x)=x"),
]

RESPONSES = [
    ("So it is clear. The final answer is:\n\n$$\n18\n$$\n", "18", True, "phrase"),
    ("**Final Answer**\n\n\\(18\\)", "18", True, "phrase"),
    ("### Answer\n18 dollars", "18", True, "phrase"),
    ("Answer: (B) 12", "B", True, "phrase"),
    ("<answer> 18 </answer>", "18", True, "tag"),
    ("The answer is 12 as 9+9=18", "18", False, "phrase"),
    ("The answer is 12 for n=18", "18", False, "phrase"),
    ("The answer is $12$ because $9+9=18$.", "18", False, "phrase"),
    ("The answer is $12$ because $9+9=18$.", "12", True, "phrase"),
    ("The answer is 41. Wait.\n#### 18", "18", True, "mark"),
    ("#### 41\nNo. So the answer is 18.", "18", True, "phrase"),
    ("#### Setup\nLet x be it.\n#### 18", "18", True, "mark"),
    ("#### 18\n\n#### Verification\n9 + 9 is right", "18", True, "mark"),
    ("#### Result\n18", "18", False, None),
    ("\\boxed 18 and so on", "18", True, "box"),
    ("\\boxed\\frac{1}{2}", "1/2", True, "box"),
    ("\\fbox{18}", "18", True, "box"),
    ("\\boxed{18}: it stands in \\boxed{}", "18", True, "box"),
    ("\\boxed{18} or else \\boxed{19", "18", False, None),
    ("\\boxed{3} and \\boxed{4}", "3, 4", True, "box"),
    ("\\boxed{3} or \\boxed{4}", "4", False, "box"),
    ("<think>I try \\boxed{7}.</think>\nThe answer is 18.", "18", True, "phrase"),
    ("I try \\boxed{7}.</think>So \\boxed{18}", "18", True, "box"),
    ("<think>The answer is 18", "18", False, None),
    ("18 it is", "18", False, None),
]


@pytest.mark.parametrize(("answer", "gold"), RIGHT)
def test_right(answer: str, gold: str) -> None:
    found = grade(rf"So \boxed{{{answer}}}.", gold)
    assert found.correct, found


@pytest.mark.parametrize(("answer", "gold"), WRONG)
def test_wrong(answer: str, gold: str) -> None:
    found = grade(rf"So \boxed{{{answer}}}.", gold)
    assert not found.correct, found


@pytest.mark.parametrize(("response", "gold", "right", "rule"), RESPONSES)
def test_where_the_answer_stands(response: str, gold: str, right: bool, rule: str | None) -> None:
    found = grade(response, gold)
    assert (found.correct, found.rule) == (right, rule), found


@pytest.mark.parametrize(
    ("answer", "place"),
    [("5 squared", "squared"), ("1?2", "?"), (r"\foo 3", r"\foo"), ("7 0", "7 0")],
)
def test_the_place_that_is_not_read_is_named(answer: str, place: str) -> None:
    assert grade(rf"\boxed{{{answer}}}", "5").reason == f"not read: {place}"


# --- properties ----------------------------------------------------------------------------------

GOLDS = [
    "5",
    "-3",
    "0",
    "1/2",
    r"\frac{3}{4}",
    r"\sqrt{2}",
    "x^2+1",
    "(1,2)",
    "1,2",
    r"2\pi",
    "[0,3)",
]
_junk = st.one_of(
    st.sampled_from(
        ["?", "!?", "#", "@", "&", "xyzzy", "foo bar", "plus one", "or so", "not", "no"]
    ),
    st.text(alphabet="qwzkjv", min_size=4, max_size=9).map(lambda word: f"a{word}"),
    st.text(alphabet="鿯ばん한국русдж", min_size=1, max_size=4),
    st.integers(10, 99).map(str),
)


@given(gold=st.sampled_from(GOLDS), junk=_junk, ahead=st.booleans())
@settings(max_examples=150, deadline=None)
def test_text_that_the_grammar_does_not_name_makes_an_answer_wrong(gold, junk, ahead) -> None:
    answer = f"{junk} {gold}" if ahead else f"{gold} {junk}"
    assert not grade(rf"\boxed{{{answer}}}", gold).correct


_SPELLINGS = [
    lambda text: f" {text} ",
    lambda text: f"${text}$",
    lambda text: rf"\( {text} \)",
    lambda text: f"{text}.",
    lambda text: f"**{text}**",
    lambda text: rf"\displaystyle {text}",
    lambda text: text.replace("-", "−"),
    lambda text: text.replace(r"\frac", r"\dfrac"),
    lambda text: text.replace("(", r"\left(").replace(")", r"\right)"),
    lambda text: text.replace(",", r",\ "),
    lambda text: text.replace("^2", "²"),
    lambda text: text.replace(r"\pi", "π"),
]


@given(
    gold=st.sampled_from(GOLDS),
    answer=st.sampled_from(GOLDS),
    spelling=st.lists(st.sampled_from(_SPELLINGS), min_size=1, max_size=3, unique=True),
)
@settings(max_examples=200, deadline=None)
def test_another_spelling_never_changes_a_verdict(gold, answer, spelling) -> None:
    spelt = answer
    for change in spelling:
        spelt = change(spelt)
    plain = grade(rf"\boxed{{{answer}}}", gold)
    assert plain.correct or answer != gold
    assert grade(rf"\boxed{{{spelt}}}", gold).correct == plain.correct
