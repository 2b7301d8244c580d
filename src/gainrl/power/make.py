"""`gainrl power`: from pilot runs to the sizes of the study that decides."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gainrl import plan
from gainrl.compare.curves import RUNS
from gainrl.compare.power import (
    Parts,
    between_starts,
    pooled,
    power_of_median,
    power_of_t,
    seeds_for_difference,
    seeds_for_speedup,
    smallest_difference,
)
from gainrl.compare.reading import read_curves
from gainrl.compare.render import Block, Caption, Heading, Table, Title, markdown, write_views
from gainrl.errors import DataError, nearest
from gainrl.files import write_text
from gainrl.power.pilot import Pilot, from_curves, from_runs
from gainrl.results.runs import collect

COLUMNS = ("quantity", "task", "method", "seeds", "problems", "value")
ALL = "all"
"""Task and method of what is pooled."""


@dataclass(frozen=True)
class Wanted:
    """What a study should decide (a difference in points, a speed-up), power, alpha and sizes."""

    difference: float
    speedup: float
    power: float
    alpha: float
    seeds: tuple[int, ...]
    problems: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, value in (("power", self.power), ("alpha", self.alpha)):
            if not 0 < value < 1:
                raise DataError(f"--{name} {value:g}: it lies between 0 and 1")
        if self.power <= self.alpha:
            raise DataError(f"--power {self.power:g}: it is above --alpha {self.alpha:g}")
        if self.difference <= 0:
            raise DataError(f"--difference {self.difference:g}: points, above 0")
        if self.speedup <= 1:
            raise DataError(f"--speedup {self.speedup:g}: a ratio above 1")
        for name, least, values in (("seeds", 2, self.seeds), ("problems", 1, self.problems)):
            if any(value < least for value in values):
                raise DataError(f"--{name} {min(values)}: {least} at least")


def power(
    sources: Sequence[Path],
    preset: str | None,
    experiment: str | None,
    root: Path,
    baseline: str | None,
    starts: bool,
    difference: float,
    speedup: float,
    wanted_power: float,
    alpha: float,
    seeds: Sequence[int],
    problems: Sequence[int],
    smoothing: int,
    out: Path | None,
    columns: Sequence[str],
    metric: str,
    runs: str | None,
) -> None:
    """Print what pilots say of a study's sizes as Markdown and, if `out`, write it.

    Args:
        sources: curves, as `gainrl compare` reads them; or preset: its finished runs.
        starts: tasks (models, in a preset) are start models of one task.
        wanted_power, alpha, difference, speedup, seeds, problems: `Wanted`.
        smoothing: tests in a level; by problem only the last test is known.
        out: .csv, .md, .tex and .json beside each other, whatever its suffix.

    Raises:
        DataError: no pilots, pilots that cannot be compared, or sizes that make no sense.
    """
    wanted = Wanted(difference, speedup, wanted_power, alpha, tuple(seeds), tuple(problems))
    if smoothing < 1:
        raise DataError(f"--smoothing {smoothing}: it is a number of tests, from 1")
    if bool(sources) == (preset is not None):
        raise DataError("name the files with the pilots' curves, or --preset with finished runs")
    if preset is not None:
        pilots, base = _of_preset(preset, experiment, root, baseline, smoothing)
    else:
        named = dict(_pair(each) for each in columns)
        curves = read_curves(sources, columns=named, metric=metric, runs=runs or RUNS)
        base = baseline or curves[0].method
        pilots = from_curves(curves, base, smoothing)
    rows = list(_rows(pilots, wanted, starts))
    document = blocks(rows, pilots, wanted, base, starts)
    if out is not None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(out.with_suffix(".csv"), text.getvalue())
        write_views(out, document)
    print(markdown(document), end="")


def _pair(text: str) -> tuple[str, str]:
    name, equals, column = text.partition("=")
    if not (name and equals and column):
        raise DataError(f"--columns {text}: write it as NAME=COLUMN, such as accuracy=eval/acc")
    return name, column


def _of_preset(
    source: str, experiment: str | None, root: Path, baseline: str | None, smoothing: int
) -> tuple[list[Pilot], str]:
    preset = plan.load(source)
    name = experiment or next(iter(preset.experiments))
    if name not in preset.experiments:
        raise DataError(f"--experiment {name}: unknown name{nearest(name, preset.experiments)}")
    layout = plan.Layout(preset.preset, root)
    runs = collect([layout.run(key) for key in plan.runs(preset, [name])])
    base = baseline or preset.experiments[name].baseline
    return from_runs(runs, base, smoothing), base


# --- numbers -------------------------------------------------------------------------------------

Row = dict[str, object]


def _rows(pilots: Sequence[Pilot], wanted: Wanted, starts: bool) -> Iterator[Row]:
    for pilot in pilots:
        yield _row("sd_seen", pilot.seen, pilot.task, pilot.method, pilot.differences.size)
        yield from _parts_rows(pilot.parts, pilot.task, pilot.method, pilot.differences.size)
        for currency, logs in pilot.logs.items():
            sd = float(logs.std(ddof=1))
            yield _row(f"sd_log_speedup_{currency}", sd, pilot.task, pilot.method, logs.size)
    parts = together(pilots, starts)
    yield from _parts_rows(parts, ALL, ALL, None)
    for problems in _problems(parts, wanted):
        deviation = parts.of_a_seed(problems or 0)
        for n in wanted.seeds:
            least = smallest_difference(deviation, n, wanted.alpha, wanted.power)
            yield _row("smallest_difference", least, ALL, ALL, n, problems)
        need = seeds_for_difference(wanted.difference, deviation, wanted.alpha, wanted.power)
        yield _row("seeds_for_difference", need, ALL, ALL, None, problems)
    for currency, sd in log_deviations(pilots).items():
        yield _row(f"sd_log_speedup_{currency}", sd)
        need = seeds_for_speedup(wanted.speedup, sd, wanted.alpha, wanted.power)
        yield _row(f"seeds_for_speedup_{currency}", need)


def _row(
    quantity: str,
    value: float | None,
    task: str = ALL,
    method: str = ALL,
    seeds: int | None = None,
    problems: int | None = None,
) -> Row:
    shown = "" if value is None or math.isnan(value) else f"{value:.10g}"
    cells = (quantity, task, method, seeds, problems, shown)
    return dict(zip(COLUMNS, ("" if each is None else each for each in cells), strict=True))


def _parts_rows(parts: Parts, task: str, method: str, seeds: int | None) -> Iterator[Row]:
    problems = parts.problems_n or None
    for name in ("seeds", "starts", "problems", "residual"):
        yield _row(f"sd_{name}", getattr(parts, name), task, method, seeds, problems)
    yield _row("sd_difference", parts.of_a_seed(), task, method, seeds, problems)


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
    return replace(parts, starts=math.sqrt(float(np.mean(np.square(between)))))


def log_deviations(pilots: Sequence[Pilot]) -> dict[str, float]:
    """Standard deviation over seeds of a log speed-up, pooled, by currency."""
    found: dict[str, list[float]] = {}
    for pilot in pilots:
        for currency, logs in pilot.logs.items():
            found.setdefault(currency, []).append(float(logs.var(ddof=1)))
    return {currency: math.sqrt(float(np.mean(each))) for currency, each in found.items()}


def _problems(parts: Parts, wanted: Wanted) -> list[int | None]:
    """Numbers of problems to look at; None where the pilot does not say what they change."""
    if math.isnan(parts.residual):
        if wanted.problems:
            raise DataError(
                "--problems: these pilots do not say what more problems change; finished runs of a "
                "preset do, tested on as many everywhere, with --smoothing 1"
            )
        return [None]
    return list(wanted.problems or (parts.problems_n, 2 * parts.problems_n, 4 * parts.problems_n))


# --- for people ----------------------------------------------------------------------------------


def blocks(
    rows: Sequence[Row], pilots: Sequence[Pilot], wanted: Wanted, baseline: str, starts: bool
) -> list[Block]:
    """The document."""
    parts = together(pilots, starts)
    sizes = _problems(parts, wanted)
    found: list[Block] = [Title(f"What these pilots can decide against {baseline}")]
    found += [Heading("What makes paired differences vary"), Table(_parts_table(pilots, parts))]
    found.append(Caption(PARTS_CAPTION))
    heads = [f"{size:,} problems" if size else "as tested" for size in sizes]
    lines = [["Start models with a seed each" if starts else "Seeds", *heads]]
    for n in wanted.seeds:
        lines.append([str(n), *(_value(rows, "smallest_difference", n, size) for size in sizes)])
    found += [Heading(f"Smallest difference decided with {wanted.power:.0%} power"), Table(lines)]
    found.append(Caption(f"Two-sided Student's t at {wanted.alpha:g}, {DIFFERENCE_CAPTION}"))
    head = ["To decide", "Seeds needed", "Power with " + ", ".join(map(str, wanted.seeds))]
    return [*found, Heading("Seeds"), Table([head, *_needed(rows, pilots, parts, sizes, wanted)]),
            Caption(SPEED_CAPTION)]  # fmt: skip


PARTS_CAPTION = (
    "Standard deviations, in points where accuracies are shares. Seen: of the seeds' differences. "
    "Of a seed: of its parts together, on which all that follows rests. The test's part is how a "
    "seed does on single problems and the chance of its answers, and shrinks with the root of "
    "their number. Start models: between those, if they were named. Other problems: what a mean "
    "over seeds moves by when the same number of other problems is asked, in no interval of the "
    "tables. – is not known. A part that would be below 0 is 0. Together: root mean squares."
)
DIFFERENCE_CAPTION = "paired by seed, in points; a true difference of that size is found so often."
SPEED_CAPTION = (
    "A speed-up is decided where the order statistics of its median lie above 1. Its spread is "
    "read at the highest level that all runs of a pair reach; at the baseline's own final level "
    "half of its seeds are censored, and it needs more. – where pilots do not say."
)


def _parts_table(pilots: Sequence[Pilot], parts: Parts) -> list[list[str]]:
    heads = ("Task", "Method", "Seeds", "Seen", "Of a seed", "Seeds' part",
             "Test's part", "Start models", "Other problems")  # fmt: skip
    lines = [list(heads)]
    for pilot in pilots:
        found = pilot.parts
        seeds, seen = str(found.df + 1), f"{pilot.seen:.2f}"
        lines.append([pilot.task or "–", pilot.method, seeds, seen, *_shares(found)])
    seen = math.sqrt(float(np.mean([pilot.seen**2 for pilot in pilots])))
    return [*lines, ["together", "", f"{parts.df} df", f"{seen:.2f}", *_shares(parts)]]


def _shares(parts: Parts) -> list[str]:
    count = math.sqrt(parts.problems_n) if parts.problems_n else math.nan
    seeds = math.nan if math.isnan(parts.residual) else parts.seeds
    values = (parts.of_a_seed(), seeds, parts.residual / count, parts.starts,
              parts.problems / count)  # fmt: skip
    return ["–" if math.isnan(value) else f"{value:.2f}" for value in values]


def _value(rows: Sequence[Row], quantity: str, seeds: int | None, problems: int | None) -> str:
    wanted = {"quantity": quantity, "task": ALL, "seeds": "" if seeds is None else seeds,
              "problems": "" if problems is None else problems}  # fmt: skip
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return f"{float(str(row['value'])):.1f}"


def _needed(
    rows: Sequence[Row],
    pilots: Sequence[Pilot],
    parts: Parts,
    sizes: Sequence[int | None],
    wanted: Wanted,
) -> Iterator[list[str]]:
    need = {
        (row["quantity"], row["problems"]): str(row["value"]) or "over the limit"
        for row in rows
        if row["task"] == ALL
    }
    for size in sizes:
        deviation = parts.of_a_seed(size or 0)
        shown = []
        for n in wanted.seeds:
            shift = wanted.difference * math.sqrt(n) / deviation if deviation else math.inf
            shown.append(f"{power_of_t(shift, n, wanted.alpha):.0%}" if deviation else "100%")
        at = f", {size:,} problems" if size else ""
        seeds = need["seeds_for_difference", "" if size is None else size]
        yield [f"{wanted.difference:g} points{at}", seeds, ", ".join(shown)]
    deviations = log_deviations(pilots)
    for currency in ("steps", "tokens"):
        what = f"{wanted.speedup:g}× in {currency}"
        if currency not in deviations:
            yield [what, "–", "–"]
            continue
        sd = deviations[currency]
        shown = [f"{power_of_median(wanted.speedup, sd, n, wanted.alpha):.0%}"
                 for n in wanted.seeds]  # fmt: skip
        what += f" (sd of logarithms {sd:.2f})"
        yield [what, need[f"seeds_for_speedup_{currency}", ""], ", ".join(shown)]
