"""Which part of a response is the program: fences as people write them, drafts, demos, prose."""

from __future__ import annotations

import time

import pytest

from gainrl.grading._blocks import chunks, defines
from gainrl.grading._extraction import extract

GOOD = "def twice(x):\n    return 2 * x\n"
BAD = "def twice(x):\n    return 3 * x\n"
READS = "n = int(input())\nprint(n + 1)\n"


def fenced(text: str, label: str = "python", fence: str = "```") -> str:
    return f"{fence}{label}\n{text.rstrip()}\n{fence}\n"


def doubles(response: str, entry_point: str = "twice") -> bool | None:
    """Whether what is taken is right; None if nothing is."""
    program = extract(response, entry_point)
    if program is None:
        return None
    space: dict = {}
    exec(program, space)
    return space["twice"](21) == 42


RIGHT = {
    "demo behind": f"{fenced(GOOD)}Use:\n{fenced('y = twice(2)')}",
    "output behind": f"{fenced(GOOD)}\n{fenced('4', '')}",
    "prose in a block behind": f"{fenced(GOOD)}\n{fenced('Time: O(1), twice is cheap', '')}",
    "tests behind": fenced(GOOD) + fenced("from solution import twice\nassert twice(1) == 2"),
    "its head behind": f"{fenced(GOOD)}The head is\n{fenced('def twice(x):')}",
    "a stub behind": fenced(GOOD) + fenced('def twice(x):\n    """Double."""\n    ...'),
    "other language behind": fenced(GOOD) + fenced("int twice(int x) { return 2*x; }", "c"),
    "wrong draft": fenced(BAD) + "No:\n" + fenced(GOOD),
    "glued end": f"```python\n{GOOD.rstrip()}```",
    "glued end, more behind": f"```python\n{GOOD.rstrip()}```\nSo:\n```\n4\n```\n",
    "text ahead on the line": f"So: {fenced(GOOD)}",
    "on a bullet's line": "- ```python\n  def twice(x):\n      return 2 * x\n  ```",
    "in a list": "1. So\n\n     ```python\n     def twice(x):\n         return 2 * x\n     ```",
    "tab in a list": "\t```python\n\tdef twice(x):\n\t\treturn 2 * x\n\t```",
    "fence in the docstring": fenced(
        'def twice(x):\n  """\n```python\ntwice(1)\n```\n  """\n  return 2 * x'
    ),
    "fence in a comment": fenced("def twice(x):\n    # as in ```\n    return 2 * x"),
    "tildes": fenced(GOOD, fence="~~~"),
    "long fence around short": fenced(f'"""\n```\n"""\n{GOOD}', fence="````"),
    "inside markdown": fenced(f"# A\n{fenced(GOOD)}", "markdown", "````"),
    "not closed before the next": f"```python\n{BAD}```python\n{GOOD}```",
    "prose behind the end": f"```python\n{GOOD}```That is it.",
    "prompt's fence": f"{GOOD}```\nDone.",
    "prompt's fence, glued, a demo": f"{GOOD.rstrip()}```\n{fenced('twice(1)')}",
    "line ends": fenced(GOOD).replace("\n", "\r\n"),
    "import first": f"import math\n\n{GOOD}\nprint(1)\n",
    "sentence first": f"Here you are:\n\n{GOOD}\nIt doubles x.",
    "indented below a sentence": "So:\n\n    def twice(x):\n        return 2 * x\n\nDone.",
    "decorated": "import functools\n@functools.cache\ndef twice(x):\n    return 2 * x\n",
    "no fence, demo in one": f"So:\n\n{GOOD}\n{fenced('twice(1)')}",
    "assigned": fenced("twice = lambda x: 2 * x"),
    "under a condition": fenced("if True:\n    def twice(x):\n        return 2 * x"),
    "first of a base model": f"{GOOD}\n\n{BAD}",
    "space of the answer": f" {GOOD}",
    "thought": f"<think>\n{fenced(BAD)}</think>\n{fenced(GOOD)}",
    "thought that the prompt opened": f"{fenced(BAD)}</think>\n{fenced(GOOD)}",
    "helper in an earlier block": fenced("def two():\n    return 2\nprint(two())")
    + fenced("def twice(x):\n    return two() * x"),
    "future behind a helper": fenced("def two():\n    return 2")
    + fenced("from __future__ import annotations\ndef twice(x):\n    return two() * x"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_function_is_found(name: str) -> None:
    assert doubles(RIGHT[name]) is True


@pytest.mark.parametrize(
    "label", ["", "py", "py3", "python3", "Python", "python3.11", "python title=x", "{.python}"]
)
def test_labels_of_python(label: str) -> None:
    assert doubles(fenced(GOOD, label) + fenced(BAD, "text")) is True


@pytest.mark.parametrize(
    ("response", "right"),
    [
        (fenced(GOOD) + "Better:\n" + fenced(BAD), False),
        (f"{fenced(BAD)}\n{fenced('twice(2)')}", False),
        (f"<think>{fenced(GOOD)}</think>\n{fenced(BAD)}", False),
        (f"<think>{fenced(GOOD)}</think>\nIt doubles.", None),
        (f"<think>{fenced(GOOD)}", None),
        (f"```python\n{GOOD}", None),
        (fenced(GOOD, "java"), None),
        ("It is twice(x), as said.", None),
    ],
)
def test_drafts_and_cut_off_answers_are_not_taken(response: str, right: bool | None) -> None:
    assert doubles(response) is right


def test_a_last_answer_with_a_mistake_is_the_answer() -> None:
    broken = "def twice(x)\n    return 2 * x\n"
    assert extract(fenced(GOOD) + fenced(broken), "twice") == broken


def test_a_body_goes_on_from_the_prompt() -> None:
    body = "    y = x\n    return y + x\n"
    assert extract(fenced(body), "twice") == body
    assert extract(fenced(body) + fenced("print(twice(2))"), "twice") == body
    assert extract(f"{body}```\nDone", "twice") == body


def test_a_method_wants_its_class() -> None:
    kind = "class Solution:\n    def twice(self, x):\n        return 2 * x\n"
    demo = fenced("print(Solution().twice(2))") + fenced("class Solution:\n    pass")
    assert extract(fenced(kind) + demo, "Solution.twice") == kind
    assert extract(f"So:\n{kind}\nDone.", "Solution.twice") == f"{kind}\n"
    assert not defines(GOOD, "Solution.twice")


@pytest.mark.parametrize(
    "response",
    [
        fenced(READS) + "Input:\n" + fenced("3", "") + "Output:\n" + fenced("4", ""),
        fenced(READS) + fenced("python add.py < in", "bash"),
        fenced(READS) + fenced("print(solve(3))"),
        fenced("n = int(input())\nprint(n)") + "Mended:\n" + fenced(READS),
        f"Here it is:\n\n{READS}",
        f"{READS}```",
    ],
)
def test_whole_programs_read_their_input(response: str) -> None:
    assert extract(response) == READS


def test_whole_programs_in_parts_and_without_input() -> None:
    parts = fenced("def main():\n    print(int(input()) + 1)") + fenced("main()")
    assert extract(parts) == "def main():\n    print(int(input()) + 1)\nmain()\n"
    assert extract(fenced("print('hello')") + fenced("hello", "")) == "print('hello')\n"
    assert extract("There is no program, only text.") is None
    broken = "n = int(input()\nprint(n)\n"
    assert extract(fenced(READS) + fenced(broken)) == broken


@pytest.mark.parametrize(
    "text",
    [
        "```\n" * 20_000,
        'x = """\n' + "```\n" * 20_000,
        '```python\nx = """\n' * 5_000,
        "```python\n" + "# a```\n" * 10_000,
        "\n" * 50_000 + " ",
        "@a\n" * 20_000,
        "```python\nf = " + "(" * 50_000 + "\n```",
        "```python\nf = " + "-" * 50_000 + "1\n```",
        fenced("def f():\n    return g") * 2_000,
    ],
)
def test_hostile_text_takes_no_longer(text: str) -> None:
    began = time.process_time()
    extract(text, "f")
    extract(text)
    assert time.process_time() - began < 5.0


def test_chunks_hold_all_of_the_text() -> None:
    text = 'x = [\n1,\n]\nif x:\n  y\nelse:\n  z\n"""a\nb"""\n@c\ndef d(): pass\n'
    assert list(chunks(text)) == [
        "x = [\n", "1,\n]\n", "if x:\n  y\nelse:\n  z\n", '"""a\nb"""\n', "@c\ndef d(): pass\n",
    ]  # fmt: skip
