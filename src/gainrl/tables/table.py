"""An experiment's table: tidy CSV, and the same numbers for people as Markdown and LaTeX."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gainrl.compare.render import Block, Caption, Heading, Table, Title, write_views
from gainrl.compare.statistics import interval_words
from gainrl.compare.verdicts import adjusted, survives
from gainrl.config.experiments import Column, Experiment
from gainrl.config.preset import Statistics
from gainrl.errors import DataError, nearest
from gainrl.records import write_text
from gainrl.results.runs import Group, Run, grouped
from gainrl.results.speed import BOUNDS, Row
from gainrl.tables.columns import SURVIVES, all_tasks, by_method, main_benchmark
from gainrl.tables.rows import ALL_TASKS, ExperimentRows, Facts
from gainrl.tables.scores_table import final_blocks

COLUMNS = [
    *("model", "dataset", "method", "benchmark", "metric"),
    *("mean", "low", "high", "n", "note", *BOUNDS),
    *("differences", "remark", "protocol", "sampling", "engine"),
    *("p", "adjusted", "survives"),
]
DEFAULT: tuple[Column, ...] = Experiment.model_fields["columns"].default


def table1(
    runs: Sequence[Run], statistics_config: Statistics, baseline: str, facts: Facts | None = None
) -> pd.DataFrame:
    """Summarise runs in tidy form: one row for each group, method, benchmark and metric.

    Metrics, each with its interval [low, high] over n seeds (NaN limits where n is 1):
    start_accuracy, final_accuracy (mean of the last `smoothing` tests), best_accuracy (largest of
    all tests, hence optimistic) and difference_to_baseline (final, paired by seed): shares in
    [0, 1];
    steps_to_baseline, and tokens_, seconds_ and flops_to_baseline: cost until the baseline's final
    accuracy, `mean` is the median over seeds with censored ones as infinity; speedup, and
    speedup_tokens, _seconds and _flops: ratios, `mean` is the median over paired seeds, NaN
    where censoring leaves it open; difference_at_equal_tokens, _seconds and _flops: shares,
    paired by seed (gainrl.results.budget); equal_accuracy_steps, _tokens, _seconds and _flops:
    how many times as much the baseline spends for the same accuracy (gainrl.compare.ratios);
    accuracy_at_equal_tokens, area_over_log_tokens (mean accuracy over the logarithm of tokens
    in the last tenfold) and difference_in_area (paired by seed): at what every run of the model
    and data set has generated; rollout_tokens: all tokens of a run; flops: FLOP a run; seconds:
    training without tests; zero_variance_share: groups of equal rewards, mean over steps;
    overhead_share: of training seconds, what the curriculum took;
    preparation_seconds and preparation_share (of the mean training seconds): measured once.
    Several benchmarks are also given as their unweighted `average`. Several tasks (model, data set
    and benchmark) are put into one number as interquartile_mean and probability_of_improvement, in
    rows of the benchmark `all tasks`. `note` is what a reader must know of the number, in words;
    lower, upper and censored are those of a median (compare.statistics.Median), differences and
    remark are of the paper's numbers, protocol, sampling and engine of final models. p of a
    difference: two-sided, that it is 0; adjusted: among all differences of that metric on the main
    benchmarks (Benjamini and Hochberg), where it is one of them; survives: "yes" or "no", at
    `statistics.false_discovery`.

    Args:
        runs: what `collect` returned, at least one group of model and data set.
        statistics_config: resamples, confidence, smoothing (tests) and seed of the intervals.
        baseline: method that the others are compared with; every group must have it.
        facts: what is known beside the runs; without it, none of the rows that need it.

    Returns:
        The columns COLUMNS; `attrs` carries the labels and captions for `write_table`.

    Raises:
        DataError: no runs, a group without the baseline, or methods with different seeds.
    """
    if not runs:
        raise DataError("no runs to summarise")
    facts = facts or Facts()
    summary = ExperimentRows(statistics_config, baseline, facts)
    groups = grouped(runs)
    rows: list[Row] = []
    for (model, dataset), group in groups.items():
        check_baseline(group, baseline, f"{model}/{dataset}")
        rows.extend(summary.group(model, dataset, group))
        here = {"model": model, "dataset": dataset}.items()
        rows.extend(row for row in facts.published if here <= row.items())
    rows.extend(summary.tasks(groups))
    frame = _among(pd.DataFrame(rows, columns=COLUMNS), statistics_config.false_discovery)
    labels = {run.method: run.label for run in runs}
    frame.attrs = {
        "labels": labels,
        "baseline": labels[baseline],
        "false_discovery": statistics_config.false_discovery,
        "caption": _caption(runs, statistics_config, labels[baseline], facts.per_seed),
    }
    return frame


def _among(frame: pd.DataFrame, rate: float) -> pd.DataFrame:
    """Say of each difference whether it survives among those of its metric that a table shows.

    These are of all models, data sets and methods, on the main benchmark of each.
    """
    main = {place: main_benchmark(group) for place, group in frame.groupby(["model", "dataset"])}
    places = zip(frame["model"], frame["dataset"], strict=True)
    shown = frame["benchmark"] == [main[place] for place in places]
    frame["adjusted"], frame["survives"] = np.nan, ""
    for _, group in frame[shown & frame["p"].notna()].groupby("metric", sort=False):
        found = adjusted(group["p"].to_list())
        frame.loc[group.index, "adjusted"] = found
        frame.loc[group.index, "survives"] = [survives(each, rate) for each in found]
    return frame


def check_baseline(group: Group, baseline: str, where: str) -> None:
    """Refuse a group of runs without the baseline (DataError)."""
    if baseline not in group:
        raise DataError(f"{where}: no runs of the baseline '{baseline}'{nearest(baseline, group)}")


# --- captions ------------------------------------------------------------------------------------


def _caption(
    runs: Sequence[Run], config: Statistics, baseline: str, per_seed: Collection[str]
) -> str:
    counts = seed_counts(runs)
    seeds = f"n = {' or '.join(map(str, counts))} seed{'s' if counts[-1] > 1 else ''}"
    if counts[-1] == 1:
        interval = "no intervals (one seed has no spread)"
    else:
        interval = interval_words(config.confidence)
    tests = config.smoothing
    speed = (
        f"Steps: first test from which the mean of the last {tests} tests stays at or above "
        f"{baseline}'s final level (the same mean at its last test, over seeds), median over "
        f"seeds. Speed-up: {baseline}'s own steps by that rule over the method's, median over "
        "seeds paired. A censored seed did not get there within its run and is never dropped."
    )
    if per_seed:
        seeds += f", each with a start model of its own ({', '.join(sorted(per_seed))})"
    return f"{seeds}; {interval}. {_protocol(runs, tests)}{_overlong(runs)} {speed}"


def _overlong(runs: Sequence[Run]) -> str:
    """What was too long for a model, in training and in tests; nothing where all fitted."""
    trained, tested = {}, {}
    for run in runs:
        if run.overlong is not None:
            count, whole = len(run.overlong.ids), run.overlong.prompts
            key = f"{run.model} on {run.dataset}"
            trained[key] = f"{count:,} of {whole:,} ({key}, over {run.overlong.limit:,} tokens)"
        for row in run.evaluations.to_dict("records"):
            ids = row.get("overlong")
            if isinstance(ids, list) and ids:
                key = f"{run.model} on {row['benchmark']}"
                tested[key] = f"{len(ids):,} of {row['problems']:,} ({key})"
    text = f" Training prompts left out: {'; '.join(trained.values())}." if trained else ""
    if tested:
        text += f" Problems too long to be asked, counted as wrong: {'; '.join(tested.values())}."
    return text


def seed_counts(runs: Sequence[Run]) -> list[int]:
    """How many seeds a method was run with: one number unless groups of runs differ."""
    return sorted({len(found) for group in grouped(runs).values() for found in group.values()})


def _protocol(runs: Sequence[Run], window: int) -> str:
    tests: dict[str, None] = {}
    for run in runs:
        last = run.evaluations[run.evaluations["step"] == run.evaluations["step"].max()]
        for row in last.itertuples():
            temperature = run.config["evaluation"].get("temperature")
            how = "greedy" if temperature == 0 else f"temperature {temperature}"
            many = f"{row.samples} sample{'s' if row.samples > 1 else ''}"
            tests[f"{row.benchmark}: {row.problems} problems, {many} each, {how}"] = None
    if runs[0].by_tokens:
        tokens = sorted({run.config["training"]["tokens"] for run in runs})
        shown = f"after {' or '.join(f'{each:,}' for each in tokens)} generated tokens"
    else:
        shown = f"step {', '.join(map(str, sorted({int(run.evaluated[-1]) for run in runs})))}"
    level = f"the mean of the last {window} tests, up to " if window > 1 else ""
    return f"Tests: {'; '.join(tests)}; final is {level}{shown}."


_SPEED_UPS: dict[str, str] = {
    "speedup_tokens": "rollout tokens",
    "speedup_seconds": "seconds of training (tests and preparation are not in them)",
    "speedup_flops": "FLOP",
}


_EQUAL_ACCURACY: dict[str, str] = {
    "equal_accuracy_steps": "steps",
    "equal_accuracy_tokens": "tokens",
    "equal_accuracy_seconds": "seconds",
    "equal_accuracy_flops": "FLOP",
}


_EQUAL: dict[str, str] = {
    "equal_tokens": "tokens",
    "equal_seconds": "seconds",
    "equal_flops": "FLOP",
}


def _told(columns: Sequence[Column], frame: pd.DataFrame) -> str:
    """Sentences that some columns add to the caption."""
    text = ""
    shown = [what for name, what in _SPEED_UPS.items() if name in columns]
    if shown:
        text += f" Speed-up in {', '.join(shown)}: the same rule with what a run had spent by then."
    equal = [what for name, what in _EQUAL.items() if name in columns]
    if equal:
        text += (
            f" At equal {', '.join(equal)}: smoothed accuracies when both runs of a seed had spent"
            " as much as the one of them that spent less."
        )
    same = [what for name, what in _EQUAL_ACCURACY.items() if name in columns]
    if same:
        text += (
            f" Fewer {', '.join(same)} at equal accuracy: the baseline's over the method's (above"
            " 1: the method is cheaper) to the accuracy that the worse of the two has where both"
            " had spent as much; interval: the ratios at which the paired difference is not told"
            " from 0, open where it goes on."
        )
    if {"at_tokens", "area", "area_difference"} & {*columns}:
        text += _at_tokens(frame)
    tested = frame[frame["survives"] != ""]
    if len(tested) and {"difference", "area_difference", *_EQUAL} & {*columns}:
        most = max(tested.groupby("metric").size())
        text += (
            f" {SURVIVES}: still differs from 0 among the {most} differences of its column, with "
            f"{frame.attrs['false_discovery']:.0%} of such marks false in the mean (Benjamini and "
            "Hochberg)."
        )
    if {"flops", "speedup_flops", "equal_flops", "equal_accuracy_flops"} & {*columns}:
        text += (
            " FLOP: 2 P a token for each forward pass and 4 P for each backward pass, P parameters;"
            " attention left out."
        )
    if "preparation" in columns:
        text += " Preparation: seconds measured once before training, and as a share of it."
    printed = frame[frame["metric"].astype(str).str.startswith("published_")]
    if "paper" in columns and len(printed):
        text += f" Paper: what it prints, of one run{_differences(printed)}."
    return text


def _at_tokens(frame: pd.DataFrame) -> str:
    """What stands at equal tokens, and at how many, place by place."""
    notes = frame[frame["metric"].isin(["accuracy_at_equal_tokens", "area_over_log_tokens"])]
    ends = notes.drop_duplicates(["model", "dataset", "metric"])["note"]
    said = dict.fromkeys(ends)
    return f" Of all tokens that a run generated: {'; '.join(said)}."


def _differences(printed: pd.DataFrame) -> str:
    """What is to be known of printed numbers, each thing once."""
    differing = dict.fromkeys(each for found in printed["differences"] for each in found)
    remarks = dict.fromkeys(filter(None, printed["remark"]))
    told = [f"not comparable where marked: {', '.join(differing)}"] if differing else []
    return "".join(f"; {part}" for part in [*told, *remarks])


ALL_TASKS_CAPTION = (
    "{tasks}. Interquartile mean: of the final accuracies of all seeds on all tasks, the mean of "
    "the middle half. Probability of improvement: that a run of the method ends above one of "
    "{baseline} on the same task, ties counted half, averaged over tasks. Both by Agarwal et al. "
    "2021 (arXiv:2108.13264, section 4)."
)


# --- writing -------------------------------------------------------------------------------------


def write_table(
    frame: pd.DataFrame,
    csv_path: str | os.PathLike[str],
    title: str | None = None,
    final: pd.DataFrame | None = None,
    columns: Sequence[Column] = DEFAULT,
) -> None:
    """Write the tidy CSV and, beside it, a table for people as .md and .tex; each atomically.

    Args:
        frame: what `table1` returned.
        csv_path: path of the CSV; shares are in [0, 1] there and in percent in the tables.
        title: put in front of the caption (an experiment's `caption`).
        final: rows about final models (gainrl.tables.scores.TestRows), which go below.
        columns: what the tables for people show, in that order; the CSV has everything.

    Raises:
        DataError: a file cannot be written.
    """
    path = Path(csv_path)
    both = frame if final is None else pd.concat([frame, final])[COLUMNS]
    both = both.assign(differences=both["differences"].map(", ".join, na_action="ignore"))
    write_text(path, both.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
    labels = frame.attrs.get("labels", {})
    blocks: list[Block] = [Title(title)] if title else []
    blocks += _blocks(frame, columns, labels)
    if final is not None:
        blocks += final_blocks(final, labels)
    write_views(path, blocks)


def _blocks(frame: pd.DataFrame, columns: Sequence[Column], labels: dict[str, str]) -> list[Block]:
    blocks: list[Block] = []
    together = frame["benchmark"] == ALL_TASKS
    for (model, dataset), group in frame[~together].groupby(["model", "dataset"], sort=False):
        rows = by_method(group, columns, labels)
        blocks += [Heading(f"{model}, trained on {dataset}"), Table(rows)]
    if "caption" in frame.attrs:
        blocks.append(Caption(frame.attrs["caption"] + _told(columns, frame)))
    if together.any():
        rows = all_tasks(frame[together], labels, frame.attrs["baseline"])
        tasks = str(frame.loc[together, "note"].iloc[0])
        words = ALL_TASKS_CAPTION.format(tasks=tasks, baseline=frame.attrs["baseline"])
        blocks += [Heading("All tasks"), Table(rows), Caption(words)]
    return blocks
