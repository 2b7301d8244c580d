"""What experiments' tables and figures are, and what they read. No torch: the DAG asks here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.plan import Layout
from gainrl.plan import benchmarks as benchmark_plan
from gainrl.plan.layout import FIGURES
from gainrl.plan.results import (
    BENCHMARKS,
    TABLES,
    Picture,
    Result,
    finished,
    scope,
)

CURVES = (
    "Accuracy on held-out problems over RL steps: mean over seeds and its interval as a band. The "
    "dashed line is the level that the table's steps are counted to."
)
WALK = (
    "What each curriculum did over RL steps: accuracy of the training batches, their mean angle "
    "signal C under the current model, the share of groups without variance, and the mean mu of "
    "the Gaussian as a share of the data set."
)
TRAINING = (
    "How training went: length of the responses, the share that met the limit, the policy's "
    "entropy, and the gradient's norm. A length that falls to a few tokens, or an entropy that "
    "falls to 0, explains an accuracy that stands still."
)
SPEED = (
    "Each method against the baseline: how far from it it ends, how far it is when both have spent "
    "as much, and how many times less it spends to the baseline's final level. A bar without a "
    "marker is what censored seeds leave open; there is none where they leave everything open."
)
SPENT = (
    "The same accuracy over the rollout tokens and the seconds of training that a run had spent by "
    "each test, in the mean over seeds: a method whose steps cost more is further to the right."
)
RANKED = (
    "Each tuned method against the tuned baseline when both have spent as many tokens, the best "
    "first, with its interval over seeds. Coloured: the difference survives the control of false "
    "discoveries."
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
            make="gainrl.tables.make:make_benchmarks",
            table=True,
            title="Models as they are",
        )


def _of_experiment(preset: Preset, layout: Layout, name: str, first: bool) -> Iterator[Result]:
    done, made = tuple(finished(preset, layout, [name])), partial(_result, preset, name, first)
    tests = benchmark_plan.final_tests(preset, [name])
    scores = [test.score(layout) for test in tests]
    yield made(
        name,
        "make:make_table",
        (*done, *scores, *plan.preparation(preset, layout, plan.runs(preset, [name]))),
    )
    if preset.experiments[name].figure:
        yield from _figures(preset, layout, name, first, done)
    yield made(f"{name}_cost", "split:make_split", done)
    methods = preset.experiments[name].methods
    if plan.is_tuned(preset, methods[0]) and len(methods) > 1:
        picture = Picture(f"{name}_ranked", "Methods by rank", RANKED)
        read = (layout.table(name),)
        yield made(f"{FIGURES}{name}_ranked", "ranked_figure:make_ranked_figure", read, picture)


def _figures(
    preset: Preset, layout: Layout, name: str, first: bool, done: tuple[Path, ...]
) -> Iterator[Result]:
    def figure(make: str, inputs: tuple[Path, ...], *pictures: Picture) -> Result:
        file = f"{FIGURES}{pictures[0].name}"
        return _result(preset, name, first, file, make, inputs, *pictures)

    base = preset.experiments[name].figure
    if preset.experiments[name].speed:
        read = (layout.table(name),)
        yield figure(
            "speed_figure:make_speed_figure", read, Picture(f"{base}_speed", "All methods", SPEED)
        )
    curves = Picture(str(base), "Learning curves", CURVES)
    walk = Picture(f"{base}_curriculum", "What the curricula did", WALK, folded=True)
    yield replace(
        figure("curves:make_figures", done, curves, walk), targets=scope(first, "figures")
    )
    health = Picture(f"{base}_training", "How training went", TRAINING, folded=True)
    yield figure("curves:make_training_figure", done, health)
    yield figure(
        "curves:make_cost_figure", done, Picture(f"{base}_cost", "Accuracy by cost", SPENT)
    )
    if plan.selecting(preset, name):
        orders = tuple(plan.selections(preset, layout, name))
        picture = Picture(f"{base}_selection", "Chosen prompts", CHOSEN)
        yield figure("selection_figure:make_selection_figure", orders, picture)


def _result(
    preset: Preset,
    experiment: str,
    first: bool,
    file: str,
    make: str,
    inputs: tuple[Path, ...],
    *pictures: Picture,
) -> Result:
    """A table of an experiment; with pictures, these and no table."""
    return Result(
        name=file,
        section=TABLES,
        targets=scope(first),
        inputs=inputs,
        fingerprint=plan.table_slice(preset, experiment),
        make=f"gainrl.tables.{make}",
        arguments=(experiment,),
        table=not pictures,
        pictures=pictures,
        experiment=experiment,
    )
