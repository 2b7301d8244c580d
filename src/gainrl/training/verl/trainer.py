"""The trainer of a run of our pipeline on verl: what the plug-in does, and its records.

Imported inside verl's TaskRunner. Every step appends the same record as the local backend does.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import register_trainer

from gainrl import curricula
from gainrl.config.training import Downsample
from gainrl.curricula import Setting
from gainrl.evaluation.accuracy import summary
from gainrl.records import append_lines, read_lines, write_text
from gainrl.records.runs import OverheadRecord, StepRecord, TimingRecord
from gainrl.training import files
from gainrl.training.algorithms.ppo import explained_variance
from gainrl.training.downsample import down_sample
from gainrl.training.rollouts import OldPolicy
from gainrl.training.steps import record_of
from gainrl.training.templates import Drawn
from gainrl.training.verl.answers import filled
from gainrl.training.verl.names import PARTITION, RUN_MODE, SECONDS
from gainrl.training.verl.plugin import CurriculumTrainer
from gainrl.training.verl.sampling import CurriculumLoader
from gainrl.training.verl.saving import Saving
from gainrl.training.verl.segments import SEGMENTS, Signal
from gainrl.training.verl.testing import answer_rows

LOSSES = {
    "loss": "actor/pg_loss",
    "kl": "actor/kl_loss",
    "grad_norm": "actor/grad_norm",
}
"""Our step record's keys, and verl's."""
AFTER = {"sync": "update_weights", "save": "save_checkpoint", "tests": "testing"}
"""What comes after an update, and verl's names for it."""


@register_trainer(RUN_MODE)
class RunTrainer(Saving, CurriculumTrainer):
    """The plug-in's trainer for a job that launch.py wrote; C is measured whoever reads it."""

    def _init_dataloader(self) -> None:
        self.job = json.loads(Path(self.config.gainrl.job).read_text(encoding="utf-8"))
        self.folder = Path(self.job["folder"])
        super()._init_dataloader()
        self.total_training_steps = self.job["steps"]
        self.steps_per_epoch = self.job["steps"] + 1

    def _curriculum_loader(self) -> CurriculumLoader:
        """The job's curriculum, over the training table's rows."""
        spec, seed = self.job["curriculum"], self.job["seed"]
        optional: dict[str, Any] = {
            name: None if spec[name] is None else np.array(spec[name])
            for name in ("order", "difficulty", "categories")
        }
        features, lengths = spec["features"], self.job["prompt_lengths"]
        setting = Setting(
            len(lengths[0]),
            self.config.data.train_batch_size,
            seed,
            rollouts=spec["rollouts"],
            features=features and {name: np.array(found) for name, found in features.items()},
            **optional,
        )
        self.bonus = self.job["format_weight"] > 0
        self.mini_prompts = self.job["mini_batch"]
        self.signal_of = Signal(**self.job["signal"])
        rows = enumerate(self.train_dataset.dataframe["extra_info"])
        return CurriculumLoader(
            self.train_dataset,
            curricula.build(spec["parts"], setting),
            {int(row["index"]): at for at, row in rows},
            {SEGMENTS: torch.tensor(self.job["segments"])},
            Drawn(len(lengths), setting.size, seed) if self.job["templates"] else None,
        )

    def on_init_end(self) -> None:
        """After a checkpoint was loaded."""
        super().on_init_end()
        if self.global_steps != self.job["resumed"]:
            raise RuntimeError(
                f"gainrl: verl goes on from step {self.global_steps}, and not from "
                f"{self.job['resumed']} as the run's records do"
            )
        self.replay_buffer.poll_interval = self.job["poll_interval"]
        # A checkpoint is written before its test: a run that was killed between owes that test.
        tested = [row["step"] for row in read_lines(self.folder / files.TESTS)]
        due = self.global_steps % self.config.trainer.test_freq == 0
        last = self.global_steps == self.job["steps"]
        self.config.trainer.val_before_train = (
            self.global_steps > 0 and (due or last) and self.global_steps not in tested
        )

    def on_train_begin(self) -> None:
        """Before the first step."""
        super().on_train_begin()
        self.began = time.time()

    def on_step_end(self) -> None:
        """Keep the weights of the steps that the preset's studies look at."""
        super().on_step_end()
        target = self.job["snapshots"].get(str(self.global_steps))
        if target is None:
            return
        saved = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        if not saved.exists():
            self._save_checkpoint()
        partial = Path(f"{target}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(saved / "actor" / "huggingface", partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)

    # --- the update ----------------------------------------------------------------------------

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        """As verl's, of the rollouts and tokens that `downsample` leaves."""
        self.sampled: dict[str, float] = {}
        if self.job["downsample"] is None:
            return super()._update_actor(batch, metrics)
        section = Downsample.model_validate(self.job["downsample"])
        progress = (self.global_steps - 1) / max(self.job["steps"] - 1, 1)
        fields = ["advantages", "entropy"]
        data = tq.kv_batch_get(keys=self.keys, partition_id=PARTITION, select_fields=fields)
        advantages = torch.stack([row[0] for row in data["advantages"].unbind()])
        entropy = torch.nested.to_padded_tensor(data["entropy"], 0.0)
        old = OldPolicy(np.zeros(len(self.trained.rows)), entropy, entropy)
        self.trained, self.sampled = down_sample(
            replace(self.trained, advantages=advantages), section, progress, lambda _: old
        )
        # verl's pass of the old log-probabilities, from which it is chosen, is over all of them.
        self.sampled["measured_rollout_tokens"] = int(self.trained.lengths.sum())
        part = self._part(batch)
        super()._update_actor(self._balance_batch(part, metrics), metrics)
        return batch

    def _part(self, batch: Any) -> Any:
        """The rollouts that are kept, with the mask of their tokens, in whole mini-batches.

        The others that fill up a mini-batch have no token in the loss. If nothing is kept, all
        advantages are 0; one rollout then keeps its tokens, for a loss over none is not a number.
        """
        kept, chosen = self.trained.tokens_in_loss > 0, self.trained.mask
        assert chosen is not None
        self._divide(max(int(kept.sum()), 1))
        mask = {
            key: row[:size].long()
            for key, row, size in zip(self.keys, chosen, self.trained.lengths, strict=True)
        }
        if not kept.any():
            mask[self.keys[0]] = torch.ones_like(mask[self.keys[0]])
        self._put(self.keys, response_mask=list(mask.values()), loss_mask=list(mask.values()))
        wanted = {key for key, row in mask.items() if row.any()}
        size = self.config.actor_rollout_ref.actor.ppo_mini_batch_size
        places = filled(np.array([key in wanted for key in batch.keys]), size)
        return KVBatchMeta(
            partition_id=PARTITION,
            keys=[batch.keys[k] for k in places],
            tags=[batch.tags[k] for k in places],
            extra_info=dict(batch.extra_info),
        )

    def _compute_metrics(
        self, batch: Any, metrics: dict[str, Any], timing_raw: dict[str, float], **named: Any
    ) -> None:
        """verl's; called when all of a step is over, its checkpoint and tests too."""
        super()._compute_metrics(batch, metrics, timing_raw, **named)
        note = Path(self.config.gainrl.job)  # written as verl is started
        first = self.global_steps == self.job["resumed"] + 1
        seconds = {"start": self.began - note.stat().st_mtime} if first else {}
        seconds |= {name: timing_raw[key] for name, key in AFTER.items() if key in timing_raw}
        row: dict[str, Any] = {f"seconds_{name}": float(each) for name, each in seconds.items()}
        reserved = float(np.max(metrics.get("perf/max_memory_reserved_gb", 0.0)))
        row |= {"gpu_mib": 1024 * reserved} if reserved else {}
        record = OverheadRecord(step=self.global_steps, **row)
        append_lines(self.folder / files.OVERHEADS, [record.row()])

    def _fields(self) -> list[str]:
        """More of each response: entropy, and what a critic says."""
        fields = ["entropy", *(["values", "returns"] if self.use_critic else [])]
        timed = [SECONDS] if "GAINRL_TIME_SIGNAL" in os.environ else []
        return [*super()._fields(), *fields, *timed]

    def _noted(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Append the step's record; what MLflow has of a run is read from there."""
        record = self._record()
        for key, theirs in LOSSES.items():
            record[key] = float(np.mean(metrics.get(theirs, 0.0)))
        if self.job["extra"]:
            record["jumped"] = int(self.global_steps % self.job["extra"]["rl"] == 0)
        if self.use_critic:
            record["value_loss"] = float(np.mean(metrics["critic/vf_loss"]))
        record["step"] = self.global_steps
        row = StepRecord.of(record, self.curriculum.metrics())
        append_lines(self.folder / files.STEPS, [row])
        return {key: value for key, value in row.items() if key != "step"}

    def _record(self) -> dict[str, Any]:
        """What the step record says of rollouts."""
        cut = [int(tokens[-1]) not in self.job["ends"] for tokens in self.rollouts.responses]
        lengths = np.array(self.job["prompt_lengths"])
        templates = self.train_dataloader.templates
        drawn = 0 if templates is None else templates.drawn
        record = record_of(
            self.rollouts,
            self.learned,
            self.signal,
            lengths[drawn, np.arange(lengths.shape[1])],
            cut,
            self.curriculum.whole_batches,
        )
        # Over tokens, as the local trainer's: verl's own metric is averaged as the loss is.
        run = np.flatnonzero(self.learned.tokens_in_loss)
        entropies = self.data["entropy"].unbind()
        total = sum(float(entropies[k].sum()) for k in run)
        record["entropy"] = total / max(int(self.learned.lengths[run].sum()), 1)
        if self.use_critic:
            values, returns = (torch.cat(self.data[key].unbind()) for key in ("values", "returns"))
            record["explained_variance"] = explained_variance(values, returns)
        return record | {**self.lost.record(), **self.sampled}

    def _timed(self, timing_raw: Mapping[str, float], seconds: float) -> None:
        """Append the step's seconds."""
        found = {f"seconds_{name}": float(value) for name, value in timing_raw.items()}
        rolled = found.pop("seconds_gen", 0.0)
        timed = self.data[SECONDS].unbind() if SECONDS in self._fields() else []
        found["seconds_signal"] = sum(row.item() for row in timed) / self._data_parallel()
        found |= {"seconds_rollout": rolled, "seconds_train": seconds - rolled}
        found |= {"seconds_step": seconds, "seconds_curriculum": self.choosing}
        timing = TimingRecord(step=self.global_steps, **found)
        append_lines(self.folder / files.TIMING, [timing.row()])

    def _validate(self) -> dict[str, float]:
        """verl's validation; its answers and their accuracy become our records."""
        self._lengths: list[int] = []
        sample = self.replay_buffer.sample

        def noting(*arguments: Any, **named: Any) -> Any:
            batch, metrics = sample(*arguments, **named)
            self._lengths += [int(tag["response_len"]) for tag in batch.tags]
            return batch, metrics

        self.replay_buffer.sample = noting
        try:
            return super()._validate()
        finally:
            self.replay_buffer.sample = sample

    def _maybe_log_val_generations(self, inputs: Any, outputs: Any, scores: Any) -> None:
        self._responses = list(outputs)

    def _val_metrics_update(
        self, data_sources: Any, sample_uids: Any, infos: Any, *rest: Any, **named: Any
    ) -> dict[str, float]:
        """One row a benchmark in eval.jsonl; the answers of the newest test in answers.jsonl."""
        asked: Counter[str] = Counter()
        for (name, _), count in named["expected_acc_counts"].items():
            asked[name] += count
        overlong = self.job["overlong"]
        answers = answer_rows(data_sources, self._responses, self._lengths, infos, asked, overlong)
        text = "".join(json.dumps(answer) + "\n" for answer in answers)
        write_text(self.folder / files.VERL / files.ANSWERS, text)
        frame = pd.DataFrame(answers)
        append_lines(
            self.folder / files.TESTS,
            [
                summary(frame[frame["benchmark"] == name], name, self.global_steps)
                for name in self.job["benchmarks"]
            ],
        )
        return super()._val_metrics_update(data_sources, sample_uids, infos, *rest, **named)


def config_of(job: dict[str, Any]) -> Any:
    """verl's whole configuration for a job, with `gainrl.job` added."""
    from hydra import compose, initialize_config_module

    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=job["overrides"])
    OmegaConf.set_struct(config, False)
    config.gainrl = {"job": str(Path(job["folder"]) / files.JOB)}
    return config
