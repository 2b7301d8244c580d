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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer
from verl.utils.dataset.rl_dataset import collate_fn
from verl.utils.debug import marked_timer

from gainrl import curricula
from gainrl.curricula import Curriculum, Groups, Outcome, Setting
from gainrl.evaluation.accuracy import summary
from gainrl.evaluation.samples import unasked
from gainrl.records import append_lines, read_lines, write_text
from gainrl.records.runs import StepRecord, TimingRecord
from gainrl.training import files
from gainrl.training.algorithms.ppo import explained_variance
from gainrl.training.verl.engine import FIELD, SECONDS
from gainrl.training.verl.outcomes import outcome_of

MODE = "gainrl"
LOSSES = {
    "loss": "actor/pg_loss",
    "kl": "actor/kl_loss",
    "grad_norm": "actor/grad_norm",
}
"""Our step record's keys, and verl's."""


class CurriculumLoader:
    """In place of verl's data loader: one batch a step, drawn when it is asked for."""

    def __init__(self, dataset: Any, curriculum: Curriculum) -> None:
        self.dataset, self.curriculum = dataset, curriculum
        self.rows = np.empty(0, dtype=np.int64)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        began = time.perf_counter()
        request = self.curriculum.draw(Groups.none(), None)
        if request is None:
            raise RuntimeError("gainrl: the curriculum drew no prompts")
        self.rows = request.rows  # their rollouts are the preset's, as verl has them
        self.seconds = time.perf_counter() - began
        return collate_fn([self.dataset[int(row)] for row in self.rows])

    def __len__(self) -> int:
        return max(len(self.dataset), 1)

    def state_dict(self) -> dict[str, Any]:
        """The curriculum's state, for verl's data.pt."""
        return {"curriculum": json.dumps(self.curriculum.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.curriculum.load_state_dict(json.loads(state["curriculum"]))


@register_trainer(MODE)
class CurriculumTrainer(PPOTrainerSync):
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
            len(self.train_dataset),
            self.config.data.train_batch_size,
            self.job["seed"],
            rollouts=spec["rollouts"],
            features=features and {name: np.array(found) for name, found in features.items()},
            **optional,
        )
        self.curriculum = curricula.build(spec["parts"], setting)
        self.train_dataloader = CurriculumLoader(self.train_dataset, self.curriculum)
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

    def _fetch_one_gen_batch(self) -> Any:
        batch = super()._fetch_one_gen_batch()
        self.row_of = dict(zip(batch["uid"], self.train_dataloader.rows.tolist(), strict=True))
        return batch

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> Any:
        """One RL step; afterwards the curriculum observes it and it is recorded."""
        began = time.perf_counter()
        batch = super().step(metrics, timing_raw)
        with marked_timer("gainrl", timing_raw):
            outcome, record = self._outcome(batch)
            observed = time.perf_counter()
            self.curriculum.observe(outcome)
            choosing = self.train_dataloader.seconds + time.perf_counter() - observed
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

    def _outcome(self, batch: Any) -> tuple[Outcome, dict[str, float]]:
        """(B,) outcomes by prompt, in the order in which they were drawn, and the step's record.

        Prompts without a response are left out of the outcomes and counted in the record.
        """
        real = [
            key
            for key, tag in zip(batch.keys, batch.tags, strict=True)
            if not tag.get("is_padding", False)
        ]
        fields = ["rm_scores", "responses", "response_mask", "advantages", "entropy", FIELD]
        fields += ["values", "returns"] if self.use_critic else []
        fields += [SECONDS] if "GAINRL_TIME_SIGNAL" in os.environ else []
        data = tq.kv_batch_get(keys=real, partition_id=batch.partition_id, select_fields=fields)
        reward = np.array([row.sum().item() for row in data["rm_scores"].unbind()])
        masks = data["response_mask"].unbind()
        tokens = np.array([int(mask.sum()) for mask in masks])
        mean_abs_advantage = np.array(
            [
                float((advantage * mask).abs().sum() / mask.sum())
                for advantage, mask in zip(data["advantages"].unbind(), masks, strict=True)
            ]
        )
        # Over tokens, as the local trainer's: verl's own metric is averaged as the loss is.
        entropies = zip(data["entropy"].unbind(), masks, strict=True)
        entropy = sum(float((each * mask).sum()) for each, mask in entropies) / int(tokens.sum())
        last = np.array([int(row[-1]) for row in data["responses"].unbind()])
        signal = np.array([row.item() for row in data[FIELD].unbind()])
        timed = data[SECONDS].unbind() if SECONDS in fields else []
        self.signal_seconds = sum(row.item() for row in timed) / self._data_parallel()
        rows = np.array([self.row_of[key.split("_")[0]] for key in real])
        drawn = self.train_dataloader.rows
        outcome = outcome_of(drawn, rows, reward, signal, mean_abs_advantage, tokens)
        lost = len(drawn) - len(outcome.rows)
        if lost:
            print(
                f"gainrl: {lost} of {len(drawn)} prompts have no response in this step", flush=True
            )
        more: dict[str, float] = {"groups_without_responses": lost} if lost else {}
        if self.use_critic:
            values, returns = (torch.cat(data[name].unbind()) for name in ("values", "returns"))
            more["explained_variance"] = explained_variance(values, returns)
        return outcome, {
            "accuracy": float(reward.mean()),
            "reward": float(reward.mean()),
            "signal": float(outcome.signal.mean()),
            "zero_variance": float((~outcome.mixed).mean()),
            "rollout_tokens": int(tokens.sum()),
            "prompt_tokens": sum(self.job["prompt_lengths"][row] for row in drawn),
            "response_length": float(tokens.mean()),
            "entropy": entropy,
            "truncated": float(np.mean(~np.isin(last, self.job["ends"]))),
            **more,
        }

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
        seen: Counter[tuple[str, str]] = Counter()
        answers = []
        columns = (data_sources, infos["prompt"], self._responses, infos["acc"], self._lengths)
        shown = zip(infos["extracted"], infos["reason"], infos["rule"], strict=True)
        for (name, prompt, text, correct, tokens), (extracted, reason, rule) in zip(
            zip(*columns, strict=True), shown, strict=True
        ):
            answer = {"benchmark": name, "id": prompt, "sample": seen[name, prompt]}
            seen[name, prompt] += 1
            answer |= {"response": text, "correct": int(correct), "tokens": tokens}
            found = {"extracted": extracted or None, "reason": reason, "rule": rule or None}
            answers.append({**answer, **found})
        for name, ids in self.job["overlong"].items():
            samples = max(count for (other, _), count in seen.items() if other == name)
            answers += [
                {"benchmark": name, **unasked(each, sample)}
                for each in ids
                for sample in range(samples)
            ]
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
