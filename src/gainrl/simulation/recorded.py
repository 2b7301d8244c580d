"""A finished run's snapshots as a learner: recorded pass rates, walked at another pace.

docs/simulation.md says why the clock is the gradient signal, and what that leaves out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gainrl.curricula.base import FloatArray, IntArray
from gainrl.errors import DataError
from gainrl.records import PROBE, SCORES, read_table
from gainrl.simulation.world import PromptPool

POINTS = 64
"""Places between two snapshots at which the signal's mean is taken."""


class RecordedLearner:
    """Pass rates P_0 ... P_S of N prompts at a run's snapshots, linear in a clock between them.

    The clock is the cumulative gradient signal: a step with trained groups j adds sum_j w_j p_j
    (1 - p_j), with p_j the accuracy of its G_j rollouts and w_j = G_j / sum G. Snapshot s is
    reached at S_s = S_s-1 + dt_s / mean_f(1 / m_s(f)), where dt_s are the run's steps between the
    two, f in (0, 1) is the place between them and m_s(f) = (1 - 1 / G) mean_i P_i(f) (1 - P_i(f))
    is what a uniform batch adds in expectation. So uniform sampling is at the recorded rates at the
    recorded steps, and what gathers signal faster moves along faster. After the last snapshot
    nothing moves.
    """

    def __init__(
        self,
        steps: IntArray,
        passed: FloatArray,
        signal: FloatArray,
        rollouts: int,
        pool: PromptPool,
    ) -> None:
        """Lay out the clock.

        Args:
            steps: (S,) RL steps of at least two snapshots, increasing, of a run that sampled
                uniformly.
            passed: (S, N) pass rates in [0, 1]; signal: (S, N) C.
            rollouts: G of that run.

        Raises:
            DataError: every prompt is solved or failed at every snapshot.
        """
        self.pool, self.passed, self.signal = pool, passed, signal
        self.means = passed.mean(axis=1)
        between = _signal_between(passed) * (1 - 1 / rollouts)
        self.clock = np.concatenate([[0.0], np.cumsum(np.diff(steps) * between)])
        if self.clock[-1] == 0:
            raise DataError("every prompt is solved or failed throughout the record: no signal")
        self.now = 0.0

    @property
    def ability(self) -> float:
        """Share of the record that is behind, in [0, 1]."""
        return min(self.now / float(self.clock[-1]), 1.0)

    def rates(self, rows: IntArray) -> FloatArray:
        """(P,) recorded pass rates, interpolated."""
        at, share = self._place()
        return (1 - share) * self.passed[at, rows] + share * self.passed[at + 1, rows]

    def signals(self, rows: IntArray) -> FloatArray:
        """(P,) recorded C, interpolated."""
        at, share = self._place()
        return (1 - share) * self.signal[at, rows] + share * self.signal[at + 1, rows]

    def learn(self, rows: IntArray, accuracy: FloatArray, rollouts: IntArray) -> float:
        """Move the clock; returns by how much."""
        gained = float((rollouts / rollouts.sum() * accuracy * (1 - accuracy)).sum())
        self.now += gained
        return gained

    def test_accuracy(self) -> float:
        """Mean pass rate of the pool: a record has no held-out problems."""
        at, share = self._place()
        return float((1 - share) * self.means[at] + share * self.means[at + 1])

    def _place(self) -> tuple[int, float]:
        """The snapshot behind, and the share of the way to the next."""
        at = int(np.searchsorted(self.clock, self.now, side="right")) - 1
        at = min(at, len(self.clock) - 2)
        width = self.clock[at + 1] - self.clock[at]
        return at, min((self.now - self.clock[at]) / width, 1.0) if width else 1.0


def _signal_between(passed: FloatArray) -> FloatArray:
    """(S,) harmonic means over the way between snapshots of the pool's mean p (1 - p)."""
    start, change = passed[:-1], np.diff(passed, axis=0)
    # The mean over prompts of p (1 - p) with p = start + f change is a parabola in f.
    level = (start * (1 - start)).mean(axis=1)
    slope, bend = (change * (1 - 2 * start)).mean(axis=1), (change**2).mean(axis=1)
    f = (np.arange(POINTS) + 0.5) / POINTS
    means = level[:, None] + slope[:, None] * f - bend[:, None] * f**2
    still = means.min(axis=1) <= 0  # solved or failed throughout: no time passes on this clock
    return np.where(
        still, 0.0, 1 / np.where(still[:, None], 1.0, 1 / means.clip(1e-12)).mean(axis=1)
    )


def denoised(correct: FloatArray, samples: FloatArray) -> FloatArray:
    """(S, N) pass rates from counts of right answers, without most of the counts' own noise.

    A snapshot has few samples of a prompt, and 0 of 4 is not p = 0: raw rates would make half of
    the groups look dead. So a rate is the snapshot's mean, plus how far the prompt lies above it
    over all snapshots, plus what this snapshot adds, shrunk by the share of that part's variance
    that binomial noise, p (1 - p) / samples, does not account for; and within [0, 1].

    Args:
        correct, samples: (S, N), S at least 2 and samples at least 2.
    """
    raw = correct / samples
    count = len(raw)
    level = raw.mean(axis=1, keepdims=True)
    own = (raw - level).mean(axis=0)
    rest = raw - level - own
    variance = float((rest**2).mean()) * count / (count - 1)
    noise = float((raw * (1 - raw) / (samples - 1)).mean())
    weight = max(0.0, 1 - noise / variance) if variance else 0.0
    return np.clip(level + own + weight * rest, 0.0, 1.0)


def read_recorded(
    probe: str, scores: str | None, *, rollouts: int, tokens: int, prompt_tokens: int
) -> RecordedLearner:
    """Read a probe table, and a score table for question lengths.

    Args:
        rollouts: of the recorded run's groups.
        tokens: of a response; prompt_tokens: of a question where `scores` does not say.

    Raises:
        DataError: a file is missing, the table has fewer than two snapshots, snapshots of other
            prompts or fewer than two samples of one, or as for `RecordedLearner`.
    """
    table = read_table(probe, PROBE)
    steps = np.unique(table["step"].to_numpy())
    if len(steps) < 2:
        raise DataError(f"{probe}: {len(steps)} snapshot; a record has at least two")
    frames = [table[table["step"] == step] for step in steps]
    first = frames[0]
    for step, frame in zip(steps, frames, strict=True):
        if frame["id"].tolist() != first["id"].tolist():
            raise DataError(f"{probe}: step {step} has other prompts than step {steps[0]}")
    correct, samples, signal = (
        np.stack([frame[name].to_numpy(dtype=float) for frame in frames])
        for name in ("correct", "samples", "c")
    )
    if samples.min() < 2:
        raise DataError(f"{probe}: fewer than two samples of a prompt")
    pool = _pool(first, probe, scores, tokens, prompt_tokens)
    try:
        return RecordedLearner(steps, denoised(correct, samples), signal, rollouts, pool)
    except DataError as error:
        raise DataError(f"{probe}: {error}") from error


def _pool(
    first: pd.DataFrame, probe: str, scores: str | None, tokens: int, prompt_tokens: int
) -> PromptPool:
    """What is known of the prompts of the first snapshot."""
    size = len(first)
    lengths = np.full(size, prompt_tokens, dtype=np.int64)
    features = {name: first[name].to_numpy(dtype=float) for name in ("c_intra", "c_inter")}
    if scores is not None:
        known = read_table(scores, SCORES).set_index("id")["n_question"]
        missing = first.loc[~first["id"].isin(known.index), "id"]
        if len(missing):
            raise DataError(f"{scores}: no prompt '{missing.iloc[0]}', which {probe} has")
        lengths = known.loc[first["id"]].to_numpy(dtype=np.int64)
        features["tokens"] = lengths.astype(float)
    return PromptPool(
        tokens=np.full(size, float(tokens)),
        prompt_tokens=lengths,
        signal=first["c"].to_numpy(dtype=float),
        features=features,
    )
