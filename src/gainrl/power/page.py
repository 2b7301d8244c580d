"""What pilots say of a study's sizes, for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gainrl.compare.power import MOST, SEEDS, Parts, power_of_median, power_of_t
from gainrl.compare.render import Block, Caption, Heading, Points, Table, Title
from gainrl.power.pilot import Pilot
from gainrl.power.sizes import (
    ALL,
    Row,
    Size,
    Wanted,
    log_deviations,
    row_of,
    size_text,
    sizes_of,
    together,
)


def blocks(
    rows: Sequence[Row], pilots: Sequence[Pilot], wanted: Wanted, baseline: str, starts: bool
) -> list[Block]:
    """The document."""
    parts = together(pilots, starts)
    sizes = sizes_of(parts, wanted)
    needed = list(_needed(rows, parts, sizes, wanted, log_deviations(pilots)))
    found: list[Block] = [Title(f"What these pilots can decide against {baseline}")]
    found.append(Points(tuple(_answer(needed, wanted))))
    found += [Heading("What makes paired differences vary"), Table(_parts_table(pilots, parts))]
    found.append(Caption(PARTS_CAPTION))
    heads = [size_text(size, parts) or "as tested" for size in sizes]
    lines = [["Start models with a seed each" if starts else "Seeds", *heads]]
    for n in wanted.seeds:
        lines.append([str(n), *(_value(rows, "smallest_difference", n, size) for size in sizes)])
    found += [Heading(f"Smallest difference decided with {wanted.power:.0%} power"), Table(lines)]
    found.append(Caption(f"Two-sided Student's t at {wanted.alpha:g}, {DIFFERENCE_CAPTION}"))
    head = ["To decide", "Seeds needed", "Power with " + ", ".join(map(str, wanted.seeds))]
    return [*found, Heading("Seeds"), Table([head, *needed]), Caption(SPEED_CAPTION)]


PARTS_CAPTION = (
    "Standard deviations, in points where accuracies are shares. Seen: of the seeds' differences. "
    "Of a seed: of its parts together, on which all that follows rests; a part whose variance came "
    "out below 0 counts as 0, so this can be above what was seen. Test: how a seed does on single "
    "problems, and the chance of its answers; it shrinks with the root of the number of problems. "
    "Answers: that chance alone, which more answers of each problem make smaller; one does not "
    "tell it. – is not known. Together: root mean squares; pilots share the baseline's runs, so "
    "they know less than so many degrees of freedom (df)."
)
DIFFERENCE_CAPTION = "paired by seed, in points; a true difference of that size is found so often."
SPEED_CAPTION = (
    "A speed-up is decided where the order statistics of its median lie above 1. Its spread is "
    "read at the highest level that all runs of both methods reach; at the baseline's own final "
    "level half of its seeds are censored, and it needs more. – where pilots do not say."
)


def _answer(needed: Sequence[Sequence[str]], wanted: Wanted) -> Iterator[str]:
    for what, seeds, _ in needed:
        if seeds != "–":
            yield f"{what}: {seeds} seeds for {wanted.power:.0%} power"


def _parts_table(pilots: Sequence[Pilot], parts: Parts) -> list[list[str]]:
    known = not math.isnan(parts.starts)
    heads = ["Method", "Seeds", "Seen", "Of a seed", *["Start models"] * known, "Between seeds",
             "Test", "Answers"]  # fmt: skip
    lines = [heads]
    for pilot in pilots:
        name = f"{pilot.method}, {pilot.task}" if pilot.task else pilot.method
        lines.append([name, str(pilot.differences.size), *_shares(pilot.parts, known)])
    return [*lines, ["together", f"{parts.df} df", *_shares(parts, known)]]


def _shares(parts: Parts, starts: bool) -> list[str]:
    count = math.sqrt(parts.problems_n) if parts.problems_n else math.nan
    seeds = math.nan if math.isnan(parts.residual) else parts.deviation("seeds")
    values = [math.sqrt(parts.seen), parts.of_a_seed(), *[parts.deviation("starts")] * starts,
              seeds, parts.deviation("residual") / count,
              parts.deviation("answers") / count]  # fmt: skip
    return ["–" if math.isnan(value) else f"{value:.2f}" for value in values]


def _value(rows: Sequence[Row], quantity: str, seeds: int, size: Size) -> str:
    wanted = row_of(quantity, None, ALL, ALL, seeds, size)
    del wanted["value"]
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return f"{float(str(row['value'])):.1f}"


def _needed(
    rows: Sequence[Row],
    parts: Parts,
    sizes: Sequence[Size],
    wanted: Wanted,
    deviations: dict[str, float],
) -> Iterator[list[str]]:
    need = {
        (row["quantity"], row["problems"], row["samples"]): row["value"]
        for row in rows
        if row["task"] == ALL
    }
    for size in sizes:
        deviation = parts.of_a_seed(*size)
        shown = []
        for n in wanted.seeds:
            shift = wanted.difference * math.sqrt(n) / deviation
            shown.append(f"{power_of_t(shift, n, wanted.alpha):.0%}")
        seeds = need["seeds_for_difference", size[0] or "", size[1] or ""]
        what = ", ".join(filter(None, [f"{wanted.difference:g} points", size_text(size, parts)]))
        yield [what, str(seeds) or f"over {MOST:,}", ", ".join(shown)]
    for currency in ("steps", "tokens"):
        what = f"{wanted.speedup:g}× in {currency}"
        if currency not in deviations:
            yield [what, "–", "–"]
            continue
        sd = deviations[currency]
        shown = [f"{power_of_median(wanted.speedup, sd, n, wanted.alpha):.0%}"
                 for n in wanted.seeds]  # fmt: skip
        what += f" (sd of logarithms {sd:.2f})"
        seeds = need[f"seeds_for_speedup_{currency}", "", ""]
        yield [what, str(seeds) or f"over {SEEDS}", ", ".join(shown)]
