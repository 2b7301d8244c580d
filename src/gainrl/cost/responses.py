"""How long responses are on average: measured where there is something, else published or assumed.

All that is found is between two ends, in tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

from gainrl.config.data import Registered
from gainrl.config.models import HubModel
from gainrl.config.preset import Preset
from gainrl.cost.published import (
    CHANGE,
    HARDEST,
    LEVELS,
    LONGEST,
    PROGRAMS,
    REASONING,
    SHORTEST,
    published,
)
from gainrl.data.registry import grader_of
from gainrl.plan import Layout
from gainrl.plan.benchmarks import SCORE
from gainrl.records import read_json
from gainrl.records.measured import Measured, read_measured
from gainrl.records.runs import StepRecord, read_rows
from gainrl.training import files

Kind = Literal["given", "measured", "published", "assumed"]


@dataclass(frozen=True)
class Mean:
    """A mean length between two ends, tokens; what it rests on, and where that is from."""

    low: float
    high: float
    kind: Kind
    source: str

    def within(self, limit: int) -> Mean:
        """The same where no response can be longer than `limit`."""
        return Mean(min(self.low, limit), min(self.high, limit), self.kind, self.source)


@dataclass(frozen=True)
class Responses:
    """Mean responses of a preset's models to its data sets."""

    preset: Preset
    layout: Layout

    def of(self, model: str, dataset: str, limit: int) -> Mean:
        """Of rollouts or tests whose responses have at most `limit` tokens.

        Raises:
            DataError: a file that has measurements is damaged.
        """
        given = self.preset.cost.response_tokens.get(model)
        if given is not None:
            low, high = given if isinstance(given, tuple) else (given, given)
            return Mean(low, high, "given", "cost.response_tokens").within(limit)
        found = self._trained(model, dataset) or self._started(model, dataset)
        return (found or self._elsewhere(model, dataset, limit)).within(limit)

    @cached_property
    def rehearsed(self) -> list[Measured]:
        """What a rehearsal measured."""
        return read_measured(self.layout.measured)

    def _trained(self, model: str, dataset: str) -> Mean | None:
        """Over the finished runs: all their steps."""
        home = self.layout.home / "runs" / model / dataset
        means = []
        for done in sorted(home.glob(f"*/seed*/{files.DONE}")):
            rows = read_rows(done.with_name(files.STEPS), StepRecord)
            lengths = [row["response_length"] for row in rows if row.get("response_length")]
            means += [sum(lengths) / len(lengths)] if lengths else []
        if not means:
            return None
        return Mean(min(means), max(means), "measured", f"{len(means)} finished runs")

    def _started(self, model: str, dataset: str) -> Mean | None:
        """Of the start model, on this data set or on any; RL changes lengths."""
        found = dict(self._tests(model))
        if not found:
            return None
        one = found.get(dataset)
        low, high = (one, one) if one else (min(found.values()), max(found.values()))
        on = dataset if one else ", ".join(found)
        return Mean(low * CHANGE[0], high / CHANGE[0], "measured", f"the start model on {on}")

    def _tests(self, model: str) -> Iterator[tuple[str, float]]:
        """Mean responses of the start model by data set; tests of the preset come last and win."""
        for row in self.rehearsed:
            if (row.quantity, row.model) == ("mean response", model):
                yield row.of, row.value
        for start, dataset in product(self.preset.starts(model), self.preset.datasets):
            path = self.layout.start(start, dataset)
            length = read_json(path).get("response_length") if path.exists() else None
            if length:
                yield dataset, float(length)
        for start in self.preset.starts(model):
            tests = self.layout.home / "evals" / start / "benchmarks"
            for path in sorted(tests.glob(f"*/*/{SCORE}")):
                yield path.parent.parent.name, float(read_json(path)["response_length"])

    def _elsewhere(self, model: str, dataset: str, limit: int) -> Mean:
        """What is published of the model, else of models of its kind."""
        spec, data = self.preset.models[model], self.preset.datasets[dataset]
        id_ = spec.id if isinstance(spec, HubModel) else ""
        name = data.name if isinstance(data, Registered) else ""
        if grader_of(data) == "code":
            low, high = SHORTEST[0], PROGRAMS[0] * LONGEST[0]
            source = f"{SHORTEST[1]}, and {PROGRAMS[0]:g} x {LONGEST[1]} by {PROGRAMS[1]}"
            return Mean(low, high, "assumed", source)
        if found := published(id_, LEVELS.get(name, HARDEST)):
            low, high, source = found
            if low == high:  # of this very data, before RL
                low, high = low * CHANGE[0], high / CHANGE[0]
            return Mean(low, high, "published", source)
        if "instruct" in id_.lower():
            return Mean(SHORTEST[0], LONGEST[0], "assumed", f"{SHORTEST[1]}, {LONGEST[1]}")
        source = f"{SHORTEST[1]}, {REASONING[0]:.2f} of the limit by the {REASONING[1]}"
        return Mean(SHORTEST[0], max(SHORTEST[0], REASONING[0] * limit), "assumed", source)
