"""The stage `train`, and what a run is, whichever backend trains it: folder, records, tracking."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from gainrl import plan
from gainrl.config import arithmetic
from gainrl.config.imported import imported
from gainrl.curricula import Setting
from gainrl.errors import ConfigError
from gainrl.models.imports import uncollected
from gainrl.owner import owned
from gainrl.plan import RunKey
from gainrl.plan.backends import KEY
from gainrl.records import (
    PROMPTS,
    append_lines,
    health,
    read_json,
    read_lines,
    read_table,
    truncate_lines,
    write_json,
)
from gainrl.records.runs import (
    DoneRecord,
    LeftOut,
    RedoneRecord,
    RunRecord,
    StepRecord,
    TestRecord,
    TimingRecord,
)
from gainrl.stages.common import Context, commit, versions
from gainrl.stages.settled import settled
from gainrl.stages.training_data import (
    TrainingData,
    input_digests,
    prepared_tokens,
    training_data,
)
from gainrl.tracking.journal import Tracked
from gainrl.tracking.names import of_test
from gainrl.training.files import (
    CHECKPOINTS,
    CONFIG,
    DONE,
    MODEL,
    OVERHEADS,
    OWNER,
    REDONE,
    SAMPLES,
    STEPS,
    TESTS,
    TIMING,
    TRACKING,
)
from gainrl.training.schedule import Schedule


def train(context: Context, keys: Sequence[RunKey]) -> None:
    """Train runs one after another, each with its backend.

    Snakemake takes away all done.json of a job that failed. Checkpoints stay until the last run is
    done, so that the next call goes on at the end of those that were.

    Raises:
        As `TrainingRun.execute`.
    """
    with uncollected():  # this imports what trains: torch, for the local backend
        trainers = {key: trainer_of(context, key) for key in keys}
    for key, trainer in trainers.items():
        trainer(context, key).execute()
    for key, trainer in trainers.items():
        trainer(context, key).clean()


def trainer_of(context: Context, key: RunKey) -> type[TrainingRun]:
    """What trains a run.

    Raises:
        ConfigError: it cannot be imported, or is no `TrainingRun`.
    """
    backend = plan.backend_of(context.preset, key.dataset, key.model)
    found = imported(backend.trainer, KEY)
    if not (isinstance(found, type) and issubclass(found, TrainingRun)):
        raise ConfigError(f"{KEY}: '{backend.trainer}' is no gainrl.stages.runs.TrainingRun")
    return found


class TrainingRun:
    """One (model, data, method, seed): its folder, its records, its MLflow run.

    A backend has a subclass with `train`; with `prepare`, if its runs can go on from a checkpoint;
    and with `devices`, if they use GPUs. What such a method finds: `context` and `key`; the name
    of its `start` model; `settings`, `evaluation`, `method`, the run's sections of the preset;
    `slice`, what it depends on, with `benchmarks` and `snapshots`; `data` and `setting()`; its
    `folder`, in which `checkpoints`.
    """

    def __init__(self, context: Context, key: RunKey) -> None:
        context, choice = settled(context, key)
        self.context, self.key = context, key
        self.folder = context.layout.run(key)
        self.start = context.preset.start_of(key.model, key.seed)
        self.settings = context.preset.training_for(key.dataset, key.model, key.method)
        self.evaluation = context.preset.evaluation_for(key.dataset, key.model)
        self.method = context.preset.methods[key.method]
        self.slice = {
            **plan.run_slice(context.preset, key.model, key.dataset, key.method),
            "seed": key.seed,
            "inputs": self._inputs(),
            **({"tuning": choice} if choice else {}),
        }
        self.keeps_model: bool = self.slice["training"]["keep_model"]
        self.config_hash = plan.digest(self.slice)
        self.steps, self.timing = self.folder / STEPS, self.folder / TIMING
        self.tests, self.checkpoints = self.folder / TESTS, self.folder / CHECKPOINTS

    def _inputs(self) -> dict[str, str]:
        """Short hashes of everything the run reads."""
        layout, key = self.context.layout, self.key
        found = {
            "model": read_json(layout.model_note(self.start))["weights"],
            "train": plan.file_digest(layout.prompts(self.start, key.dataset)),
        }
        return {**found, **input_digests(self.context, key)}

    def prepare(self) -> int:
        """Get ready to train, before anything is recorded.

        Returns:
            The step to go on from, that of the newest checkpoint, or 0.

        Raises:
            CheckpointError: the checkpoint belongs to another configuration.
        """
        return 0

    def train(self, resumed: int) -> None:
        """Train and test from step `resumed` to `settings.steps`, or, for a backend with the option
        `tokens`, until these are spent (`gainrl.training.schedule`).

        Every step goes to `record_step`, every test to `record_test` (a backend whose processes
        write these files themselves prints steps with `announce`); the answers of the last test to
        samples/BENCHMARK.parquet (`records.SAMPLES`); with `keeps_model`, the weights as a
        Hugging Face folder to model/. Tests are due every `evaluation.every` steps and at the last.

        Raises:
            BackendError: training failed.
        """
        raise NotImplementedError

    def devices(self) -> dict[str, Any]:
        """GPUs that the run is trained on: `gpus`, how many, and `gpu`, their kind if known."""
        return {"gpus": 0, "gpu": None}

    def execute(self) -> None:
        """Train, test, record; go on from the newest checkpoint if there is one.

        Raises:
            UserError: as `prepare` and `train`, or another process is at this run.
            TrackingError: something was not recorded; all files but done.json are there, and the
                next call only records the rest.
        """
        with owned(self.folder / OWNER):
            resumed = self.prepare()
            self._open(resumed)
            self.train(resumed)
            self._finish()

    def record_step(self, record: Mapping[str, Any], seconds: Mapping[str, float]) -> None:
        """Append a step to steps.jsonl and timing.jsonl (docs/files.md), and print it."""
        append_lines(self.steps, [StepRecord.model_validate(record).row()])
        append_lines(self.timing, [TimingRecord(step=record["step"], **seconds).row()])
        self.announce(record, seconds)

    def record_test(self, row: Mapping[str, Any]) -> None:
        """Append a test of a benchmark to eval.jsonl, and track it."""
        append_lines(self.tests, [TestRecord.model_validate(row).row()])
        self._track_test(row)

    def announce(self, record: Mapping[str, Any], seconds: Mapping[str, float]) -> None:
        """Print a step."""
        warning = "  every group has zero variance" if record["zero_variance"] == 1 else ""
        of = "" if self.settings.tokens else f"/{self.settings.steps}"
        print(
            f"step {record['step']}{of}  accuracy {record['accuracy']:.3f}  "
            f"C {record['signal']:.3f}  {seconds['seconds_step']:.2f} s{warning}",
            flush=True,
        )

    def _open(self, resumed: int) -> None:
        """Make the folder, open the MLflow run, say what the run is; drop what is done again."""
        (self.folder / DONE).unlink(missing_ok=True)
        lost = self._lost(resumed)
        if lost is None:
            (self.folder / REDONE).unlink(missing_ok=True)
        elif lost:
            append_lines(self.folder / REDONE, lost)
        self.tracked = self._track(resumed > 0)
        self._write_run()
        if resumed:
            print(f"going on from step {resumed}", flush=True)
            for path in (self.steps, self.timing, self.tests, self.folder / OVERHEADS):
                truncate_lines(path, resumed)
            self._track_records()
            return
        for path in (self.steps, self.timing, self.tests, self.folder / OVERHEADS):
            path.unlink(missing_ok=True)
        for name in (SAMPLES, MODEL, "snapshots", CHECKPOINTS):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in self.slice["benchmarks"]:
            self.record_test(read_json(self.context.layout.start(self.start, name)))

    def _lost(self, resumed: int) -> list[dict[str, Any]] | None:
        """Rows of redone.jsonl: steps that were taken before the run was interrupted.

        The step that it was in has no record, so nobody counts it. None where this is no such run:
        what lies there has another configuration, or had come to its end.
        """
        config, rows = self.folder / CONFIG, read_lines(self.steps)
        if not config.exists() or read_json(config)["config_hash"] != self.config_hash:
            return [] if resumed else None
        if not resumed and self._ended(rows):
            return None
        seconds = {row["step"]: row["seconds_step"] for row in read_lines(self.timing)}
        return [
            RedoneRecord.model_validate(
                {**row, "after": resumed, "seconds_step": seconds.get(row["step"])}
            ).row()
            for row in rows
            if row["step"] > resumed
        ]

    def _ended(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Whether steps are those of a whole run, which was tested after the last one."""
        ends = Schedule.of(self.settings, self.evaluation).ends
        if not rows or not ends(rows[-1]["step"], sum(row["rollout_tokens"] for row in rows)):
            return False
        tested = {
            row["benchmark"] for row in read_lines(self.tests) if row["step"] == rows[-1]["step"]
        }
        return tested >= {*self.slice["benchmarks"]}

    def _track(self, resumes: bool) -> Tracked:
        key, preset = self.key, self.context.preset
        homes = plan.experiments_of(preset, key.model, key.dataset, key.method)
        tracked = self.context.track(
            "train",
            f"{key.method} seed{key.seed}",
            self.folder / TRACKING,
            self.slice,
            experiment=homes[0],
            parent=key.parent,
            tags={
                "gainrl.model": key.model,
                "gainrl.dataset": key.dataset,
                "gainrl.method": key.method,
                "gainrl.seed": str(key.seed),
                "gainrl.experiments": ",".join(homes),
                **({"gainrl.start": self.start} if self.start != key.model else {}),
            },
            resumes=resumes,
        )
        path = self.context.layout.prompts(self.start, key.dataset)
        tracked.dataset(key.dataset, plan.file_digest(path), path, len(read_table(path, PROMPTS)))
        return tracked

    def _write_run(self) -> None:
        key = self.key
        record = RunRecord.model_validate(
            {
                "preset": self.context.preset.preset,
                "model": key.model,
                "dataset": key.dataset,
                "method": key.method,
                "seed": key.seed,
                "label": self.method.label,
                "config_hash": self.config_hash,
                "commit": commit(),
                "versions": versions(),
                "machine": self._machine(),
                "prepared": prepared_tokens(self.context, key),
                "training": self.slice["training"],
                "overrides": sorted(self.method.training.given),
                "evaluation": self.slice["evaluation"],
                "slice": self.slice,
            }
        )
        write_json(self.folder / CONFIG, record.row())

    @cached_property
    def data(self) -> TrainingData:
        """What the run is trained on."""
        return training_data(self.context, self.key)

    def setting(self) -> Setting:
        """What the curriculum is built for."""
        data = self.data
        size, batch = len(data.table), self.settings.prompts
        return Setting(
            size,
            batch,
            self.key.seed,
            data.order,
            data.difficulty,
            rollouts=self.settings.rollouts,
            categories=data.categories,
            features=data.features,
        )

    def _machine(self) -> dict[str, Any]:
        """What the run is trained on: platform, kind of processor, cores that it may use, GPUs."""
        found = {"platform": platform.platform(), "processor": arithmetic.processor()}
        return found | {"cores": len(os.sched_getaffinity(0)), **self.devices()}

    def _track_records(self) -> None:
        """Track what is recorded; what the store has already is left alone."""
        self.tracked.metrics(read_lines(self.steps))
        for row in read_lines(self.tests):
            self._track_test(row)

    def _track_test(self, row: Mapping[str, Any]) -> None:
        values = {k: v for k, v in row.items() if k != "benchmark"}
        self.tracked.metrics([values], prefix=of_test(row["benchmark"]))

    def _finish(self) -> None:
        rows, tests = read_lines(self.steps), read_lines(self.tests)
        idle = sum(row["zero_variance"] == 1 for row in rows)
        if idle:
            print(f"warning: in {idle} of {len(rows)} steps every group had zero variance")
        signs = health.signs(rows, tests, self.settings.tests)
        if said := health.reasons(signs):
            print(f"health: {health.light(signs)}: {said}", flush=True)
        self._track_records()
        for path in (self.steps, self.tests, self.folder / CONFIG):
            self.tracked.artifact(path)
        if order := plan.inputs_of(self.context.preset, self.context.layout, self.key).order:
            self.tracked.artifact(order)
        self.tracked.tag("gainrl.zero_variance_steps", str(idle))
        self.tracked.tag("gainrl.health", health.light(signs))
        self.tracked.tag("gainrl.health_reasons", health.reasons(signs))
        overlong = self._overlong()
        self.tracked.tag("gainrl.overlong_prompts", str(len(overlong.ids) if overlong else 0))
        self.tracked.finish()
        final = {row["benchmark"]: row["accuracy"] for row in tests}
        done = DoneRecord(
            final=final,
            steps=len(rows),
            zero_variance_steps=idle,
            config_hash=self.config_hash,
            **({"overlong": overlong} if overlong else {}),
        )
        write_json(self.folder / DONE, done.row())

    def _overlong(self) -> LeftOut | None:
        """The training prompts that were left out, if any."""
        note = read_json(self.context.layout.prompts_note(self.start, self.key.dataset))
        if not note["overlong"]:
            return None
        return LeftOut(prompts=note["prompts"], limit=note["limit"], ids=list(note["overlong"]))

    def clean(self) -> None:
        """Remove the checkpoints of a finished run."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
