"""Which claims of a preset can be decided, and what their verdicts rest on. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gainrl import plan
from gainrl.config.claims import Claim
from gainrl.config.preset import Preset
from gainrl.plan import RunKey


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


def table(preset: Preset, everything: bool) -> str | None:
    """Name of the table of verdicts, if the preset has claims that can be decided."""
    if not wanted(preset, everything):
        return None
    return "claims.csv" if everything else "claims_first.csv"
