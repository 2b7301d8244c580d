"""Curricula for any training loop: rows out, rewards in.

curriculum = make("mopps", size=7473, batch=64, seed=0)
rows = curriculum.next_batch()
curriculum.observe(rows, rewards)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gainrl.curricula import columns
from gainrl.curricula.base import BoolArray, FloatArray, Groups, IntArray, Request, Setting
from gainrl.curricula.curriculum import Curriculum
from gainrl.curricula.registry import Spec, build, compose
from gainrl.curricula.seen import Rewards, Seen, Step, groups_of
from gainrl.errors import CheckpointError, ConfigError, DataError

SAID = {
    "order": "order=, (N,) rows from rank 0 on",
    "difficulty": "difficulty=, (N,) values in [0, 100]",
    "categories": "categories=, (N,) whole numbers from 0 on",
    "features": "features=, a mapping of (N,) values by name",
}
"""What `make` is to be given for a sampler's `needs`."""


def make(
    spec: Spec | Mapping[str, Spec | None],
    *,
    size: int,
    batch: int,
    seed: int = 0,
    rollouts: int = 8,
    order: npt.ArrayLike | None = None,
    difficulty: npt.ArrayLike | None = None,
    categories: npt.ArrayLike | None = None,
    features: Mapping[str, npt.ArrayLike] | None = None,
    **settings: Any,
) -> BatchCurriculum:
    """A curriculum over the rows 0 to `size` - 1 of a data set.

    Args:
        spec: a policy's name or `module:Class`; or, as in a preset, a mapping with `name` and its
            parameters, or with `sampler`, `filter` and `rollouts`.
        size: N, prompts in the data set.
        batch: B, prompts a step.
        seed: of all that the policy draws.
        rollouts: G, responses to a prompt.
        order: (N,) rows from rank 0 on. difficulty: (N,) in [0, 100]. categories: (N,) from 0 on.
            features: (N,) by name, `tokens`, `c_intra` and `c_inter` for those of the policies
            here. Only for policies that need them.
        settings: the policy's parameters; one that is called like an argument goes into `spec`.

    Raises:
        ConfigError: an unknown policy or parameter, something that the policy needs is missing, an
            argument has another shape, or the policy goes by what only gainrl's trainer measures.
    """
    if settings:
        given = {"name": spec} if isinstance(spec, str) else dict(spec)
        if "name" not in given:
            raise ConfigError(f"curriculum: '{min(settings)}' goes into the part that it is of")
        spec = {**given, **settings}
    for name, value in {"size": size, "batch": batch, "rollouts": rollouts, "seed": seed}.items():
        if not isinstance(value, int | np.integer):
            raise ConfigError(f"{name} is {value!r}, not a whole number")
    if not 1 <= batch <= size:
        raise ConfigError(f"batch is {batch}, but there are {size} prompts")
    if rollouts < 1:
        raise ConfigError(f"rollouts is {rollouts}, not at least 1")
    setting = Setting(
        size,
        batch,
        seed,
        order=None if order is None else columns.orders(order, size),
        difficulty=None if difficulty is None else columns.difficulties(difficulty, size),
        rollouts=rollouts,
        categories=None if categories is None else columns.categories(categories, size),
        features=None if features is None else columns.features(features, size),
    )
    composed = compose(spec)
    if composed.goes_by:
        raise ConfigError(
            f"curriculum '{composed.name}' goes by {composed.goes_by}, which only gainrl's own "
            "trainer tells it (training.backend: local)"
        )
    for need in sorted(composed.sampler.needs):
        if need in SAID and getattr(setting, need) is None:
            raise ConfigError(f"curriculum '{composed.name}' needs {SAID[need]}")
    return BatchCurriculum(build(spec, setting))


class BatchCurriculum:
    """A curriculum that is asked for rows and told their rewards (`make`).

    Most policies take one batch a step: `next_batch`, `observe`, and the batch is what is trained
    on. Policies that draw again within a step (`several_draws`: dapo, adcl, oracle, and all with
    adaptive rollouts) may ask for other numbers of responses (`rollouts`), and `observe` says when
    the step is whole and what of it to train on.
    """

    def __init__(self, curriculum: Curriculum) -> None:
        self.curriculum = curriculum
        self.open: list[Request] = []
        """Batches that were given out and not observed, the oldest first."""
        self._step = Step()
        self._next: Request | None = None

    @property
    def name(self) -> str:
        """Of the policy."""
        return self.curriculum.name

    @property
    def size(self) -> int:
        """N."""
        return self.curriculum.setting.size

    @property
    def several_draws(self) -> bool:
        """Whether a step may take more than one batch."""
        return self.curriculum.several_draws

    @property
    def reads_signal(self) -> bool:
        """Whether `observe` has to be given C."""
        return self.curriculum.reads_signal

    @property
    def rollouts(self) -> IntArray:
        """(P,) responses to make to each row of the newest batch."""
        if not self.open:
            raise ConfigError(f"curriculum '{self.name}': no batch is out")
        return self.open[-1].rollouts

    def next_batch(self, in_flight: BoolArray | None = None) -> IntArray:
        """(P,) distinct rows to roll out; P is B unless the policy draws again within a step.

        A batch may be asked for before the one before it was observed: it is then drawn by what is
        known so far.

        Args:
            in_flight: (N,) rows to leave out as long as there are enough others.

        Raises:
            ConfigError: the policy draws again within a step and was not told of its last batch.
        """
        if self.several_draws and self.open:
            raise ConfigError(
                f"curriculum '{self.name}' draws again within a step: observe its last batch first"
            )
        if self._next is None:
            self._next = self.curriculum.draw(Groups.none(), None, in_flight)
            assert self._next is not None  # a step that has nothing is not enough for any filter
        asked, self._next = self._next, None
        self.open.append(asked)
        return asked.rows.copy()

    def observe(
        self,
        rows: npt.ArrayLike,
        rewards: Rewards,
        *,
        correct: Rewards | None = None,
        signal: npt.ArrayLike | None = None,
        advantage: npt.ArrayLike | None = None,
        tokens: npt.ArrayLike | None = None,
    ) -> IntArray | None:
        """Learn from a batch.

        Args:
            rows: (P,) all rows of a batch that is out, in any order.
            rewards: (P, G), finite.
            correct: (P, G) in [0, 1], where rewards are not in [0, 1] or say more than whether a
                response is correct; a policy's accuracy is the mean of these.
            signal: (P,) C of the prompts under the current model; for policies that read it.
            advantage: (P,) mean absolute advantages; None is GRPO's of these rewards.
            tokens: (P,) of all responses to a prompt; no policy here reads them.

        Returns:
            The rows to train on if the step is whole, None if the policy draws again within it.

        Raises:
            DataError: a reward, C or an advantage is no number, an accuracy is not in [0, 1], or
                the rows are no batch that is out; nothing was learned.
        """
        told = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        return self.observe_seen(self.read(told, rewards, correct, signal, advantage, tokens), told)

    def observe_seen(
        self, seen: Mapping[int, Seen], rows: IntArray | None = None
    ) -> IntArray | None:
        """As `observe`, of what `read` gave; `rows` as they were told, for messages."""
        at = self._batch_of(np.array(list(seen), dtype=np.int64) if rows is None else rows)
        if self.curriculum.several_draws:
            return self._observe_draw(at, seen)
        step = Step()
        for row in self.open[at].rows.tolist():
            step.add(row, seen[row])
        self.curriculum.observe(step.outcome(slice(None)))
        self.open.pop(at)
        return step.groups().rows

    def _observe_draw(self, at: int, seen: Mapping[int, Seen]) -> IntArray | None:
        """As `observe`, where the step may go on."""
        asked, estimates = self.open[at], None
        into = self._step if asked.purpose == "group" else Step()
        for row in asked.rows.tolist():
            into.add(row, seen[row])
        if asked.purpose != "group":
            estimates = into.groups()
        groups = self._step.groups()
        self._next = self.curriculum.draw(groups, estimates)
        if self._next is not None:
            self.open.pop(at)
            return None
        kept = self.curriculum.keep(groups)
        self.curriculum.observe(self._step.outcome(kept))
        self.open.pop(at)
        self._step = Step()
        return groups.rows[kept]

    def read(
        self,
        rows: IntArray,
        rewards: Rewards,
        correct: Rewards | None = None,
        signal: npt.ArrayLike | None = None,
        advantage: npt.ArrayLike | None = None,
        tokens: npt.ArrayLike | None = None,
    ) -> dict[int, Seen]:
        """What `observe` is told, checked, by row; nothing is learned (DataError as there)."""
        groups = groups_of(self.name, "rewards", rows, rewards)
        right = groups if correct is None else groups_of(self.name, "correct", rows, correct)
        for row, one, other in zip(rows.tolist(), groups, right, strict=True):
            self._check_group(row, one, other, correct is not None)
        if self.reads_signal and signal is None:
            raise DataError(
                f"curriculum '{self.name}' needs signal=, (B,) C of the prompts under the current "
                "model (gainrl.signals); gain has use_signal=False"
            )
        numbers = {"signal": signal, "advantage": advantage, "tokens": tokens}
        columns = {k: self._numbers(k, rows, v) for k, v in numbers.items() if v is not None}
        found = {}
        for i, row in enumerate(rows.tolist()):
            more: dict[str, Any] = {key: float(values[i]) for key, values in columns.items()}
            more["tokens"] = int(more.get("tokens", 0))
            found[row] = Seen(groups[i].tolist(), right[i].tolist(), **more)
        return found

    def _check_group(self, row: int, rewards: FloatArray, right: FloatArray, said: bool) -> None:
        if len(rewards) != len(right):
            self._refuse(f"row {row} has {len(rewards)} rewards and {len(right)} of correct=")
        fine = (right >= 0) & (right <= 1)
        if not fine.all():
            what = "correct" if said else "reward"
            hint = "" if said else "; give correct=, the shares that are right, beside such rewards"
            value = right[int(fine.argmin())]
            self._refuse(
                f"{what} {int(fine.argmin())} of row {row} is {value}, not in [0, 1]{hint}"
            )

    def _numbers(self, what: str, rows: IntArray, values: npt.ArrayLike) -> FloatArray:
        found = np.asarray(values, dtype=np.float64)
        if found.shape != rows.shape:
            self._refuse(f"{what} has shape {found.shape}, not {rows.shape}")
        if not (fine := np.isfinite(found)).all():
            at = int(fine.argmin())
            self._refuse(f"{what} of row {rows[at]} is {found[at]}")
        return found

    def _batch_of(self, rows: IntArray) -> int:
        """Which of the open batches these rows are: the oldest that has all of them."""
        wanted = np.sort(rows)
        for at, asked in enumerate(self.open):
            if np.array_equal(np.sort(asked.rows), wanted):
                return at
        if not self.open:
            self._refuse("no batch is out: ask next_batch() before each observe()")
        out = self.open[0].rows
        strange, missing = np.setdiff1d(rows, out), np.setdiff1d(out, rows)
        if len(strange):
            self._refuse(f"row {strange[0]} was observed, which is not in the batch that is out")
        if len(missing):
            self._refuse(
                f"row {missing[0]} of the batch was not observed; give [] as the rewards of a row "
                "whose responses were lost"
            )
        self._refuse("a row was observed twice")
        raise AssertionError

    def _refuse(self, reason: str) -> None:
        raise DataError(f"curriculum '{self.name}': {reason}")

    def metrics(self) -> dict[str, float]:
        """What the policy shows."""
        return self.curriculum.metrics()

    def state_dict(self) -> dict[str, Any]:
        """All that goes on after a restart, as JSON has it; batches that are out are in it."""
        step = {
            "rows": list(self._step.rewards),
            "rewards": list(self._step.rewards.values()),
            "correct": list(self._step.correct.values()),
            "tokens": list(self._step.tokens.values()),
            "signal": _nulled(self._step.signal.values()),
            "advantage": _nulled(self._step.advantage.values()),
        }
        return {
            "size": self.size,
            "policy": self.name,
            "curriculum": self.curriculum.state_dict(),
            "open": [_plain(each) for each in self.open],
            "next": None if self._next is None else _plain(self._next),
            "step": step,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken.

        Raises:
            CheckpointError: it is of another policy or table, or damaged.
        """
        for what, here in (("policy", self.name), ("size", self.size)):
            if state.get(what) != here:
                raise CheckpointError(
                    f"curriculum '{self.name}': the saved {what} is {state.get(what)!r}, not "
                    f"{here!r}"
                )
        self.curriculum.load_state_dict(state["curriculum"])
        self.open = [_request(each) for each in state["open"]]
        self._next = None if state["next"] is None else _request(state["next"])
        saved, self._step = state["step"], Step()
        numbers = [_numbered(saved[key]) for key in ("signal", "advantage")]
        lists = (saved["rows"], saved["rewards"], saved["correct"], saved["tokens"], *numbers)
        for row, *values in zip(*lists, strict=True):
            self._step.add(row, Seen(*values))


# --- state ---------------------------------------------------------------------------------------


def _plain(asked: Request) -> dict[str, Any]:
    rows, rollouts = asked.rows.tolist(), asked.rollouts.tolist()
    return {"rows": rows, "rollouts": rollouts, "purpose": asked.purpose}


def _request(saved: Mapping[str, Any]) -> Request:
    rows = np.array(saved["rows"], dtype=np.int64)
    return Request(rows, np.array(saved["rollouts"], dtype=np.int64), saved["purpose"])


def _nulled(values: Any) -> list[float | None]:
    """NaN is none in JSON."""
    return [None if np.isnan(each) else each for each in values]


def _numbered(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if each is None else each for each in values]
