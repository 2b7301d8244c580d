"""What the section `linearity` makes of a preset's runs, and what that depends on. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gainrl import plan
from gainrl.config.linearity import Linearity
from gainrl.config.preset import Preset
from gainrl.errors import ConfigError
from gainrl.plan import Layout
from gainrl.plan.layout import FIGURES as FOLDER
from gainrl.plan.results import TABLES, Picture, Result

FIGURES = {
    "linearity_weights": (
        "Weights",
        "R² of single weights against the RL step, by module, and that of random walks.",
    ),
    "linearity_tokens": (
        "Tokens",
        "R² of the log-probabilities of held-out responses' tokens against the RL step.",
    ),
    "linearity_distance": (
        "Extrapolation",
        "How far models that are extrapolated from two snapshots are from the one really trained.",
    ),
}
"""Figures, with title and caption."""


def need(preset: Preset) -> Linearity:
    """The preset's section `linearity`.

    Raises:
        ConfigError: it has none.
    """
    if preset.linearity is None:
        raise ConfigError(f"preset '{preset.preset}' has no key 'linearity'")
    return preset.linearity


def figures(preset: Preset) -> list[str]:
    """The figures that a preset can draw; without extrapolations there are no distances."""
    if preset.linearity is None:
        return []
    return [
        name for name in FIGURES if name != "linearity_distance" or preset.linearity.extrapolate
    ]


def results(preset: Preset, layout: Layout) -> Iterator[Result]:
    """The table, and below it the figures; only `all` builds them."""
    names = figures(preset)
    if not names:
        return
    kinds = (layout.linearity, layout.extrapolated)
    traces = tuple(path(key) for path in kinds for key in plan.traced(preset))
    shared = (traces, results_slice(preset))
    make = "gainrl.linearity.make"
    yield Result("linearity", TABLES, ("all",), *shared, f"{make}:make_linearity_table", table=True)
    for name in names:
        yield Result(
            f"{FOLDER}{name}",
            TABLES,
            ("all", "figures"),
            *shared,
            f"{make}:make_linearity_figure",
            arguments=(name,),
            pictures=(Picture(name, *FIGURES[name]),),
        )


def trace_slice(preset: Preset, model: str, dataset: str, method: str) -> dict[str, Any]:
    """What the trace of a run depends on beside the run."""
    chosen = need(preset).fingerprint(exclude={"models", "datasets", "methods", "seeds"})
    sampled = plan.rollouts_slice(preset, model, dataset)
    benchmarks = plan.benchmarks_of(preset, model, dataset, method)
    return {
        "linearity": chosen,
        "sampled": {key: value for key, value in sampled.items() if key != "samples"},
        "row_tokens": preset.training_for(dataset, model, method).row_tokens,
        "benchmarks": {name: plan.evaluation_slice(preset, model, name) for name in benchmarks},
    }


def results_slice(preset: Preset) -> dict[str, Any]:
    """What the table and the figures depend on beside the traces."""
    chosen = need(preset)
    return {
        "statistics": preset.statistics.fingerprint(),
        "linearity": chosen.fingerprint(),
        "labels": {name: preset.methods[name].label for name in chosen.methods},
    }
