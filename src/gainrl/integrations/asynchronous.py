"""Curricula for trainers that hand over finished groups one by one and out of order.

work = Asynchronous(make("mopps", size=7473, batch=64))
row, rollouts = work.next_group()
work.observe(row, rewards)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gainrl.curricula.base import IntArray
from gainrl.curricula.batches import BatchCurriculum
from gainrl.curricula.seen import Seen
from gainrl.errors import DataError


@dataclass
class _Batch:
    """A batch that is out. waiting: positions that were not given out yet, in their order; flight:
    position -> policy version that it was given out under; groups: what is held back, by position;
    apart: it was drawn without the rows in flight.
    """

    rows: list[int]
    rollouts: list[int]
    waiting: list[int]
    apart: bool
    flight: dict[int, int] = field(default_factory=dict)
    groups: dict[int, Seen] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return len(self.groups) == len(self.rows)

    def position_in_flight(self, row: int) -> int | None:
        return next((at for at in self.flight if self.rows[at] == row), None)


@dataclass
class _Counts:
    """Since the beginning. late: groups that came after they had been given up."""

    lost: int = 0
    late: int = 0


class Asynchronous:
    """Holds groups back until a batch is whole, and observes batches in the order of their draws.

    So a policy is told what it would be told batch by batch, whatever the order of the groups. A
    row that is in flight is not given out again before its group is back: where a batch has such a
    row, the row waits for its turn, and where nothing else is left, a batch is drawn without the
    rows in flight.

    Args:
        curriculum: by `make`; nothing of it is out.
        lost_after: batches drawn since, after which a group that is still in flight is given up,
            for trainers that cancel groups without a word; None waits for ever. It is counted as
            lost, and its batch goes on without it.
    """

    def __init__(self, curriculum: BatchCurriculum, lost_after: int | None = None) -> None:
        if lost_after is not None and lost_after < 1:
            raise DataError(f"lost_after is {lost_after}, not at least 1")
        self.curriculum = curriculum
        self.lost_after = lost_after
        self.version = 0
        """The newest policy version that it was told of."""
        self._batches: list[_Batch] = []
        self._counts = _Counts()
        self._lags: list[int] = []
        self._given_up: set[int] = set()
        self._trained: list[IntArray] = []

    # --- giving out ------------------------------------------------------------------------------

    @property
    def in_flight(self) -> dict[int, int]:
        """Rows that are being rolled out, and the policy version each was given out under."""
        return {b.rows[at]: version for b in self._batches for at, version in b.flight.items()}

    def next_group(self, version: int = 0) -> tuple[int, int] | None:
        """A row to roll out and how many responses it gets.

        Args:
            version: of the policy that will roll it out.

        Returns:
            None if nothing may be given out before a group is back: fewer rows than a batch are not
            in flight, or the policy draws again within a step (`BatchCurriculum.several_draws`)
            and needs the groups that are out for that.
        """
        self.version = max(self.version, version)
        while (found := self._waiting()) is None:
            if not self._draw():
                return None
        batch, at = found
        batch.waiting.remove(at)
        batch.flight[at] = version
        return batch.rows[at], batch.rollouts[at]

    def _waiting(self) -> tuple[_Batch, int] | None:
        busy = self.in_flight
        for batch in self._batches:
            for at in batch.waiting:
                if batch.rows[at] not in busy:
                    return batch, at
        return None

    def _draw(self) -> bool:
        """Draw a batch, without the rows in flight if the last one had nothing else."""
        if self.curriculum.several_draws and self._batches:
            return False
        taken = None
        if any(batch.waiting for batch in self._batches):
            size, least = self.curriculum.size, self.curriculum.curriculum.setting.batch
            taken = np.zeros(size, dtype=bool)
            taken[list(self.in_flight)] = True
            newest = self._batches[-1]
            insists = newest.apart and len(newest.waiting) == len(newest.rows)
            if insists or size - int(taken.sum()) < least:
                return False
        if self.lost_after is not None:
            stale = max(len(self._batches) + 1 - self.lost_after, 0)
            for batch in self._batches[:stale]:
                self._given_up.update(batch.rows[at] for at in batch.flight)
                for at in list(batch.flight):
                    self._lose(batch, at)
            self._observe_whole()
        rows = self.curriculum.next_batch(taken).tolist()
        rollouts, waiting = self.curriculum.rollouts.tolist(), list(range(len(rows)))
        self._batches.append(_Batch(rows, rollouts, waiting, taken is not None))
        return True

    # --- taking back -----------------------------------------------------------------------------

    def observe(
        self,
        row: int,
        rewards: npt.ArrayLike,
        *,
        version: int | None = None,
        correct: npt.ArrayLike | None = None,
        signal: float | None = None,
        advantage: float | None = None,
        tokens: int | None = None,
    ) -> list[IntArray]:
        """Take a finished group.

        Args:
            row: in flight.
            rewards: (G,); an empty one if all responses were lost.
            version: of the policy that began the group, if it is not the one given to `next_group`.
            correct, signal, advantage, tokens: as for `BatchCurriculum.observe`, of this group.

        Returns:
            The rows to train on of each step that is whole with this group; mostly none.

        Raises:
            DataError: a number is none, or the row is not in flight; nothing changed.
        """
        if self._is_late(row, version):
            self._given_up.discard(row)
            self._counts.late += 1
            return self._taken()
        if not np.size(rewards):
            return self.lost(row)
        batch, at = self._find(row)
        one = {"signal": signal, "advantage": advantage, "tokens": tokens}
        more = {key: None if value is None else [value] for key, value in one.items()}
        right = None if correct is None else [correct]
        seen = self.curriculum.read(np.array([row]), [rewards], right, **more)[row]
        given = batch.flight.pop(at)
        batch.groups[at] = seen
        began = given if version is None else version
        self.version = max(self.version, began)
        self._lags.append(self.version - began)
        self._observe_whole()
        return self._taken()

    def lost(self, row: int) -> list[IntArray]:
        """Give a row in flight up: its batch goes on without it. Returns as `observe`."""
        self._lose(*self._find(row))
        self._observe_whole()
        return self._taken()

    def again(self, row: int) -> None:
        """Give a row in flight out again: its rollouts were thrown away (DataError: it is not)."""
        batch, at = self._find(row)
        del batch.flight[at]
        batch.waiting.insert(0, at)

    def _find(self, row: int) -> tuple[_Batch, int]:
        for batch in self._batches:
            if (at := batch.position_in_flight(row)) is not None:
                return batch, at
        raise DataError(f"curriculum '{self.curriculum.name}': row {row} is not in flight")

    def _lose(self, batch: _Batch, at: int) -> None:
        del batch.flight[at]
        batch.groups[at] = Seen([], [])
        self._counts.lost += 1

    def _is_late(self, row: int, version: int | None) -> bool:
        """Whether a group had been given up: its row is not in flight, or by a newer policy."""
        now = self.in_flight.get(row)
        return row in self._given_up and (now is None or (version is not None and version < now))

    def _taken(self) -> list[IntArray]:
        trained, self._trained = self._trained, []
        return trained

    def _observe_whole(self) -> None:
        """Observe the batches that are whole, up to the first that is not."""
        while self._batches and self._batches[0].whole:
            batch = self._batches[0]
            found = self.curriculum.observe_seen(
                {row: batch.groups[at] for at, row in enumerate(batch.rows)}
            )
            self._batches.pop(0)
            if found is not None:
                self._trained.append(found)

    # --- what it shows and keeps -----------------------------------------------------------------

    def metrics(self) -> dict[str, float]:
        """The policy's, and of groups: in flight, held back, lost, late; lag in policy versions.

        A lag is the newest version when a group came less the one that it is of; since last asked.
        """
        lags, self._lags = self._lags, []
        return {
            **self.curriculum.metrics(),
            "in_flight": float(len(self.in_flight)),
            "held": float(sum(len(batch.groups) for batch in self._batches)),
            "lost": float(self._counts.lost),
            "late": float(self._counts.late),
            "lag": float(np.mean(lags)) if lags else 0.0,
            "lag_max": float(max(lags, default=0)),
        }

    def state_dict(self) -> dict[str, Any]:
        """All that goes on after a restart, as JSON has it."""
        batches = [
            {
                "rows": batch.rows,
                "rollouts": batch.rollouts,
                "waiting": batch.waiting,
                "apart": batch.apart,
                "flight": [list(pair) for pair in batch.flight.items()],
                "groups": [[at, _saved(seen)] for at, seen in batch.groups.items()],
            }
            for batch in self._batches
        ]
        return {
            "curriculum": self.curriculum.state_dict(),
            "batches": batches,
            "version": self.version,
            "counts": asdict(self._counts),
            "given_up": sorted(self._given_up),
            "trained": [rows.tolist() for rows in self._trained],
        }

    def load_state_dict(self, state: Mapping[str, Any], in_flight: str = "again") -> None:
        """Continue where `state_dict` was taken.

        Args:
            in_flight: `again` if the rollouts that were in flight ended with the process: these
                rows are given out again, before all others. `kept` if the trainer still has them.

        Raises:
            CheckpointError: as `BatchCurriculum.load_state_dict`.
        """
        if in_flight not in ("again", "kept"):
            raise DataError(f"in_flight is 'again' or 'kept', not '{in_flight}'")
        self.curriculum.load_state_dict(state["curriculum"])
        self.version, self._counts = state["version"], _Counts(**state["counts"])
        self._given_up, self._lags, self._batches = set(state["given_up"]), [], []
        self._trained = [np.array(rows, dtype=np.int64) for rows in state["trained"]]
        for saved in state["batches"]:
            flight = {at: version for at, version in saved["flight"]}
            waiting = list(saved["waiting"])
            if in_flight == "again":
                flight, waiting = {}, [*flight, *waiting]
            groups = {at: Seen(**_nan_for_none(each)) for at, each in saved["groups"]}
            rows, rollouts = list(saved["rows"]), list(saved["rollouts"])
            self._batches.append(_Batch(rows, rollouts, waiting, saved["apart"], flight, groups))


def _saved(seen: Seen) -> dict[str, Any]:
    """NaN is none in JSON."""
    return {key: None if value != value else value for key, value in asdict(seen).items()}


def _nan_for_none(saved: Mapping[str, Any]) -> dict[str, Any]:
    return {key: float("nan") if value is None else value for key, value in saved.items()}
