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
    found += [
        Heading("What makes paired differences vary"),
        Table(_parts_table(pilots, parts, wanted)),
    ]
    unit = "points where accuracies are shares" if wanted.points else "the unit of the file"
    found.append(Caption(f"Standard deviations, in {unit}. {PARTS_CAPTION}"))
    heads = [size_text(size, parts) or "as tested" for size in sizes]
    lines = [["Start models with a seed each" if starts else "Seeds", *heads]]
    for n in wanted.seeds:
        lines.append([str(n), *(_smallest(rows, n, size, wanted) for size in sizes)])
    found += [Heading(f"Smallest difference decided with {wanted.power:.0%} power"), Table(lines)]
    unit = "points" if wanted.points else "the unit of the file"
    found.append(
        Caption(
            f"Two-sided Student's t at {wanted.alpha:g}, paired by seed, in {unit}; a true "
            "difference of that size is found so often."
        )
    )
    head = ["To decide", "Seeds needed", "Power with " + ", ".join(map(str, wanted.seeds))]
    return [*found, Heading("Seeds"), Table([head, *needed]), Caption(SPEED_CAPTION)]


PARTS_CAPTION = (
    "Seen: of the seeds' differences. Of a seed: of its parts together, on which all that follows "
    "rests; a part whose variance came out below 0 counts as 0, so this can be above what was "
    "seen. Test: how a seed does on single problems, and the chance of its answers; it shrinks "
    "with the root of the number of problems. Answers: that chance alone, which more answers of "
    "each problem make smaller. With one answer per problem this cannot be estimated (–). "
    "Together: root mean squares; pilots share the baseline's runs, so they know less than so "
    "many degrees of freedom (df)."
)
SPEED_CAPTION = (
    "A speed-up is decided where the order statistics of its median lie above 1. Its spread is "
    "read at the highest level that all runs of both methods reach; at the baseline's own final "
    "level half of its seeds are censored, and it needs more. – where pilots do not say."
)


def _answer(needed: Sequence[Sequence[str]], wanted: Wanted) -> Iterator[str]:
    for what, seeds, _ in needed:
        if seeds != "–":
            yield f"{what}: {seeds} seeds for {wanted.power:.0%} power"


def _parts_table(pilots: Sequence[Pilot], parts: Parts, wanted: Wanted) -> list[list[str]]:
    known = not math.isnan(parts.starts)
    heads = ["Method", "Seeds", "Seen", "Of a seed", *["Start models"] * known, "Between seeds",
             "Test", "Answers"]  # fmt: skip
    lines = [heads]
    for pilot in pilots:
        name = f"{pilot.method}, {pilot.task}" if pilot.task else pilot.method
        lines.append([name, str(pilot.differences.size), *_deviations(pilot.parts, known, wanted)])
    return [*lines, ["together", f"{parts.df} df", *_deviations(parts, known, wanted)]]


def _deviations(parts: Parts, starts: bool, wanted: Wanted) -> list[str]:
    count = math.sqrt(parts.problems_n) if parts.problems_n else math.nan
    seeds = math.nan if math.isnan(parts.residual) else parts.deviation("seeds")
    values = [math.sqrt(parts.seen), parts.of_a_seed(), *[parts.deviation("starts")] * starts,
              seeds, parts.deviation("residual") / count,
              parts.deviation("answers") / count]  # fmt: skip
    spec = ".2f" if wanted.points else ".3g"
    return ["–" if math.isnan(value) else f"{value:{spec}}" for value in values]


def _smallest(rows: Sequence[Row], seeds: int, size: Size, wanted: Wanted) -> str:
    keys = row_of("smallest_difference", None, ALL, ALL, seeds, size)
    del keys["value"]
    (row,) = [row for row in rows if keys.items() <= row.items()]
    return format(float(str(row["value"])), ".1f" if wanted.points else ".3g")


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
        what = ", ".join(filter(None, [wanted.what, size_text(size, parts)]))
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
