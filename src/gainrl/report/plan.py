"""All results of a preset, from the topics' declarations. No torch: the DAG asks here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from gainrl.claims import plan as claims
from gainrl.config.preset import Preset
from gainrl.errors import ConfigError, nearest
from gainrl.linearity import plan as linearity
from gainrl.plan import Layout, runs
from gainrl.plan.layout import OWN
from gainrl.plan.results import Result, Target
from gainrl.simulation import plan as simulation
from gainrl.study import plan as study
from gainrl.tables import plan as tables
from gainrl.tuning import plan as tuning

TOPICS: tuple[Callable[[Preset, Layout], Iterator[Result]], ...] = (
    claims.results,
    tables.results,
    tuning.results,
    linearity.results,
    simulation.results,
    study.results,
)
"""In the order in which their results stand within a section of the page."""


def results(preset: Preset, layout: Layout) -> dict[str, Result]:
    """What a preset's results are, by name, in the order of the page.

    Raises:
        ConfigError: an experiment has the name of something else.
    """
    found: dict[str, Result] = {}
    for result in (result for topic in TOPICS for result in topic(preset, layout)):
        if result.name in found or result.name in OWN:
            raise ConfigError(
                f"experiments: another file of the preset is called {result.name} too; call the "
                "experiment, or its figure, otherwise"
            )
        found[result.name] = result
    return found


def built(found: Mapping[str, Result], target: Target) -> dict[str, Result]:
    """What a target builds; the page of `default` and that of `all` show just that."""
    return {name: result for name, result in found.items() if target in result.targets}


def find(found: Mapping[str, Result], name: str) -> Result:
    """The result of a name.

    Raises:
        ConfigError: the preset has none of that name; with the nearest one.
    """
    if name not in found:
        raise ConfigError(f"the preset has no result '{name}'{nearest(name, found)}")
    return found[name]


def tracked(preset: Preset, layout: Layout, outputs: Collection[str]) -> dict[str, list[str]]:
    """What the tracking store needs before a call: parents of its runs, experiments of its results.

    Args:
        outputs: files that the call's jobs make. The experiments of results that are there already
            are needed too: their journals may still have to be replayed.
    """
    trained = [key.parent for key in runs(preset) if str(layout.done(key)) in outputs]
    made = [
        result.experiment
        for result in results(preset, layout).values()
        if result.experiment
        and any(str(file) in outputs or file.exists() for file in result.files(layout.home))
    ]
    return {"parents": list(dict.fromkeys(trained)), "experiments": list(dict.fromkeys(made))}
