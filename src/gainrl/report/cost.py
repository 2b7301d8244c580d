"""What a preset's results cost, from run folders and the files of preparation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.errors import DataError
from gainrl.plan.backends import Backend, find
from gainrl.plan.benchmarks import Test, final_tests
from gainrl.plan.layout import Signal
from gainrl.records import read_json, read_metadata
from gainrl.report.page import Cost, PreparationCost
from gainrl.results.runs import Run
from gainrl.results.speed import SECONDS, TOKENS
from gainrl.stages.common import Context

Tests = Mapping[Test, Mapping[str, Any]]
"""score.json of each test."""


def costs(
    context: Context, experiments: Mapping[str, Sequence[Run]], runs: Sequence[Run], tests: Tests
) -> tuple[list[Cost], Cost | None]:
    """A row for each method of each experiment, and one of all runs, which may share experiments.

    Raises:
        DataError: Snakemake's measurement of a job is damaged.
    """
    rows = []
    for name, found in experiments.items():
        chosen = {test: tests[test] for test in final_tests(context.preset, [name])}
        for method in dict.fromkeys(run.method for run in found):
            those = [run for run in found if run.method == method]
            rows.append(_cost(context, name, those[0].label, those, chosen))
    return rows, _cost(context, "", "", runs, tests) if runs else None


def _cost(
    context: Context, experiment: str, method: str, runs: Sequence[Run], tests: Tests
) -> Cost:
    keys = {(run.model, run.dataset, run.method, run.seed) for run in runs}
    tested = [
        test_seconds(score)
        for test, score in tests.items()
        if test.run and (test.run.model, test.run.dataset, test.run.method, test.run.seed) in keys
    ]
    seconds = [SECONDS.total(run, 0) for run in runs]
    gpus = [gpus_of(run, context.preset) for run in runs]
    threads = [threads_of(run) if gpu == 0 else None for run, gpu in zip(runs, gpus, strict=True)]
    return Cost(
        experiment=experiment,
        method=method,
        runs=len(runs),
        tokens=int(sum(TOKENS.spent(run, 0).sum() for run in runs)),
        seconds=sum(seconds),
        tests=_sum(tested) if tested else None,
        jobs=_sum([job_seconds(context, run) for run in runs]),
        gpu_hours=_hours(seconds, [gpu or None for gpu in gpus]),
        core_hours=_hours(seconds, threads),
    )


def _sum(values: Collection[float | None]) -> float | None:
    """Not known if a part is not."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _hours(seconds: Sequence[float], devices: Sequence[int | None]) -> float | None:
    """Over the runs that used such devices; None if no run did."""
    used = [s * n for s, n in zip(seconds, devices, strict=True) if n is not None]
    return sum(used) / 3600 if used else None


def test_seconds(score: Mapping[str, Any]) -> float | None:
    """Seconds of answering and grading, where score.json has them."""
    seconds = score.get("seconds")
    return sum(seconds.values()) if seconds else None


test_seconds.__test__ = False  # type: ignore[attr-defined]


def gpus_of(run: Run, preset: Preset) -> int | None:
    """GPUs that a run was trained on; None where nothing says so.

    Runs of before run.json named its machine: those that a distributed backend is given, else 0 if
    torch was a build for CPUs.
    """
    noted = run.config.get("machine")
    if noted is not None:
        return noted["gpus"]
    backend = _backend(run)
    if backend.distributed:
        return backend.resources(preset).gpus
    return 0 if run.config.get("versions", {}).get("torch", "").endswith("+cpu") else None


def threads_of(run: Run) -> int | None:
    """Threads of a run; the processes of a distributed backend are not limited to a number."""
    return None if _backend(run).distributed else run.config.get("slice", {}).get("threads")


def _backend(run: Run) -> Backend:
    return find(run.config["training"].get("backend", "local"))


def job_seconds(context: Context, run: Run) -> float | None:
    """Seconds of the whole training job as Snakemake measured them, if it ran the job.

    Of a job that trained all seeds together, a run's share.

    Raises:
        DataError: the file is not Snakemake's.
    """
    together = context.preset.seeds_together
    seeds = plan.seeds_of(context.preset, run.method) if together else (run.seed,)
    which = "" if context.preset.seeds_together else f"-seed{run.seed}"
    name = f"{run.model}-{run.dataset}-{run.method}{which}.tsv"
    path = context.layout.home / "benchmarks" / "train" / name
    if not path.exists():
        return None
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    try:
        return float(lines[1][lines[0].index("s")]) / len(seeds)
    except (IndexError, ValueError) as error:
        raise DataError(f"{path}: no seconds in column 's'") from error


# --- preparation ---------------------------------------------------------------------------------

MEASURED: Mapping[Signal, str] = {
    "scores": "scores of the training prompts (Eq. 5)",
    "features": "mean states of the training prompts",
    "difficulty": "difficulties measured by rollouts",
}
STUDIED = ("scores", "difficulty")
"""What the signal table is made of."""


def preparation(context: Context, runs: Sequence[Run], tests: Tests) -> list[PreparationCost]:
    """Seconds of models, scores and difficulties behind the results, and of start models' tests.

    Raises:
        DataError: a file of them is missing.
    """
    preset, layout = context.preset, context.layout
    studies = preset.studies
    signal = studies if studies and studies.signal else None
    pairs = plan.studied(preset, signal.models) if signal else []
    behind = [(run, plan.inputs_of(preset, layout, run).measured) for run in runs]
    starts = [preset.start_of(run.model, run.seed) for run in runs]
    tested = [test.model for test in tests if test.run is None]
    rows = [
        PreparationCost(
            "model, with its warm-up" if preset.spec(model).warmup else "model",
            model,
            read_json(layout.model_note(model)).get("seconds"),
        )
        for model in dict.fromkeys([*starts, *(m for m, _ in pairs), *tested])
    ]
    for name, what in MEASURED.items():
        wanted = [
            (start, run.dataset)
            for start, (run, tables) in zip(starts, behind, strict=True)
            if name in tables
        ]
        wanted += pairs if name in STUDIED else []
        for pair in dict.fromkeys(wanted):
            seconds = _noted(layout.signal(*pair, name))
            rows.append(PreparationCost(what, " on ".join(pair), seconds))
    return [*rows, *_start_tests(tests)]


def _start_tests(tests: Tests) -> Iterable[PreparationCost]:
    for test, score in tests.items():
        if test.run is None:
            what = f"test of the model as it is ({test.protocol}, {test.engine})"
            yield PreparationCost(what, f"{test.model} on {test.benchmark}", test_seconds(score))


def _noted(path: Path) -> float | None:
    if not path.exists():
        raise DataError(f"{path}: no such file")
    return read_metadata(path).get("seconds")
