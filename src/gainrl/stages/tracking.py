"""The tracking store of a preset: set up, filled from journals, checked against the run folders."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.errors import TrackingError
from gainrl.plan import RunKey
from gainrl.plan.layout import TRACKED
from gainrl.records import read_json
from gainrl.stages.common import PREPARATION, Context, source_tags
from gainrl.tracking.client import is_server, pages
from gainrl.tracking.journal import SUFFIX, sync
from gainrl.tracking.names import of_test, store_uri
from gainrl.tracking.parents import ARTIFACTS, initialise, read_index
from gainrl.tracking.record import missing
from gainrl.tracking.server import HOST, serve
from gainrl.tracking.store import settle_artifacts
from gainrl.tracking.view import address
from gainrl.training import files


def initialise_tracking(context: Context, only: Path | None = None) -> None:
    """Create the store, its experiments and the parent runs, before anything writes.

    Args:
        only: file with the parents and experiments that a call needs (`report.plan.tracked`); those
            of runs that have written something before are made too. None: the whole preset.
    """
    preset = context.preset
    needed = None if only is None else read_json(only)
    experiments = preset.experiments if needed is None else needed["experiments"]
    names = dict.fromkeys([PREPARATION, *experiments])
    parents: dict[str, tuple[str, dict[str, str]]] = {}
    source = source_tags("train")
    for key in plan.runs(preset):
        folder = context.layout.run(key)
        if needed and key.parent not in needed["parents"] and not _has_written(folder):
            continue
        homes = plan.experiments_of(preset, key.model, key.dataset, key.method)
        tags = {
            "gainrl.stage": "train",
            "gainrl.preset": preset.preset,
            "gainrl.model": key.model,
            "gainrl.dataset": key.dataset,
            "gainrl.method": key.method,
            "gainrl.experiments": ",".join(homes),
            **source,
        }
        names[homes[0]] = None
        parents[key.parent] = (context.experiment(homes[0]), tags)
    uri = store_uri(preset.tracking.uri, context.root)
    context.root.mkdir(parents=True, exist_ok=True)
    curves = {context.experiment(name): _curves(preset, name) for name in preset.experiments}
    named = map(context.experiment, names)
    initialise(uri, context.root, context.layout.tracking, named, parents, curves)
    print(f"tracking store: {uri}")


def _curves(preset: Preset, experiment: str) -> list[str]:
    """The metrics of an experiment's tests."""
    datasets = [dataset for _, dataset in preset.experiments[experiment].places]
    tests = [name for each in datasets for name in preset.tested_on(experiment, each)]
    return [f"{of_test(name)}accuracy" for name in dict.fromkeys(tests)]


def _has_written(run: Path) -> bool:
    """Whether a run of a folder is in the store, or in a journal that will be."""
    return any((run / name).exists() for name in (files.TRACKING, files.TRACKING + SUFFIX))


def show_runs(context: Context, port: int) -> int:
    """Show the runs in MLflow's pages, at an address that compares an experiment's methods.

    It is printed, and opened where a browser has a screen.

    Of the preset's experiments it is the first that the store has. A server's pages are there
    already; those of a file are started here, until they are ended.

    Raises:
        TrackingError: the preset has no store, or the port is taken.
    """
    known = read_index(context.layout.tracking)
    names = [context.experiment(name) for name in (*context.preset.experiments, PREPARATION)]
    first = next((known["experiments"][name] for name in names if name in known["experiments"]), "")
    where = pages(known["uri"]) if is_server(known["uri"]) else f"http://{HOST}:{port}"

    def say() -> None:
        page = address(where, first)
        print(f"the methods compared: {page}", flush=True)
        if sys.stdout.isatty() and any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
            webbrowser.open(page)

    if is_server(known["uri"]):
        say()
        return 0
    settle_artifacts(known["uri"], context.root / ARTIFACTS)
    return serve(known["uri"], port, say)


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
    uri = read_index(context.layout.tracking)["uri"]
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
