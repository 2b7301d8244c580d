"""`gainrl grade`: the document's example as written, and files that cannot be graded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gainrl import cli
from gainrl.grading.program_tests import CallTests, encode

PAGE = Path(__file__).resolve().parents[2] / "docs" / "grade.md"


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_first_commands_print_what_is_shown(tmp_path):
    install, command = re.findall(r"(?m)^    (.*)$", PAGE.read_text(encoding="utf-8"))[:2]
    assert (install, command) == ("pip install gainrl", "gainrl grade answers.jsonl")
    (rows,) = blocks("json")
    (tmp_path / "answers.jsonl").write_text(rows, encoding="utf-8")
    words = [sys.executable, "-m", "gainrl.cli", *command.split()[1:]]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [done.stdout] == blocks("text")
    graded = rows_of(tmp_path / "answers-graded.jsonl")
    assert [row["id"] for row in graded] == [1, 2, 3, 4, 5]
    assert [row["gainrl_correct"] for row in graded] == [True, True, True, False, False]
    assert graded[3]["gainrl_extracted"] is None
    before = [json.loads(line) for line in rows.splitlines()]
    assert [{key: row[key] for key in row if "gainrl" not in key} for row in graded] == before


def test_the_example_in_python_holds():
    example = next(block for block in blocks("python") if "grade_many" in block)
    exec(compile(example, str(PAGE), "exec"), {})


def test_columns_and_the_output_may_be_named(tmp_path, capsys):
    path, out = tmp_path / "a.jsonl", tmp_path / "new" / "b.jsonl"
    path.write_text(json.dumps({"response": "\\boxed{2}", "solution": [1, 2]}) + "\n\n")
    names = ["--answer", "response", "--gold", "solution", "--out", str(out), "--workers", "1"]
    assert cli.main(["grade", str(path), *names]) == 0
    assert rows_of(out)[0]["gainrl_correct"] is True
    assert capsys.readouterr().out.startswith("1 of 1 right (100.0%)")


@pytest.mark.parametrize(("grader", "right"), [("maths", False), ("maths-tolerant", True)])
def test_the_grader_may_be_named(tmp_path, grader, right):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"answer": "\\boxed{72}", "gold": "72.001"}) + "\n")
    assert cli.main(["grade", str(path), "--grader", grader]) == 0
    assert rows_of(tmp_path / "a-graded.jsonl")[0]["gainrl_correct"] is right


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.jsonl: no row to grade"),
        ("{\n", "a.jsonl: row 1 is not valid JSON"),
        (f'{{"answer": {"9" * 5000}}}\n', "a.jsonl: row 1 is not valid JSON: Exceeds the limit"),
        ("[" * 10**5 + "\n", "a.jsonl: row 1 is not valid JSON: nested too deeply"),
        ("[1]\n", "a.jsonl: row 1 is no JSON object"),
        ('{"anwser": "1", "gold": "1"}\n', "row 1 has no 'answer'; did you mean 'anwser'?"),
        ('{"answer": "1", "gold": "1"}\n{"answer": "1"}\n', "row 2 has no 'gold'; --gold names it"),
        ('{"answer": "1", "gold": null}\n', "row 1: a gold answer is neither text nor a number"),
        ('{"answer": "1", "gold": NaN}\n', "row 1: a gold answer is neither text nor a number"),
        ('{"answer": 1, "gold": "1"}\n', "row 1: a response is neither text nor a list"),
        (
            '{"answer": "1", "gold": "1", "gainrl_rule": 1}\n',
            "row 1 has 'gainrl_rule' already, which grading adds; rename or drop that column",
        ),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_graded_is_refused_and_nothing_is_written(
    tmp_path, capsys, text, message
):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(4300)  # Python's own: the sandbox's protocol lifts it when imported
    try:
        assert cli.main(["grade", str(path)]) == 2
    finally:
        sys.set_int_max_str_digits(digits)
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


ROW = json.dumps({"answer": "caf\u00e9 \\boxed{1}", "gold": "1"}, ensure_ascii=False) + "\n"


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(ROW, encoding="utf-8-sig")
    assert cli.main(["grade", str(path)]) == 0
    assert list(rows_of(tmp_path / "a-graded.jsonl")[0])[:2] == ["answer", "gold"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("latin.jsonl", (ROW.encode() + ROW.encode("latin-1")), "row 2 is not UTF-8 text; save it"),
        ("train.csv", b"answer,gold\n1,1\n", "row 1 is not valid JSON; JSONL is wanted, an object"),
        ("train.json", b"[{}]\n", "row 1 is no JSON object; JSONL is wanted, an object a line"),
        ("train.parquet", b"PAR1\xff\n", "row 1 is not UTF-8 text; JSONL is wanted, an object a"),
        ("a.jsonl", b'{"answer": "1", "sold": "1"}\n', "has no 'gold'; did you mean 'sold'?"),
        ("a.jsonl", b'{"answer": "1"}\n', "row 1 has no 'gold'; --gold names it"),
    ],
)
def test_what_is_no_jsonl_is_said_with_its_row(tmp_path, capsys, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    assert cli.main(["grade", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name}: {message}" in line or message in line
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_half_of_a_surrogate_pair_comes_back_as_it_was(tmp_path):
    path = tmp_path / "a.jsonl"
    row = {"answer": "an emoji cut in half \ud83d \\boxed{1}", "gold": "1", "name": "caf\u00e9"}
    path.write_text(json.dumps(row) + "\n")
    assert cli.main(["grade", str(path)]) == 0
    (found,) = rows_of(tmp_path / "a-graded.jsonl")
    assert {key: found[key] for key in row} == row
    assert found["gainrl_correct"] is True
    assert "caf\u00e9" in (tmp_path / "a-graded.jsonl").read_text(encoding="utf-8")


def test_a_folder_is_no_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["grade", "."]) == 2
    assert capsys.readouterr().err.startswith("gainrl: .: is a folder; JSONL is wanted")


def test_gold_answers_that_are_no_tests_are_named_with_their_row(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    tests = encode(CallTests("", "f", (("[1]", "2"),)))
    rows = [{"answer": "x", "gold": gold} for gold in (tests, tests, "5")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli.main(["grade", str(path), "--grader", "code"]) == 2
    assert f"{path}: row 3: not the tests of a program: '5'" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("grader", "gold", "said"),
    [
        ("code", "[" * 10**5, "row 1: not the tests of a program"),
        ("maths", [["1", "2"]], "row 1: a gold answer is a list in a list"),
    ],
)
def test_a_gold_answer_that_goes_too_deep_is_a_line(tmp_path, capsys, grader, gold, said):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"answer": "x", "gold": gold}) + "\n")
    assert cli.main(["grade", str(path), "--grader", grader]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_grader_of_ones_own_gets_one_text(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rewards.py").write_text(
        "def reward(completion, answer):\n    return answer == '2'\n"
    )
    rows = [{"answer": "2", "gold": ["2"]}, {"answer": "2", "gold": ["2", "two"]}]
    for count, code in ((1, 0), (2, 2)):
        text = "".join(json.dumps(row) + "\n" for row in rows[:count])
        (tmp_path / "a.jsonl").write_text(text)
        assert cli.main(["grade", "a.jsonl", "--grader", "rewards.py:reward"]) == code
    assert "row 2: a grader of one's own is given one text" in capsys.readouterr().err


def test_the_answers_are_not_written_over(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"answer": "1", "gold": "1"}) + "\n")
    before = path.read_bytes()
    assert cli.main(["grade", str(path), "--out", str(path)]) == 2
    assert f"--out {path} is an input ({path}); name another" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_missing_file_is_said(tmp_path, capsys):
    assert cli.main(["grade", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl: no such file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_grader_of_ones_own_is_shown_gold_answers_as_they_stand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (PAGE.parent / "evaluation.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(def reward.*?)```", text, re.DOTALL)
    (tmp_path / "rewards.py").write_text(example)
    gold = "We add 1+1.\n#### 2"
    answers = ["<think>Is it 3</think> So it is 2.", "12", "2 it is", "", "2</think> so 3"]
    rows = [{"answer": answer, "gold": gold} for answer in answers] + [{"answer": "7", "gold": "7"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli.main(["grade", "a.jsonl", "--grader", "rewards.py:reward"]) == 0
    found = [row["gainrl_correct"] for row in rows_of(tmp_path / "a-graded.jsonl")]
    assert found == [True, False, False, False, False, True]
    capsys.readouterr()
    assert cli.main(["grade", "a.jsonl", "--workers", "-1"]) == 2
    assert capsys.readouterr().err == "gainrl: --workers -1: must be at least 1\n"
    for name, line in (
        ("rewards.py:rewrad", "--grader: 'rewards.py' has no 'rewrad'; did you mean 'reward'?"),
        ("math", "no grader 'math'; did you mean 'maths'?"),
    ):
        assert cli.main(["grade", "a.jsonl", "--grader", name]) == 2
        assert capsys.readouterr().err == f"gainrl: {line}\n"
