"""The table of verdicts, from finished runs, the signal table and the probed runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pandas as pd

from gainrl import plan
from gainrl.claims import plan as claims_plan
from gainrl.claims import verdicts as rules
from gainrl.claims.table import decide, write_claims
from gainrl.claims.verdicts import Measurement
from gainrl.config.claims import Claim
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.linearity.make import read_traces
from gainrl.linearity.table import by_place
from gainrl.records import PROBE, read_metadata, read_table
from gainrl.results.runs import Group, Run, grouped, of_experiment
from gainrl.stages.common import Context


def make_claims(context: Context, everything: bool, path: Path) -> None:
    """Measure the preset's claims and write their verdicts, as CSV, Markdown and LaTeX.

    Args:
        everything: all claims; else those that the default target's results can decide.

    Raises:
        DataError: a run is unfinished, or signal.csv is missing or lacks a row.
    """
    preset = context.preset
    wanted = claims_plan.wanted(preset, everything)
    parts = {name: _measured(context, claim) for name, claim in wanted.items()}
    write_claims(decide(wanted, parts, preset.statistics), path, preset.statistics)


def _measured(context: Context, claim: Claim) -> list[Measurement]:
    if claim.measure == "correlation":
        return _correlations(context, claim)
    if claim.measure == "learnt_first":
        return _learnt_first(context)
    if claim.measure in ("linearity", "extrapolation"):
        return _traced(context, claim)
    return compared(context, claim)


def compared(context: Context, claim: Claim) -> list[Measurement]:
    """A part for each model, data set, method and what it is held against.

    Of several benchmarks their average is taken.
    """
    config = context.preset.statistics
    baseline = context.preset.experiments[str(claim.experiment)].baseline
    keys = claims_plan.runs_of(context.preset, [claim])
    groups = grouped(of_experiment(context.preset, context.layout, str(claim.experiment), keys))
    found = []
    for group in groups.values():
        for name in claim.methods:
            if claim.measure == "overhead":
                method = group[name]
                found.append(rules.overhead(method, _scoring_seconds(context, method), config))
                continue
            for other in claim.against or (baseline,):
                found.append(_held(claim, group, name, other, baseline, config))
    return found


def _held(
    claim: Claim, group: Group, name: str, other: str, baseline: str, config: Statistics
) -> Measurement:
    """A method held against another."""
    method, against = group[name], group[other]
    benchmark = method[0].measures[-1]
    if claim.measure == "difference":
        if claim.currency:
            return rules.equal_cost(method, against, claim.currency, config, benchmark)
        return rules.difference(method, against, config, benchmark)
    if claim.measure == "decline":
        return rules.decline(method, against, config, benchmark)
    if claim.measure == "equal_accuracy":
        return rules.equal_accuracy_ratio(method, against, str(claim.currency), config, benchmark)
    if claim.measure == "cheaper":
        currency, base = str(claim.currency), group[baseline]
        return rules.cheaper(method, against, base, currency, config, benchmark)
    return rules.faster(method, against, config, benchmark)


def _traced(context: Context, claim: Claim) -> list[Measurement]:
    """A part for each model, data set and method; of extrapolations, for each of these too."""
    config, found = context.preset.statistics, []
    for (_, _, method), runs in by_place(read_traces(context)).items():
        if claim.methods and method not in claim.methods:
            continue
        quantity = str(claim.quantity)
        if claim.measure == "linearity":
            found.append(rules.straightness(runs, quantity, claim.selection, config))
            continue
        for place in range(len(runs[0].lines)):
            found.append(rules.extrapolated(runs, place, quantity, config))
    return found


def _scoring_seconds(context: Context, runs: Sequence[Run]) -> float:
    """Of scoring the prompts once, in the mean over the start models."""
    paths = claims_plan.scored(context.preset, context.layout, runs)
    return fmean(float(read_metadata(path)["seconds"]) for path in paths)


def _correlations(context: Context, claim: Claim) -> list[Measurement]:
    path = context.layout.table("signal")
    if not path.exists():
        raise DataError(f"{path}: no such table; `snakemake {path}` makes it")
    table, studies = pd.read_csv(path), plan.need_studies(context.preset, "signal")
    statistics = context.preset.statistics
    return [
        rules.correlation(table, model, dataset, str(claim.quantity), claim.given, statistics)
        for model, dataset in plan.studied(context.preset, studies.models)
    ]


def _learnt_first(context: Context) -> list[Measurement]:
    return [
        rules.learnt_first(
            read_table(context.layout.probe(key), PROBE),
            key.model,
            key.dataset,
            context.preset.statistics,
        )
        for key in plan.probed(context.preset)
    ]
