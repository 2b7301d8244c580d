"""The table of tried settings, and what it rests on. No torch: the DAG asks here."""

from __future__ import annotations

from collections.abc import Iterator

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.plan import Layout
from gainrl.plan.results import TABLES, Result, scope


def choices(preset: Preset) -> list[tuple[str, str, str]]:
    """Model, data set and method of each choice."""
    if preset.tuning is None:
        return []
    methods = preset.tuning.methods
    return [(*place, name) for name in methods for place in plan.places_of(preset, name)]


def results(preset: Preset, layout: Layout) -> Iterator[Result]:
    """The table; the default target builds it if its experiment is of tuned methods."""
    found = choices(preset)
    if preset.tuning is None or not found:
        return
    first = next(iter(preset.experiments.values()))
    labels = {name: preset.methods[name].label for name in preset.tuning.methods}
    yield Result(
        name="tuning",
        section=TABLES,
        targets=scope(any(name in preset.tuning.methods for name in first.methods)),
        inputs=tuple(layout.choice(*each) for each in found),
        fingerprint={"labels": labels, "statistics": preset.statistics.fingerprint()},
        make="gainrl.tuning.make:make_tuning",
        table=True,
        title="Tuning",
    )
