"""What verl rolls out, as a curriculum asks for it: in place of its data loader and its sampler."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import transfer_queue as tq
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.utils.dataset.rl_dataset import collate_fn

from gainrl.curricula import Curriculum, Request
from gainrl.training.templates import Drawn
from gainrl.training.verl.answers import Answer

PARTITION = "train"
"""verl's name of what is trained on, in TransferQueue."""


class CurriculumLoader:
    """In place of verl's data loader: the prompts of the request that was made last.

    dataset: the training table's rows, once more for each template, in the order of the templates.
    """

    def __init__(self, dataset: Any, curriculum: Curriculum, templates: Drawn | None) -> None:
        self.dataset, self.curriculum, self.templates = dataset, curriculum, templates
        self.place = {
            int(row["index"]): at for at, row in enumerate(dataset.dataframe["extra_info"])
        }
        self.request: Request | None = None
        self.uids: list[str] = []
        """Of the prompts of the request, as verl names them."""

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        assert self.request is not None
        rows = self.request.rows
        if self.templates is not None:
            rows = rows + self.curriculum.setting.size * self.templates.drawn[rows]
        batch = collate_fn([self.dataset[self.place[row]] for row in rows.tolist()])
        counts = np.empty(len(rows), dtype=object)
        counts[:] = self.request.rollouts.tolist()
        return {**batch, "__rollout_n__": counts}

    def __len__(self) -> int:
        return max(len(self.dataset), 1)

    def state_dict(self) -> dict[str, Any]:
        """The curriculum's state and that of the templates, for verl's data.pt."""
        state: dict[str, Any] = {"curriculum": json.dumps(self.curriculum.state_dict())}
        return state | ({"templates": self.templates.state_dict()} if self.templates else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.curriculum.load_state_dict(json.loads(state["curriculum"]))
        if self.templates is not None:
            self.templates.load_state_dict(state["templates"])


class CurriculumSampler(ReplayBuffer):
    """verl's replay buffer, which gives a batch of what the curriculum has asked for and admitted.

    The trainer sets `loader`, and `gather`: it asks for prompts by `roll_out`, and returns the keys
    of the responses that make up the batch.
    """

    loader: CurriculumLoader
    gather: Callable[[], list[str]]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.seconds = 0.0

    def sample(
        self, global_steps: int, partition_id: str, batch_size: int
    ) -> tuple[KVBatchMeta, dict[str, Any]]:
        """Of tests as verl's; of training, all draws of a step, less what is not admitted."""
        if partition_id != PARTITION:
            found: tuple[KVBatchMeta, dict[str, Any]] = super().sample(
                global_steps, partition_id, batch_size
            )
            return found
        keys = self.gather()
        known = self.partitions[PARTITION]
        ended = self.finished_keys[PARTITION] | self.failure_keys[PARTITION]
        tq.kv_clear(keys=[*ended, *(set(known) - set(keys))], partition_id=PARTITION)
        tags = [known[key] for key in keys]
        return KVBatchMeta(partition_id=PARTITION, keys=keys, tags=tags), {}

    def roll_out(self, request: Request) -> list[list[Answer]]:
        """Roll out what a curriculum asks for; the answers to each row, by session."""
        began = time.perf_counter()
        self.loader.request = request
        assert self.refill_fn is not None
        self.refill_fn(len(request.rows))
        last = time.time()
        while not self._over(set(self.loader.uids)):
            last = self._wait_for_next_poll(PARTITION, last)
        found = self._answers(self.loader.uids)
        self.seconds += time.perf_counter() - began
        return found

    def _over(self, uids: set[str]) -> bool:
        self._sync_metadata_from_transfer_queue()
        return uids <= self.finished_keys[PARTITION] | self.failure_keys[PARTITION]

    def _answers(self, uids: list[str]) -> list[list[Answer]]:
        """Of prompts that are over; a response without a token is none."""
        by_uid: dict[str, list[tuple[int, str]]] = {uid: [] for uid in uids}
        for key, tag in self.partitions[PARTITION].items():
            uid, session, _ = key.split("_")
            if uid in by_uid and tag["response_len"]:
                by_uid[uid].append((int(session), key))
        keys = [key for sessions in by_uid.values() for _, key in sorted(sessions)]
        graded = self._graded(keys) if keys else {}
        return [[graded[key] for _, key in sorted(by_uid[uid])] for uid in uids]

    def _graded(self, keys: list[str]) -> dict[str, Answer]:
        fields = ["responses", "rm_scores", "extra_fields"]
        data = tq.kv_batch_get(keys=keys, partition_id=PARTITION, select_fields=fields)
        columns = data["responses"].unbind(), data["rm_scores"].unbind(), data["extra_fields"]
        found = {}
        for key, tokens, scores, extra in zip(keys, *columns, strict=True):
            information = getattr(extra, "data", extra)["reward_extra_info"]
            found[key] = Answer(key, tokens.numpy(), float(information["acc"]), float(scores.sum()))
        return found
