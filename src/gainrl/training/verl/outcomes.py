"""What a curriculum is told of verl's responses, put together by prompt. numpy only."""

from __future__ import annotations

import numpy as np

from gainrl.curricula.base import FloatArray, IntArray, Outcome


def outcome_of(
    drawn: IntArray,
    rows: IntArray,
    reward: FloatArray,
    signal: FloatArray,
    advantage: FloatArray,
    tokens: IntArray,
) -> Outcome:
    """The step's groups in the order in which their prompts were drawn.

    A prompt that has no response in the batch, since verl lost or dropped all of them, is left out:
    nothing was learned of it.

    Args:
        drawn: (P,) rows of the training table.
        rows: (R,) row of each response; the rest by response, too.

    Raises:
        RuntimeError: no prompt has a response.
    """
    groups = {row: found for row in drawn.tolist() if len(found := np.flatnonzero(rows == row))}
    if not groups:
        raise RuntimeError("gainrl: none of the step's prompts has a response")
    parts = list(groups.values())
    return Outcome(
        rows=np.array(list(groups), dtype=np.int64),
        accuracy=np.array([reward[part].mean() for part in parts]),
        signal=np.array([signal[part].mean() for part in parts]),
        advantage=np.array([advantage[part].mean() for part in parts]),
        tokens=np.array([tokens[part].sum() for part in parts]),
        rollouts=np.array([len(part) for part in parts]),
        mixed=np.array([np.ptp(reward[part]) > 0 for part in parts]),
        trained=np.ones(len(parts), dtype=bool),
    )
