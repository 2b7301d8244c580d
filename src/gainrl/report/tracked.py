"""What a result says to the tracking store: its files, and a table what its runs' parents show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gainrl.compare.style import looks_of
from gainrl.plan import RunKey
from gainrl.plan.results import Result
from gainrl.records.health import LIGHTS, Light
from gainrl.results.health import fared
from gainrl.results.runs import grouped, of_experiment
from gainrl.results.seeds import Row, seed_means
from gainrl.stages.common import PREPARATION, Context

Summary = tuple[str, list[Row], dict[str, str]]
"""Key of a parent run, rows of metrics, and tags."""


def record(context: Context, result: Result) -> None:
    """Record a result in the tracking store, where there is one: simulations need none.

    The job of an experiment's table is the first that has all its runs, so that it writes into the
    parents what their seeds have in common.

    Raises:
        TrackingError: something was not recorded.
    """
    if not context.layout.tracking.exists():
        print(f"{context.layout.tracking}: no such file, so nothing is recorded in a store")
        return
    home = context.layout.home
    run = context.track(
        "table" if result.table else "figures",
        result.name,
        context.layout.tracked(result.name),
        result.fingerprint,
        experiment=result.experiment or PREPARATION,
    )
    for path in [*result.files(home), *result.beside(home)]:
        run.artifact(path)
    if result.table and result.name in context.preset.experiments:
        for parent, rows, tags in summaries(context, result.name):
            run.summary(parent, rows, tags)
    run.finish()


def summaries(context: Context, experiment: str) -> Iterator[Summary]:
    """What the parent runs of an experiment are to show: means over seeds, and how they fared."""
    runs = of_experiment(context.preset, context.layout, experiment)
    looks = looks_of(context.preset.methods)
    groups = [seeds for methods in grouped(runs).values() for seeds in methods.values()]
    for seeds, (*_, lights, reasons) in zip(groups, fared(runs), strict=True):
        tags = {
            "mlflow.runColor": looks[seeds[0].method].color,
            "gainrl.seeds": str(len(seeds)),
            "gainrl.health": _worst(lights),
            "gainrl.health_reasons": "; ".join(reasons),
        }
        first = seeds[0]
        key = RunKey(first.model, first.dataset, first.method, first.seed)
        yield key.parent, seed_means(seeds, context.preset.statistics.confidence), tags


def _worst(lights: Mapping[Light, int]) -> str:
    """The worst light and how many runs have it, as 'yellow, 2 of 5'."""
    worst = max((each for each in LIGHTS if lights[each]), key=LIGHTS.index)
    return f"{worst}, {lights[worst]} of {sum(lights.values())}"
