"""What a step's rollouts leave behind, whichever backend made them: its record, its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gainrl.curricula.base import FloatArray, IntArray, Outcome
from gainrl.training.rollouts import Rollouts


def outcome_of(rollouts: Rollouts, trained: Rollouts, signal: FloatArray) -> Outcome:
    """What the curriculum learns from: every group, also those that were not trained on.

    Args:
        trained: the groups that it admitted, Q, with the advantages that they were trained with.
        signal: (Q,) C of their prompts.
    """
    kept = slice(None) if rollouts.kept is None else rollouts.kept
    measured, advantage = np.full((2, len(rollouts.rows)), np.nan)
    measured[kept] = signal
    advantage[kept] = trained.mean_abs_advantage.double().numpy()
    updated = np.zeros(len(rollouts.rows), dtype=bool)
    updated[kept] = trained.updated
    seen = rollouts.groups()
    return Outcome(
        rows=seen.rows,
        accuracy=seen.accuracy,
        signal=measured,
        advantage=advantage,
        tokens=seen.tokens,
        rollouts=seen.rollouts,
        mixed=seen.mixed,
        trained=updated,
    )


def record_of(
    rollouts: Rollouts,
    trained: Rollouts,
    signal: FloatArray,
    lengths: IntArray,
    truncated: Sequence[bool],
    whole_batches: bool,
) -> dict[str, Any]:
    """What the step record says of rollouts: all of it is determined by the configuration.

    Args:
        trained, signal: as for `outcome_of`.
        lengths: (N,) tokens of the table's prompts, as this step rendered them.
        truncated: (R,) whether a response was cut off.
        whole_batches: whether the curriculum trains on all that it draws.
    """
    return {
        "accuracy": float(rollouts.accuracy.double().mean()),
        "reward": float(rollouts.reward.double().mean()),
        "signal": float(signal.mean()),
        "zero_variance": float(rollouts.zero_variance.double().mean()),
        "rollout_tokens": int(rollouts.lengths.sum()) + rollouts.estimated,
        "prompt_tokens": int(lengths[rollouts.rows].sum()),
        "response_length": float(rollouts.lengths.mean()),
        "truncated": float(np.mean(truncated)),
        **_parts(rollouts, trained, lengths, whole_batches),
    }


def _parts(
    rollouts: Rollouts, trained: Rollouts, lengths: IntArray, whole_batches: bool
) -> dict[str, Any]:
    """What the record says where not all is trained on, or a reward has a bonus."""
    run = trained.updated
    found: dict[str, Any] = {}
    if not whole_batches:
        found = {
            "groups": len(rollouts.rows),
            "trained_groups": int(run.sum()),
            "estimate_tokens": rollouts.estimated,
            "free_tokens": rollouts.free,
        }
    if len(rollouts.prefilled):
        found["prefill_tokens"] = int(lengths[list(rollouts.prefilled)].sum())
    if found or trained.mask is not None:
        used = trained.lengths[trained.tokens_in_loss > 0]
        found["trained_prompt_tokens"] = int(lengths[trained.rows[run]].sum())
        found["trained_rollout_tokens"] = int(used.sum())
    if trained.mask is not None:
        found["measured_prompt_tokens"] = int(lengths[trained.rows].sum())
    if rollouts.correct is not None:
        found["format"] = float((rollouts.rewards > rollouts.correct).double().mean())
    return found
