"""Which claims of a preset can be decided, and what their verdicts rest on. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gainrl import plan
from gainrl.config.claims import Claim
from gainrl.config.preset import Preset
from gainrl.plan import Layout, RunKey
from gainrl.plan.layout import Seeded
from gainrl.plan.results import VERDICTS, Result, Target


def wanted(preset: Preset, everything: bool) -> dict[str, Claim]:
    """All claims, or those that the default target's results can decide."""
    first = next(iter(preset.experiments), None)
    return {
        name: claim
        for name, claim in preset.claims.items()
        if everything or claim.experiment == first or claim.measure == "correlation"
    }


def runs_of(preset: Preset, chosen: Iterable[Claim]) -> list[RunKey]:
    """The runs that some claims compare, each once."""
    keys: dict[RunKey, None] = {}
    for claim in chosen:
        if claim.experiment is None:
            continue
        baseline = preset.experiments[claim.experiment].baseline
        methods = {*claim.methods, *claim.against, baseline}
        found = plan.runs(preset, [claim.experiment])
        keys.update(dict.fromkeys(key for key in found if key.method in methods))
    return list(keys)


def scored(preset: Preset, layout: Layout, runs: Iterable[Seeded]) -> list[Path]:
    """The scores of the start models of some runs, each once."""
    starts = ((preset.start_of(run.model, run.seed), run.dataset) for run in runs)
    return [layout.signal(*place, "scores") for place in dict.fromkeys(starts)]


def needs_traces(chosen: Iterable[Claim]) -> bool:
    """Whether some claims rest on the runs of the section `linearity`."""
    return any(claim.measure in ("linearity", "extrapolation") for claim in chosen)


def _traced_methods(preset: Preset) -> list[str]:
    """Methods that claims on traced runs name in their parts."""
    if not needs_traces(preset.claims.values()):
        return []
    return sorted({key.method for key in plan.traced(preset)})


def slice_of(preset: Preset) -> dict[str, Any]:
    """What the verdicts depend on beside the runs."""
    methods = sorted({key.method for key in runs_of(preset, preset.claims.values())})
    methods += [name for name in _traced_methods(preset) if name not in methods]
    return {
        "claims": {name: claim.fingerprint() for name, claim in preset.claims.items()},
        "statistics": preset.statistics.fingerprint(),
        "labels": {name: preset.methods[name].label for name in methods},
    }


def results(preset: Preset, layout: Layout) -> Iterator[Result]:
    """The verdicts: on all claims, and on what the default target's results can decide."""
    names: dict[str, Target] = {"claims": "all", "claims_first": "default"}
    for name, target in names.items():
        everything = target == "all"
        if wanted(preset, everything):
            yield Result(
                name=name,
                section=VERDICTS,
                targets=(target,),
                inputs=tuple(_inputs(preset, layout, everything)),
                fingerprint=slice_of(preset),
                make="gainrl.claims.make:make_claims",
                arguments=(everything,),
                table=True,
            )


def _inputs(preset: Preset, layout: Layout, everything: bool) -> Iterator[Path]:
    """What verdicts rest on: runs, and where a claim is about prompts, the signal and probes."""
    chosen = wanted(preset, everything).values()
    measures = {claim.measure for claim in chosen}
    keys = runs_of(preset, chosen)
    yield from (layout.done(key) for key in keys)
    if "correlation" in measures:
        yield layout.table("signal")
    if "learnt_first" in measures:
        yield from (layout.probe(key) for key in plan.probed(preset))
    if needs_traces(chosen):
        yield from (layout.extrapolated(key) for key in plan.traced(preset))
    if "overhead" in measures:
        yield from scored(preset, layout, keys)
