"""Data sets that can be read and are wrong all the same: sentences, copies, leaks."""

import json
import logging

import pandas as pd
import pytest

from gainrl.config.data import Fields, Files
from gainrl.data import quality
from gainrl.data.sources import load_splits
from gainrl.errors import DataError
from gainrl.grading.graders import find

SOLVED = "Natalia sold 48/2 = 24 clips in May, and so 48 + 24 = 72 in all. The answer is 72."


def loaded(folder, train, evaluation=(), **fields):
    for name, rows in (("train", train), ("eval", evaluation)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = Files(
        source="file",
        train_file=str(folder / "train.jsonl"),
        eval_file=str(folder / "eval.jsonl") if evaluation else None,
        fields=Fields(**fields),
    )
    return load_splits(spec, data_dir=None, name="mine")


def rows(count, answer="7", question="What is {} + 1 ?"):
    return [{"question": question.format(row), "answer": answer} for row in range(count)]


def test_golds_that_are_sentences_are_refused_with_examples_and_what_to_do(tmp_path):
    with pytest.raises(DataError) as refused:
        loaded(tmp_path, rows(20, SOLVED))
    line = str(refused.value)
    assert line.startswith("data set 'mine': 20 of 20 gold answers read like sentences, such as")
    assert line.count("Natalia sold 48/2 = 24 clips") == quality.SHOWN
    assert "datasets.mine.fields.answer_after" in line
    assert "\n" not in line


def test_up_to_one_in_twenty_is_a_warning(tmp_path, caplog):
    train = [*rows(19), {"question": "And this?", "answer": SOLVED}]
    with caplog.at_level(logging.WARNING):
        assert len(loaded(tmp_path, train)["train"]) == 20
    assert "data set 'mine': 1 gold answers read like sentences" in caplog.text
    train[0]["answer"] = SOLVED
    with pytest.raises(DataError, match="2 of 20 gold answers"):
        loaded(tmp_path, train)


def test_answer_after_says_where_the_answer_begins(tmp_path):
    train = loaded(tmp_path, rows(3, SOLVED), answer_after="The answer is")["train"]
    assert list(train["answer"]) == ["72"] * 3
    bad = [*rows(2, SOLVED), {"question": "And this?", "answer": "It is 72."}]
    with pytest.raises(DataError, match=r"train\.jsonl: line 3: 'answer' has no answer after 'The"):
        loaded(tmp_path, bad, answer_after="The answer is")


@pytest.mark.parametrize(
    "gold",
    [
        "72", "-3/4", r"\frac{1}{2}", r"x \in (-\infty, 3]", "(B)", "east of the river", "yes",
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\text{Tuesday}", "3 apples and 4 pears",
    ],
)  # fmt: skip
def test_answers_are_no_sentences(gold):
    table = pd.DataFrame({"id": ["a"], "question": ["?"], "answer": [gold]})
    found = quality.examine({"train": table, "eval": table.iloc[:0]}, find("maths"))
    assert (found.golds, found.sentences) == (1, {})


def test_copies_and_prompts_that_are_tested_are_counted_and_said(tmp_path, caplog):
    train = rows(6)
    train[3] = {"question": "  what is 1 + 1? ", "answer": "7"}  # as row 1 but for case and space
    evaluation = [{"question": "What is 5 + 1?", "answer": "6"}, *rows(1, question="{} - 1")]
    with caplog.at_level(logging.WARNING):
        splits = loaded(tmp_path, train, evaluation)
    found = quality.examine(splits, find("maths"))
    assert found.repeated == ["mine/train/0003"]
    assert found.tested == ["mine/train/0005"]
    assert "1 training prompts stand there more than once: mine/train/0003" in caplog.text
    assert "1 training prompts are in the eval split too" in caplog.text


def test_questions_that_differ_in_a_sign_are_not_the_same():
    texts = ["2 + 3 = ?", "2 - 3 = ?", "2 * 3 = ?", "23 = ?", "2.3 = ?"]
    assert len(set(map(quality.plain, texts[:4]))) == 4
    assert quality.plain("How  many\nApples?") == quality.plain("how many apples")
