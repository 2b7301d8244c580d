"""verl trainer plugin: batches come from a curriculum, which then sees what became of them.

Imported inside verl's TaskRunner. On their own data, with their own rewards, tests and logging, it
is what `gainrl.integrations.verl` registers as `trainer.v1.trainer_mode=gainrl`; the runs of our
pipeline are made by a subclass (gainrl.training.verl.trainer). The curriculum's state is saved in
verl's checkpoint (data.pt).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import numpy as np
import torch
import transfer_queue as tq
from omegaconf import OmegaConf, open_dict
from tensordict import TensorDict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.debug import marked_timer

from gainrl.curricula import Curriculum, Outcome
from gainrl.curricula.base import FloatArray
from gainrl.errors import BackendError, ConfigError
from gainrl.training.rollouts import by_group, collect
from gainrl.training.steps import outcome_of
from gainrl.training.verl import section
from gainrl.training.verl.answers import Lost, Sampled, mini_batch
from gainrl.training.verl.names import ENGINE, FIELD, MODE, PARTITION, SAMPLER
from gainrl.training.verl.sampling import CurriculumLoader
from gainrl.training.verl.segments import SEGMENTS, SIGNAL, rendered

GROUPED = ("grpo", "grpo_vectorized", "grpo_passk", "rloo", "rloo_vectorized")
"""verl's estimators that compare the rewards of a group."""


@register_trainer(MODE)
class CurriculumTrainer(PPOTrainerSync):
    """verl's synchronous trainer with a curriculum in place of its sampler."""

    bonus = True
    """Whether a reward may be other than 1 for a correct response, else 0."""

    def __init__(self, config: Any) -> None:
        section.check_settings(config)
        with open_dict(config):  # verl's own place for a sampler
            sampler = {"path": f"pkg://{SAMPLER}", "name": "CurriculumSampler"}
            config.trainer.v1.sampler.custom_sampler = sampler
        super().__init__(config)

    @property
    def trainer_mode(self) -> str:
        """verl compares this name with 'sync' in several places."""
        return "sync"

    @trainer_mode.setter
    def trainer_mode(self, _name: str) -> None:
        pass

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        self.train_dataloader = self._curriculum_loader()
        self.curriculum: Curriculum = self.train_dataloader.curriculum
        self.replay_buffer.loader = self.train_dataloader
        self.replay_buffer.gather = self._gather
        if SEGMENTS in self.train_dataloader.columns:
            self._load_engine()

    def _curriculum_loader(self) -> CurriculumLoader:
        """The curriculum over verl's training data, and what of each row it is told."""
        plain = OmegaConf.to_container(self.config, resolve=True)
        asked = section.section_of(plain)
        data, rollout = self.config.data, self.config.actor_rollout_ref.rollout
        self.signal_of = asked.signal
        self.mini_prompts: int | None = self.config.actor_rollout_ref.actor.ppo_mini_batch_size
        self.replay_buffer.success = asked.success
        size = len(self.train_dataset)
        curriculum = section.build(
            asked, size, data.train_batch_size, rollout.n, data.get("seed"), self._column
        )
        columns = {SEGMENTS: self._segments()} if curriculum.reads_signal else {}
        return CurriculumLoader(self.train_dataset, curriculum, columns=columns)

    def _column(self, name: str) -> Sequence[Any]:
        """Of the training data, or else of its `extra_info`."""
        frame = self.train_dataset.dataframe
        if name in frame.column_names:
            return list(frame[name])
        inside = (
            [row or {} for row in frame["extra_info"]] if "extra_info" in frame.features else []
        )
        if inside and all(name in row for row in inside):
            return [row[name] for row in inside]
        raise KeyError(list(frame.column_names))

    def _segments(self) -> torch.Tensor:
        """(N, 3) as verl renders the prompts."""
        arguments = dict(self.train_dataset.apply_chat_template_kwargs)
        if self.train_dataset.tool_schemas:
            arguments["tools"] = self.train_dataset.tool_schemas
        chats = self.train_dataset.dataframe[self.train_dataset.prompt_key]
        return torch.from_numpy(rendered(self.tokenizer, chats, arguments, datetime.now()))

    def _load_engine(self) -> None:
        """Have verl's workers load the engine that measures C, beside what the user has them load.

        Raises:
            ConfigError: verl would not run the pass that it is measured in.
        """
        correction = self.config.algorithm.get("rollout_correction")
        if correction and correction.get("bypass_mode"):
            raise ConfigError(
                f"curriculum '{self.curriculum.name}' reads C, which is measured in the pass that "
                "algorithm.rollout_correction.bypass_mode leaves out"
            )
        model = self.config.actor_rollout_ref.model
        given = model.external_lib
        theirs = [given] if isinstance(given, str) else list(given or [])
        with open_dict(self.config):
            model.external_lib = list(dict.fromkeys([*theirs, ENGINE]))

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
            made.append(Sampled(self.replay_buffer.roll_out, self.bonus, self.lost))
            return made[-1]

        self.rollouts = collect(self.curriculum, fresh)
        self.trained = self.rollouts.trained
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
        """Size mini-batches for groups of any sizes: as many updates as the user's size gives.

        verl multiplies prompts by rollouts to get sequences; this configuration is the trainer's
        own, the workers have theirs.
        """
        prompts = self.mini_prompts or len(self.trained.rows)
        updates = -(-len(self.trained.rows) // prompts)
        size = mini_batch(sequences, updates, self._data_parallel())
        self.config.actor_rollout_ref.rollout.n = 1
        self.config.actor_rollout_ref.actor.ppo_mini_batch_size = size
        self.config.critic.ppo_mini_batch_size = size

    def _data_parallel(self) -> int:
        return int(self.config.trainer.nnodes * self.config.trainer.n_gpus_per_node)

    # --- the update ----------------------------------------------------------------------------

    def _compute_old_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        """As verl's; C is measured in the same pass, if it is wanted."""
        if SEGMENTS in self.train_dataloader.columns:
            batch.extra_info[SIGNAL] = asdict(self.signal_of)
        return super()._compute_old_log_prob(batch, metrics)

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        """As verl's, but 0 for a response that is alone in its group: nothing compares with it."""
        batch = super()._compute_advantage(batch, metrics)
        alone = np.repeat(self.trained.sizes == 1, self.trained.sizes)
        grouped = self.config.algorithm.adv_estimator in GROUPED
        if alone.any() and grouped and self.curriculum.setting.rollouts > 1:
            keys = [self.keys[k] for k in np.flatnonzero(alone)]
            data = tq.kv_batch_get(keys=keys, partition_id=PARTITION, select_fields=["advantages"])
            zero = [torch.zeros_like(row) for row in data["advantages"].unbind()]
            self._put(keys, advantages=zero)
        return batch

    def _put(self, keys: list[str], **fields: list[torch.Tensor]) -> None:
        """Write a tensor a response to TransferQueue."""
        nested = {
            name: torch.nested.as_nested_tensor(rows, layout=torch.jagged)
            for name, rows in fields.items()
        }
        content = TensorDict(nested, batch_size=len(keys))
        tq.kv_batch_put(keys=keys, partition_id=PARTITION, fields=content)

    # --- learning of the step --------------------------------------------------------------------

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> Any:
        """One RL step; afterwards the curriculum observes it, and its metrics join verl's."""
        began = time.perf_counter()
        batch = super().step(metrics, timing_raw)
        with marked_timer("gainrl", timing_raw):
            outcome = self._outcome()
            observing = time.perf_counter()
            self.curriculum.observe(outcome)
            self.choosing += time.perf_counter() - observing
            shown = self._noted(metrics)
        self._timed(timing_raw, time.perf_counter() - began)
        metrics.update({f"gainrl/{key}": value for key, value in shown.items()})
        return batch

    def _outcome(self) -> Outcome:
        """What the curriculum learns of the step."""
        self.data = tq.kv_batch_get(
            keys=self.keys, partition_id=PARTITION, select_fields=self._fields()
        )
        advantages = torch.stack([row.abs().mean() for row in self.data["advantages"].unbind()])
        self.learned = replace(self.trained, advantages=advantages)
        self.signal = self._signal()
        return outcome_of(self.rollouts, self.learned, self.signal)

    def _fields(self) -> list[str]:
        """Of each response, that are read after a step."""
        measured = [FIELD] if SEGMENTS in self.train_dataloader.columns else []
        return ["advantages", *measured]

    def _signal(self) -> FloatArray:
        """(Q,) mean C of the groups that were trained on; NaN where it is not measured.

        Raises:
            BackendError: verl rendered a prompt otherwise than gainrl did.
        """
        if FIELD not in self._fields():
            return np.full(len(self.learned.rows), np.nan)
        values = torch.stack([row.squeeze() for row in self.data[FIELD].unbind()])
        if values.isnan().any():
            row = np.repeat(self.learned.rows, self.learned.sizes)[
                int(values.isnan().int().argmax())
            ]
            raise BackendError(
                f"gainrl: C of row {row} could not be measured: verl rendered its prompt to "
                "another number of tokens (another chat template, or an agent loop that adds to "
                "prompts?)"
            )
        means = by_group(values, self.learned.sizes, lambda group: group.mean(1))
        return means.double().numpy()

    def _noted(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """What verl's loggers are given of the step, beside its own: see docs/verl-plugin.md."""
        found = self.rollouts
        shown: dict[str, float] = {
            "accuracy": float(found.accuracy.double().mean()),
            "zero_variance": float(found.zero_variance.double().mean()),
            "groups": len(found.rows),
            "trained_groups": len(self.learned.rows),
            "rollout_tokens": int(found.lengths.sum()) + found.estimated,
            "seconds": self.choosing,
            **self.lost.record(),
        }
        if not np.isnan(self.signal).all():
            shown["signal"] = float(self.signal.mean())
        return shown | {f"curriculum/{k}": v for k, v in self.curriculum.metrics().items()}

    def _timed(self, timing_raw: Mapping[str, float], seconds: float) -> None:
        """After a step of so many seconds."""
