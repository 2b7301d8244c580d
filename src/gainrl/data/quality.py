"""What is wrong with a data set although every row can be read: golds, copies, leaks. No torch.

A gold answer that is a sentence is never equal to an answer, so every reward is zero; a training
prompt that is tested on makes accuracy say less. Neither ends a run by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from gainrl.errors import DataError
from gainrl.grading.graders import Grader

READ_SHARE = 0.95
"""Of a data set's gold answers have to be answers."""
WORDS = 8
"""A gold with more words, outside of commands, reads like a sentence. Of 8,792 golds of GSM8K and
7,970 of MATH none does; of 3,347 of AMC 7 (choices in words), of 675 of OlympiadBench one."""
SHOWN, WIDTH = 3, 60

_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{2,}")


@dataclass(frozen=True)
class Quality:
    """What was counted over the splits of a data set.

    golds: that were read. sentences: golds that are none, by their row's id. repeated: training
    prompts whose question stood in an earlier row of the split, ids. tested: training prompts
    whose question is in the eval split, ids.
    """

    golds: int
    sentences: dict[str, str]
    repeated: list[str]
    tested: list[str]

    @property
    def read(self) -> str:
        """How many golds are answers."""
        return f"{self.golds - len(self.sentences)} of {self.golds} gold answers are read"

    def warnings(self) -> list[str]:
        """A line for each kind of row that is there and should not be."""
        counted = {
            "training prompts stand there more than once": self.repeated,
            "training prompts are in the eval split too, so a test says less": self.tested,
            "gold answers read like sentences, with which answers hardly agree": [*self.sentences],
        }
        return [f"{len(ids)} {what}: {some(ids)}" for what, ids in counted.items() if ids]


def examine(splits: Mapping[str, pd.DataFrame], grader: Grader | None) -> Quality:
    """Count what is wrong; questions are equal if their words and numbers are.

    Args:
        splits: of a data set, with columns id, question, answer.
        grader: that compares answers; None for programs' tests, which are looked at elsewhere.
    """
    sentences: dict[str, str] = {}
    golds = 0
    for frame in splits.values() if grader is not None else ():
        assert grader is not None
        golds += len(frame)
        sentences |= _unread(grader, list(frame["id"]), list(frame["answer"]))
    train, held_out = splits["train"], splits["eval"]
    asked = train["question"].map(plain)
    return Quality(
        golds,
        sentences,
        list(train["id"][asked.duplicated()]),
        list(train["id"][asked.isin(set(held_out["question"].map(plain)))]),
    )


def check_golds(quality: Quality, name: str) -> None:
    """Refuse a data set of sentences.

    Raises:
        DataError: fewer than READ_SHARE of the golds are answers; with examples and what to do.
    """
    found = quality.sentences
    if not quality.golds or len(found) <= (1 - READ_SHARE) * quality.golds:
        return
    shown = ", ".join(repr(_short(gold)) for gold in [*found.values()][:SHOWN])
    raise DataError(
        f"data set '{name}': {len(found)} of {quality.golds} gold answers read like sentences, "
        f"such as {shown}; end them with '#### answer' or a box, give the answer alone, or "
        f"name what stands before it: datasets.{name}.fields.answer_after"
    )


def plain(question: str) -> str:
    """A question without case, punctuation and the amount of white space."""
    return " ".join(re.findall(r"\w+|[^\w\s.,;:!?'\"()]", question.casefold()))


def _unread(grader: Grader, ids: Sequence[str], golds: Sequence[str]) -> dict[str, str]:
    """Golds that are sentences, or that in a box are not graded right."""
    grades = grader([f"\\boxed{{{gold}}}" for gold in golds], golds)
    return {
        name: gold
        for name, gold, grade in zip(ids, golds, grades, strict=True)
        if not grade.correct or len(_WORD.findall(gold)) > WORDS
    }


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def some(ids: Sequence[str]) -> str:
    """The first of some ids, and how many more there are."""
    shown = ", ".join(ids[:SHOWN])
    return f"{shown} and {len(ids) - SHOWN} more" if len(ids) > SHOWN else shown
