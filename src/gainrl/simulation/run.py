"""A run without a model: a curriculum's draws, simulated rollouts, a learner's growth."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from gainrl.curricula import Curriculum
from gainrl.curricula.base import FloatArray, Groups, IntArray, Outcome
from gainrl.errors import ConfigError
from gainrl.simulation.world import World
from gainrl.training import algorithms

GRPO = algorithms.named("grpo")


@dataclass(frozen=True)
class Simulated:
    """A run. steps: a record each RL step (from 1), with the keys of steps.jsonl that have a
    meaning here, and ability, test_accuracy (expected) and gradient_signal after it; overhead:
    (steps,) seconds spent in the policy; start: test accuracy before the first step.
    """

    steps: list[dict[str, Any]]
    overhead: FloatArray
    start: float


def simulate(world: World, policy: Curriculum, steps: int, seed: int) -> Simulated:
    """Train a world with a policy, as a trainer does.

    Args:
        world: at its start; it is changed.
        policy: started on the world's pool.
        steps: RL steps.
        seed: of the outcomes, and nothing else.

    Raises:
        ConfigError: the policy goes by what a world does not have.
    """
    if policy.goes_by:
        raise ConfigError(
            f"curriculum '{policy.name}' goes by {policy.goes_by}, which a simulated step does not "
            "have"
        )
    rng = np.random.default_rng([seed, 45])
    start, records, overhead = world.test_accuracy(), [], np.empty(steps)
    for step in range(1, steps + 1):
        trip = _Step(world, rng)
        record = trip.take(policy)
        records.append({"step": step, **record})
        overhead[step - 1] = trip.seconds
    return Simulated(records, overhead, start)


class _Step:
    """One RL step: its groups so far, what they cost, and how long the policy thought."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self.world, self.rng = world, rng
        self.rows = np.empty(0, dtype=np.int64)
        self.rollouts, self.correct = self.rows.copy(), self.rows.copy()
        self.tokens = {"group": 0, "estimate": 0, "free": 0}
        self.seconds = 0.0

    def take(self, policy: Curriculum) -> dict[str, Any]:
        """Draw, keep, learn, observe; returns the step's record without its number."""
        estimates = None
        while (request := self._timed(policy.draw, self.seen(), estimates)) is not None:
            correct = self.rng.binomial(request.rollouts, self.world.rates(request.rows))
            spent = self._tokens(request.rows, request.rollouts)
            self.tokens[request.purpose] += int(spent.sum())
            if request.purpose == "group":
                self._join(request.rows, request.rollouts, correct)
                estimates = None
            else:
                estimates = self._groups(request.rows, request.rollouts, correct)
        seen = self.seen()
        kept = np.asarray(self._timed(policy.keep, seen))
        signal = np.full(len(seen.rows), np.nan)
        signal[kept] = self.world.signals(seen.rows[kept])  # before the update, as in a trainer
        gained = self.world.learn(seen.rows[kept], seen.accuracy[kept], seen.rollouts[kept])
        self._timed(policy.observe, _outcome(seen, kept, signal))
        return {
            **self._record(seen, kept, signal),
            **({} if policy.whole_batches else self._parts(seen, kept)),
            "gradient_signal": gained,
            "ability": self.world.ability,
            "test_accuracy": self.world.test_accuracy(),
            **{f"curriculum/{key}": float(value) for key, value in policy.metrics().items()},
        }

    def seen(self) -> Groups:
        """The groups so far."""
        return self._groups(self.rows, self.rollouts, self.correct)

    def _groups(self, rows: IntArray, rollouts: IntArray, correct: IntArray) -> Groups:
        return Groups(
            rows=rows,
            rollouts=rollouts,
            accuracy=correct / rollouts,
            mixed=(correct > 0) & (correct < rollouts),
            tokens=self._tokens(rows, rollouts),
        )

    def _tokens(self, rows: IntArray, rollouts: IntArray) -> IntArray:
        return np.rint(rollouts * self.world.pool.tokens[rows]).astype(np.int64)

    def _join(self, rows: IntArray, rollouts: IntArray, correct: IntArray) -> None:
        """Put responses into their prompts' groups; new groups come last."""
        order = np.argsort(self.rows, kind="stable")
        place = np.searchsorted(self.rows, rows, sorter=order)
        known = np.isin(rows, self.rows)
        old = order[place[known]]
        self.rows = np.concatenate([self.rows, rows[~known]])
        # New arrays, for the policy may hold the ones before.
        self.rollouts = np.concatenate([self.rollouts, rollouts[~known]])
        self.correct = np.concatenate([self.correct, correct[~known]])
        self.rollouts[old] += rollouts[known]
        self.correct[old] += correct[known]

    def _record(self, seen: Groups, kept: IntArray, signal: FloatArray) -> dict[str, Any]:
        """What a trainer records of its rollouts; all groups count, trained on or not."""
        accuracy = float(seen.accuracy.mean())
        return {
            "accuracy": accuracy,
            "reward": accuracy,
            "signal": float(signal[kept].mean()),
            "zero_variance": float(1 - seen.mixed.mean()),
            "rollout_tokens": self.tokens["group"] + self.tokens["estimate"],
            "prompt_tokens": int(self.world.pool.prompt_tokens[self.rows].sum()),
            "response_length": float(self.tokens["group"] / self.rollouts.sum()),
        }

    def _parts(self, seen: Groups, kept: IntArray) -> dict[str, int]:
        """What a trainer records besides, where a step is not one whole batch."""
        return {
            "groups": len(seen.rows),
            "trained_groups": len(kept),
            "trained_prompt_tokens": int(self.world.pool.prompt_tokens[seen.rows[kept]].sum()),
            "trained_rollout_tokens": int(seen.tokens[kept].sum()),
            "estimate_tokens": self.tokens["estimate"],
            "free_tokens": self.tokens["free"],
        }

    def _timed(self, call: Any, *arguments: Any) -> Any:
        began = time.perf_counter()
        result = call(*arguments)
        self.seconds += time.perf_counter() - began
        return result


def _outcome(seen: Groups, kept: IntArray, signal: FloatArray) -> Outcome:
    """What the policy observes; advantages are GRPO's, of groups that were trained on."""
    advantage = GRPO.mean_abs_advantage(seen.accuracy, seen.rollouts)
    trained = np.zeros(len(seen.rows), dtype=bool)
    trained[kept] = True
    return Outcome(
        rows=seen.rows,
        accuracy=seen.accuracy,
        signal=signal,
        advantage=np.where(trained, advantage, np.nan),
        tokens=seen.tokens,
        rollouts=seen.rollouts,
        mixed=seen.mixed,
        trained=trained,
    )
