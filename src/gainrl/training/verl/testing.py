"""The answers of a test on verl as the rows of our records. No verl."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gainrl.errors import GradingError
from gainrl.evaluation.samples import unasked

SHOWN = ("extracted", "reason", "rule")
"""Of what the reward function says of an answer."""


def answer_rows(
    benchmarks: Sequence[str],
    responses: Sequence[str],
    lengths: Sequence[int],
    said: Mapping[str, Sequence[Any]],
    asked: Mapping[str, int],
    overlong: Mapping[str, Sequence[str]],
) -> list[dict[str, Any]]:
    """One row an answer.

    Args:
        benchmarks, responses, lengths: (A,) of the answers; lengths in tokens.
        said: (A,) of each key of `compute_score`.
        asked: answers that each benchmark has to have.
        overlong: by benchmark the ids of problems that were not asked: they are wrong.

    Raises:
        GradingError: a benchmark has fewer answers than were asked for, or more: a lost one is not
            left out of a mean.
    """
    found = Counter(benchmarks)
    for name, count in asked.items():
        if found[name] != count:
            raise GradingError(
                f"gainrl: {name}: {count} answers were asked for, {found[name]} came graded"
            )
    seen: Counter[tuple[str, str]] = Counter()
    rows = []
    columns = (benchmarks, said["prompt"], responses, said["acc"], lengths)
    shown = zip(*(said[key] for key in SHOWN), strict=True)
    for (name, prompt, text, correct, tokens), (extracted, reason, rule) in zip(
        zip(*columns, strict=True), shown, strict=True
    ):
        answer = {"benchmark": name, "id": prompt, "sample": seen[name, prompt]}
        seen[name, prompt] += 1
        answer |= {"response": text, "correct": int(correct), "tokens": tokens}
        rows.append(
            {**answer, "extracted": extracted or None, "reason": reason, "rule": rule or None}
        )
    for name, ids in overlong.items():
        samples = max(count for (other, _), count in seen.items() if other == name)
        rows += [
            {"benchmark": name, **unasked(each, sample)}
            for each in ids
            for sample in range(samples)
        ]
    return rows
