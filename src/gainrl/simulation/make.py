"""Curricula without a model: the table and figure of a simulation, and its check on real runs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from gainrl.compare.style import looks_of
from gainrl.config.preset import Preset
from gainrl.config.simulation import Learner, Regime
from gainrl.errors import ConfigError
from gainrl.results.runs import Group, Run, grouped, of_experiment
from gainrl.simulation import prediction
from gainrl.simulation.figure import figure_simulation
from gainrl.simulation.plan import checked_runs, need_simulation
from gainrl.simulation.run import Simulated, simulate
from gainrl.simulation.setting import build_world, prepare
from gainrl.simulation.table import RegimeRuns, simulation_table, write_simulation
from gainrl.stages.common import Context

MODEL = "simulated"
"""What stands for a model in the runs of a simulation."""


def make_simulation(context: Context, path: Path, figure: Path | None) -> None:
    """Simulate the preset's regimes; write the table, and the figure if it is asked for.

    Raises:
        ConfigError: the preset has no simulation. DataError: a recorded run cannot be used.
    """
    preset, simulation = context.preset, need_simulation(context.preset)
    regimes = {name: simulated(preset, name) for name in simulation.regimes}
    frame = simulation_table(regimes, simulation.baseline, preset.statistics)
    labels, title = _labels(preset), f"Simulated curricula, preset {preset.preset}"
    write_simulation(frame, regimes, labels, simulation.baseline, preset.statistics, path, title)
    if figure is not None:
        looks, vector = looks_of(preset.methods), figure.with_suffix(".pdf")
        figure_simulation(frame, simulation.baseline, labels, looks, figure, vector)


def make_predictions(context: Context, path: Path) -> None:
    """Hold simulated runs against finished ones: rank correlations over methods.

    Raises:
        ConfigError: the preset has no simulation, or nothing to check. DataError: a run is not
            finished, or as for `prediction.agreement`.
    """
    preset, rows = context.preset, []
    simulation = need_simulation(preset)
    if not simulation.checks:
        raise ConfigError(f"preset '{preset.preset}' has no key 'simulation.checks'")
    cells: dict[str, RegimeRuns] = {}
    for experiment in simulation.checks:
        keys = checked_runs(preset, experiment)
        real = grouped(of_experiment(preset, context.layout, experiment, keys))
        baseline = preset.experiments[experiment].baseline
        for (model, dataset), group in real.items():
            regime = str(simulation.regime_of(experiment, dataset))
            if regime not in cells:
                cells[regime] = simulated(preset, regime)
            where = {"experiment": experiment, "model": model, "dataset": dataset}
            where["regime"] = regime
            for statistic in prediction.STATISTICS:
                found = prediction.agreement(
                    group, cells[regime].group, statistic, baseline, preset.statistics
                )
                rows += prediction.agreement_rows(found, where, statistic)
    frame = pd.DataFrame(rows, columns=prediction.COLUMNS)
    prediction.write_predictions(frame, _labels(preset), preset.statistics, path)


def simulated(preset: Preset, name: str) -> RegimeRuns:
    """All runs of a regime, as finished runs whose model is `simulated` and data set the regime."""
    assert preset.simulation is not None
    regime, began = preset.simulation.regimes[name], time.perf_counter()
    group: Group = {}
    preparation = {}
    for method in regime.methods:
        spec, runs = preset.methods[method], []
        for seed in range(regime.seeds):
            world = build_world(regime, seed)
            ready = prepare(spec, regime, world, seed, preset.scoring.difficulty_samples)
            found = simulate(world, ready.policy, regime.steps, seed)
            runs.append(as_run(found, name, method, seed, spec.label))
            preparation[method] = ready.preparation
        group[method] = runs
    count = regime.seeds * len(regime.methods)
    print(f"{name}: {count} runs in {time.perf_counter() - began:.1f} s", flush=True)
    told = about(regime)
    if regime.recorded is not None:
        over = sum(run.steps["ability"].iloc[-1] >= 1 for runs in group.values() for run in runs)
        told += f" {over} of {count} runs came to the end of the record, where nothing moves."
    return RegimeRuns(group, told, preparation)


def as_run(found: Simulated, regime: str, method: str, seed: int, label: str | None) -> Run:
    """A simulated run in the form of a finished one; its seconds are the policy's alone."""
    steps, seconds = pd.DataFrame(found.steps), found.overhead
    tests = [found.start, *steps["test_accuracy"]]
    return Run(
        folder=Path(MODEL) / regime / method / f"seed{seed}",
        model=MODEL,
        dataset=regime,
        method=method,
        seed=seed,
        label=label or method,
        config={},
        steps=steps,
        timing=pd.DataFrame({"step": steps["step"], "seconds_step": seconds}),
        evaluations=pd.DataFrame(
            {"step": range(len(tests)), "benchmark": regime, "accuracy": tests}
        ),
        final={},
    )


def about(regime: Regime) -> str:
    """A regime in a line for people."""
    drawn = (
        f"{regime.batch:,} prompts a step, {regime.rollouts} rollouts each, {regime.steps} steps"
    )
    if regime.recorded is not None:
        return f"The recorded rates of {regime.recorded.probe}; {drawn}."
    shares = ", ".join(
        f"{getattr(regime, kind):.0%} {kind}" for kind in ("impossible", "trivial", "unlucky")
    )
    learner = f"{regime.skills} skills, transfer {regime.transfer:g}"
    keys = ("ability", "discrimination", "noise", "rate", "length", "signal", "signal_length")
    other = _changed(regime, keys)
    return f"{regime.pool:,} prompts: {shares}; {learner}{other}; {drawn}."


def _changed(regime: Regime, keys: Iterable[str]) -> str:
    """Keys that are not as they are by default."""
    fields = Learner.model_fields
    changed = [key for key in keys if getattr(regime, key) != fields[key].default]
    return "".join(f", {key.replace('_', ' ')} {getattr(regime, key):g}" for key in changed)


def _labels(preset: Preset) -> dict[str, str]:
    return {name: method.label or name for name, method in preset.methods.items()}
