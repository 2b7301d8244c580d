"""`report_study.md`: what a comparison of tuned methods found, as one page of Markdown."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd

from gainrl import plan
from gainrl.compare.render import (
    Block,
    Caption,
    Heading,
    Paragraph,
    Points,
    Table,
    Title,
    markdown,
    read_views,
    with_interval,
)
from gainrl.config.data import Generated, Mix
from gainrl.config.preset import Preset
from gainrl.errors import ConfigError, DataError
from gainrl.plan.results import AVERAGE
from gainrl.plan.tuning import words
from gainrl.records import read_json, write_text
from gainrl.results.budget import ON_THE_WAY
from gainrl.stages.common import Context
from gainrl.tables.columns import SURVIVES, shown
from gainrl.tables.ranked_figure import ranked
from gainrl.tuning.plan import choices

POINTS = 2.0
"""What a difference should be known to, in points."""
CONTROL = "the control of false discoveries"
PLACES = 3
"""Of a table; each has two columns."""
LEVELS = ("accuracy_at_equal_tokens", "area_over_log_tokens")
CHEAPER = ("equal_accuracy_tokens", "speedup_tokens")
SOONER = ("", ": to its final level")
"""How many times fewer tokens, by two measures, and what stands above them in a place's columns."""
DIFFERENCES = ("difference_at_equal_tokens", "difference_in_area")
WHAT = ("", ": area")
"""What stands in a place's columns: metrics of the baseline, of the others, and their heads."""
QUESTION = (
    "Which data curriculum makes reinforcement fine-tuning cheaper, if every method, the baseline "
    "too, has been tuned for as many tokens, and if all tokens that a run generates count?"
)


def make_study(context: Context, path: Path) -> None:
    """Write the page, from the tables of the preset's tuned experiments.

    Every number is from an experiment's table or a choice; nothing is measured here. Among the
    results the page links to them; elsewhere, in documentation, it names them, and the figures are
    copied to img/ beside it.

    Raises:
        ConfigError: the preset tunes no methods.
        DataError: a table, a figure or a choice is missing or damaged.
    """
    preset = context.preset
    if not experiments(preset):
        raise ConfigError(f"preset '{preset.preset}' has no experiment of tuned methods")
    write_text(path, _Page(context, path.parent).text())
    print(f"{path}: {', '.join(experiments(preset))}")


def experiments(preset: Preset) -> list[str]:
    """Experiments of tuned methods, but those that are a part of another, for a claim's sake."""
    runs = {
        name: set(plan.runs(preset, [name]))
        for name, each in preset.experiments.items()
        if plan.is_tuned(preset, each.methods[0])
    }
    return [name for name, own in runs.items() if not any(own < other for other in runs.values())]


class _Page:
    """Reads the files and says what is in them; links are relative to the page's folder."""

    def __init__(self, context: Context, folder: Path) -> None:
        self.context, self.preset, self.folder = context, context.preset, folder
        self.among = folder.resolve().is_relative_to(context.layout.home.resolve())
        self.names = experiments(self.preset)
        self.tables = {name: self._table(name) for name in self.names}
        self.choices = [read_json(context.layout.choice(*each)) for each in choices(self.preset)]

    def _table(self, name: str) -> pd.DataFrame:
        path = self.context.layout.table(name)
        if not path.exists():
            raise DataError(f"{path}: no such table; `snakemake study` makes it")
        return pd.read_csv(path)

    def text(self) -> str:
        """The whole page."""
        found: list[Block] = [
            Title(f"# Which curriculum pays: preset {self.preset.preset}"),
            Paragraph(QUESTION),
            Title("## What was found"),
            Paragraph(self._headline()),
        ]
        parts = [markdown(found), *map(self._picture, self.names)]
        blocks: list[Block] = [Title("## Design"), Points(tuple(self._design()))]
        for name in self.names:
            blocks.append(Title(f"## {self._caption(name)}"))
            blocks += [*self._compared(name), self._note(name), *self._sooner(name)]
            blocks += self._on_the_way(name)
        blocks += [Title("## What each method was given"), *self._chosen()]
        parts.append(markdown([*blocks, Title("## What tuning was worth"), *self._tuned()]))
        if self.preset.claims:
            verdicts = [
                block
                for block in read_views(self.context.layout.table("claims"))
                if not isinstance(block, Title | Heading)
            ]
            parts.append(markdown([Title("## Verdicts, with the false discovery rate"), *verdicts]))
        parts.append(
            markdown([Title("## What would change the answer"), Points(tuple(self._open()))])
        )
        return "\n".join(parts)

    def _label(self, method: str) -> str:
        return self.preset.methods[method].label or method

    def _caption(self, name: str) -> str:
        return self.preset.experiments[name].caption or name

    def _link(self, path: Path, text: str) -> str:
        if self.among:
            return f"[{text}]({os.path.relpath(path, self.folder)})"
        return f"`{path.relative_to(self.context.root.parent)}`"

    def _headline(self) -> str:
        """How many differences at equal tokens survive on either side, and the highest of all."""
        found = [rows for frame in self.tables.values() for rows in ranked(frame).values()]
        if not found:
            raise DataError("no methods to compare beside the baseline")
        every = pd.concat(found)
        kept = every[every["survives"] == "yes"]
        above, below = int((kept["mean"] > 0).sum()), int((kept["mean"] < 0).sum())
        best = every.sort_values("mean", ascending=False, kind="stable").iloc[0].to_dict()
        return (
            f"Of {len(every)} differences to the baseline at equal tokens {above} "
            f"{'is' if above == 1 else 'are'} above it and {below} below by more than chance among "
            f"so many. The highest is that of {self._label(best['method'])} on {best['model']}, "
            f"{best['dataset']}: {_interval(best, '+.1f')} points."
        )

    def _design(self) -> Iterator[str]:
        tuning, preset = self.preset.tuning, self.preset
        assert tuning is not None  # there are experiments of tuned methods
        for name in self.names:
            each = preset.experiments[name]
            methods = ", ".join(map(self._label, each.methods))
            yield f"{name}: {methods}; baseline: {self._label(each.baseline)}, tuned as all are"
        for name in dict.fromkeys(d for e in self.names for d in preset.experiments[e].datasets):
            yield f"data set {name}: {self._data(name)}"
        tried = len(plan.settings_of(preset, next(iter(tuning.methods))))
        yield (
            f"tuning: {tried} settings for each method, {len(tuning.seeds)} seed(s) of "
            f"{tuning.budget:,} generated tokens each, chosen once and frozen"
        )
        yield (
            f"comparison: {len(preset.seeds)} fresh seeds of {tuning.tokens or tuning.budget:,} "
            f"generated tokens each, tested {tuning.tests} times"
        )

    def _data(self, name: str) -> str:
        spec = self.preset.datasets[name]
        if isinstance(spec, Mix):
            return "; ".join(f"{part}: {self._data(part)}" for part in spec.parts)
        if not isinstance(spec, Generated):
            return spec.source
        text = f"{spec.train} prompts of the task {spec.task}"
        if spec.pool is not None:
            dead = {k: v for k, v in spec.pool.model_dump().items() if v}
            share = ", ".join(f"{100 * v:.0f}% {k}" for k, v in dead.items())
            text += f", of which {100 * sum(dead.values()):.0f}% teach nothing ({share})"
        if spec.named is not None:
            text += f"; right in a format that {100 * spec.named:.0f}% of what was taught has"
        return text

    def _compared(self, name: str) -> Iterator[Table]:
        """A line a method, two columns a place: accuracy at equal tokens, area over log tokens.

        The baseline's own, then differences to it; a table for each PLACES places.
        """
        frame, chosen = self.tables[name], self.preset.experiments[name]
        cells = {
            metric: {method: self._cells(frame, metric, method) for method in chosen.methods}
            for metric in (*LEVELS, *DIFFERENCES)
        }
        places = list(ranked(frame))
        for first in range(0, len(places), PLACES):
            shown = places[first : first + PLACES]
            heads = [f"{model}, {dataset}{what}" for model, dataset in shown for what in WHAT]
            lines = [["method", *heads]]
            for method in (chosen.baseline, *chosen.methods):
                base = method == chosen.baseline
                if base and len(lines) > 1:
                    continue
                metrics, spec = (LEVELS, ".1f") if base else (DIFFERENCES, "+.1f")
                rows = [cells[metric][method][place] for place in shown for metric in metrics]
                texts = [_interval(row, spec) + _mark(row) for row in rows]
                lines.append([f"{self._label(method)} ({'%' if base else 'points'})", *texts])
            yield Table(lines)

    def _sooner(self, name: str) -> Iterator[Block]:
        """How many times fewer tokens than the baseline a method needs, two columns a place."""
        base = self._label(self.preset.experiments[name].baseline)
        yield Heading(f"Times fewer tokens than {base}")
        yield self._by_place(name, "method", dict(zip(CHEAPER, SOONER, strict=True)))
        yield Caption(
            f"At equal accuracy: {base}'s tokens over the method's (above 1: the method is "
            "cheaper) to the accuracy that the worse of the two has where both had generated as "
            "many, with the ratios at which the paired difference is not told from 0. To its final "
            f"level: {base}'s mean final accuracy over seeds; medians over seeds, with bounds "
            "where runs end before that level."
        )

    def _on_the_way(self, name: str) -> Iterator[Block]:
        """Differences to the baseline at parts of the budget, a column a part of each place."""
        metrics = {f"difference_at_{each}_tokens": f": {each}" for each in ON_THE_WAY}
        yield Heading("On the way: at a quarter and at half of these tokens")
        yield self._by_place(name, "method (points)", metrics)
        yield Caption(
            "As at equal tokens. Settings were chosen by tuning's budget; what is ahead early need "
            "not be ahead at the end."
        )

    def _by_place(self, name: str, first: str, metrics: Mapping[str, str]) -> Table:
        """A line a method but the baseline; of each place a column a metric, by its head's end."""
        frame, chosen = self.tables[name], self.preset.experiments[name]
        places = list(ranked(frame))
        ends = metrics.values()
        lines = [
            [first, *(f"{model}, {dataset}{end}" for model, dataset in places for end in ends)]
        ]
        for method in chosen.methods:
            if method != chosen.baseline:
                cells = [self._cells(frame, metric, method) for metric in metrics]
                texts = [shown(found.get(place)) for place in places for found in cells]
                lines.append([self._label(method), *texts])
        return Table(lines)

    def _cells(
        self, frame: pd.DataFrame, metric: str, method: str
    ) -> dict[tuple[str, str], dict[str, Any]]:
        rows = frame[(frame["metric"] == metric) & (frame["method"] == method)]
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for row in rows.to_dict("records"):
            place = row["model"], row["dataset"]
            if place not in found or row["benchmark"] == AVERAGE:
                found[place] = {str(key): value for key, value in row.items()}
        return found

    def _note(self, name: str) -> Caption:
        runs = self._link(self.context.layout.home / "runs", "runs")
        table = self._link(self.context.layout.table(name), f"{name}.csv")
        return Caption(
            "All tokens that a run generates count, with those that its start model generated for "
            "measured difficulties. Accuracy: mean of a run's last tests, where every run has "
            "spent what these cost in the mean; differences where both runs of a seed have. Area: "
            f"mean accuracy over the logarithm of tokens in the last tenfold. {SURVIVES} survives "
            "the control of false discoveries. "
            f"Every number is a row of {table}; its runs are in {runs}/MODEL/DATASET/METHOD/."
        )

    def _picture(self, name: str) -> str:
        path = self.context.layout.figure(f"{name}_ranked")
        if not path.exists():
            raise DataError(f"{path}: no such figure; `snakemake {path}` makes it")
        if not self.among:
            (self.folder / "img").mkdir(parents=True, exist_ok=True)
            path = Path(shutil.copy(path, self.folder / "img" / f"{name}.png"))
        shown = f"![{name}: methods by rank]({os.path.relpath(path, self.folder)})"
        confidence = self.preset.statistics.confidence
        return (
            f"{shown}\n\n*At equal tokens, with {confidence:.0%} intervals; blue survives the "
            "control of false discoveries. Places have scales of their own.*\n"
        )

    def _chosen(self) -> Iterator[Block]:
        lines = [["method", "place", "setting", "choice"]]
        for choice in self.choices:
            place = f"{choice['model']}, {choice['dataset']}"
            path = self.context.layout.choice(choice["model"], choice["dataset"], choice["method"])
            text = choice["results"]
            link = self._link(path, text) if self.among else text
            lines.append([self._label(choice["method"]), place, words(choice["values"]), link])
        yield Table(lines)
        folder = self.context.layout.home / "tuning"
        yield Caption(
            "Choice: the digest of all that was tried, which "
            f"{self._link(folder, 'tuning')}/MODEL/DATASET/METHOD/ has."
        )

    def _tuned(self) -> Iterator[Block]:
        """How far apart the settings of a method were, in the runs that chose among them."""
        found: dict[str, dict[str, str]] = {}
        for choice in self.choices:
            levels = [100 * fmean(each["accuracies"]) for each in choice["settings"]]
            place = f"{choice['model']}, {choice['dataset']}"
            text = f"{max(levels):.1f} ({median(levels):.1f}; {min(levels):.1f})"
            found.setdefault(self._label(choice["method"]), {})[place] = text
        places = list(dict.fromkeys(place for row in found.values() for place in row))
        lines = [["method", *places]]
        lines += [
            [method, *(row.get(each, "–") for each in places)] for method, row in found.items()
        ]
        yield Table(lines)
        yield Caption(
            "Accuracy (%) that the choice was made by, mean over the seeds of tuning: of the best "
            "setting and, in parentheses, of the median and of the worst one."
            f"{self._luck()}"
        )

    def _luck(self) -> str:
        """In how many choices each seed of tuning alone would have chosen the same."""
        if len(self.choices[0]["seeds"]) < 2:
            return ""
        alike = 0
        for choice in self.choices:
            by_seed = zip(*(each["accuracies"] for each in choice["settings"]), strict=True)
            alike += len({max(enumerate(row), key=lambda each: each[1])[0] for row in by_seed}) == 1
        return (
            f" Each seed of tuning alone would have made the same choice in {alike} of "
            f"{len(self.choices)} cases; so part of a choice is luck, which no interval here holds."
        )

    def _open(self) -> Iterator[str]:
        """What does not survive, and how many seeds would know it to POINTS points either way."""
        for name, frame in self.tables.items():
            for (model, dataset), rows in ranked(frame).items():
                open_ = [row for row in rows.to_dict("records") if row["survives"] != "yes"]
                if not open_:
                    yield f"{name}, {model}, {dataset}: all differences survive {CONTROL}"
                    continue
                methods = ", ".join(self._label(row["method"]) for row in open_)
                half = max(100 * (row["high"] - row["low"]) / 2 for row in open_)
                seeds = rows["n"].iloc[0] * (half / POINTS) ** 2
                needed = f"about {math.ceil(seeds)} seeds" if math.isfinite(seeds) else "more seeds"
                yield (
                    f"{name}, {model}, {dataset}: {methods} do not survive {CONTROL}; "
                    f"known to {half:.1f} points either way at worst, {needed} would know it "
                    f"to {POINTS:g} points"
                )
        yield (
            "Intervals are over seeds: choices, prompts and test problems are as they are. A "
            "choice among settings is made on the problems of the comparison, with other seeds."
        )


def _interval(row: dict[Any, Any], spec: str) -> str:
    return with_interval(row["mean"], row["low"], row["high"], spec, 100)


def _mark(row: dict[Any, Any]) -> str:
    return SURVIVES if row["survives"] == "yes" else ""
