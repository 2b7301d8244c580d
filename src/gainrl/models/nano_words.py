"""The nano model's closed vocabulary, and the worked example of its chat template. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from gainrl.config.models import Vocabulary
from gainrl.data import generate, generate_code


@dataclass(frozen=True)
class Lesson:
    """What stands before every question: the system prompt and one worked example."""

    system: str
    question: str
    answer: str


LESSONS: dict[Vocabulary, Lesson] = {
    "arithmetic": Lesson("Work step by step .", "9 + 4 = ?", "9 + 4 = 13. #### 13"),
    "code": Lesson(
        "Answer with one line of Python .",
        "Write f ( x ) : double x , then add 9 to it .",
        "def f ( x ) : return ( x * 2 ) + 9",
    ),
}
MARKS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|unknown|>")
PAD, END, *_, UNKNOWN = MARKS


def words(vocabulary: Vocabulary = "arithmetic") -> dict[str, int]:
    """Words of the tokenizer and their numbers; those of 'code' come after 'arithmetic'."""
    found = [*MARKS, *LESSONS["arithmetic"].system.split(), *generate.VOCABULARY]
    if vocabulary == "code":
        found += [*LESSONS["code"].system.split(), *generate_code.WORDS]
    return {word: number for number, word in enumerate(dict.fromkeys(found))}
