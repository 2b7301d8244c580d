"""How well simulated runs rank methods: rank correlations with finished runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from gainrl.compare.render import Block, Caption, Heading, Paragraph, Table, Title, write_views
from gainrl.compare.statistics import FloatArray, cost_to_reach, smooth, target_accuracy
from gainrl.config.preset import Statistics
from gainrl.config.simulation import FEWEST
from gainrl.errors import DataError
from gainrl.records import write_text
from gainrl.results.runs import Group
from gainrl.results.speed import TOKENS
from gainrl.study.table import UNDEFINED, RankInterval

COLUMNS = [
    *("experiment", "model", "dataset", "regime", "statistic", "method", "real", "simulated"),
    *("rho", "low", "high", "n", "note"),
]
STATISTICS = {
    "final_accuracy": "final accuracy",
    "tokens_to_baseline": "rollout tokens to the baseline's final level",
}
"""What methods are ranked by."""


@dataclass(frozen=True)
class Agreement:
    """A rank correlation over methods; real and simulated: each method's value."""

    found: RankInterval
    real: dict[str, float]
    simulated: dict[str, float]


def agreement(
    real: Group, simulated: Group, statistic: str, baseline: str, config: Statistics
) -> Agreement:
    """Spearman's correlation over the methods that both have, with a bootstrap over seeds.

    final_accuracy: mean over seeds of the mean of the last `smoothing` tests; of several
    benchmarks, of their average. tokens_to_baseline: median over seeds of the rollout tokens to the
    baseline's final level, of simulated runs that of the same seed as in their table; censored
    seeds are infinite, so methods that do not get there tie for the last rank. A resample draws
    seeds of the real runs, the same of every method, and seeds of the simulated ones; methods are
    not resampled: they are what is compared.

    Args:
        real: finished runs of one model and data set; simulated: of one regime.
        statistic: one of STATISTICS.
        baseline: method whose final level is the target.

    Returns:
        rho with its percentile interval; NaN where all methods tie, NaN limits if more than a tenth
        of the resamples do.

    Raises:
        DataError: fewer than 3 methods in common, or no baseline among them.
    """
    methods = [name for name in real if name in simulated]
    if len(methods) < FEWEST or baseline not in methods:
        raise DataError(
            f"real and simulated runs share {len(methods)} methods; a rank correlation needs "
            f"{FEWEST}, the baseline '{baseline}' among them"
        )
    rng = np.random.default_rng(config.seed)
    points, drawn = [], []
    for group, paired in ((real, False), (simulated, True)):
        values = _values(group, methods, statistic, baseline, config, paired)  # (methods, seeds)
        seeds = rng.integers(values.shape[1], size=(config.resamples, values.shape[1]))
        points.append(_summary(values[None], statistic)[0])
        drawn.append(_summary(values[:, seeds].transpose(1, 0, 2), statistic))
    rho = float(_spearman(points[0][None], points[1][None])[0])
    found = _interval(rho, _spearman(*drawn), len(methods), config)
    named = [dict(zip(methods, map(float, point), strict=True)) for point in points]
    return Agreement(found, *named)


def _values(
    group: Group,
    methods: Sequence[str],
    statistic: str,
    baseline: str,
    config: Statistics,
    paired: bool,
) -> FloatArray:
    """(methods, seeds) of each run: its final accuracy, or its tokens to the target or infinity.

    paired: the target is the baseline's final level of the same seed, not the mean over seeds.
    """
    benchmark, window = group[baseline][0].measures[-1], config.smoothing
    if statistic == "final_accuracy":
        return np.array(
            [[smooth(run.curve(benchmark), window)[-1] for run in group[name]] for name in methods]
        )
    base = [run.curve(benchmark) for run in group[baseline]]
    targets = [float(smooth(curve, window)[-1]) for curve in base]
    if not paired:
        targets = [target_accuracy(base, window)] * len(base)
    return np.array(
        [
            [
                cost_to_reach(TOKENS.at_tests(run, 0), run.curve(benchmark), target, window).upper
                for run, target in zip(group[name], targets, strict=True)
            ]
            for name in methods
        ]
    )


def _summary(values: FloatArray, statistic: str) -> FloatArray:
    """(..., methods) from (..., methods, seeds)."""
    return values.mean(-1) if statistic == "final_accuracy" else np.median(values, axis=-1)


def _spearman(one: FloatArray, other: FloatArray) -> FloatArray:
    """(R,) correlations of the average ranks of (R, methods) values; NaN where one is constant."""
    ranks = [rankdata(each, axis=1) for each in (one, other)]
    x, y = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.where(spread > 0, (x * y).sum(axis=1) / np.where(spread > 0, spread, 1), np.nan)


def _interval(rho: float, drawn: FloatArray, methods: int, config: Statistics) -> RankInterval:
    undefined = int(np.isnan(drawn).sum())
    if math.isnan(rho) or undefined > UNDEFINED * len(drawn):
        return RankInterval(rho, math.nan, math.nan, methods, undefined=undefined)
    tail = (1 - config.confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return RankInterval(rho, float(low), float(high), methods, undefined=undefined)


# --- writing -------------------------------------------------------------------------------------


def agreement_rows(found: Agreement, where: dict[str, str], statistic: str) -> list[dict]:
    """A row of the correlation (method '', n methods), then one a method with its two values."""
    same = {**where, "statistic": statistic}
    whole, notes = found.found, []
    if whole.undefined and not math.isnan(whole.mean):
        notes.append(f"{whole.undefined:,} resamples in which all methods tie")
    if math.isnan(whole.mean):
        notes.append("all methods tie")
    blank = {"real": math.nan, "simulated": math.nan}
    numbers = {"rho": whole.mean, "low": whole.low, "high": whole.high, "n": whole.n}
    rows = [{**same, "method": "", **blank, **numbers, "note": "; ".join(notes)}]
    nothing = {"rho": math.nan, "low": math.nan, "high": math.nan, "n": 1, "note": ""}
    for method, value in found.real.items():
        values = {"real": value, "simulated": found.simulated[method]}
        rows.append({**same, "method": method, **values, **nothing})
    return rows


def write_predictions(
    frame: pd.DataFrame, labels: dict[str, str], config: Statistics, path: Path
) -> None:
    """Write the tidy CSV and, beside it as .md and .tex, what people read; each atomically."""
    write_text(path, frame.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
    blocks: list[Block] = [Title("What the simulation predicted, and what finished runs did")]
    keys = ["experiment", "model", "dataset", "regime", "statistic"]
    for (name, model, dataset, regime, statistic), group in frame.groupby(keys, sort=False):
        whole, *rows = ({str(k): v for k, v in row.items()} for row in group.to_dict("records"))
        blocks.append(Heading(f"{name} ({model}, {dataset}) by regime {regime}"))
        blocks.append(Paragraph(f"Rank correlation by {STATISTICS[str(statistic)]}: {_rho(whole)}"))
        lines = [["Method", "Runs", "Simulated"]]
        for row in rows:
            cells = [_value(row[key], str(statistic)) for key in ("real", "simulated")]
            lines.append([labels.get(row["method"], row["method"]), *cells])
        blocks.append(Table(lines))
    note = (
        f"Spearman's rank correlation over methods; [low, high] is the {config.confidence:.0%} "
        "percentile bootstrap over the seeds of both, with the methods as they are: it says "
        "nothing of other methods. With few methods chance gives high correlations: of three, one "
        "order in six is the right one."
    )
    write_views(path, [*blocks, Caption(note)])


def _rho(row: dict) -> str:
    if math.isnan(row["rho"]):
        return f"not defined ({row['note']})"
    text = f"{row['rho']:.2f}"
    if not math.isnan(row["low"]):
        text += f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{text}, {row['n']} methods{'; ' + row['note'] if row['note'] else ''}"


def _value(value: float, statistic: str) -> str:
    if statistic == "final_accuracy":
        return f"{100 * value:.1f}%"
    return "not reached" if math.isinf(value) else f"{value:,.0f}"
