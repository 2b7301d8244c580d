"""How often nominal 95% intervals cover, and how many verdicts are false, by simulation.

    python benchmarks/coverage.py                       # all tables of docs/statistics.md
    python benchmarks/coverage.py --only mean --experiments 500

Which interval of a mean and of a difference of means gainrl takes was decided by a rule that stood
here before the first run: of those that cover at least 93.5% at five seeds on every kind of data
(mean, paired and unpaired difference), the shortest; if there is none, the one whose worst
shortfall is smallest. All that is compared sees the same simulated finals.

Kinds of data: `normal`; `finals`, what runs of ours look like: each of 192 problems, which the
methods share, has a difficulty (logistic, sd 3), each run an ability that is skewed to the left
(a gamma of shape 2, mirrored; levels about 0.6, sd 2.5 points), and a final is the share of 192
answers that are right; `spread`, the same with an exponential ability and levels' sd of 5 points.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import censored
import numpy as np
from censored import CONFIDENCE, PROBLEMS, RESAMPLES, SEEDS, TAILS, Array, Limits
from numpy.typing import NDArray
from scipy import stats

from gainrl.compare import interquartile_mean, probability_of_improvement


class Finals(NamedTuple):
    """Finals of two methods in R experiments of n seeds, and what their intervals should cover.

    one, other: (R, n). mean, gap: (R,) true mean of the one, and of their difference, over seeds
    on these problems; anew: the same two numbers over all problems of the kind. answers: (R, n, P)
    of both, if there are problems.
    """

    one: Array
    other: Array
    mean: Array
    gap: Array
    anew: tuple[float, float]
    answers: tuple[NDArray[np.float32], NDArray[np.float32]] | None


@dataclass(frozen=True)
class Ability:
    """Of a run: centre less a gamma with this shape, standard deviation sd (logits)."""

    shape: float
    sd: float
    centre: float = 0.6

    def draw(self, rng: np.random.Generator, size: tuple[int, ...]) -> Array:
        scale = self.sd / math.sqrt(self.shape)
        return self.centre + self.sd * math.sqrt(self.shape) - rng.gamma(self.shape, scale, size)

    def quantiles(self, count: int = 400) -> Array:
        scale = self.sd / math.sqrt(self.shape)
        at = (np.arange(count) + 0.5) / count
        offset = self.centre + self.sd * math.sqrt(self.shape)
        return offset - stats.gamma.ppf(at, self.shape, scale=scale)


KINDS = {"normal": None, "finals": Ability(2.0, 0.2), "spread": Ability(1.0, 0.45)}


def finals(kind: str, n: int, experiments: int, rng: np.random.Generator) -> Finals:
    """Two methods without a difference in ability; problems and seeds are those of both."""
    ability = KINDS[kind]
    if ability is None:
        one, other = (rng.normal(0.6, 0.03, (experiments, n)) for _ in range(2))
        flat = np.full(experiments, 0.6)
        return Finals(one, other, flat, np.zeros(experiments), (0.6, 0.0), None)
    hard = rng.normal(0, 3, (experiments, 1, PROBLEMS))
    grid = np.linspace(-20, 20, 2001)
    expected = logistic(ability.quantiles()[:, None] - grid).mean(0)
    answers, truths = [], []
    for _ in range(2):  # some problems suit one method
        own = hard + rng.normal(0, 0.5, hard.shape)
        level = logistic(ability.draw(rng, (experiments, n, 1)) - own)
        answers.append((rng.random(level.shape) < level).astype(np.float32))
        truths.append(np.interp(own[:, 0], grid, expected).mean(1))
    both = [each.mean(2, dtype=np.float64) for each in answers]
    every = float(np.interp(rng.normal(0, math.hypot(3, 0.5), 200_000), grid, expected).mean())
    return Finals(*both, truths[0], truths[0] - truths[1], (every, 0.0), (answers[0], answers[1]))


def logistic(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


# --- intervals of a mean (R, n), or of the difference of two means -------------------------------


def t_interval(one: Array, other: Array | None, rng: np.random.Generator) -> Limits:
    if other is None:
        result = stats.ttest_1samp(one, 0, axis=1)
    else:
        result = stats.ttest_ind(one, other, axis=1, equal_var=False)
    found = result.confidence_interval(CONFIDENCE)
    return found.low, found.high


def scipys(method: str) -> Callable[[Array, Array | None, np.random.Generator], Limits]:
    def interval(one: Array, other: Array | None, rng: np.random.Generator) -> Limits:
        samples = (one,) if other is None else (one, other)
        lows, highs = [], []
        for start in range(0, len(one), 250):
            found = stats.bootstrap(
                tuple(sample[start : start + 250] for sample in samples), statistic, axis=1,
                vectorized=True, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method=method,
                rng=rng,
            ).confidence_interval  # fmt: skip
            lows.append(found.low)
            highs.append(found.high)
        return np.concatenate(lows), np.concatenate(highs)

    return interval


def statistic(*samples: Array, axis: int) -> Array:
    first, *rest = (sample.mean(axis) for sample in samples)
    return first - rest[0] if rest else first


def studentised(one: Array, other: Array | None, rng: np.random.Generator) -> Limits:
    """Bootstrap-t (Efron and Tibshirani 1993, chapter 12.5); resamples without spread left out."""
    samples = [one] if other is None else [one, other]
    drawn = [rng.integers(each.shape[1], size=(RESAMPLES, each.shape[1])) for each in samples]
    centre, error = moments(samples)
    lows, highs = [], []
    for start in range(0, len(one), 250):
        part = [each[start : start + 250] for each in samples]
        mean, spread = moments([each[:, rows] for each, rows in zip(part, drawn, strict=True)])
        at = centre[start : start + 250, None]
        ratio = np.where(spread > 0, (mean - at) / np.where(spread > 0, spread, 1), np.nan)
        low, high = np.nanquantile(ratio, TAILS, axis=1)
        width = error[start : start + 250]
        lows.append(at[:, 0] - high * width)
        highs.append(at[:, 0] - low * width)
    return np.concatenate(lows), np.concatenate(highs)


def moments(samples: list[Array]) -> tuple[Array, Array]:
    """The mean, or the difference of two, and its standard error, over the last axis."""
    means = [each.mean(-1) for each in samples]
    errors = [each.var(-1, ddof=1) / each.shape[-1] for each in samples]
    return (means[0] if len(means) == 1 else means[0] - means[1]), np.sqrt(sum(errors))


MEANS: dict[str, Callable[[Array, Array | None, np.random.Generator], Limits]] = {
    "percentile": scipys("percentile"),
    "BCa": scipys("BCa"),
    "studentised": studentised,
    "t": t_interval,
}


def hierarchical(
    answers: tuple[NDArray[np.float32], ...], paired: bool, rng: np.random.Generator
) -> Limits:
    """Percentile bootstrap that resamples seeds and problems, the problems those of both methods.

    Args:
        answers: (R, n, P) of a method, or of two.
    """
    weights = [counts(each.shape[1], rng) for each in answers]
    if paired:
        weights[1:] = weights[:1]
    problems = counts(answers[0].shape[2], rng).T
    found = np.empty((len(answers[0]), RESAMPLES))
    for start in range(0, len(found), 100):
        total: Array | float = 0.0
        for sign, each, seeds in zip((1, -1), answers, weights, strict=False):
            by_seed = each[start : start + 100] @ problems
            total = total + sign * (by_seed * seeds.T).sum(1)
        found[start : start + 100] = total
    low, high = np.quantile(found, TAILS, axis=1)
    return low, high


def counts(n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(resamples, n) weights of a bootstrap."""
    return (rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n).astype(np.float32)


def t_both(answers: NDArray[np.float32]) -> Limits:
    """t over seeds whose standard error has the spread of problems too (two random factors)."""
    n, problems = answers.shape[1:]
    seeds, each = answers.mean(2, dtype=float), answers.mean(1, dtype=float)
    centre = seeds.mean(1)
    left = answers - seeds[:, :, None] - each[:, None] + centre[:, None, None]
    noise = (left**2).sum((1, 2)) / ((n - 1) * (problems - 1))
    parts = seeds.var(1, ddof=1) / n + each.var(1, ddof=1) / problems - noise / (n * problems)
    by_seed = seeds.var(1, ddof=1) / n
    half = stats.t.ppf(TAILS[1], n - 1) * np.sqrt(np.maximum(parts, by_seed))
    return centre - half, centre + half


# --- the tables ----------------------------------------------------------------------------------


def covered(limits: Limits, truth: Array | float) -> str:
    """Share that covers in percent, and the median length in points (of open ones: open)."""
    low, high = limits
    hits = (low <= truth) & (truth <= high)
    return f"{100 * hits.mean():.1f} ({100 * np.median(high - low):.1f})"


def mean_table(experiments: int, seed: int) -> Iterator[list[str]]:
    yield ["data", "n", "of", *MEANS, "hierarchical"]
    for kind in KINDS:
        for n in SEEDS:
            rng = np.random.default_rng([seed, n, list(KINDS).index(kind)])
            data = finals(kind, n, experiments, rng)
            difference = data.one - data.other
            for what, one, other, truth in (
                ("mean", data.one, None, data.mean),
                ("difference, paired", difference, None, data.gap),
                ("difference, unpaired", data.one, data.other, data.gap),
            ):
                cells = [covered(found(one, other, rng), truth) for found in MEANS.values()]
                nested = "–"
                if data.answers:
                    used = data.answers[: 1 if what == "mean" else 2]
                    nested = covered(hierarchical(used, what.endswith(", paired"), rng), truth)
                yield [kind, str(n), what, *cells, nested]


def anew_table(experiments: int, seed: int) -> Iterator[list[str]]:
    """Of other seeds on other problems: what seeds alone cannot cover."""
    yield ["data", "n", "of", "t over seeds", "hierarchical", "t, seeds and problems"]
    for kind in ("finals", "spread"):
        for n in SEEDS:
            rng = np.random.default_rng([seed, n, 7])
            data = finals(kind, n, experiments, rng)
            assert data.answers
            both = data.answers[0] - data.answers[1]
            for what, values, used, each, truth in (
                ("mean", data.one, data.answers[:1], data.answers[0], data.anew[0]),
                ("difference, paired", data.one - data.other, data.answers, both, data.anew[1]),
            ):
                found = t_interval(values, None, rng), hierarchical(used, True, rng), t_both(each)
                yield [kind, str(n), what, *(covered(limits, truth) for limits in found)]


def starts_table(experiments: int, seed: int) -> Iterator[list[str]]:
    """Several start models with three seeds each: sd of 2 points between them, 2 between seeds."""
    yield ["start models", "t over all runs", "t over start models", "hierarchical bootstrap"]
    for models in (1, 3, 5, 10):
        rng = np.random.default_rng([seed, models])
        runs = rng.normal(0, 0.02, (experiments, models, 3))
        runs += rng.normal(0, 0.02, (experiments, models, 1))
        flat = runs.reshape(experiments, -1)
        cells = [covered(t_interval(flat, None, rng), 0.0)]
        cells.append(covered(t_interval(runs.mean(2), None, rng), 0.0) if models > 1 else "–")
        weights = counts(models, rng)[:, :, None] * 1.0
        nested = [counts(3, rng) for _ in range(models)]
        within = np.stack([runs[:, each] @ nested[each].T for each in range(models)], 2)
        means = (within * weights[None, :, :, 0]).sum(2)
        low, high = np.quantile(means, TAILS, axis=1)
        yield [str(models), *cells, covered((low, high), 0.0)]


# --- several tasks in one number -----------------------------------------------------------------


def together_table(experiments: int, seed: int) -> Iterator[list[str]]:
    """Interquartile mean and probability of improvement of methods alike, over three tasks."""
    yield ["n", "of", "stratified bootstrap", "its error, t of 3 (n - 1)", "t of n - 1"]
    for n in SEEDS:
        rng = np.random.default_rng([seed, n, 13])
        scores = rng.normal([0.3, 0.6, 0.7], 0.03, (experiments, 2, n, 3))
        one, other = scores[:, 0], scores[:, 1]
        for name, found, samples, truth in (
            ("interquartile mean", interquartile_mean, (one,), 0.585),
            ("probability of improvement", probability_of_improvement, (one, other), 0.5),
        ):
            drawn = np.empty((experiments, RESAMPLES))
            for place in range(experiments):
                rows = [rng.integers(n, size=(RESAMPLES, n, 3)) for _ in samples]
                drawn[place] = found(
                    *(
                        np.take_along_axis(each[place][None], row, 1)
                        for each, row in zip(samples, rows, strict=True)
                    )
                )
            low, high = np.quantile(drawn, TAILS, axis=1)
            if name == "interquartile mean":
                many = rng.normal([0.3, 0.6, 0.7], 0.03, (100_000, n, 3))
                truth = float(interquartile_mean(many).mean())
            whole = found(*samples)
            error = drawn.std(1) * math.sqrt(n / (n - 1))
            halves = [stats.t.ppf(TAILS[1], df) * error for df in (3 * (n - 1), n - 1)]
            cells = [covered((whole - half, whole + half), truth) for half in halves]
            yield [str(n), name, covered((low, high), truth), *cells]


# --- false verdicts ------------------------------------------------------------------------------


def false_table(experiments: int, seed: int) -> Iterator[list[str]]:
    """39 differences of 13 methods to one baseline on 3 pools, none real, paired by seed."""
    yield ["n", "interval", "exclude 0, of 39", "above 0, of 39", "after Benjamini-Hochberg",
           "tables with any after it (%)"]  # fmt: skip
    for n in (5, 10):
        rng = np.random.default_rng([seed, n, 11])
        runs = rng.normal(0, 0.02, (experiments, 3, 14, n))
        runs += rng.normal(0, 0.02, (experiments, 3, 1, n))
        flat = (runs[:, :, 1:] - runs[:, :, :1]).reshape(-1, n)
        low, high = (each.reshape(experiments, 39) for each in MEANS["percentile"](flat, None, rng))
        yield [str(n), "percentile", f"{((low > 0) | (high < 0)).sum(1).mean():.1f}",
               f"{(low > 0).sum(1).mean():.1f}", "–", "–"]  # fmt: skip
        p = stats.ttest_1samp(flat, 0, axis=1).pvalue.reshape(experiments, 39)
        left = stats.false_discovery_control(p, axis=1) <= 1 - CONFIDENCE
        above = (p <= 1 - CONFIDENCE) & (flat.mean(1).reshape(experiments, 39) > 0)
        yield [str(n), "t", f"{(p <= 1 - CONFIDENCE).sum(1).mean():.1f}",
               f"{above.sum(1).mean():.1f}", f"{left.sum(1).mean():.2f}",
               f"{100 * left.any(1).mean():.1f}"]  # fmt: skip


TABLES = {
    "mean": mean_table,
    "problems": anew_table,
    "starts": starts_table,
    "speed": censored.table,
    "together": together_table,
    "false": false_table,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=TABLES, action="append")
    parser.add_argument("--experiments", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.only or TABLES:
        began = time.process_time()
        with warnings.catch_warnings():  # of resamples and samples without any spread
            warnings.simplefilter("ignore")
            for place, row in enumerate(TABLES[name](options.experiments, options.seed)):
                print(f"| {' | '.join(row)} |", flush=True)
                if place == 0:
                    print("|" + " --- |" * len(row))
        spent = time.process_time() - began
        print(f"\n{name}: {options.experiments:,} experiments, {spent:.0f} s\n")


if __name__ == "__main__":
    main()
