"""What a training run is, whichever backend trains it: its folder, records and tracking."""

from __future__ import annotations

import shutil
from functools import cached_property
from typing import Any

from gainrl import plan
from gainrl.curricula import Setting
from gainrl.plan import RunKey
from gainrl.records import PROMPTS, append_lines, read_json, read_lines, read_table, write_json
from gainrl.records.runs import DoneRecord, RunRecord
from gainrl.stages.common import Context, commit, machine, versions
from gainrl.stages.training_data import TrainingData, input_digests, training_data
from gainrl.tracking.record import TrackedRun
from gainrl.training.files import CHECKPOINTS, CONFIG, DONE, STEPS, TESTS, TIMING, TRACKING


class TrainingRun:
    """One (model, data, method, seed): its folder, its records, its MLflow run."""

    def __init__(self, context: Context, key: RunKey) -> None:
        self.context, self.key = context, key
        self.folder = context.layout.run(key)
        self.settings = context.preset.training_for(key.dataset, key.model, key.method)
        self.evaluation = context.preset.evaluation_for(key.dataset, key.model)
        self.method = context.preset.methods[key.method]
        self.slice = {
            **plan.run_slice(context.preset, key.model, key.dataset, key.method),
            "seed": key.seed,
            "inputs": self._inputs(),
        }
        self.config_hash = plan.digest(self.slice)
        self.steps, self.timing = self.folder / STEPS, self.folder / TIMING
        self.tests, self.checkpoints = self.folder / TESTS, self.folder / CHECKPOINTS

    def _inputs(self) -> dict[str, str]:
        """Short hashes of everything the run reads."""
        layout, key = self.context.layout, self.key
        found = {
            "model": read_json(layout.model_note(key.model))["weights"],
            "train": plan.file_digest(layout.split(key.dataset, "train")),
        }
        return {**found, **input_digests(self.context, key)}

    def execute(self) -> None:
        """Train, test, record."""
        raise NotImplementedError

    def _open(self, resumes: bool) -> None:
        """Make the folder, open the MLflow run, say what the run is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / DONE).unlink(missing_ok=True)
        self.tracked = self._track(resumes)
        self._write_run()

    def _track(self, resumes: bool) -> TrackedRun:
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
            },
            resumes=resumes,
        )
        path = self.context.layout.split(key.dataset, "train")
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
                "machine": machine(self.context.preset, self.settings.backend),
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

    def _test_start(self) -> None:
        for name in self.slice["benchmarks"]:
            path = self.context.layout.start(self.key.model, name)
            row = read_json(path)
            append_lines(self.tests, [row])
            self._track_test(row)

    def _track_test(self, row: dict[str, Any]) -> None:
        values = {k: v for k, v in row.items() if k != "benchmark"}
        self.tracked.metrics([values], prefix=f"eval/{row['benchmark']}/")

    def _finish(self) -> None:
        rows, tests = read_lines(self.steps), read_lines(self.tests)
        idle = sum(row["zero_variance"] == 1 for row in rows)
        if idle:
            print(f"warning: in {idle} of {len(rows)} steps every group had zero variance")
        for path in (self.steps, self.tests, self.folder / CONFIG):
            self.tracked.artifact(path)
        if order := plan.inputs_of(self.context.preset, self.context.layout, self.key).order:
            self.tracked.artifact(order)
        self.tracked.tag("gainrl.zero_variance_steps", str(idle))
        self.tracked.finish()
        final = {row["benchmark"]: row["accuracy"] for row in tests}
        done = DoneRecord(
            final=final,
            steps=len(rows),
            zero_variance_steps=idle,
            config_hash=self.config_hash,
        )
        write_json(self.folder / DONE, done.row())

    def clean(self) -> None:
        """Remove the checkpoints of a finished run."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
