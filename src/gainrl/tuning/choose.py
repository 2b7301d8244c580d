"""The choice among the settings that a method has tried, frozen in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gainrl import plan
from gainrl.errors import DataError
from gainrl.plan.tuning import words
from gainrl.records import read_json, write_json
from gainrl.results.runs import Run, read_run
from gainrl.results.speed import TOKENS
from gainrl.stages.common import Context


def choose(context: Context, model: str, dataset: str, method: str) -> None:
    """Write which of a method's tried settings its runs have.

    It is the one with the highest accuracy at the budget, in the mean over the tuning seeds; of
    equal ones the first in the preset's order. What was chosen from the same settings before must
    have been chosen from the same results.

    Raises:
        ConfigError: the method is not tuned.
        DataError: a run is unfinished or damaged, or the same settings have other results than
            those that they were chosen by.
    """
    preset, layout, place = context.preset, context.layout, (model, dataset, method)
    keys = plan.tried_runs(preset, *place)
    found: dict[str, list[Run]] = {}
    for key in keys:
        found.setdefault(key.method, []).append(read_run(layout.run(key)))
    settings = plan.settings_of(preset, method)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "values": settings[name],
            "accuracies": [accuracy_at_budget(run, preset.statistics.smoothing) for run in runs],
            "tokens": [int(run.steps["rollout_tokens"].sum()) for run in runs],
            "steps": [len(run.steps) for run in runs],
        }
        for name, runs in found.items()
    ]
    best = max(rows, key=lambda row: round(float(np.mean(row["accuracies"])), 12))
    hashes = [run.config["config_hash"] for runs in found.values() for run in runs]
    record: dict[str, Any] = {
        "model": model,
        "dataset": dataset,
        "method": method,
        "chosen": best["name"],
        "values": best["values"],
        "tried": plan.digest(plan.tuning_slice(preset, *place)),
        "results": plan.digest([hashes, rows]),
        "budget": preset.training_for(dataset, model, keys[0].method).tokens,
        "seeds": list(plan.seeds_of(preset, keys[0].method)),
        "settings": rows,
    }
    frozen = layout.frozen(*place, record["tried"])
    _freeze(frozen, record)
    for other in sorted({*frozen.parent.glob("*.json")} - {frozen}):
        print(f"what was chosen from other settings before stays in {other}")
    write_json(layout.choice(*place), record)
    level, chosen = 100 * float(np.mean(best["accuracies"])), words(best["values"])
    print(f"{method} on {dataset}, {model}: {chosen}: {level:.1f}%, the best of {len(rows)}")


def accuracy_at_budget(run: Run, window: int) -> float:
    """Level of a run by tokens when it has spent them.

    The level is the mean over the last `window` tests of a run that is tested at exactly the tokens
    that the preset says: this run's curve is read there, on the line between two of its own tests.
    So settings of large steps, which are tested later or less often, are read where the others are.
    Of several benchmarks it is the average.
    """
    budget, tests = (run.config["training"][key] for key in ("tokens", "tests"))
    at = budget * (1 - np.arange(window) / tests)
    spent = np.concatenate([[0.0], np.cumsum(TOKENS.once(run, 0))])  # no accident of the machine
    costs = spent[run.evaluated.astype(int)]
    return float(np.interp(at, costs, run.curve(run.measures[-1])).mean())


def _freeze(path: Path, record: dict[str, Any]) -> None:
    """Keep a choice by what was tried; one that is there is left as it is, and has to be equal."""
    if not path.exists():
        write_json(path, record)
        return
    before = read_json(path)
    if before != json.loads(json.dumps(record)):
        raise DataError(
            f"{path}: {before.get('chosen')} was chosen by other results of the same settings "
            f"({before.get('results')}, now {record['results']}: {record['chosen']}); delete this "
            "file to choose again"
        )
