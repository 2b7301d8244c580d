"""Numbers of a study's sizes, from its pilots, as rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gainrl.compare.power import (
    MOST,
    Parts,
    between_starts,
    pooled,
    seeds_for_difference,
    seeds_for_speedup,
    smallest_difference,
)
from gainrl.compare.statistics import TOLERANCE
from gainrl.errors import DataError
from gainrl.power.pilot import Pilot

COLUMNS = ("quantity", "task", "method", "seeds", "problems", "samples", "value")
ALL = "all"
"""Task and method of what is pooled."""


@dataclass(frozen=True)
class Wanted:
    """What a study should decide (a difference, a speed-up), power, alpha and sizes.

    points: the difference is in points, else in the accuracies' own unit. seeds, problems of a
    test and samples (answers of each) are to be looked at.
    """

    difference: float
    speedup: float
    power: float
    alpha: float
    seeds: tuple[int, ...]
    problems: tuple[int, ...]
    samples: tuple[int, ...]
    points: bool = True

    def __post_init__(self) -> None:
        for name, value in (("power", self.power), ("alpha", self.alpha)):
            if not 0 < value < 1:
                raise DataError(f"--{name} {value:g}: it lies between 0 and 1")
        if self.power <= self.alpha:
            raise DataError(f"--power {self.power:g}: it is above --alpha {self.alpha:g}")
        if not 0 < self.difference < math.inf:
            raise DataError(f"--difference {self.difference:g}: a number above 0")
        if not 1 < self.speedup < math.inf:
            raise DataError(f"--speedup {self.speedup:g}: a ratio above 1")
        for name, least in (("seeds", 2), ("problems", 1), ("samples", 1)):
            if any(value < least for value in getattr(self, name)):
                raise DataError(f"--{name} {min(getattr(self, name))}: {least} at least")
        if max(self.seeds) > MOST:
            raise DataError(f"--seeds {max(self.seeds)}: at most {MOST:,}")

    @property
    def what(self) -> str:
        """The difference in words."""
        return (
            f"{self.difference:g} points" if self.points else f"a difference of {self.difference:g}"
        )


Row = dict[str, object]
Size = tuple[int, int]
"""Problems of a test and answers of each; 0 where the pilot does not say what they change."""


def rows_of(pilots: Sequence[Pilot], wanted: Wanted, starts: bool) -> Iterator[Row]:
    """A row a number: parts of each pilot and of all, then the sizes that were asked for.

    Raises:
        DataError: differences that do not vary, as of runs that learn nothing.
    """
    for pilot in pilots:
        yield from _parts_rows(pilot.parts, pilot.task, pilot.method, pilot.differences.size)
        for currency, logs in pilot.logs.items():
            sd = float(logs.std(ddof=1))
            yield row_of(f"sd_log_speedup_{currency}", sd, pilot.task, pilot.method, logs.size)
    parts = together(pilots, starts)
    if parts.of_a_seed() <= TOLERANCE:
        raise DataError(
            "the pilots' differences are the same in all seeds, which says nothing of a study's; "
            "take runs that learn"
        )
    yield from _parts_rows(parts, ALL, ALL, None)
    for size in sizes_of(parts, wanted):
        deviation = parts.of_a_seed(*size)
        for n in wanted.seeds:
            least = smallest_difference(deviation, n, wanted.alpha, wanted.power)
            yield row_of("smallest_difference", least, ALL, ALL, n, size)
        need = seeds_for_difference(wanted.difference, deviation, wanted.alpha, wanted.power)
        yield row_of("seeds_for_difference", need, ALL, ALL, None, size)
    for currency, sd in log_deviations(pilots).items():
        yield row_of(f"sd_log_speedup_{currency}", sd)
        need = seeds_for_speedup(wanted.speedup, sd, wanted.alpha, wanted.power)
        yield row_of(f"seeds_for_speedup_{currency}", need)


def row_of(
    quantity: str,
    value: float | None,
    task: str = ALL,
    method: str = ALL,
    seeds: int | None = None,
    size: Size = (0, 0),
) -> Row:
    """A row with the keys of COLUMNS; without a value where nothing is known or enough."""
    shown = "" if value is None or math.isnan(value) else f"{value:.10g}"
    cells = (quantity, task, method, seeds or "", *(each or "" for each in size), shown)
    return dict(zip(COLUMNS, cells, strict=True))


def _parts_rows(parts: Parts, task: str, method: str, seeds: int | None) -> Iterator[Row]:
    size = (parts.problems_n, parts.samples)
    yield row_of("sd_seen", math.sqrt(parts.seen), task, method, seeds, size)
    for name in ("seeds", "starts", "problems", "residual", "answers"):
        yield row_of(f"sd_{name}", parts.deviation(name), task, method, seeds, size)
    yield row_of("sd_difference", parts.of_a_seed(), task, method, seeds, size)


def together(pilots: Sequence[Pilot], starts: bool) -> Parts:
    """The parts of all pilots; starts: with those between the tasks, which are start models.

    Raises:
        DataError: a single start model.
    """
    parts = pooled([pilot.parts for pilot in pilots])
    if not starts:
        return parts
    by_method: dict[str, list[Pilot]] = {}
    for pilot in pilots:
        by_method.setdefault(pilot.method, []).append(pilot)
    if min(map(len, by_method.values())) < 2:
        raise DataError("--starts: the pilots have one task; start models need two at least")
    between = [between_starts([each.differences for each in found]) for found in by_method.values()]
    return replace(parts, starts=float(np.mean(between)))


def log_deviations(pilots: Sequence[Pilot]) -> dict[str, float]:
    """Standard deviation over seeds of a log speed-up, pooled, by currency."""
    found: dict[str, list[float]] = {}
    for pilot in pilots:
        for currency, logs in pilot.logs.items():
            found.setdefault(currency, []).append(float(logs.var(ddof=1)))
    return {currency: math.sqrt(float(np.mean(each))) for currency, each in found.items()}


def sizes_of(parts: Parts, wanted: Wanted) -> list[Size]:
    """Tests to look at.

    Raises:
        DataError: a size was asked for, and the pilot does not say what it changes.
    """
    if math.isnan(parts.residual):
        for name in ("problems", "samples"):
            if getattr(wanted, name):
                raise DataError(
                    f"--{name}: these pilots do not say what more {name} change; finished runs of "
                    "a preset do, tested on as many everywhere, with --smoothing 1"
                )
        return [(0, 0)]
    if wanted.samples and math.isnan(parts.answers):
        raise DataError(
            "--samples: these pilots answered each problem once, which does not tell the chance of "
            "an answer from how a seed does on the problem; answer twice at least "
            "(evaluation.samples)"
        )
    n = parts.problems_n
    problems = wanted.problems or (n, 2 * n, 4 * n)
    return [(p, k) for p in problems for k in wanted.samples or (parts.samples,)]


def size_text(size: Size, pilot: Parts) -> str:
    """A test's size in words; empty where nothing is known of it."""
    problems, samples = size
    if not problems:
        return ""
    times = f" × {samples} answers" if samples > 1 or pilot.samples > 1 else ""
    return f"{problems:,} problems{times}"
