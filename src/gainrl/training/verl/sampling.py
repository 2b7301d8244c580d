"""What verl rolls out, as a curriculum asks for it: in place of its data loader and its sampler."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
import transfer_queue as tq
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.utils.dataset.rl_dataset import collate_fn

from gainrl.curricula import Curriculum, Request
from gainrl.errors import BackendError, CheckpointError, DataError
from gainrl.training.templates import Drawn
from gainrl.training.verl.answers import Answer
from gainrl.training.verl.names import PARTITION


class CurriculumLoader:
    """In place of verl's data loader: the prompts of the request that was made last.

    dataset: verl's, once more for each template, in the order of the templates; place: where in it
    each row of that order is, None for where it stands; columns: a further field of the rows by
    name, (M, ...) in that order.
    """

    def __init__(
        self,
        dataset: Any,
        curriculum: Curriculum,
        place: Mapping[int, int] | None = None,
        columns: Mapping[str, torch.Tensor] | None = None,
        templates: Drawn | None = None,
    ) -> None:
        self.dataset, self.curriculum, self.templates = dataset, curriculum, templates
        self.place, self.columns = place, dict(columns or {})
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
        places = [row if self.place is None else self.place[row] for row in rows.tolist()]
        batch = collate_fn([self.dataset[each] for each in places])
        counts = np.empty(len(rows), dtype=object)
        counts[:] = self.request.rollouts.tolist()
        more = {name: values[torch.from_numpy(rows)] for name, values in self.columns.items()}
        return {**batch, **more, "__rollout_n__": counts}

    def __len__(self) -> int:
        return max(len(self.dataset), 1)

    def state_dict(self) -> dict[str, Any]:
        """The curriculum's state and that of the templates, for verl's data.pt."""
        state: dict[str, Any] = {"curriculum": json.dumps(self.curriculum.state_dict())}
        state |= {"name": self.curriculum.name, "size": self.curriculum.setting.size}
        return state | ({"templates": self.templates.state_dict()} if self.templates else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            CheckpointError: it was taken of another curriculum, or of other data.
        """
        now = {"name": self.curriculum.name, "size": self.curriculum.setting.size}
        for key, what in (("name", "the curriculum was"), ("size", "the prompts were")):
            if state.get(key, now[key]) != now[key]:  # older checkpoints do not say
                raise CheckpointError(
                    f"the checkpoint's data.pt: {what} {state[key]} and would now be {now[key]}; "
                    "go on as before, or begin anew (trainer.default_local_dir)"
                )
        if "curriculum" not in state:
            raise CheckpointError(
                "the checkpoint's data.pt is of verl's own data loader: a curriculum cannot go on "
                "from it; begin anew (trainer.default_local_dir)"
            )
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
    success: float | None = None
    """Reward from which on a response is correct; None for what the reward function says."""

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
            uid, session, part = key.split("_")
            if part != "0":
                raise BackendError(
                    "gainrl: an agent loop gave several outputs for one rollout, and a curriculum "
                    "needs one; have it join them"
                )
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
            reward = float(scores.sum())
            information = getattr(extra, "data", extra).get("reward_extra_info", {})
            correct = self._correct(reward, information)
            found[key] = Answer(key, tokens.numpy(), correct, reward)
        return found

    def _correct(self, reward: float, information: Mapping[str, Any]) -> float:
        """1 for a right answer, else 0, or a share.

        Raises:
            DataError: it is none.
        """
        if self.success is not None:
            return float(reward >= self.success)
        correct = float(information.get("acc", reward))
        if not 0 <= correct <= 1:
            what = "'acc' of the reward function" if "acc" in information else "a reward"
            raise DataError(
                f"gainrl: {what} is {correct}, and a curriculum learns from accuracies, 0 to 1: "
                "return a dict with 'score' and 'acc', or say from which reward on a response is "
                "correct (+gainrl.success=1.0)"
            )
        return correct
