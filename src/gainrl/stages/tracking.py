"""The tracking store of a preset: set up, filled from journals, checked against the run folders."""

from __future__ import annotations

from pathlib import Path

from gainrl import plan
from gainrl.errors import TrackingError
from gainrl.plan import RunKey
from gainrl.plan.layout import TRACKED
from gainrl.records import read_json
from gainrl.stages.common import PREPARATION, Context
from gainrl.tracking.journal import sync
from gainrl.tracking.names import store_uri
from gainrl.tracking.record import initialise, missing
from gainrl.training import files


def initialise_tracking(context: Context) -> None:
    """Create the store, its experiments and the parent runs, before anything writes."""
    preset = context.preset
    parents: dict[str, tuple[str, dict[str, str]]] = {}
    for key in plan.runs(preset):
        home = plan.experiments_of(preset, key.model, key.dataset, key.method)[0]
        tags = {
            "gainrl.stage": "train",
            "gainrl.preset": preset.preset,
            "gainrl.model": key.model,
            "gainrl.dataset": key.dataset,
            "gainrl.method": key.method,
        }
        parents[key.parent] = (context.experiment(home), tags)
    names = [context.experiment(name) for name in (PREPARATION, *preset.experiments)]
    uri = store_uri(preset.tracking.uri, context.root)
    context.root.mkdir(parents=True, exist_ok=True)
    initialise(uri, context.root, context.layout.tracking, names, parents)
    print(f"tracking store: {uri}")


def sync_tracking(context: Context) -> None:
    """Put into the store what jobs on a cluster's nodes have written into journals.

    Raises:
        TrackingError: the store cannot be reached or has refused something.
    """
    count = sync(context.layout.tracking, context.layout.home)
    print(f"tracking: {count} journals had something new")


def check_tracking(context: Context) -> None:
    """Compare finished work with the store.

    Raises:
        TrackingError: something finished is missing in the store; each line names one thing.
    """
    uri = read_json(context.layout.tracking)["uri"]
    notes: list[tuple[str, Path, int | None]] = []
    unfinished = 0
    for key in plan.runs(context.preset):
        folder = context.layout.run(key)
        if not (folder / files.DONE).exists():
            unfinished += 1
            continue
        notes.append((_title(key), folder / files.TRACKING, _steps(folder)))
    for note in sorted(context.layout.home.glob(f"*/**/*{TRACKED}")):
        notes.append((str(note.relative_to(context.layout.home)), note, None))
    problems = missing(uri, notes)
    print(f"{len(notes)} finished pieces of work, {unfinished} unfinished runs, store {uri}")
    if problems:
        raise TrackingError("; ".join(problems))


def _title(key: RunKey) -> str:
    return f"{key.parent}/seed{key.seed}"


def _steps(folder: Path) -> int:
    steps: int = read_json(folder / files.DONE)["steps"]
    return steps
