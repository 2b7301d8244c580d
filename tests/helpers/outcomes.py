"""Settings and steps without a model, for the tests of curricula."""

import numpy as np

from gainrl import curricula
from gainrl.curricula import Groups, Outcome, Setting

SIZE, BATCH = 40, 6


def build(name, parameters, setting):
    """The curriculum of a name."""
    return curricula.build({"name": name, **parameters}, setting)


def next_batch(policy):
    """The rows of a step's first draw; what is asked before it is answered by row."""
    estimates = None
    while (request := policy.draw(Groups.none(), estimates)).purpose != "group":
        rates = request.rows % 5 / 4
        mixed = (rates > 0) & (rates < 1)
        estimates = Groups(request.rows, request.rollouts, rates, mixed, 10 * request.rollouts)
    return request.rows


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


def setting(size=SIZE, batch=BATCH, seed=0, order=None, difficulty=None):
    """With everything that a policy may need."""
    order = np.arange(size) if order is None else order
    difficulty = np.linspace(0, 100, size) if difficulty is None else difficulty
    return Setting(
        size,
        batch,
        seed,
        np.asarray(order),
        np.asarray(difficulty, dtype=float),
        categories=np.arange(size) % 3,
        features={
            "tokens": np.arange(size) % 7.0,
            "c_intra": np.linspace(0, 1, size),
            "c_inter": np.cos(np.arange(size)),
            "state00": np.sin(np.arange(size)),
        },
    )


def play(policy, steps):
    """Batches and metrics over some steps with outcomes that vary by batch."""
    seen = []
    for step in range(steps):
        rows = next_batch(policy)
        policy.observe(outcome(rows, (rows + step) % 5 > 1, (rows % 3) / 2))
        seen.append((rows.tolist(), policy.metrics()))
    return seen


def groups(rows, right, rollouts):
    """Groups of 0/1 rewards."""
    rows, right, rollouts = (np.asarray(values) for values in (rows, right, rollouts))
    mixed = (right > 0) & (right < rollouts)
    return Groups(rows, rollouts, right / rollouts, mixed, 10 * rollouts)
