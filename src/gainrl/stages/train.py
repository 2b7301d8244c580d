"""Evaluation of the start model and training runs of the local backend."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from gainrl import curricula, planning
from gainrl.config import Preset
from gainrl.curricula import Setting
from gainrl.data.prompts import Prompts
from gainrl.errors import ConfigError, DataError, ModelError
from gainrl.evaluation.accuracy import Benchmark, answer, summary
from gainrl.grading.maths import grade
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.planning import RunKey
from gainrl.records import (
    DIFFICULTY,
    ORDER,
    PROMPTS,
    SAMPLES,
    append_lines,
    read_json,
    read_lines,
    read_table,
    truncate_lines,
    write_json,
    write_table,
)
from gainrl.stages.common import Context, commit, render_prompts, versions
from gainrl.tracking import TrackedRun
from gainrl.training.local import checkpoint
from gainrl.training.local.loop import LocalTrainer


def load_benchmark(
    context: Context, model: str, name: str, network: Any, tokenizer: Any
) -> Benchmark:
    """Rendered held-out prompts of a data set."""
    path = context.layout.split(name, "eval")
    table = read_table(path, PROMPTS)
    if table.empty:
        raise DataError(f"{path}: no held-out prompts to test on")
    room = max_response(context.preset, model, name)
    prompts = render_prompts(
        context, tokenizer, model, name, table, network, segments=False, room=room
    )
    return Benchmark(name, prompts, list(table["answer"]))


def max_response(preset: Preset, model: str, dataset: str) -> int:
    """Longest answer in evaluation, in tokens."""
    return (
        preset.evaluation_for(dataset, model).max_response
        or preset.training_for(dataset, model).max_response
    )


def evaluate_start(context: Context, model: str, benchmark: str) -> None:
    """pass@1 of a model before RL; step 0 of every run that starts from it."""
    torch.set_num_threads(context.preset.threads)
    folder = context.layout.model(model)
    network = load_model(folder, dtype=context.preset.models[model].dtype)
    tokenizer = load_tokenizer(folder)
    loaded = load_benchmark(context, model, benchmark, network, tokenizer)
    settings = context.preset.evaluation_for(benchmark, model)
    samples = answer(
        network, tokenizer, loaded, settings, max_response(context.preset, model, benchmark)
    )
    target = context.layout.start(model, benchmark)
    result = summary(samples, benchmark, 0)
    write_table(target.with_suffix(".parquet"), samples, SAMPLES)
    run = context.track(
        "evaluate",
        f"evaluate {model} on {benchmark}",
        target.with_suffix(".tracking.json"),
        planning.evaluation_slice(context.preset, model, benchmark),
        tags={"gainrl.model": model, "gainrl.dataset": benchmark},
    )
    run.metrics([result])
    run.finish()
    write_json(target, result)
    print(f"{model} on {benchmark}: {100 * result['accuracy']:.1f}%")


class TrainingRun:
    """One (model, data, method, seed): its folder, its records, its trainer."""

    def __init__(self, context: Context, key: RunKey) -> None:
        self.context, self.key = context, key
        self.folder = context.layout.run(key)
        self.settings = context.preset.training_for(key.dataset, key.model)
        self.evaluation = context.preset.evaluation_for(key.dataset, key.model)
        self.method = context.preset.methods[key.method]
        if self.settings.backend != "local":
            raise ConfigError(
                f"training.backend: '{self.settings.backend}' is not part of this release; "
                "the local backend trains on one CPU or GPU"
            )
        self.slice = {
            **planning.run_slice(context.preset, key.model, key.dataset, key.method),
            "seed": key.seed,
            "inputs": self._inputs(),
        }
        self.config_hash = planning.digest(self.slice)
        self.steps, self.timing = self.folder / "steps.jsonl", self.folder / "timing.jsonl"
        self.tests, self.checkpoints = self.folder / "eval.jsonl", self.folder / "checkpoints"

    def _inputs(self) -> dict[str, str]:
        """Short hashes of everything the run reads."""
        layout, key = self.context.layout, self.key
        found = {
            "model": read_json(layout.model(key.model) / "gainrl.json")["weights"],
            "train": planning.file_digest(layout.split(key.dataset, "train")),
        }
        if self.method.order:
            path = layout.order(key.model, key.dataset, self.method.order)
            found["order"] = planning.digest(read_table(path, ORDER)["id"].tolist())
        if self.method.difficulty == "measured":
            path = layout.signals(key.model, key.dataset) / "difficulty.parquet"
            found["difficulty"] = planning.digest(read_table(path, DIFFICULTY).to_dict("list"))
        return found

    def execute(self) -> None:
        """Train, test, record; go on from the newest checkpoint if there is one.

        Raises:
            CheckpointError: the checkpoint belongs to another configuration.
            TrackingError: something was not recorded; all files but done.json are there, and the
                next call only records the rest.
        """
        torch.set_num_threads(self.context.preset.threads)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "done.json").unlink(missing_ok=True)
        state = checkpoint.load_latest(self.checkpoints, self.config_hash)
        self.tracked = self._track()
        self._write_run()
        self._build()
        if state is None:
            for path in (self.steps, self.timing, self.tests):
                path.unlink(missing_ok=True)
            for name in ("samples", "snapshots"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            self._test_start()
        else:
            self.trainer.load_state_dict(state)
            print(f"going on from step {self.trainer.step_number}", flush=True)
            for path in (self.steps, self.timing, self.tests):
                truncate_lines(path, self.trainer.step_number)
            self.tracked.metrics(read_lines(self.steps))
            for row in read_lines(self.tests):
                self._track_test(row)
        self._loop()
        self._finish()

    def _track(self) -> TrackedRun:
        key, preset = self.key, self.context.preset
        homes = planning.experiments_of(preset, key.model, key.dataset, key.method)
        tracked = self.context.track(
            "train",
            f"{key.method} seed{key.seed}",
            self.folder / "tracking.json",
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
        )
        path = self.context.layout.split(key.dataset, "train")
        tracked.dataset(
            key.dataset, planning.file_digest(path), path, len(read_table(path, PROMPTS))
        )
        return tracked

    def _write_run(self) -> None:
        key = self.key
        write_json(
            self.folder / "run.json",
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
                "training": self.slice["training"],
                "evaluation": self.slice["evaluation"],
                "slice": self.slice,
            },
        )

    def _build(self) -> None:
        key, layout = self.key, self.context.layout
        folder = layout.model(key.model)
        self.network, self.tokenizer = load_model(folder, trained=True), load_tokenizer(folder)
        table = read_table(layout.split(key.dataset, "train"), PROMPTS)
        prompts = render_prompts(
            self.context,
            self.tokenizer,
            key.model,
            key.dataset,
            table,
            self.network,
            room=self.settings.max_response,
        )
        self.benchmarks = [
            load_benchmark(self.context, key.model, name, self.network, self.tokenizer)
            for name in self.slice["benchmarks"]
        ]
        self.trainer = LocalTrainer(
            self.network,
            self.tokenizer,
            prompts,
            list(table["answer"]),
            self._curriculum(prompts),
            self.settings,
            key.seed,
            lambda response, gold: float(grade(response, gold).correct),
            self.context.preset.scoring,
        )

    def _curriculum(self, prompts: Prompts) -> curricula.Curriculum:
        key, layout, order, difficulty = self.key, self.context.layout, None, None
        if self.method.order:
            path = layout.order(key.model, key.dataset, self.method.order)
            order = _rows_of(prompts.ids, read_table(path, ORDER)["id"].tolist(), path)
        if self.method.difficulty == "measured":
            path = layout.signals(key.model, key.dataset) / "difficulty.parquet"
            table = read_table(path, DIFFICULTY)
            rows = _rows_of(prompts.ids, table["id"].tolist(), path)
            difficulty = np.empty(len(rows))
            difficulty[rows] = table["difficulty"].to_numpy()
        elif self.method.difficulty == "column":
            difficulty = _scaled_column(layout.split(key.dataset, "train"))
        return curricula.build(
            self.method.curriculum.name,
            self.method.curriculum.parameters,
            Setting(len(prompts.ids), self.settings.prompts, key.seed, order, difficulty),
        )

    def _test_start(self) -> None:
        for benchmark in self.benchmarks:
            path = self.context.layout.start(self.key.model, benchmark.name)
            row = read_json(path)
            append_lines(self.tests, [row])
            self._track_test(row)

    def _test(self, last: bool) -> None:
        for benchmark in self.benchmarks:
            settings = self.context.preset.evaluation_for(benchmark.name, self.key.model)
            limit = max_response(self.context.preset, self.key.model, benchmark.name)
            samples = answer(self.network, self.tokenizer, benchmark, settings, limit)
            row = summary(samples, benchmark.name, self.trainer.step_number)
            append_lines(self.tests, [row])
            self._track_test(row)
            print(f"  test {benchmark.name}: {100 * row['accuracy']:.1f}%", flush=True)
            if last:
                target = self.folder / "samples" / f"{benchmark.name}.parquet"
                write_table(target, samples, SAMPLES)

    def _track_test(self, row: dict[str, Any]) -> None:
        values = {k: v for k, v in row.items() if k != "benchmark"}
        self.tracked.metrics([values], prefix=f"eval/{row['benchmark']}/")

    def _loop(self) -> None:
        settings, pending = self.settings, []
        while self.trainer.step_number < settings.steps:
            record, seconds = self.trainer.step()
            step = self.trainer.step_number
            append_lines(self.steps, [record])
            append_lines(self.timing, [{"step": step, **seconds}])
            pending.append(record)
            warning = "  every group has zero variance" if record["zero_variance"] == 1 else ""
            print(
                f"step {step}/{settings.steps}  accuracy {record['accuracy']:.3f}  "
                f"C {record['signal']:.3f}  {seconds['seconds_step']:.2f} s{warning}",
                flush=True,
            )
            last = step == settings.steps
            if step in self.slice["snapshots"]:
                self._export(self.context.layout.snapshot(self.key, step))
            if step % self.evaluation.every == 0 or last:
                self._test(last)
            if step % settings.save_every == 0 or last:
                self.tracked.metrics(pending)
                pending = []
                saved = {**self.trainer.state_dict(), "config_hash": self.config_hash}
                checkpoint.save(self.checkpoints, step, saved)

    def _finish(self) -> None:
        rows, tests = read_lines(self.steps), read_lines(self.tests)
        idle = sum(row["zero_variance"] == 1 for row in rows)
        if idle:
            print(f"warning: in {idle} of {len(rows)} steps every group had zero variance")
        if self.settings.keep_model:
            self._export(self.folder / "model")
        for path in (self.steps, self.tests, self.folder / "run.json"):
            self.tracked.artifact(path)
        if self.method.order:
            key = self.key
            self.tracked.artifact(
                self.context.layout.order(key.model, key.dataset, self.method.order)
            )
        self.tracked.tag("gainrl.zero_variance_steps", str(idle))
        self.tracked.finish()
        final = {row["benchmark"]: row["accuracy"] for row in tests}
        write_json(
            self.folder / "done.json",
            {
                "final": final,
                "steps": len(rows),
                "zero_variance_steps": idle,
                "config_hash": self.config_hash,
            },
        )
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _export(self, target: Path) -> None:
        """The trained model as a Hugging Face folder."""
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.network.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            reason = getattr(error, "strerror", None) or error
            raise ModelError(f"{target}: cannot write the model: {reason}") from error


def _rows_of(ids: list[str], wanted: list[str], path: Path) -> np.ndarray:
    """Rows of the training table for the ids of another table, which must hold the same prompts."""
    where = {name: row for row, name in enumerate(ids)}
    if set(where) != set(wanted):
        odd = sorted(set(where) ^ set(wanted))[0]
        raise DataError(f"{path}: not of this training table (first difference: '{odd}')")
    return np.array([where[name] for name in wanted], dtype=np.int64)


def _scaled_column(path: Path) -> np.ndarray:
    """The data set's own difficulties, scaled linearly to [0, 100]."""
    table = read_table(path, PROMPTS)
    if "difficulty" not in table:
        raise DataError(f"{path}: no column 'difficulty'; use difficulty: measured")
    values = table["difficulty"].to_numpy(dtype=float)
    if np.isnan(values).any():
        row = int(np.isnan(values).argmax())
        raise DataError(f"{path}: row {row} has no 'difficulty'; use difficulty: measured")
    spread = values.max() - values.min()
    return 100 * (values - values.min()) / spread if spread else np.full(len(values), 50.0)
