"""Training runs of the local backend, in this process."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from gainrl import curricula
from gainrl.errors import ModelError
from gainrl.evaluation.accuracy import answer, summary
from gainrl.models.loading import device, load_model, load_tokenizer, pad_token
from gainrl.models.recast import recast
from gainrl.models.resources import keep_freed_memory
from gainrl.records import SAMPLES, read_lines, write_table
from gainrl.stages.common import render_prompts, render_templates, reward_for
from gainrl.stages.evaluate import load_benchmark, max_response
from gainrl.stages.runs import TrainingRun
from gainrl.training import algorithms, files
from gainrl.training.local import checkpoint
from gainrl.training.local.critic import Critic
from gainrl.training.local.loop import LocalTrainer
from gainrl.training.schedule import Schedule


class LocalRun(TrainingRun):
    """A run of the local trainer."""

    def prepare(self) -> int:
        """Read the newest checkpoint, and build everything that may be refused."""
        torch.set_num_threads(self.context.preset.threads)
        keep_freed_memory()
        self.state = checkpoint.load_latest(self.checkpoints, self.config_hash)
        self._build()
        return self.state["step"] if self.state else 0

    def train(self, resumed: int) -> None:
        """Train and test in this process."""
        if self.state:
            self.trainer.load_state_dict(self.state)
            del self.state  # as large as the model and its optimizer
        self._loop()
        if self.keeps_model:
            self._export(self.folder / files.MODEL, like=self.context.layout.model(self.start))

    def devices(self) -> dict[str, Any]:
        """The GPU, if there is one."""
        found = device().type == "cuda"
        return {"gpus": int(found), "gpu": torch.cuda.get_device_name() if found else None}

    def _build(self) -> None:
        key, layout = self.key, self.context.layout
        folder = layout.model(self.start)
        self.network, self.tokenizer = load_model(folder, trained=True), load_tokenizer(folder)
        table, room = self.data.table, self.settings.max_response
        asked = (self.context, self.tokenizer, key.model, key.dataset, table, self.network)
        prompts = render_prompts(*asked, room=room)
        rendered = render_templates(*asked, self.settings.templates, room)
        self.benchmarks = [
            load_benchmark(self.context, key.model, name, self.network.config, self.tokenizer)
            for name in self.slice["benchmarks"]
        ]
        algorithm, critic = algorithms.named(self.method.algorithm), None
        if algorithm.critic:
            pad = pad_token(self.network, self.tokenizer)
            critic = Critic(self.network, self.settings, self.context.preset.ppo, key.seed, pad)
        self.trainer = LocalTrainer(
            self.network,
            self.tokenizer,
            prompts,
            list(table["answer"]),
            curricula.build(self.method.curriculum.model_dump(), self.setting()),
            self.settings,
            key.seed,
            reward_for(self.context.preset, key.dataset),
            self.context.preset.scoring_for(key.method),
            rendered,
            algorithm,
            critic,
        )

    def _test(self, last: bool) -> None:
        for benchmark in self.benchmarks:
            settings = self.context.preset.evaluation_for(benchmark.name, self.key.model)
            limit = max_response(self.context.preset, self.key.model, benchmark.name)
            samples = answer(self.network, self.tokenizer, benchmark, settings, limit)
            row = summary(samples, benchmark.name, self.trainer.step_number)
            self.record_test(row)
            print(f"  test {benchmark.name}: {100 * row['accuracy']:.1f}%", flush=True)
            if last:
                target = self.folder / files.SAMPLES / f"{benchmark.name}.parquet"
                write_table(target, samples, SAMPLES)

    def _loop(self) -> None:
        settings, pending, saved_at = self.settings, [], time.monotonic()
        schedule, step = Schedule.of(settings, self.evaluation), self.trainer.step_number
        spent = sum(row["rollout_tokens"] for row in read_lines(self.steps))
        while not schedule.ends(step, spent):
            record, seconds = self.trainer.step()
            self.record_step(record, seconds)
            pending.append(record)
            step, before = self.trainer.step_number, spent
            spent += record["rollout_tokens"]
            last = schedule.ends(step, spent)
            if step in self.slice["snapshots"]:
                self._export(self.context.layout.snapshot(self.key, step))
            if schedule.tested(step, before, spent):
                self._test(last)
            minutes = (time.monotonic() - saved_at) / 60
            if step % settings.save_every == 0 or last or minutes >= settings.save_minutes:
                self.tracked.metrics(pending)
                pending = []
                saved = {**self.trainer.state_dict(), "config_hash": self.config_hash}
                checkpoint.save(self.checkpoints, step, saved)
                saved_at = time.monotonic()

    def _export(self, target: Path, like: Path | None = None) -> None:
        """The trained model as a Hugging Face folder, in the dtype of another one if given."""
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.trainer.trained_model().save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            if like:
                recast(partial, like)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            reason = getattr(error, "strerror", None) or error
            raise ModelError(f"{target}: cannot write the model: {reason}") from error
