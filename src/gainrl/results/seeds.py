"""What the seeds of a method have in common: the mean of each step and test metric."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gainrl.compare.statistics import SHARES, mean_interval
from gainrl.results.runs import Run
from gainrl.tracking.names import of_test

Row = dict[str, float]


def seed_means(runs: Sequence[Run], confidence: float) -> list[Row]:
    """The mean over seeds at each step and test, under the names of the single runs in the store.

    A step or number that one of the seeds lacks is left out, as its mean would be one of other
    seeds. Runs that end by their tokens are tested at steps of their own: their n-th tests are put
    together, at the mean of their steps.

    Args:
        runs: of one model, data set and method, each another seed.
        confidence: of the intervals of accuracies, `accuracy_low` and `accuracy_high`; there is
            none of a single seed.

    Returns:
        Rows with a 'step', first those of steps, then those of tests.
    """
    steps = _means([run.steps for run in runs], "step")
    tests = [row for benchmark in runs[0].benchmarks for row in _tests(runs, benchmark, confidence)]
    return [{**row, "step": int(row["step"])} for row in (*steps, *tests)]


def _tests(runs: Sequence[Run], benchmark: str, confidence: float) -> list[Row]:
    frames = []
    for run in runs:
        own = run.evaluations[run.evaluations["benchmark"] == benchmark].sort_values("step")
        frames.append(own.assign(test=range(len(own))))
    rows: list[Row] = []
    for row in _means(frames, "test"):
        at = [frame["accuracy"].iloc[int(row["test"])] for frame in frames]
        found = mean_interval(at, confidence, SHARES)
        if found.n > 1:
            row |= {"accuracy_low": found.low, "accuracy_high": found.high}
        step, _ = round(row.pop("step")), row.pop("test")
        named = {f"{of_test(benchmark)}{key}": value for key, value in row.items()}
        rows.append({**named, "step": step})
    return rows


def _means(frames: Sequence[pd.DataFrame], by: str) -> list[Row]:
    """The mean of each number by a column, where all frames have it."""
    numbers = pd.concat([frame.select_dtypes("number") for frame in frames]).groupby(by)
    means = numbers.mean().where(numbers.count() == len(frames))[numbers.size() == len(frames)]
    return [
        {str(key): float(value) for key, value in row.items() if pd.notna(value)}
        for row in means.reset_index().astype(float).to_dict("records")
    ]
