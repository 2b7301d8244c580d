"""Finished runs read back from their folders and checked, alone and against each other.

A run folder is `results/<preset>/runs/<model>/<dataset>/<method>/seed<k>/` with run.json,
steps.jsonl, timing.jsonl, eval.jsonl and, written last, done.json.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gainrl import plan
from gainrl.compare.statistics import FloatArray
from gainrl.config.preset import Preset
from gainrl.errors import DataError
from gainrl.plan.results import AVERAGE
from gainrl.records.runs import (
    DoneRecord,
    LeftOut,
    Prepared,
    RedoneRecord,
    RunRecord,
    StepRecord,
    TestRecord,
    TimingRecord,
    read_record,
    read_rows,
)
from gainrl.training import files


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run.

    folder: where it lies; label: the method's name for people; config: run.json as written.
    steps: a row an RL step (from 1): accuracy and zero_variance in [0, 1], rollout_tokens and
    prompt_tokens (each prompt once) in tokens, signal (C, dimensionless, NaN if not measured) and
    whatever else was logged.
    redone: rows of steps that an interruption made the run take again, with `after`, the step from
    which it then went on, and seconds_step; none of most runs. prepared: what its start model ran
    before its first step.
    timing: a row an RL step: seconds_rollout, seconds_train, seconds_step, in seconds.
    evaluations: a row a test: step (0 = start model), benchmark, accuracy in [0, 1], problems,
    samples. final: done.json's summary. overlong: training prompts that were left out.
    """

    folder: Path
    model: str
    dataset: str
    method: str
    seed: int
    label: str
    config: dict[str, Any]
    steps: pd.DataFrame
    timing: pd.DataFrame
    evaluations: pd.DataFrame
    final: dict[str, Any]
    overlong: LeftOut | None = None
    redone: pd.DataFrame = field(default_factory=pd.DataFrame)
    prepared: Prepared = field(default_factory=Prepared)

    @property
    def overrides(self) -> list[str]:
        """Keys of `training` that the method sets itself, and which may differ between methods."""
        return list(self.config.get("overrides", []))

    @property
    def start(self) -> str | None:
        """Digest of the weights that it began with; None in runs of before that was noted."""
        return self.config["slice"].get("inputs", {}).get("model")

    @property
    def benchmarks(self) -> list[str]:
        """What the run was tested on, in the order of the file."""
        return list(dict.fromkeys(self.evaluations["benchmark"]))

    @property
    def measures(self) -> list[str]:
        """The benchmarks and, if there are several, their average."""
        return [*self.benchmarks, AVERAGE] if len(self.benchmarks) > 1 else self.benchmarks

    @property
    def by_tokens(self) -> bool:
        """Whether it ended once its tokens were spent, and was tested by them."""
        return self.config["training"].get("tokens") is not None

    @property
    def evaluated(self) -> FloatArray:
        """(n,) RL steps at which the run was tested, increasing, from 0."""
        return np.unique(self.evaluations["step"].to_numpy(dtype=np.float64))

    def curve(self, benchmark: str) -> FloatArray:
        """(n,) accuracy in [0, 1] at the steps of `evaluated`; AVERAGE weights benchmarks alike."""
        wide = self.evaluations.pivot(index="step", columns="benchmark", values="accuracy")
        column = wide.mean(axis=1) if benchmark == AVERAGE else wide[benchmark]
        return column.to_numpy(dtype=np.float64)

    def level(self, benchmark: str, window: int) -> float:
        """Mean accuracy of the last `window` tests, in [0, 1]: what 'final' means on every page.

        The start model's is none of them: a run by tokens whose steps are large has fewer tests.
        """
        return float(self.curve(benchmark)[1:][-window:].mean())


Group = dict[str, list[Run]]
"""The runs of each method, in the order of their seeds."""


def grouped(runs: Sequence[Run]) -> dict[tuple[str, str], Group]:
    """Runs by (model, dataset), then by method, in the order given; seeds ascending.

    Raises:
        DataError: two methods of a group were not run with the same seeds.
    """
    groups: dict[tuple[str, str], Group] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        groups.setdefault((run.model, run.dataset), {}).setdefault(run.method, []).append(run)
    order = {name: place for place, name in enumerate(dict.fromkeys(r.method for r in runs))}
    places = dict.fromkeys((run.model, run.dataset) for run in runs)
    ordered = {at: dict(sorted(groups[at].items(), key=lambda i: order[i[0]])) for at in places}
    for (model, dataset), methods in ordered.items():
        seeds = {method: [run.seed for run in found] for method, found in methods.items()}
        first = next(iter(seeds))
        for method, found in seeds.items():
            if found != seeds[first]:
                raise DataError(
                    f"{model}/{dataset}: {first} has seeds {seeds[first]}, {method} has {found}; "
                    "methods are compared seed by seed"
                )
    return ordered


# --- reading -------------------------------------------------------------------------------------


def collect(folders: Iterable[str | os.PathLike[str]]) -> list[Run]:
    """Read runs that are to be compared, in the order given.

    Raises:
        DataError: a run is unfinished or damaged (see `read_run`); two folders hold the same run;
            two runs of one model and data set differ in preset, training (but for the keys that
            one of two methods sets itself, `Run.overrides`), evaluation, evaluated steps, or the
            benchmarks' problems or samples.
    """
    return _compared([read_run(folder) for folder in folders])


def of_experiment(
    preset: Preset, layout: plan.Layout, experiment: str, keys: Iterable[plan.RunKey] | None = None
) -> list[Run]:
    """The runs of an experiment, or those of `keys`, on the benchmarks that it asks for.

    A run that is in several experiments was tested on what all of them ask for.

    Raises:
        DataError: a benchmark is missing, or as for `collect`.
    """
    found = []
    for key in plan.runs(preset, [experiment]) if keys is None else keys:
        run = read_run(layout.run(key))
        wanted = preset.tested_on(experiment, run.dataset)
        if missing := sorted({*wanted} - {*run.benchmarks}):
            raise DataError(f"{run.folder / files.TESTS}: no test on {', '.join(missing)}")
        chosen = run.evaluations[run.evaluations["benchmark"].isin(wanted)]
        found.append(replace(run, evaluations=chosen.reset_index(drop=True)))
    return _compared(found)


def _compared(runs: list[Run]) -> list[Run]:
    seen: dict[tuple[str, str, str, int], Run] = {}
    firsts: dict[tuple[str, str], dict[str, Run]] = {}  # of each method
    for run in runs:
        other = seen.setdefault((run.model, run.dataset, run.method, run.seed), run)
        if other is not run:
            raise DataError(f"{other.folder} and {run.folder} hold the same run")
        known = firsts.setdefault((run.model, run.dataset), {})
        same = known.get(run.method)
        for first in [same] if same else known.values():
            _check_comparable(first, run)
        known.setdefault(run.method, run)
    return runs


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Read and check one finished run.

    Raises:
        DataError: done.json is missing (the run is not finished), or a file is missing, torn or
            lacks a key; the message names the file and the key.
    """
    at = Path(folder)
    if not (at / files.DONE).exists():
        raise DataError(f"{at}: the run is not finished (no {files.DONE})")
    config = read_record(at / files.CONFIG, RunRecord)
    done = read_record(at / files.DONE, DoneRecord)
    length = done["steps"] if config["training"].get("tokens") else config["training"]["steps"]
    steps = _read_steps(at / files.STEPS, length)
    return Run(
        folder=at,
        model=config["model"],
        dataset=config["dataset"],
        method=config["method"],
        seed=config["seed"],
        label=config.get("label") or config["method"],
        config=config,
        steps=steps,
        timing=_read_timing(at / files.TIMING, length),
        evaluations=_read_evaluations(at / files.TESTS, length),
        final=done["final"],
        overlong=LeftOut(**done["overlong"]) if done.get("overlong") else None,
        redone=_read_redone(at / files.REDONE),
        prepared=_prepared(config, at),
    )


def _read_steps(path: Path, length: int) -> pd.DataFrame:
    frame = pd.DataFrame(read_rows(path, StepRecord))
    _check_steps(path, frame["step"].tolist(), length)
    frame["signal"] = frame["signal"].astype(float)  # null where a method measures none
    return frame


def _read_timing(path: Path, length: int) -> pd.DataFrame:
    # A resumed run times the steps after its checkpoint again: the last row is the one kept.
    latest = {row["step"]: row for row in read_rows(path, TimingRecord)}
    frame = pd.DataFrame([latest[step] for step in sorted(latest)])
    _check_steps(path, frame["step"].tolist(), length)
    return frame


def _read_redone(path: Path) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame()
    # A run that died right after it noted them notes them once more: such rows are equal.
    return pd.DataFrame(read_rows(path, RedoneRecord)).drop_duplicates(ignore_index=True)


def _prepared(config: dict[str, Any], at: Path) -> Prepared:
    noted = config.get("prepared")
    if noted is None and "difficulty" in config["slice"].get("inputs", {}):
        raise DataError(
            f"{at / files.CONFIG}: does not say how many tokens the measuring of its difficulties "
            "took; train the run again"
        )
    return Prepared(**(noted or {}))


def _read_evaluations(path: Path, length: int) -> pd.DataFrame:
    frame = pd.DataFrame(read_rows(path, TestRecord))
    repeated = frame.duplicated(["step", "benchmark"])
    if repeated.any():
        step, name = frame.loc[repeated, ["step", "benchmark"]].iloc[0]
        raise DataError(f"{path}: step {step} of '{name}' is there twice")
    if frame["benchmark"].eq(AVERAGE).any():
        raise DataError(f"{path}: a benchmark may not be called '{AVERAGE}'")
    tested = frame.groupby("benchmark")["step"].agg(set)
    for name, at in tested.items():
        if at != tested.iloc[0]:
            raise DataError(f"{path}: '{name}' and '{tested.index[0]}' have other steps")
    if frame["step"].min() != 0 or frame["step"].max() > length:
        raise DataError(f"{path}: tests must start at step 0 and end by step {length}")
    return frame.sort_values("step", kind="stable", ignore_index=True)


def _check_steps(path: Path, found: list[int], length: int) -> None:
    wanted = list(range(1, length + 1))
    if found == wanted:
        return
    wrong = next((f for f, w in zip(found, wanted, strict=False) if f != w), None)
    if wrong is not None:
        raise DataError(f"{path}: step {wrong} is out of place; steps run from 1 to {length}")
    # Of a run by tokens it is what done.json says.
    raise DataError(f"{path}: {len(found)} complete rows, but training.steps is {length}")


# --- comparing -----------------------------------------------------------------------------------


def _check_comparable(one: Run, other: Run) -> None:
    """Refuse two runs that differ in more than method and seed, and what methods set themselves.

    The number of steps is never one of those: curves are compared step by step. Those of runs by
    tokens are not, whose tests are not at the same steps: there `steps` is the most there may be.
    What is kept of a run (`keep_model: tested` differs by method) is nothing that it depends on.
    """
    both = f"{one.folder} and {other.folder} cannot be compared"
    if one.config["preset"] != other.config["preset"]:
        raise DataError(f"{both}: preset differs")
    own = {*one.overrides, *other.overrides} - {"steps"} if one.method != other.method else set()
    own |= {"keep_model", *(["steps"] if one.by_tokens and other.by_tokens else [])}
    for section, free in (("training", own), ("evaluation", set())):
        left, right = one.config[section], other.config[section]
        for key in sorted({*left, *right} - free):
            if key not in left or key not in right or left[key] != right[key]:
                values = f"{left.get(key)!r} and {right.get(key)!r}"
                raise DataError(f"{both}: {section}.{key} is {values}")
    if set(one.benchmarks) != set(other.benchmarks):
        raise DataError(f"{both}: benchmarks are {one.benchmarks} and {other.benchmarks}")
    if not one.by_tokens and not np.array_equal(one.evaluated, other.evaluated):
        steps = f"{_short(one.evaluated)} and {_short(other.evaluated)}"
        raise DataError(f"{both}: evaluated steps are {steps}")
    for key in ("problems", "samples"):
        if not _protocol(one, key).equals(_protocol(other, key)):
            raise DataError(f"{both}: {key} of the tests differ")


def _protocol(run: Run, key: str) -> pd.Series:
    if run.by_tokens:
        return run.evaluations.groupby("benchmark")[key].agg(lambda column: sorted({*column}))
    return run.evaluations.set_index(["step", "benchmark"])[key].sort_index()


def _short(steps: FloatArray) -> str:
    shown = [f"{step:g}" for step in steps]
    if len(shown) > 8:
        shown = [*shown[:3], "...", *shown[-2:]]
    return f"{', '.join(shown)} ({len(steps)} tests)"
