"""What a training loop tells of its groups, and a step's groups as they come together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gainrl.curricula.base import FloatArray, Groups, IntArray, Outcome
from gainrl.errors import DataError

EPSILON = 1e-6
"""What GRPO adds to the standard deviation of a group's rewards."""

Rewards = npt.ArrayLike | Sequence[npt.ArrayLike]
"""(B, G), or a sequence of B groups of any size; an empty one if all its responses were lost."""


@dataclass(frozen=True)
class Seen:
    """What came of the responses to a row: as the arguments of `BatchCurriculum.observe`."""

    rewards: list[float]
    correct: list[float]
    tokens: int = 0
    signal: float = float("nan")
    advantage: float = float("nan")


@dataclass
class Step:
    """The groups of a step so far, in the order of their first request."""

    rewards: dict[int, list[float]] = field(default_factory=dict)
    correct: dict[int, list[float]] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    signal: dict[int, float] = field(default_factory=dict)
    advantage: dict[int, float] = field(default_factory=dict)

    def add(self, row: int, seen: Seen) -> None:
        """Join responses to a row's group."""
        self.rewards.setdefault(row, []).extend(seen.rewards)
        self.correct.setdefault(row, []).extend(seen.correct)
        self.tokens[row] = self.tokens.get(row, 0) + seen.tokens
        self.signal[row] = seen.signal
        self.advantage[row] = seen.advantage

    @property
    def answered(self) -> list[int]:
        """The rows with a response."""
        return [row for row, rewards in self.rewards.items() if rewards]

    def groups(self) -> Groups:
        """What a curriculum gets to see."""
        rows = self.answered
        if not rows:
            return Groups.none()
        return Groups(
            rows=np.array(rows, dtype=np.int64),
            rollouts=np.array([len(self.rewards[row]) for row in rows], dtype=np.int64),
            accuracy=np.array([float(np.mean(self.correct[row])) for row in rows]),
            mixed=np.array([len(set(self.rewards[row])) > 1 for row in rows]),
            tokens=np.array([self.tokens[row] for row in rows], dtype=np.int64),
        )

    def outcome(self, kept: IntArray | slice) -> Outcome:
        """What it learns from; C and advantages are of the groups that are trained on."""
        seen, rows = self.groups(), self.answered
        trained = np.zeros(len(rows), dtype=bool)
        trained[kept] = True
        known = np.array([self.advantage[row] for row in rows])
        own = [mean_abs_advantage(self.rewards[row]) for row in rows]
        advantage = np.where(np.isnan(known), own, known)
        signal = np.array([self.signal[row] for row in rows])
        return Outcome(
            rows=seen.rows,
            accuracy=seen.accuracy,
            signal=np.where(trained, signal, np.nan),
            advantage=np.where(trained, advantage, np.nan),
            tokens=seen.tokens,
            rollouts=seen.rollouts,
            mixed=seen.mixed,
            trained=trained,
        )


def mean_abs_advantage(rewards: Sequence[float]) -> float:
    """Mean |A| of a group, with GRPO's A = (r - mean) / (std + 1e-6); 0 for fewer than two."""
    if len(rewards) < 2 or len(set(rewards)) == 1:
        return 0.0
    values = np.asarray(rewards, dtype=np.float64)
    return float(np.abs(values - values.mean()).mean() / (values.std(ddof=1) + EPSILON))


def groups_of(name: str, what: str, rows: IntArray, given: Rewards) -> list[FloatArray]:
    """The groups of (B, G) or ragged numbers."""
    groups = [np.asarray(group, dtype=np.float64) for group in given]  # type: ignore[union-attr]
    if len(groups) != len(rows):
        raise DataError(f"curriculum '{name}': {what} of {len(groups)} rows, not {len(rows)}")
    for row, group in zip(rows.tolist(), groups, strict=True):
        if group.ndim != 1:
            raise DataError(f"curriculum '{name}': {what} are not (B, G) but (B, {group.shape})")
        if not (fine := np.isfinite(group)).all():
            at = int(fine.argmin())
            raise DataError(f"curriculum '{name}': {what} {at} of row {row} is {group[at]}")
    return groups
