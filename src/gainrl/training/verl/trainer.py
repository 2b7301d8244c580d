"""verl trainer plugin: batches come from a curriculum, which then sees what became of them.

Imported inside verl's TaskRunner. The curriculum's state is saved in verl's checkpoint (data.pt),
and every step appends the same record as the local backend does.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer
from verl.utils import tensordict_utils as tu
from verl.utils.debug import marked_timer

from gainrl import curricula
from gainrl.config.training import Downsample
from gainrl.curricula import Outcome, Setting
from gainrl.evaluation.accuracy import summary
from gainrl.records import append_lines, read_lines, write_text
from gainrl.records.runs import OverheadRecord, StepRecord, TimingRecord
from gainrl.training import files
from gainrl.training.algorithms.ppo import explained_variance
from gainrl.training.downsample import down_sample
from gainrl.training.rollouts import OldPolicy, by_group, collect
from gainrl.training.steps import outcome_of, record_of
from gainrl.training.templates import Drawn
from gainrl.training.verl.answers import Lost, Sampled, filled, mini_batch
from gainrl.training.verl.engine import FIELD, SECONDS
from gainrl.training.verl.sampling import PARTITION, CurriculumLoader
from gainrl.training.verl.saving import Saving
from gainrl.training.verl.testing import answer_rows

MODE = "gainrl"
LOSSES = {
    "loss": "actor/pg_loss",
    "kl": "actor/kl_loss",
    "grad_norm": "actor/grad_norm",
}
"""Our step record's keys, and verl's."""
AFTER = {"sync": "update_weights", "save": "save_checkpoint", "tests": "testing"}
"""What comes after an update, and verl's names for it."""


@register_trainer(MODE)
class CurriculumTrainer(Saving, PPOTrainerSync):
    """verl's synchronous trainer with a curriculum in place of its sampler."""

    @property
    def trainer_mode(self) -> str:
        """verl compares this name with 'sync' in several places."""
        return "sync"

    @trainer_mode.setter
    def trainer_mode(self, _name: str) -> None:
        pass

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        self.job = json.loads(Path(self.config.gainrl.job).read_text(encoding="utf-8"))
        self.folder = Path(self.job["folder"])
        spec = self.job["curriculum"]
        optional: dict[str, Any] = {
            name: None if spec[name] is None else np.array(spec[name])
            for name in ("order", "difficulty", "categories")
        }
        features = spec["features"]
        setting = Setting(
            len(self.job["prompt_lengths"][0]),
            self.config.data.train_batch_size,
            self.job["seed"],
            rollouts=spec["rollouts"],
            features=features and {name: np.array(found) for name, found in features.items()},
            **optional,
        )
        self.curriculum = curricula.build(spec["parts"], setting)
        count = len(self.job["prompt_lengths"])
        templates = Drawn(count, setting.size, self.job["seed"]) if self.job["templates"] else None
        self.train_dataloader = CurriculumLoader(self.train_dataset, self.curriculum, templates)
        self.replay_buffer.loader = self.train_dataloader
        self.replay_buffer.gather = self._gather
        self.total_training_steps = self.job["steps"]
        self.steps_per_epoch = self.job["steps"] + 1

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

    # --- rolling out ---------------------------------------------------------------------------

    def prepare_step(self) -> dict[str, Any]:
        """Nothing: prompts are rolled out when the sampler is asked for a batch."""
        return {}

    def _next_train_batch(self, num_prompts: int | None = None) -> Any:
        """What the curriculum asks for: one batch of the loader, however many prompts it has."""
        batch = self._fetch_one_gen_batch()
        self.train_dataloader.uids = list(batch["uid"])
        tu.assign_non_tensor_data(batch, "global_steps", self.global_steps)
        return batch

    def _gather(self) -> list[str]:
        """Ask the curriculum until the step has enough; the keys of what it admits."""
        began, rolled = time.perf_counter(), self.replay_buffer.seconds
        if self.train_dataloader.templates is not None:
            self.train_dataloader.templates.next()
        self.lost, made = Lost(), []

        def fresh() -> Sampled:
            bonus = self.job["format_weight"] > 0
            made.append(Sampled(self.replay_buffer.roll_out, bonus, self.lost))
            return made[-1]

        self.rollouts = collect(self.curriculum, fresh)
        self.trained = self.rollouts.trained
        self.sampled: dict[str, float] = {}
        self.keys = made[0].keys_of(self.trained)
        self._name_groups()
        self._divide(len(self.keys))
        rolled = self.replay_buffer.seconds - rolled
        self.choosing = time.perf_counter() - began - rolled
        return self.keys

    def _name_groups(self) -> None:
        """One uid a group, by which verl compares rewards: each request had one of its own."""
        uids = np.array([key.split("_")[0] for key in self.keys], dtype=object)
        first = np.repeat(uids[self.trained.starts], self.trained.sizes)
        other = np.flatnonzero(uids != first)
        if len(other):
            fields = tu.get_tensordict({"uid": first[other].tolist()})
            keys = [self.keys[k] for k in other]
            tq.kv_batch_put(keys=keys, partition_id=PARTITION, fields=fields)

    def _divide(self, sequences: int) -> None:
        """Size mini-batches for groups of any sizes: as many updates as the preset says.

        verl multiplies prompts by rollouts to get sequences; this configuration is the trainer's
        own, the workers have theirs.
        """
        prompts = self.job["mini_batch"] or len(self.trained.rows)
        updates = -(-len(self.trained.rows) // prompts)
        size = mini_batch(sequences, updates, self._data_parallel())
        self.config.actor_rollout_ref.rollout.n = 1
        self.config.actor_rollout_ref.actor.ppo_mini_batch_size = size
        self.config.critic.ppo_mini_batch_size = size

    # --- the update ----------------------------------------------------------------------------

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        """As verl's, but 0 for a response that is alone in its group: nothing compares with it."""
        batch = super()._compute_advantage(batch, metrics)
        alone = np.repeat(self.trained.sizes == 1, self.trained.sizes)
        if alone.any() and not self.use_critic:
            keys = [self.keys[k] for k in np.flatnonzero(alone)]
            data = tq.kv_batch_get(keys=keys, partition_id=PARTITION, select_fields=["advantages"])
            zero = [torch.zeros_like(row) for row in data["advantages"].unbind()]
            self._put(keys, advantages=zero)
        return batch

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        """As verl's, of the rollouts and tokens that `downsample` leaves."""
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

    def _put(self, keys: list[str], **fields: list[torch.Tensor]) -> None:
        """Write a tensor a response to TransferQueue."""
        nested = {
            name: torch.nested.as_nested_tensor(rows, layout=torch.jagged)
            for name, rows in fields.items()
        }
        content = TensorDict(nested, batch_size=len(keys))
        tq.kv_batch_put(keys=keys, partition_id=PARTITION, fields=content)

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

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> Any:
        """One RL step; afterwards the curriculum observes it and it is recorded."""
        began = time.perf_counter()
        batch = super().step(metrics, timing_raw)
        with marked_timer("gainrl", timing_raw):
            outcome, record = self._outcome()
            observed = time.perf_counter()
            self.curriculum.observe(outcome)
            choosing = self.choosing + time.perf_counter() - observed
            for key, theirs in LOSSES.items():
                record[key] = float(np.mean(metrics.get(theirs, 0.0)))
            if self.job["extra"]:
                record["jumped"] = int(self.global_steps % self.job["extra"]["rl"] == 0)
            if self.use_critic:
                record["value_loss"] = float(np.mean(metrics["critic/vf_loss"]))
            record["step"] = self.global_steps
            row = StepRecord.of(record, self.curriculum.metrics())
            append_lines(self.folder / files.STEPS, [row])
        seconds = {f"seconds_{name}": float(value) for name, value in timing_raw.items()}
        rolled = seconds.pop("seconds_gen", 0.0)
        whole = time.perf_counter() - began
        seconds["seconds_signal"] = self.signal_seconds
        seconds |= {"seconds_rollout": rolled, "seconds_train": whole - rolled}
        seconds |= {"seconds_step": whole, "seconds_curriculum": choosing}
        timing = TimingRecord(step=self.global_steps, **seconds)
        append_lines(self.folder / files.TIMING, [timing.row()])
        metrics.update({f"gainrl/{key}": value for key, value in row.items() if key != "step"})
        return batch

    def _outcome(self) -> tuple[Outcome, dict[str, Any]]:
        """What the curriculum learns of the step, and the step's record."""
        fields = ["advantages", "entropy", FIELD]
        fields += ["values", "returns"] if self.use_critic else []
        fields += [SECONDS] if "GAINRL_TIME_SIGNAL" in os.environ else []
        data = tq.kv_batch_get(keys=self.keys, partition_id=PARTITION, select_fields=fields)
        advantages = torch.stack([row.abs().mean() for row in data["advantages"].unbind()])
        trained = replace(self.trained, advantages=advantages)
        values = torch.stack([row.squeeze() for row in data[FIELD].unbind()])
        signal = by_group(values, trained.sizes, lambda group: group.mean(1)).double().numpy()
        timed = data[SECONDS].unbind() if SECONDS in fields else []
        self.signal_seconds = sum(row.item() for row in timed) / self._data_parallel()
        cut = [int(tokens[-1]) not in self.job["ends"] for tokens in self.rollouts.responses]
        lengths = np.array(self.job["prompt_lengths"])
        templates = self.train_dataloader.templates
        drawn = 0 if templates is None else templates.drawn
        record = record_of(
            self.rollouts,
            trained,
            signal,
            lengths[drawn, np.arange(lengths.shape[1])],
            cut,
            self.curriculum.whole_batches,
        )
        # Over tokens, as the local trainer's: verl's own metric is averaged as the loss is.
        run = np.flatnonzero(trained.tokens_in_loss)
        entropies = data["entropy"].unbind()
        total = sum(float(entropies[k].sum()) for k in run)
        record["entropy"] = total / max(int(trained.lengths[run].sum()), 1)
        if self.use_critic:
            values, returns = (torch.cat(data[name].unbind()) for name in ("values", "returns"))
            record["explained_variance"] = explained_variance(values, returns)
        record |= {**self.lost.record(), **self.sampled}
        return outcome_of(self.rollouts, trained, signal), record

    def _data_parallel(self) -> int:
        return int(self.config.trainer.nnodes * self.config.trainer.n_gpus_per_node)

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
