"""What experiments' tables and figures are, and what they read. No torch: the DAG asks here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.plan import Layout
from gainrl.plan import benchmarks as benchmark_plan
from gainrl.plan.results import (
    BENCHMARKS,
    FIGURES,
    TABLES,
    Picture,
    Result,
    Target,
    finished,
    scope,
)

MAKE = "gainrl.tables.make"

CURVES = (
    "Accuracy on held-out problems over RL steps: mean over seeds and its bootstrap band. The "
    "dashed line is the level that the table's steps are counted to."
)
WALK = (
    "What each curriculum did over RL steps: accuracy of the training batches, their mean angle "
    "signal C under the current model, the share of groups without variance, and the mean mu of "
    "the Gaussian as a share of the data set."
)
SPEED = (
    "Each method against the baseline: how far from it it ends, how far it is when both have spent "
    "as much, and how many times less it spends to the baseline's final level. A bar without a "
    "marker is what censored seeds leave open; there is none where they leave everything open."
)
CHOSEN = (
    "Prompts that each selection takes (coloured) among all prompts (grey), by the angle signal C "
    "before RL, for the first seed."
)


# --- results -------------------------------------------------------------------------------------


def results(preset: Preset, layout: Layout) -> Iterator[Result]:
    """Each experiment's table and below it its figures; then the models as they are."""
    for place, name in enumerate(preset.experiments):
        yield from _of_experiment(preset, layout, name, first=place == 0)
    if preset.benchmarks:
        tests = benchmark_plan.start_tests(preset)
        yield Result(
            name="benchmarks",
            section=BENCHMARKS,
            targets=scope(not preset.experiments),
            inputs=tuple(test.score(layout) for test in tests),
            fingerprint=preset.statistics.fingerprint(),
            make=f"{MAKE}:make_benchmarks",
            table=True,
            title="Models as they are",
        )


def drawn(preset: Preset) -> dict[str, str]:
    """Names of learning curves, and the experiment of each."""
    return {chosen.figure: name for name, chosen in preset.experiments.items() if chosen.figure}


def _of_experiment(preset: Preset, layout: Layout, name: str, first: bool) -> Iterator[Result]:
    chosen, done = preset.experiments[name], tuple(finished(preset, layout, [name]))

    def result(
        make: str, inputs: tuple[Path, ...], *pictures: Picture, more: tuple[Target, ...] = ()
    ) -> Result:
        return Result(
            name=f"{FIGURES}{pictures[0].name}" if pictures else name,
            section=TABLES,
            targets=scope(first, *more),
            inputs=inputs,
            fingerprint=plan.table_slice(preset, name),
            make=f"{MAKE}:{make}",
            arguments=(name,),
            table=not pictures,
            pictures=pictures,
        )

    tests = benchmark_plan.final_tests(preset, [name])
    scores = [test.score(layout) for test in tests]
    yield result(
        "make_table", (*done, *scores, *plan.preparation(preset, layout, plan.runs(preset, [name])))
    )
    if not chosen.figure:
        return
    figure = chosen.figure
    if chosen.speed:
        picture = Picture(f"{figure}_speed", "All methods", SPEED)
        yield result("make_speed_figure", (layout.root / f"{name}.csv",), picture)
    curves = Picture(figure, "Learning curves", CURVES)
    walk = Picture(f"{figure}_curriculum", "What the curricula did", WALK, folded=True)
    yield result("make_figures", done, curves, walk, more=("figures",))
    if plan.selecting(preset, name):
        picture = Picture(f"{figure}_selection", "Chosen prompts", CHOSEN)
        read = tuple(plan.selections(preset, layout, name))
        yield result("make_selection_figure", read, picture)
