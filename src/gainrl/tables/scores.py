"""Scores of models under a protocol: intervals over problems, and over seeds, kept apart.

Two questions, two intervals. How well would this model do on other problems of the kind? Problems
are resampled, for one run or for the mean of its seeds. How well would another run of this method
do on these problems? Seeds are resampled. A table row says which of the two it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gainrl.compare.statistics import Interval, mean_interval, paired_difference
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.evaluation.estimators import by_problem
from gainrl.plan import benchmarks
from gainrl.plan.benchmarks import SCORE
from gainrl.records import SAMPLES, read_json, read_table

OVER_PROBLEMS, OVER_SEEDS = "over problems", "over seeds"


@dataclass(frozen=True, eq=False)
class Scored:
    """One finished test: what it was, and each problem's value of every metric.

    method: None for a start model; seed: None for one that all runs share.
    values: index id, a column a metric, in [0, 1].
    score: score.json as written.
    """

    model: str
    dataset: str
    method: str | None
    seed: int | None
    benchmark: str
    protocol: str
    values: pd.DataFrame
    score: dict[str, Any]

    @property
    def how(self) -> str:
        """The protocol in words, as tables note it."""
        return f"protocol {self.protocol}: {self.sampling}; {self.engine}"

    @property
    def engine(self) -> str:
        """What answered, with its version."""
        return self.score["engine"]

    @property
    def sampling(self) -> str:
        """How many samples were drawn, and how."""
        sampling, n = self.score["sampling"], self.score["samples"]
        temperature = sampling["temperature"]
        drawn = "greedy" if temperature == 0 else f"temperature {temperature:g}"
        if temperature and sampling["top_p"] < 1:
            drawn += f", top-p {sampling['top_p']:g}"
        samples = f"{n} sample{'s' if n > 1 else ''}"
        return f"{samples}, {drawn}, at most {sampling['max_tokens']} tokens"


def read_scored(
    folder: Path, *, model: str, dataset: str, method: str | None, seed: int | None
) -> Scored:
    """Read a test's folder, and check that its score is that of its samples.

    Raises:
        DataError: a file is missing or damaged, or the score is another one than the samples'.
    """
    score = read_json(folder / SCORE)
    samples = read_table(folder / benchmarks.SAMPLES, SAMPLES)
    names = score["metrics"]
    pass_at = tuple(int(name[5:]) for name in names if name.startswith("pass@"))
    try:
        values = by_problem(samples, pass_at, any(name.startswith("maj@") for name in names))
    except ValueError as error:
        raise DataError(f"{folder / benchmarks.SAMPLES}: {error}") from error
    for name, value in names.items():
        if abs(float(values[name].mean()) - value) > 1e-9:
            raise DataError(f"{folder / SCORE}: {name} is not that of samples.parquet")
    test = score["benchmark"], score["protocol"]
    return Scored(model, dataset, method, seed, *test, values, score)


def problem_interval(values: ArrayLike, confidence: float) -> Interval:
    """Interval of a mean over problems, each value in [0, 1], by Student's t.

    Where every problem is solved, or none, there is no spread; then it is the exact bound
    of Clopper and Pearson (1934) for so many problems, which at 0 of n is about 3.7 / n at 95%.
    """
    found = mean_interval(values, confidence, (0, 1))
    bound = ((1 - confidence) / 2) ** (1 / found.n)
    if np.all(np.asarray(values) == 0):
        return Interval(found.mean, 0.0, 1 - bound, found.n)
    if np.all(np.asarray(values) == 1):
        return Interval(found.mean, bound, 1.0, found.n)
    return found


@dataclass(frozen=True)
class TestRows:
    """Rows of a table about finished tests."""

    config: Statistics
    baseline: str

    def rows(self, tests: Sequence[Scored]) -> Iterator[dict[str, object]]:
        """Rows of the columns of gainrl.tables.table, without the start model's method.

        For each model, training data, benchmark, protocol and metric: the start model's value over
        problems (with one a seed their mean, with both intervals); each method's mean over seeds
        with both intervals; and its difference to the baseline, paired by seed and, of the means
        over seeds, by problem.

        Raises:
            DataError: two tests to be compared are not of the same problems and sampling.
        """
        for key, group in _grouped(tests).items():
            model, dataset, benchmark, protocol = key
            check_alike(group)
            note, how = group[0].how, {"protocol": protocol, "sampling": group[0].sampling}
            same = {"model": model, "dataset": dataset, "benchmark": benchmark, **how}
            same["engine"] = group[0].engine
            for metric in group[0].values:
                for row in self._metric(group, str(metric), note):
                    yield {**same, **row, "metric": f"{protocol}/{row['metric']}"}

    def _metric(
        self, group: Sequence[Scored], metric: str, note: str
    ) -> Iterator[dict[str, object]]:
        by_method: dict[str, dict[int | None, np.ndarray]] = {}
        for test in group:
            by_method.setdefault(test.method or "start", {})[test.seed] = test.values[
                metric
            ].to_numpy()
        base = by_method.get(self.baseline)
        for method, runs in by_method.items():
            matrix = np.stack([runs[seed] for seed in sorted(runs, key=str)])
            problems = problem_interval(matrix.mean(0), self.config.confidence)
            yield _row(method, metric, problems, f"{OVER_PROBLEMS}; {note}")
            if method == "start" and len(runs) == 1:
                continue
            seeds = mean_interval(matrix.mean(1), self.config.confidence, (0, 1))
            yield _row(method, f"{metric}, seeds", seeds, f"{OVER_SEEDS}; {note}")
            others = method not in (self.baseline, "start")
            if base is not None and others and runs.keys() == base.keys():
                other = np.stack([base[seed] for seed in sorted(base, key=str)])
                yield from self._differences(method, metric, matrix, other)

    def _differences(
        self, method: str, metric: str, matrix: np.ndarray, base: np.ndarray
    ) -> Iterator[dict[str, object]]:
        """Against the baseline: (seeds, problems) both."""
        name = f"{metric}, difference"
        by_problem_ = paired_difference(matrix.mean(0), base.mean(0), self.config.confidence)
        yield _row(method, name, by_problem_, f"{OVER_PROBLEMS}; to {self.baseline}, paired")
        by_seed = paired_difference(matrix.mean(1), base.mean(1), self.config.confidence)
        yield _row(method, f"{name}, seeds", by_seed, f"{OVER_SEEDS}; to {self.baseline}, paired")


def _row(method: str, metric: str, interval: Interval, note: str) -> dict[str, object]:
    numbers = {key: getattr(interval, key) for key in ("mean", "low", "high", "n")}
    return {"method": method, "metric": metric, **numbers, "note": note}


def _grouped(tests: Sequence[Scored]) -> Mapping[tuple[str, str, str, str], list[Scored]]:
    groups: dict[tuple[str, str, str, str], list[Scored]] = {}
    for test in tests:
        key = (test.model, test.dataset, test.benchmark, test.protocol)
        groups.setdefault(key, []).append(test)
    return groups


def check_alike(group: Sequence[Scored]) -> None:
    """Refuse tests that differ in problems, sampling, prompt template or grader (DataError)."""
    first = group[0]
    for other in group[1:]:
        pair = f"{first.score['subject']} and {other.score['subject']} on {first.benchmark}"
        if not first.values.index.equals(other.values.index):
            raise DataError(f"{pair} cannot be compared: not the same problems")
        for key in ("sampling", "samples", "template", "grader", "data"):
            if first.score[key] != other.score[key]:
                values = f"{first.score[key]!r} and {other.score[key]!r}"
                raise DataError(f"{pair} cannot be compared: {key} is {values}")


# --- models as they are, and what two engines say ------------------------------------------------


def agreement(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, float]:
    """How far two sample tables of the same problems and samples agree, as shares in [0, 1].

    grade: the same verdict; answer: the same extracted answer; response: the same text.

    Raises:
        DataError: they are not of the same problems, samples and prompts.
    """
    both = one.merge(other, on=["id", "sample"], validate="one_to_one")
    if len(both) != len(one) or len(both) != len(other):
        raise DataError("the two sample tables are not of the same problems and samples")
    if (both["prompt_x"] != both["prompt_y"]).any():
        row = both[both["prompt_x"] != both["prompt_y"]].iloc[0]
        raise DataError(f"problem '{row['id']}' was asked with different prompts")
    answers = both["extracted_x"].fillna("") == both["extracted_y"].fillna("")
    return {
        "grade": float((both["correct_x"] == both["correct_y"]).mean()),
        "answer": float(answers.mean()),
        "response": float((both["response_x"] == both["response_y"]).mean()),
    }
