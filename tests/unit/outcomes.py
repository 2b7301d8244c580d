"""Outcomes of a step without a model, for the tests of curricula."""

import numpy as np

from gainrl.curricula import Outcome


def outcome(rows, accuracy, signal=0.0, rollouts=8, tokens=10):
    """Every prompt trained on; a group is mixed if its accuracy is neither 0 nor 1."""
    rows = np.asarray(rows)
    accuracy = np.broadcast_to(np.asarray(accuracy, dtype=float), len(rows))
    signal = np.broadcast_to(np.asarray(signal, dtype=float), len(rows))
    counts = np.broadcast_to(np.asarray(rollouts), len(rows))
    return Outcome(
        rows=rows,
        accuracy=accuracy,
        signal=signal,
        advantage=2 * accuracy * (1 - accuracy),
        tokens=counts * tokens,
        rollouts=counts,
        mixed=(accuracy > 0) & (accuracy < 1),
        trained=np.ones(len(rows), dtype=bool),
    )
