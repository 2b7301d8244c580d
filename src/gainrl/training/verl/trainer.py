"""verl trainer plugin: batches come from a curriculum, which then sees what became of them.

Imported inside verl's TaskRunner. The curriculum's state is saved in verl's checkpoint (data.pt),
and every step appends the same record as the local backend does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import transfer_queue as tq
from omegaconf import OmegaConf
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer
from verl.utils.dataset.rl_dataset import collate_fn
from verl.utils.debug import marked_timer

from gainrl import curricula
from gainrl.curricula import Curriculum, Outcome, Setting
from gainrl.records import append_lines, truncate_lines
from gainrl.training.verl.engine import FIELD

MODE = "gainrl"
LOSSES = {
    "loss": "actor/pg_loss",
    "kl": "actor/kl_loss",
    "entropy": "actor/entropy",
    "grad_norm": "actor/grad_norm",
}
"""Our step record's keys, and verl's."""


class CurriculumLoader:
    """In place of verl's data loader: one batch a step, drawn when it is asked for."""

    def __init__(self, dataset: Any, curriculum: Curriculum) -> None:
        self.dataset, self.curriculum = dataset, curriculum
        self.rows = np.empty(0, dtype=np.int64)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.rows = self.curriculum.next_batch()
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
        optional = {
            name: None if spec[name] is None else np.array(spec[name])
            for name in ("order", "difficulty")
        }
        setting = Setting(
            len(self.train_dataset), self.config.data.train_batch_size, self.job["seed"], **optional
        )
        self.curriculum = curricula.build(spec["name"], spec["parameters"], setting)
        self.train_dataloader = CurriculumLoader(self.train_dataset, self.curriculum)
        self.total_training_steps = self.job["steps"]
        self.steps_per_epoch = self.job["steps"] + 1

    def on_init_end(self) -> None:
        """After a checkpoint was loaded: drop the records of steps that will be done again."""
        super().on_init_end()
        for name in ("steps.jsonl", "timing.jsonl", "eval.jsonl"):
            truncate_lines(self.folder / name, self.global_steps)
        interval = self.job.get("poll_interval")
        if interval is not None:
            self.replay_buffer.poll_interval = interval

    def _fetch_one_gen_batch(self) -> Any:
        batch = super()._fetch_one_gen_batch()
        self.row_of = dict(zip(batch["uid"], self.train_dataloader.rows.tolist(), strict=True))
        return batch

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> Any:
        """One RL step; afterwards the curriculum observes it and it is recorded."""
        batch = super().step(metrics, timing_raw)
        with marked_timer("gainrl", timing_raw):
            outcome, record = self._outcome(batch)
            self.curriculum.observe(outcome)
            for key, value in self.curriculum.metrics().items():
                record[f"curriculum/{key}"] = float(value)
            for key, theirs in LOSSES.items():
                record[key] = float(np.mean(metrics.get(theirs, 0.0)))
            append_lines(self.folder / "steps.jsonl", [{"step": self.global_steps, **record}])
        seconds = {f"seconds_{key}": float(value) for key, value in timing_raw.items()}
        append_lines(self.folder / "timing.jsonl", [{"step": self.global_steps, **seconds}])
        metrics.update({f"gainrl/{key}": value for key, value in record.items()})
        return batch

    def _outcome(self, batch: Any) -> tuple[Outcome, dict[str, float]]:
        """(B,) outcomes by prompt, in the order in which they were drawn, and the step's record."""
        real = [
            key
            for key, tag in zip(batch.keys, batch.tags, strict=True)
            if not tag.get("is_padding", False)
        ]
        fields = ["rm_scores", "response_mask", "advantages", FIELD]
        data = tq.kv_batch_get(keys=real, partition_id=batch.partition_id, select_fields=fields)
        reward = np.array([row.sum().item() for row in data["rm_scores"].unbind()])
        tokens = np.array([int(row.sum()) for row in data["response_mask"].unbind()])
        spread = np.array([row.abs().max().item() for row in data["advantages"].unbind()])
        signal = np.array([row.item() for row in data[FIELD].unbind()])
        rows = np.array([self.row_of[key.split("_")[0]] for key in real])
        drawn = self.train_dataloader.rows
        groups = [np.flatnonzero(rows == row) for row in drawn]
        outcome = Outcome(
            rows=drawn,
            accuracy=np.array([reward[group].mean() for group in groups]),
            signal=np.array([signal[group].mean() for group in groups]),
            advantage=np.array([spread[group].mean() for group in groups]),
            tokens=np.array([tokens[group].sum() for group in groups]),
        )
        limit = self.config.data.max_response_length
        even = [np.ptp(reward[group]) == 0 for group in groups]
        return outcome, {
            "accuracy": float(reward.mean()),
            "reward": float(reward.mean()),
            "signal": float(outcome.signal.mean()),
            "zero_variance": float(np.mean(even)),
            "rollout_tokens": int(tokens.sum()),
            "response_length": float(tokens.mean()),
            "truncated": float((tokens >= limit).mean()),
        }

    def _validate(self) -> dict[str, float]:
        """verl's validation, kept as rows of eval.jsonl."""
        found = super()._validate()
        rows = []
        for name in self.job["benchmarks"]:
            head = f"val-core/{name}/acc/mean@"
            key = next(key for key in found if key.startswith(head))
            rows.append(
                {
                    "step": self.global_steps,
                    "benchmark": name,
                    "accuracy": float(found[key]),
                    "problems": self.job["benchmarks"][name],
                    "samples": int(key.removeprefix(head)),
                    "response_length": float(found.get("val-aux/num_turns/mean", 0.0)),
                }
            )
        append_lines(self.folder / "eval.jsonl", rows)
        return found


def config_of(job: dict[str, Any]) -> Any:
    """verl's whole configuration for a job, with `gainrl.job` added."""
    from hydra import compose, initialize_config_module

    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=job["overrides"])
    OmegaConf.set_struct(config, False)
    config.gainrl = {"job": str(Path(job["folder"]) / "job.json")}
    return config
