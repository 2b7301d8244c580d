"""Curricula in TRL's `GRPOTrainer`, written for TRL 1.16 (docs/trl.md).

    curriculum = GRPOCurriculum("mopps", train_dataset, args)
    GRPOTrainer(model, curriculum.reward(reward), args, curriculum.dataset, callbacks=[curriculum])

The trainer reads its data loader a batch and more ahead, so which prompt stands at a place is
settled only when the prompt is read, which is when completions are about to be generated: by then
the rewards of the batch before are known, whatever `num_iterations` and `steps_per_generation` are.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, KeysView, Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from gainrl.curricula.base import FloatArray, IntArray
from gainrl.curricula.batches import make
from gainrl.curricula.registry import Spec
from gainrl.errors import CheckpointError, ConfigError

ROW = "gainrl_row"
"""The column that tells reward functions which row of the data set a prompt is."""
WRITTEN_FOR = "gainrl.integrations.trl is written for TRL 1.16"
READ = ("generation_batch_size", "num_generations", "shuffle_dataset", "seed")
"""What is read of `GRPOConfig`."""


class GRPOCurriculum(TrainerCallback, ExportableState):
    """A policy that chooses the prompts of a `GRPOTrainer`, and its callback.

    dataset: what the trainer is given in place of the user's data set: as long as that one, so that
    epochs have as many steps as without. Its places are filled when they are read.

    Args:
        spec: as for `gainrl.curricula.make`.
        dataset: the user's, with the column `prompt`.
        args: the trainer's, with `shuffle_dataset=False`: the policy says what comes when. Prompts
            a step are `generation_batch_size` / `num_generations`; the seed is its own.
        signal: from the (B,) rows of a batch to their (B,) C under the current model, for policies
            that read it; called when the batch's rewards are known, before its update.
        settings: order, difficulty, categories, features and the policy's parameters, as for
            `make`.

    Raises:
        ConfigError: as `make`; the policy draws several times a step, which this trainer does not;
            or the arguments do not go with it, or not with this version of TRL.
    """

    def __init__(
        self,
        spec: Spec | Mapping[str, Spec | None],
        dataset: datasets.Dataset,
        args: Any,
        *,
        signal: Callable[[IntArray], npt.ArrayLike] | None = None,
        **settings: Any,
    ) -> None:
        _check_arguments(args)
        self.rows = dataset
        self.batch = args.generation_batch_size // args.num_generations
        self.curriculum = make(
            spec,
            size=len(dataset),
            batch=self.batch,
            rollouts=args.num_generations,
            seed=args.seed,
            **settings,
        )
        name = self.curriculum.name
        if self.curriculum.several_draws:
            hint = "; predicted has adaptive=False" if name == "predicted" else ""
            raise ConfigError(f"curriculum '{name}' draws several times a step, TRL once{hint}")
        if self.curriculum.reads_signal and signal is None:
            raise ConfigError(
                f"curriculum '{name}' needs signal=, a function from rows to their C under the "
                "current model; gain has use_signal=False"
            )
        self.signal = signal
        self.dataset = _Places.from_dict({"place": range(len(dataset))})
        self.dataset.owner = self
        self.drawn: IntArray | None = None
        """(B,) rows whose rewards are not known yet."""
        self.observed = 0
        self._block = -1
        self._read: dict[int, dict[str, Any]] = {}

    # --- prompts ---------------------------------------------------------------------------------

    def example_at(self, place: int) -> dict[str, Any]:
        """The example that stands at a place now, with its row.

        Raises:
            ConfigError: the trainer reads places in another order than TRL 1.16.
        """
        block, slot = divmod(place, self.batch)
        if self.drawn is None:
            self.drawn, self._block, self._read = self.curriculum.next_batch(), block, {}
        if block != self._block:
            raise ConfigError(
                f"{WRITTEN_FOR}: this one reads the prompts of a batch before it has rewarded the "
                "one before"
            )
        if slot not in self._read:
            row = int(self.drawn[slot])
            self._read[slot] = {**self.rows[row], ROW: row}
        return self._read[slot]

    # --- rewards ---------------------------------------------------------------------------------

    def reward(self, function: Callable[..., Sequence[float | None]]) -> Callable[..., Any]:
        """The user's reward function, which from now on tells the policy its rewards.

        Of several reward functions this is for the one that says whether a completion is correct,
        in [0, 1]. A completion for which it says None is none to the policy.

        Raises:
            ConfigError: the function is asynchronous.
        """
        if inspect.iscoroutinefunction(function):
            raise ConfigError("curriculum: an asynchronous reward function cannot be wrapped")

        @functools.wraps(function)
        def told(*arguments: Any, **more: Any) -> Sequence[float | None]:
            rows = more.pop(ROW, None)  # None in an evaluation
            rewards = function(*arguments, **more)
            if rows is not None:
                self._observe(rows, rewards, more.get("log_metric"))
            return rewards

        return told

    def _observe(self, rows: Sequence[int], rewards: Sequence[Any], log: Any) -> None:
        if self.drawn is None:
            raise ConfigError("curriculum: two reward functions tell it their rewards; wrap one")
        local = list(zip(rows, rewards, strict=True))
        groups: dict[int, list[float]] = {row: [] for row in self.drawn.tolist()}
        for row, reward in gather_object(local):  # of all processes, which all learn the same
            if reward is not None:
                groups[row].append(float(reward))
        measured: FloatArray | None = None
        if self.signal is not None:
            measured = np.asarray(self.signal(self.drawn), dtype=np.float64)
        self.curriculum.observe(self.drawn, list(groups.values()), signal=measured)
        self.drawn = None
        self.observed += 1
        if log is not None:
            for name, value in self.curriculum.metrics().items():
                log(f"curriculum/{name}", value)

    # --- the trainer's callback ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What the trainer keeps of it in a checkpoint's trainer_state.json."""
        return {"args": {}, "attributes": {"saved": self.curriculum.state_dict()}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Go on where the checkpoint was taken, if the trainer does.

        Raises:
            CheckpointError: it has no state of this policy.
        """
        _check_arguments(args)
        if not state.global_step:
            return
        saved = state.stateful_callbacks.get(type(self).__name__)
        saved = saved[-1] if isinstance(saved, list) else saved
        if not (saved and "saved" in saved.get("attributes", {})):
            raise CheckpointError(
                f"the checkpoint of step {state.global_step} was made without a curriculum: it has "
                "no state of one"
            )
        self.curriculum.load_state_dict(saved["attributes"]["saved"])
        self.drawn = None

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Look whether the policy is told anything (ConfigError)."""
        if not self.observed:
            raise ConfigError(
                "curriculum: a step ended without a reward: the trainer is to be given "
                f"curriculum.dataset and curriculum.reward(function). {WRITTEN_FOR}"
            )


class _Places(datasets.Dataset):
    """Places of a data set whose examples are settled when they are read."""

    owner: GRPOCurriculum

    def __getitem__(self, key: int) -> Any:
        return _Example(self.owner, key) if isinstance(key, int) else super().__getitem__(key)

    def __getitems__(self, keys: list[int]) -> list[Any]:
        if torch.utils.data.get_worker_info() is not None:
            raise ConfigError("curriculum: dataloader_num_workers must be 0")
        return [_Example(self.owner, int(key)) for key in keys]


class _Example:
    """An example as `GRPOTrainer` reads it; no Mapping, whose items would be read ahead."""

    def __init__(self, owner: GRPOCurriculum, place: int) -> None:
        self._owner, self._place = owner, place

    def _now(self) -> dict[str, Any]:
        return self._owner.example_at(self._place)

    def __getitem__(self, key: str) -> Any:
        return self._now()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._now()

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def get(self, key: str, default: Any = None) -> Any:
        return self._now().get(key, default)

    def keys(self) -> KeysView[str]:
        return self._now().keys()


def _check_arguments(args: Any) -> None:
    for name in READ:
        if not hasattr(args, name):
            raise ConfigError(f"{WRITTEN_FOR}: this GRPOConfig has no '{name}'")
    wanted = {
        "shuffle_dataset": False,
        "dataloader_num_workers": 0,
        "remove_unused_columns": False,
        "restore_callback_states_from_checkpoint": False,
    }
    for name, value in wanted.items():
        if getattr(args, name, value) != value:
            raise ConfigError(
                f"curriculum: GRPOConfig has {name}={getattr(args, name)!r}, set {name}={value!r}"
            )
