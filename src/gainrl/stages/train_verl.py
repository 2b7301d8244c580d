"""Training runs on verl: our settings in, our records out."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import AutoConfig

from gainrl import curricula
from gainrl.config.imported import absolute
from gainrl.data import registry
from gainrl.data.prompts import Prompts
from gainrl.data.templates import dated
from gainrl.errors import BackendError, CheckpointError, DataError, ModelError
from gainrl.evaluation.samples import Benchmark, prompt_hash
from gainrl.models import shapes
from gainrl.models.known import Architecture
from gainrl.models.loading import folder_ends, load_tokenizer
from gainrl.models.recast import recast
from gainrl.records import (
    PROMPTS,
    SAMPLES,
    read_lines,
    read_table,
    write_table,
    write_text,
)
from gainrl.stages.common import (
    grader_for,
    problem_limit,
    render_each,
    render_tests,
    renderer_for,
    verl_python,
)
from gainrl.stages.evaluate import max_response
from gainrl.stages.runs import TrainingRun
from gainrl.training import algorithms, files
from gainrl.training.verl import launch, saving, settings
from gainrl.training.verl.segments import Signal, segments_of

POLL_SECONDS = 0.2


class VerlRun(TrainingRun):
    """A run of verl's trainer, in verl's own environment."""

    def prepare(self) -> int:
        """Find verl's newest checkpoint and write what verl reads."""
        self.python = verl_python(self.context.preset)
        resumed = self._newest()
        self._check_jumps(resumed)
        saving.prune(self.checkpoints, keep=1)
        self.job = self._job(resumed)
        return resumed

    def train(self, resumed: int) -> None:
        """Have verl train and test.

        Raises:
            BackendError: verl failed, or made no step for `verl.patience` seconds.
        """
        self.printed, self.last = resumed, self.settings.steps
        write_text(self.checkpoints / "config_hash", self.config_hash)
        verl = self.context.preset.verl
        exported = sorted({*self.slice["snapshots"], *[self.last] * self.keeps_model})
        variables = {"GAINRL_EXPORTS": json.dumps(exported), **verl.variables}
        if self.settings.lr_schedule != "constant":
            rate = [self.settings.lr_schedule, self.settings.steps]
            variables["GAINRL_RATE"] = json.dumps(rate)
        if self.settings.extra:
            variables["GAINRL_EXTRA"] = self.settings.extra.model_dump_json()
        if not self._complete():  # else only something after the last test failed
            shape = (verl.nodes, verl.gpus_per_node)
            launch.run(self.python, self.job, variables, verl.patience, *shape, self._follow)
            self._follow()
        if not self._complete():
            raise BackendError(f"{self.folder / 'verl.log'}: verl ended before the last test")
        self._collect()

    def devices(self) -> dict[str, Any]:
        """The GPUs that the preset gives a run; their kind is known to verl alone."""
        verl = self.context.preset.verl
        gpus = verl.nodes * verl.gpus_per_node if verl.environment != "cpu" else 0
        return {"gpus": gpus, "gpu": None}

    def _check_jumps(self, resumed: int) -> None:
        """Refuse a checkpoint between two jumps: it lacks the weights that the next one is from."""
        extra = self.settings.extra
        if extra and resumed % extra.rl and resumed != self.settings.steps:
            raise CheckpointError(
                f"{self.checkpoints}: step {resumed} is no multiple of training.extra.rl "
                f"({extra.rl}); delete it to start this run anew"
            )

    def _newest(self) -> int:
        """Step of verl's newest complete checkpoint, or 0."""
        note, pointer = self.checkpoints / "config_hash", self.checkpoints / saving.NEWEST
        if not pointer.exists():
            return 0
        text, found = pointer.read_text(encoding="ascii"), note.read_text(encoding="ascii")
        if found != self.config_hash:
            raise CheckpointError(
                f"{self.checkpoints}: written under another configuration ({found}, now "
                f"{self.config_hash}); delete it to start this run anew"
            )
        if not text.isdecimal() or not (self.checkpoints / f"global_step_{text}").is_dir():
            raise CheckpointError(f"{pointer}: damaged; delete {self.checkpoints} to start anew")
        return int(text)

    def _input(self, name: str) -> Path:
        return (self.folder / files.VERL / name).absolute()

    def _job(self, resumed: int) -> dict[str, Any]:
        """Write what verl reads; returns the job for `entry`."""
        key, layout, preset = self.key, self.context.layout, self.context.preset
        folder = layout.model(self.start).absolute()
        tokenizer = load_tokenizer(folder)
        config = AutoConfig.from_pretrained(folder)
        benchmarks = list(self.slice["benchmarks"])
        place = settings.place_of(self.folder, folder, benchmarks)
        renderings = self._write_train(place.train, tokenizer, config)
        scoring = preset.scoring_for(key.method)
        self.prompts: dict[str, str] = {}
        tests = {
            name: self._write_test(name, target, tokenizer, config)
            for name, target in zip(benchmarks, place.tests, strict=True)
        }
        setting = self.setting()
        parts = self.method.curriculum.model_dump()
        curricula.build(parts, setting)  # an error here, not in verl
        overrides = settings.overrides(
            preset.verl,
            self.settings,
            self.evaluation,
            place,
            algorithms.named(self.method.algorithm),
            preset.ppo,
            key.seed,
            export=self._exports(),
            architecture=self._architecture(folder),
            context=getattr(config.get_text_config(), "max_position_embeddings", None),
            arguments=dated(tokenizer.chat_template, preset.models[key.model].template_arguments),
            longest_problem=max(
                len(test.prompts.tokens[row]) for test in tests.values() for row in test.asked
            ),
            longest_answer=max(max_response(preset, key.model, name) for name in benchmarks),
        )
        return {
            "folder": str(self.folder.absolute()),
            "overrides": overrides,
            "seed": key.seed,
            "steps": self.settings.steps,
            "save_seconds": 60 * self.settings.save_minutes,
            "resumed": resumed,
            "extra": self.settings.extra.model_dump() if self.settings.extra else None,
            "snapshots": {
                str(step): str(layout.snapshot(key, step).absolute())
                for step in self.slice["snapshots"]
            },
            "poll_interval": POLL_SECONDS,
            "benchmarks": benchmarks,
            "overlong": {
                name: [test.prompts.ids[row] for row in test.overlong]
                for name, test in tests.items()
            },
            "ends": sorted(folder_ends(folder, tokenizer)),
            "signal": asdict(
                Signal(scoring.tap, scoring.inter_weight, scoring.variant == "offdiagonal")
            ),
            "segments": segments_of(renderings).tolist(),
            "prompt_lengths": [prompts.lengths.tolist() for prompts in renderings],
            "templates": bool(self.settings.templates),
            "format_weight": self.settings.format_weight,
            "mini_batch": self.settings.mini_batch,
            "downsample": self.settings.downsample and self.settings.downsample.model_dump(),
            "curriculum": {
                "parts": parts,
                "order": _listed(setting.order),
                "difficulty": _listed(setting.difficulty),
                "categories": _listed(setting.categories),
                "rollouts": setting.rollouts,
                "features": setting.features
                and {name: _listed(values) for name, values in setting.features.items()},
            },
        }

    def _write_train(self, target: Path, tokenizer: Any, config: Any) -> list[Prompts]:
        """The training table for verl; returns its renderings, one for each template."""
        key, preset, room = self.key, self.context.preset, self.settings.max_response
        table, spec = self.data.table, preset.datasets[key.dataset]
        ids, questions = list(table["id"]), list(table["question"])
        renderer = renderer_for(preset, tokenizer, key.model, key.dataset, config, room=room)
        templates = self.settings.templates or (spec.prompt,)
        if self.settings.templates:
            renderings = render_each(renderer, templates, ids, questions)
        else:
            renderings = [renderer.encode(ids, questions)]
        golds = list(table["answer"])
        grader = self._grader(key.dataset)
        launch.write_prompts(
            target, key.dataset, ids, questions, golds, templates, spec.system, grader
        )
        return renderings

    def _exports(self) -> bool:
        """Whether weights are wanted as a Hugging Face folder, at some step."""
        return self.keeps_model or bool(self.slice["snapshots"])

    def _architecture(self, folder: Path) -> Architecture | None:
        """By which memory is divided; None, and a line, for a kind that cannot be counted."""
        try:
            return shapes.of_folder(folder, self.key.model)
        except ModelError as error:
            print(f"memory of GPUs is not fitted to the model: {error}", flush=True)
            return None

    def _grader(self, dataset: str) -> dict[str, Any]:
        preset = self.context.preset
        spec, sandbox = preset.datasets[dataset], preset.sandbox.model_dump(mode="json")
        found = {"name": absolute(registry.grader_of(spec)), "sandbox": sandbox}
        return found | ({"answer_in": spec.answer_in} if spec.answer_in else {})

    def _write_test(self, name: str, target: Path, tokenizer: Any, config: Any) -> Benchmark:
        """Write the problems that verl asks; those that are too long are wrong without it."""
        preset, model = self.context.preset, self.key.model
        path = self.context.layout.split(name, "eval")
        table = read_table(path, PROMPTS)
        if table.empty:
            raise DataError(f"{path}: no held-out prompts to test on")
        prompts = render_tests(preset, tokenizer, model, name, table, config)
        self.prompts.update(zip(prompts.ids, map(prompt_hash, prompts.tokens), strict=True))
        room, spec = max_response(preset, model, name), preset.datasets[name]
        limit = problem_limit(preset, model, name, config, room)
        test = Benchmark(name, prompts, list(table["answer"]), grader_for(preset, name), limit)
        asked = table.iloc[test.asked]
        ids, questions, golds = (list(asked[each]) for each in ("id", "question", "answer"))
        grader, own = self._grader(name), preset.evaluation_for(name, model)
        sampled = launch.TestSettings(own.samples, own.temperature, own.top_p, room)
        launch.write_prompts(
            target, name, ids, questions, golds, [spec.prompt], spec.system, grader, sampled
        )
        return test

    def _complete(self) -> bool:
        """Whether the last step was made, saved and tested."""
        tested = [row["benchmark"] for row in read_lines(self.tests) if row["step"] == self.last]
        return self._newest() == self.last and set(tested) == set(self.slice["benchmarks"])

    def _follow(self) -> None:
        """Print new steps and tests; track those that no resumed run will do again."""
        seconds = {row["step"]: row for row in read_lines(self.timing)}
        for record in read_lines(self.steps):
            step = record["step"]
            if step <= self.printed or step not in seconds:
                continue
            self.printed = step
            self.announce(record, seconds[step])
        pointer = self.checkpoints / saving.NEWEST
        text = pointer.read_text(encoding="ascii") if pointer.exists() else ""
        if text.isdecimal():
            self._track_until(int(text))

    def _track_until(self, step: int) -> None:
        self.tracked.metrics([row for row in read_lines(self.steps) if row["step"] <= step])
        for row in read_lines(self.tests):
            if row["step"] <= step:
                self._track_test(row)

    def _collect(self) -> None:
        """The last test's answers as sample tables, and the trained model."""
        answers = pd.DataFrame(read_lines(self._input(files.ANSWERS)))
        answers = answers.sort_values(["id", "sample"])
        answers["prompt"] = answers["id"].map(self.prompts)
        for name, rows in answers.groupby("benchmark"):
            rows = rows.drop(columns="benchmark").reset_index(drop=True)
            write_table(self.folder / files.SAMPLES / f"{name}.parquet", rows, SAMPLES)
        if self.keeps_model:
            newest = self.checkpoints / f"global_step_{self.last}" / "actor" / "huggingface"
            target = self.folder / files.MODEL
            if newest.exists():  # else it was moved before something else failed
                recast(newest, self.context.layout.model(self.start))
                shutil.rmtree(target, ignore_errors=True)
                os.replace(newest, target)


def _listed(values: np.ndarray | None) -> list[Any] | None:
    return None if values is None else values.tolist()
