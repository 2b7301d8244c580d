"""What simulations read and depend on. Imported while the DAG is built: no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.config.simulation import Regime, Simulation
from gainrl.errors import ConfigError
from gainrl.plan import Layout, RunKey
from gainrl.plan.results import TABLES, Picture, Result, scope

SIMULATED = (
    "Simulated methods against the baseline, by regime: final accuracy, and how many times fewer "
    "rollout tokens to the baseline's final level. A bar without a marker is what censored seeds "
    "leave open."
)


def need_simulation(preset: Preset) -> Simulation:
    """The preset's simulation.

    Raises:
        ConfigError: it has none.
    """
    if preset.simulation is None:
        raise ConfigError(f"preset '{preset.preset}' has no key 'simulation'")
    return preset.simulation


def results(preset: Preset, layout: Layout) -> Iterator[Result]:
    """The simulation, and how well it predicts finished runs, if the preset has `checks`."""
    simulation = preset.simulation
    if simulation is None:
        return
    targets = scope(not preset.experiments)
    yield Result(
        name="simulation",
        section=TABLES,
        targets=targets,
        inputs=tuple(map(Path, recorded(preset))),
        fingerprint=slice_of(preset),
        make="gainrl.simulation.make:make_simulation",
        table=True,
        pictures=(Picture("simulation", "Simulated", SIMULATED),),
        local=False,
    )
    if simulation.checks:
        runs = [layout.done(key) for key in checked_runs(preset)]
        yield Result(
            name="predictions",
            section=TABLES,
            targets=targets,
            inputs=(*runs, *map(Path, recorded(preset, checked=True))),
            fingerprint=slice_of(preset, checked=True),
            make="gainrl.simulation.make:make_predictions",
            table=True,
            local=False,
        )


def recorded(preset: Preset, checked: bool = False) -> list[str]:
    """Files of finished runs that the regimes are made of; `checked`: of the `checks` alone."""
    found: dict[str, None] = {}
    for regime in _regimes(preset, checked).values():
        if regime.recorded is not None:
            found[regime.recorded.probe] = None
            if regime.recorded.scores is not None:
                found[regime.recorded.scores] = None
    return list(found)


def checked_runs(preset: Preset, experiment: str | None = None) -> list[RunKey]:
    """The finished runs that simulations are held against, of one experiment or of all."""
    simulation = preset.simulation
    if simulation is None:
        return []
    found: dict[RunKey, None] = {}
    for name in simulation.checks if experiment is None else [experiment]:
        for key in plan.runs(preset, [name]):
            regime = simulation.regime_of(name, key.dataset)
            if regime and key.method in simulation.regimes[regime].methods:
                found[key] = None
    return list(found)


def slice_of(preset: Preset, checked: bool = False) -> dict[str, Any]:
    """What the simulation depends on beside its input files; `checked`: what the check does."""
    simulation, regimes = preset.simulation, _regimes(preset, checked)
    used = {name for regime in regimes.values() for name in regime.methods}
    return {
        # Of methods all keys, absent ones too, as ever: to simulate again takes seconds.
        "regimes": {name: regime.fingerprint() for name, regime in regimes.items()},
        "methods": {name: preset.methods[name].model_dump(mode="json") for name in sorted(used)},
        "baseline": simulation.baseline if simulation else None,
        "checks": simulation.checked if simulation and checked else {},
        "difficulty_samples": preset.scoring.difficulty_samples,
        "statistics": preset.statistics.fingerprint(),
    }


def _regimes(preset: Preset, checked: bool) -> dict[str, Regime]:
    if preset.simulation is None:
        return {}
    simulation = preset.simulation
    if not checked:
        return simulation.regimes
    names = [name for chosen in simulation.checked.values() for name in chosen.values()]
    return {name: simulation.regimes[name] for name in dict.fromkeys(names)}
