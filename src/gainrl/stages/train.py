"""Training runs of the local backend, in this process."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError

from gainrl import curricula
from gainrl.errors import ModelError
from gainrl.evaluation.accuracy import answer, summary
from gainrl.models.loading import load_model, load_tokenizer, pad_token
from gainrl.models.resources import keep_freed_memory
from gainrl.plan import RunKey
from gainrl.records import SAMPLES, append_lines, read_lines, truncate_lines, write_table
from gainrl.stages.common import Context, render_prompts, render_templates, reward_for
from gainrl.stages.evaluate import load_benchmark, max_response
from gainrl.stages.runs import TrainingRun
from gainrl.training import files
from gainrl.training.local import checkpoint
from gainrl.training.local.critic import Critic
from gainrl.training.local.loop import LocalTrainer
from gainrl.training.local.ppo import PPOTrainer


def run_of(context: Context, key: RunKey) -> TrainingRun:
    """A run with the backend that its preset asks for."""
    if context.preset.training_for(key.dataset, key.model).backend == "verl":
        from gainrl.stages.train_verl import VerlRun

        return VerlRun(context, key)
    return LocalRun(context, key)


def train(context: Context, keys: Sequence[RunKey]) -> None:
    """Train runs one after another.

    Snakemake takes away all done.json of a job that failed. Checkpoints stay until the last run is
    done, so that the next call goes on at the end of those that were.

    Raises:
        As `execute` of a run.
    """
    for key in keys:
        run_of(context, key).execute()
    for key in keys:
        run_of(context, key).clean()


class LocalRun(TrainingRun):
    """A run of the local trainer."""

    def execute(self) -> None:
        """Train, test, record; go on from the newest checkpoint if there is one.

        Raises:
            CheckpointError: the checkpoint belongs to another configuration.
            TrackingError: something was not recorded; all files but done.json are there, and the
                next call only records the rest.
        """
        torch.set_num_threads(self.context.preset.threads)
        keep_freed_memory()
        state = checkpoint.load_latest(self.checkpoints, self.config_hash)
        self._open(resumes=state is not None)
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
        if self.settings.keep_model:
            self._export(self.folder / files.MODEL)
        self._finish()

    def _build(self) -> None:
        key, layout = self.key, self.context.layout
        folder = layout.model(key.model)
        self.network, self.tokenizer = load_model(folder, trained=True), load_tokenizer(folder)
        table, room = self.data.table, self.settings.max_response
        asked = (self.context, self.tokenizer, key.model, key.dataset, table, self.network)
        prompts = render_prompts(*asked, room=room)
        rendered = render_templates(*asked, self.settings.templates, room)
        self.benchmarks = [
            load_benchmark(self.context, key.model, name, self.network, self.tokenizer)
            for name in self.slice["benchmarks"]
        ]
        given = (
            self.network,
            self.tokenizer,
            prompts,
            list(table["answer"]),
            curricula.build(self.method.curriculum.model_dump(), self.setting()),
            self.settings,
            key.seed,
            reward_for(self.context.preset, key.dataset),
            self.context.preset.scoring_for(key.method),
        )
        ppo = self.context.preset.ppo_for(key.method)
        if ppo is None:
            self.trainer = LocalTrainer(*given, renderings=rendered)
        else:
            pad = pad_token(self.network, self.tokenizer)
            critic = Critic(self.network, self.settings, ppo, key.seed, pad)
            self.trainer = PPOTrainer(*given, renderings=rendered, critic=critic)

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
                target = self.folder / files.SAMPLES / f"{benchmark.name}.parquet"
                write_table(target, samples, SAMPLES)

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
