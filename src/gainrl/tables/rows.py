"""The rows of an experiment's tidy table: what each method reached, how fast and at what cost."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gainrl.compare.aggregate import (
    Statistic,
    interquartile_mean,
    probability_of_improvement,
    stratified_interval,
)
from gainrl.compare.ratios import Ratio
from gainrl.compare.statistics import (
    SHARES,
    FloatArray,
    Interval,
    mean_interval,
    paired_difference,
)
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.results.budget import DECADE, Budget, equal_accuracies, equal_differences
from gainrl.results.runs import Group, Run
from gainrl.results.speed import FLOPS, SECONDS, TOKENS, Row, speed_rows, undefined

WHOLE_RUN = "all"
"""Benchmark of the metrics that belong to the training run and not to a test."""
ALL, ALL_TASKS = "all", "all tasks"
"""Model and data set, and benchmark, of the metrics that put several tasks into one number."""
CHOOSING = "seconds_curriculum"
"""Seconds of a step that the curriculum took."""


@dataclass(frozen=True)
class Preparation:
    """What was measured before a method could train: seconds, and in words what they are of."""

    seconds: float
    note: str


@dataclass(frozen=True)
class Facts:
    """What a table needs to know beside the runs.

    parameters: of each model; one that is missing has no numbers in FLOP. preparation: by model,
    data set and method; what is missing has no rows. published: the paper's numbers as tidy rows
    (gainrl.tables.published). per_seed: models of which each seed has a start model of its own.
    """

    parameters: Mapping[str, int] = field(default_factory=dict)
    preparation: Mapping[tuple[str, str, str], Preparation] = field(default_factory=dict)
    published: Sequence[Row] = ()
    per_seed: Collection[str] = ()


@dataclass(frozen=True)
class ExperimentRows:
    """The rows of an experiment.

    None but those at what all runs have generated depends on which other rows a table has.
    """

    config: Statistics
    baseline: str
    facts: Facts

    def group(self, model: str, dataset: str, group: Group) -> Iterator[Row]:
        """Rows of one model and data set, without the paper's."""
        for method, runs in group.items():
            same = {"model": model, "dataset": dataset, "method": method}
            for benchmark in runs[0].measures:
                for row in self._benchmark(group, method, benchmark):
                    yield {**same, "benchmark": benchmark, **row}
            prepared = self.facts.preparation.get((model, dataset, method))
            for row in self._whole_run(runs, prepared):
                yield {**same, "benchmark": WHOLE_RUN, **row}

    def tasks(self, groups: Mapping[tuple[str, str], Group]) -> Iterator[Row]:
        """Rows about all tasks of an experiment, if it has several.

        A task is a model, a data set and a benchmark; its scores are the final accuracies.

        Raises:
            DataError: a method was not run on every model and data set with as many seeds.
        """
        scores = _matrices(groups, self.config.smoothing)
        if next(iter(scores.values())).shape[1] < 2:
            return
        base = scores[self.baseline]
        note = f"{base.shape[1]} tasks; stratified bootstrap over the seeds of each"
        for method, matrix in scores.items():
            same = {"model": ALL, "dataset": ALL, "method": method, "benchmark": ALL_TASKS}
            found = self._stratified(interquartile_mean, matrix)
            yield {**same, **interval_row("interquartile_mean", found, note)}
            if method != self.baseline:
                found = self._stratified(probability_of_improvement, matrix, base)
                row = interval_row(
                    "probability_of_improvement", found, f"over {self.baseline}; {note}"
                )
                yield {**same, **row}

    def _stratified(self, statistic: Statistic, *scores: FloatArray) -> Interval:
        config = self.config
        return stratified_interval(
            statistic,
            *scores,
            rng=np.random.default_rng(config.seed),
            resamples=config.resamples,
            confidence=config.confidence,
            within=SHARES,
        )

    def _benchmark(self, group: Group, method: str, benchmark: str) -> Iterator[Row]:
        curves = [run.curve(benchmark) for run in group[method]]
        final, base = (
            [run.level(benchmark, self.config.smoothing) for run in group[name]]
            for name in (method, self.baseline)
        )
        yield self._mean("start_accuracy", [curve[0] for curve in curves], within=SHARES)
        yield self._mean("final_accuracy", final, within=SHARES)
        optimistic = "largest of all tests, chosen on the tests themselves"
        yield self._mean("best_accuracy", [curve.max() for curve in curves], optimistic, SHARES)
        parameters = self.facts.parameters.get(group[method][0].model)
        where = (group, method, self.baseline, benchmark, parameters, self.config)
        yield from self._at_equal_tokens(group, method, benchmark)
        if method != self.baseline:
            difference = paired_difference(final, base, self.config.confidence)
            yield interval_row("difference_to_baseline", difference, "paired by seed")
            for metric, found, note in equal_differences(*where):
                yield interval_row(metric, found, note)
            for metric, ratio, note in equal_accuracies(*where):
                yield (
                    ratio_row(metric, ratio, note)
                    if ratio
                    else undefined(metric, len(curves), note)
                )
        yield from speed_rows(*where)

    def _at_equal_tokens(self, group: Group, method: str, benchmark: str) -> Iterator[Row]:
        budget, runs = Budget.of(group, self.config), group[method]
        levels = budget.levels(runs, benchmark, self.config)
        areas = budget.areas(runs, benchmark)
        note = f"at {budget.level:,.0f} tokens, which every run here has generated"
        yield self._mean("accuracy_at_equal_tokens", levels, note, SHARES)
        ends = f"from {budget.area / DECADE:,.0f} to {budget.area:,.0f}"
        note = f"mean accuracy over the logarithm of tokens, {ends}"
        yield self._mean("area_over_log_tokens", areas, note, SHARES)
        if method != self.baseline:
            base = budget.areas(group[self.baseline], benchmark)
            found = paired_difference(areas, base, self.config.confidence)
            yield interval_row("difference_in_area", found, "paired by seed")

    def _whole_run(self, runs: list[Run], prepared: Preparation | None) -> Iterator[Row]:
        yield self._mean("rollout_tokens", [TOKENS.total(run, 0) for run in runs], _beside(runs))
        if parameters := self.facts.parameters.get(runs[0].model):
            counted = "counted from tokens, attention and tests left out"
            yield self._mean("flops", [FLOPS.total(run, parameters) for run in runs], counted)
        seconds = [SECONDS.total(run, 0) for run in runs]
        yield self._mean("seconds", seconds, "training only, without tests")
        idle = [run.steps["zero_variance"].mean() for run in runs]
        yield self._mean("zero_variance_share", idle, within=SHARES)
        if CHOOSING in runs[0].timing:
            spent = [run.timing[CHOOSING].sum() for run in runs]
            shares = [part / whole for part, whole in zip(spent, seconds, strict=True)]
            yield self._mean("overhead_share", shares, "choosing and observing, of training")
        if prepared:
            share = f"of the mean training seconds; {prepared.note}"
            ratio = prepared.seconds / float(np.mean(seconds))
            yield single_row("preparation_seconds", prepared.seconds, prepared.note)
            yield single_row("preparation_share", ratio, share)

    def _mean(
        self,
        metric: str,
        values: Sequence[float],
        note: str = "",
        within: tuple[float, float] = (0, np.inf),
    ) -> Row:
        return interval_row(metric, mean_interval(values, self.config.confidence, within), note)


def _beside(runs: Sequence[Run]) -> str:
    """What tokens are beside those of the steps, in the mean over runs."""
    before = float(np.mean([TOKENS.before(run, 0) for run in runs]))
    again = float(np.mean([(TOKENS.spent(run, 0) - TOKENS.once(run, 0)).sum() for run in runs]))
    parts = {"of the start model before": before, "generated again after an interruption": again}
    return "; ".join(f"{count:,.0f} {what}" for what, count in parts.items() if count)


def _matrices(groups: Mapping[tuple[str, str], Group], window: int) -> dict[str, FloatArray]:
    """(seeds, tasks) final accuracies of each method."""
    first = next(iter(groups.values()))
    methods = list(first)
    seeds = len(first[methods[0]])
    columns: dict[str, list[list[float]]] = {method: [] for method in methods}
    for (model, dataset), group in groups.items():
        if set(group) != set(methods) or len(group[methods[0]]) != seeds:
            raise DataError(
                f"{model}/{dataset}: other methods or another number of seeds than elsewhere; "
                "tasks are put into one number run by run"
            )
        for method, runs in group.items():
            for benchmark in runs[0].benchmarks:
                columns[method].append([run.level(benchmark, window) for run in runs])
    return {method: np.array(cells).T for method, cells in columns.items()}


def interval_row(metric: str, interval: Interval, note: str) -> Row:
    """A row of a tidy table; p of differences, that the true one is 0."""
    numbers = {"mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}
    tested = {"p": interval.p()} if metric.startswith("difference_") else {}
    return {"metric": metric, **numbers, "note": note, **tested}


def ratio_row(metric: str, ratio: Ratio, note: str) -> Row:
    """A row of a tidy table; `mean` is the ratio."""
    numbers = {"mean": ratio.value, "low": ratio.low, "high": ratio.high, "n": ratio.n}
    return {"metric": metric, **numbers, "note": note}


def single_row(metric: str, value: float, note: str) -> Row:
    """A number that was measured once, without an interval."""
    return interval_row(metric, Interval(value, np.nan, np.nan, 1), note)
