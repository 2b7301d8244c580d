"""Logs as TRL and verl write them, for the tests of comparisons."""

from __future__ import annotations

import json

ACC = "val-core/gsm8k/acc/mean@1"


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def trl_state(accuracies, first=1):
    """A trainer_state.json of TRL: rows of training with running tokens, and tests between."""
    history = []
    for step in range(first, first + 2 * len(accuracies)):
        history.append({"step": step, "loss": 0.1, "reward": 0.5, "num_tokens": 100.0 * step})
        if step % 2 == 0:
            history.append({"step": step, "eval_reward": accuracies.pop(0), "eval_runtime": 1.0})
    return {"best_metric": None, "global_step": 4, "log_history": history}


def verl_rows(first, last, every=2):
    """Rows of verl's file logger: tokens of each step, a test every few steps."""
    rows = []
    for step in range(first, last + 1):
        data = {"perf/total_num_tokens": 100, "critic/score/mean": 0.1} if step else {}
        if step % every == 0:
            data |= {"val-core/gsm8k/acc/mean@1": 0.1 * step}
        rows.append({"step": step, "data": data})
    return rows
