"""What runs of backends on one device cost: from steps that were timed here, not estimated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.cost.rows import Costs, Row
from gainrl.cost.words import listing
from gainrl.models.shapes import architecture
from gainrl.plan import RunKey, keeps_model
from gainrl.records import read_json, read_lines, read_metadata
from gainrl.tables.facts import MEASURED
from gainrl.training import files

STATE = 12
"""Bytes of a checkpoint a parameter: fp32 weights and AdamW's two moments."""
KEPT = 2
"""Checkpoints of a run."""


def local_part(costs: Costs, rows: Sequence[Row]) -> str:
    """How many runs, how long, how much disk; a line for each stage before them, and each method.

    Args:
        rows: of runs that have no estimate; at least one.
    """
    keys = [key for row in rows for key in row.keys]
    done = {key for key in keys if costs.layout.done(key).exists()}
    where = " or ".join(dict.fromkeys(costs.backend(row.keys[0]).name for row in rows))
    tokens = sum((costs.training(row).tokens or 0) * len(row.keys) for row in rows)
    spent = f" Those that end by tokens generate {tokens:,} in all." if tokens else ""
    said = f"{len(keys):,} run{'s' if len(keys) > 1 else ''} on the {where} backend, a device each"
    finished = f", {len(done):,} of them finished" if done else ""
    parts = [f"{said}{finished}.{spent} {_time(costs, rows, done)} {_disk(costs.preset, keys)}"]
    parts.append(listing(list(_stages(costs, keys))))
    parts.append(listing([_line(costs, row) for row in rows]))
    return "\n\n".join(parts)


def _stages(costs: Costs, keys: Sequence[RunKey]) -> Iterator[dict[str, str]]:
    """What is made before the runs: how much of it there is, and the mean seconds of that."""
    preset, layout = costs.preset, costs.layout
    tested = [
        layout.start(preset.start_of(key.model, key.seed), benchmark)
        for key in keys
        for benchmark in plan.benchmarks_of(preset, key.model, key.dataset, key.method)
    ]
    models = [layout.model_note(preset.start_of(key.model, key.seed)) for key in keys]
    measured = [plan.inputs_of(preset, layout, key).measured for key in keys]
    stages = {"models, with their warm-up": models}
    stages |= {
        what: [each[name] for each in measured if name in each] for name, what in MEASURED.items()
    }
    stages["tests of start models"] = tested
    for stage, files_of in stages.items():
        if not (paths := dict.fromkeys(files_of)):
            continue
        made = [path for path in paths if path.exists()]
        seconds = [each for each in map(_seconds, made) if each is not None]
        yield {
            "Before the runs": stage,
            "Jobs": f"{len(paths):,}",
            "Finished": f"{len(made):,}",
            "Seconds each": f"{fmean(seconds):.3g}" if seconds else "–",
        }


def _seconds(path: Path) -> float | None:
    """What is noted in a file of the time that it took."""
    note = read_json(path) if path.suffix == ".json" else read_metadata(path)
    found: float | None = note.get("seconds")
    return found


def _line(costs: Costs, row: Row) -> dict[str, str]:
    training = costs.training(row)
    ends = f"{training.tokens:,} tokens" if training.tokens else f"{training.steps:,}"
    step = _seconds_a_step(costs, row.keys)
    shown = {"Run": row.name, "Runs": f"{len(row.keys):,}", "Steps": ends}
    return shown | {"Seconds a step": f"{step:.3g}" if step else "–"}


def _seconds_a_step(costs: Costs, keys: Sequence[RunKey]) -> float | None:
    """Mean over the steps that runs have made here; None if none has been timed."""
    timed = [costs.layout.run(key) / files.TIMING for key in keys]
    found = [row["seconds_step"] for path in timed if path.exists() for row in read_lines(path)]
    return fmean(found) if found else None


def _time(costs: Costs, rows: Sequence[Row], done: set[RunKey]) -> str:
    """What the steps that are left take, one run after another."""
    steps = {row.name: _seconds_a_step(costs, row.keys) for row in rows}
    known = [each for each in steps.values() if each]
    if not known:
        return (
            "No step has been timed here yet: the first run will, and `gainrl init` does for a "
            "model and data of yours."
        )
    seconds = 0.0
    for row in rows:
        left = sum(key not in done for key in row.keys)
        seconds += left * costs.training(row).steps * (steps[row.name] or fmean(known))
    guessed = "" if len(known) == len(rows) else ", methods without any like the mean of the others"
    if any(costs.training(row).tokens for row in rows):
        guessed += "; runs that end by tokens with the most steps they may have"
    return (
        f"Steps that are left: {seconds / 3600:.1f} hours, one run after another, as steps have "
        f"taken here{guessed}; starts, tests and preparation come on top."
    )


def _disk(preset: Preset, keys: Sequence[RunKey]) -> str:
    """Of models that are kept, and of checkpoints while a run lasts."""
    sizes = {
        name: architecture(preset.models[name], name).parameters for name in {k.model for k in keys}
    }
    kept = sum(
        4.0 * sizes[k.model] for k in keys if keeps_model(preset, k.model, k.dataset, k.method)
    )
    running = KEPT * STATE * max(sizes.values())
    return (
        f"Disk: {kept / 1e9:,.2g} GB at most for kept models, and {running / 1e9:,.2g} GB of "
        "checkpoints for each run while it lasts."
    )
