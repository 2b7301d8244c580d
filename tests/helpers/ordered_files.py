"""Rows of questions for `gainrl order`, and those of a file that it wrote."""

import json
import random

import pyarrow.parquet as pq

COUNT = 40


def questions():
    """Sums of two to nine numbers, in no order of length."""
    rng = random.Random(0)
    sizes = [2 + 7 * row % 8 for row in range(COUNT)]
    return [" + ".join(str(rng.randint(1, 99)) for _ in range(size)) + " = ?" for size in sizes]


def records():
    """One each, with columns of every kind."""
    return [
        {"id": f"x{row}", "question": text, "answer": str(row), "difficulty": row % 7 * 10,
         "more": {"known": row % 3 == 0, "tags": ["a", "é"]}, "rate": row % 5 / 4}
        for row, text in enumerate(questions())
    ]  # fmt: skip


def rows_of(path):
    """The records of a file, as plain values."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else list(map(json.loads, text.splitlines()))
