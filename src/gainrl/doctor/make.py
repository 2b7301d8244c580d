"""`gainrl doctor`: every check that applies, one line each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.data.registry import grader_of
from gainrl.doctor import cluster, contents, machine, places, sources
from gainrl.doctor.check import Check, summary, warning
from gainrl.doctor.needs import Needs, needs_of
from gainrl.plan import Layout
from gainrl.training.slurm import read_site


def doctor(preset: str | None, root: Path, profile: Path | None, node: bool, as_json: bool) -> int:
    """Print what was found; 1 if anything failed, else 0.

    Args:
        preset: its path, or None to look at the machine alone.
        profile: folder of the cluster profile if jobs run on SLURM.
        node: a job looks at a GPU node, too.
        as_json: a list of checks in place of lines.

    Raises:
        ConfigError, ModelError: the preset or the profile cannot be used.
    """
    found = []
    for check in examine(preset, root, profile, node):
        found.append(check)
        if not as_json:
            print(check, flush=True)
    if as_json:
        print(json.dumps([asdict(each) for each in found]))
    else:
        print(summary(found))
    return int(any(each.status == "failed" for each in found))


def check_preset(preset: Preset, root: Path) -> int:
    """Print whether what a preset names fits together; 1 if anything failed, else 0."""
    found = []
    checks = [contents.check_contents(preset, root), places.check_tracking(preset, root, False)]
    if _programs(preset):
        checks.append(machine.check_sandbox(preset.sandbox.unsafe))
    for check in chain.from_iterable(checks):
        found.append(check)
        print(check, flush=True)
    print(summary(found))
    return int(any(each.status == "failed" for each in found))


def examine(
    source: str | None, root: Path, profile: Path | None = None, node: bool = False
) -> Iterator[Check]:
    """Every check that applies, each as soon as it is known (arguments and errors: `doctor`)."""
    preset = plan.load(source) if source else None
    if profile:
        read_site(profile)  # before all that takes time
    needs = needs_of(preset) if preset else None
    if cluster.inside_a_job() or profile is None:
        yield from _of_machine(needs, preset)
    if cluster.inside_a_job():  # the rest is the business of the controller
        yield from places.check_environment(needs)
        yield from places.check_tracking(preset, root, nodes=False)
        yield sources.check_network()
        return
    yield from machine.check_disk(root, needs)
    container = cluster.container_of(profile) if profile else None
    if container is None:  # else the environment is in the image
        yield from places.check_environment(needs)
    yield from cluster.check_container(container)
    yield from places.check_tracking(preset, root, nodes=profile is not None)
    if preset:
        yield from sources.check_sources(preset, Layout(preset.preset, root))
        yield from contents.check_published(preset)
    if profile:
        yield places.check_controller()
        yield from cluster.check_cluster(profile, needs)
        if node:
            yield from cluster.check_node(profile, source, root)
        else:
            saw = "GPUs, memory and sandbox of the nodes were not looked at"
            yield warning("node", saw, "add --node, which submits a job of a minute")


def _of_machine(needs: Needs | None, preset: Preset | None) -> Iterator[Check]:
    yield from machine.check_gpus(needs)
    yield from machine.check_cores(needs)
    yield from machine.check_memory(needs)
    yield from machine.check_scratch(needs)
    yield from machine.check_files()
    if preset is None or _programs(preset):
        yield from machine.check_sandbox(preset is not None and preset.sandbox.unsafe)


def _programs(preset: Preset) -> bool:
    """Whether any answer of the preset is a program."""
    return any(grader_of(preset.datasets[name]) == "code" for name in sources.used(preset))
