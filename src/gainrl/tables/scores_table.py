"""Tables of scores under protocols: tidy CSV, and blocks for people."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gainrl.compare.render import Block, Caption, Heading, Table, write_views
from gainrl.config.preset import Statistics
from gainrl.plan import benchmarks
from gainrl.records import SAMPLES, read_table, write_text
from gainrl.tables.scores import Scored, agreement, problem_interval

BENCHMARK_COLUMNS = [
    *("model", "benchmark", "protocol", "engine", "metric"),
    *("mean", "low", "high", "n", "note", "sampling"),
]
Row = Mapping[Any, Any]
OVER = (
    "[low, high]: Student's t over problems; where all or none are solved, the exact "
    "bound of Clopper and Pearson."
)
BOTH = (
    "[low, high]: Student's t over problems (of the mean over seeds); in parentheses the "
    "same over seeds. The first says how the value would move with other problems, the second with "
    "other runs. Where all problems are solved, or none, the first is exact (Clopper and Pearson)."
)


# --- final models of an experiment ---------------------------------------------------------------


def final_blocks(frame: pd.DataFrame, labels: Mapping[str, str]) -> list[Block]:
    """The rows of `scores.Summary` for people: a table for each model, data set and protocol."""
    blocks: list[Block] = []
    for (model, dataset, protocol), group in frame.groupby(
        ["model", "dataset", "protocol"], sort=False
    ):
        told = [
            f"{row['benchmark']}: {row['n']} problems, {protocol}: {row['sampling']}; "
            f"{row['engine']}"
            for row in group.drop_duplicates("benchmark").to_dict("records")
        ]
        blocks += [
            Heading(f"{model}, trained on {dataset}: final models, protocol {protocol}"),
            Table(_wide(group, labels)),
            Caption(f"{'. '.join(told)}. {BOTH}"),
        ]
    return blocks


def _wide(group: pd.DataFrame, labels: Mapping[str, str]) -> list[list[str]]:
    """Header and one line a method: every metric of every benchmark in percent, differences too."""
    cells = {
        (row["method"], row["benchmark"], row["metric"]): row for row in group.to_dict("records")
    }
    columns = [
        (benchmark, metric)
        for benchmark, metric in dict.fromkeys(
            zip(group["benchmark"], group["metric"], strict=True)
        )
        if not metric.endswith(", seeds") and "avg@" not in metric
    ]
    heads = [f"{name} {metric.partition('/')[2]} (%)" for name, metric in columns]
    lines = [["Method", *heads]]
    for method in dict.fromkeys(group["method"]):
        shown = [
            _both(cells.get((method, name, metric)), cells.get((method, name, f"{metric}, seeds")))
            for name, metric in columns
        ]
        lines.append(["Start model" if method == "start" else labels.get(method, method), *shown])
    return lines


def _both(problems: Row | None, seeds: Row | None) -> str:
    """A mean with its interval over problems and, in parentheses, over seeds."""
    if problems is None:
        return "–"
    spec = "+.1f" if "difference" in problems["metric"] else ".1f"
    text = f"{100 * problems['mean']:{spec}}"
    if not math.isnan(problems["low"]):
        text += f" [{100 * problems['low']:{spec}}, {100 * problems['high']:{spec}}]"
    if seeds is not None and not math.isnan(seeds["low"]):
        text += f" ({100 * seeds['low']:{spec}} to {100 * seeds['high']:{spec}})"
    return text


# --- models as they are --------------------------------------------------------------------------


def benchmark_rows(tests: Sequence[tuple[Scored, str]], config: Statistics) -> pd.DataFrame:
    """One row for each model, benchmark, protocol, engine and metric, over problems.

    Args:
        tests: each with the engine that the preset names.
    """
    rows = []
    for test, engine in tests:
        same = {"model": test.model, "benchmark": test.benchmark, "protocol": test.protocol}
        same["sampling"] = test.sampling
        for metric in test.values:
            found = problem_interval(test.values[metric], config.confidence)
            numbers = {key: getattr(found, key) for key in ("mean", "low", "high", "n")}
            rows.append({**same, "engine": engine, "metric": metric, **numbers, "note": test.how})
        for metric in ("truncated", "without_answer"):
            share = {"mean": test.score[metric], "low": math.nan, "high": math.nan}
            count = {"n": len(test.values), "note": "share of samples"}
            rows.append({**same, "engine": engine, "metric": metric, **share, **count})
    return pd.DataFrame(rows, columns=BENCHMARK_COLUMNS)


def agreement_rows(tests: Sequence[tuple[Scored, str]], folders: Sequence[Path]) -> pd.DataFrame:
    """One row for each two engines on the same model, benchmark and protocol, and measure."""
    rows = []
    read = [(test, engine, folder) for (test, engine), folder in zip(tests, folders, strict=True)]
    for one, other in itertools.combinations(read, 2):
        same = ("model", "benchmark", "protocol")
        if any(getattr(one[0], key) != getattr(other[0], key) for key in same):
            continue
        tables = [read_table(each[2] / benchmarks.SAMPLES, SAMPLES) for each in (one, other)]
        for measure, share in agreement(*tables).items():
            rows.append(
                {
                    **{key: getattr(one[0], key) for key in same},
                    "engine": f"{one[1]} and {other[1]}",
                    "metric": f"same {measure}",
                    "mean": share,
                    "low": math.nan,
                    "high": math.nan,
                    "n": len(one[0].values),
                    "note": "share of samples",
                }
            )
    return pd.DataFrame(rows, columns=BENCHMARK_COLUMNS)


def write_benchmarks(scores: pd.DataFrame, agreed: pd.DataFrame, path: Path) -> None:
    """Write the CSV and, beside it, a table for people as .md and .tex; each atomically."""
    both = pd.concat([scores, agreed]) if len(agreed) else scores
    write_text(path, both.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
    blocks: list[Block] = []
    for (benchmark, protocol), group in scores.groupby(["benchmark", "protocol"], sort=False):
        metrics = list(dict.fromkeys(group["metric"]))
        lines = [["Model", "Engine", *(f"{name.replace('_', ' ')} (%)" for name in metrics)]]
        for (model, engine), rows in group.groupby(["model", "engine"], sort=False):
            cells = {row["metric"]: row for row in rows.to_dict("records")}
            lines.append(
                [str(model), str(engine), *(_both(cells.get(name), None) for name in metrics)]
            )
        count, sampling = group["n"].iloc[0], group["sampling"].iloc[0]
        told = Caption(f"{count} problems, protocol {protocol}: {sampling}; {OVER}")
        blocks += [Heading(str(benchmark)), Table(lines), told]
    if len(agreed):
        lines = [["Model", "Benchmark", "Engines", "Measure", "Share (%)"]]
        for row in agreed.to_dict("records"):
            where, share = f"{row['benchmark']}, {row['protocol']}", f"{100 * row['mean']:.1f}"
            lines.append([row["model"], where, row["engine"], row["metric"], share])
        blocks += [Heading("Two engines on the same problems"), Table(lines)]
    write_views(path, blocks)
