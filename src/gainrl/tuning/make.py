"""The table `tuning`: every tried setting, and which were chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gainrl.compare.render import Block, Caption, Heading, Table, Title, with_interval, write_views
from gainrl.compare.statistics import SHARES, Interval, interval_words, mean_interval
from gainrl.config.preset import Preset
from gainrl.config.tuning import Grid
from gainrl.plan.tuning import words
from gainrl.records import read_json, write_text
from gainrl.stages.common import Context
from gainrl.tuning.plan import choices

COLUMNS = [
    *("model", "dataset", "method", "setting", "chosen", *Grid.model_fields, "parameters"),
    *("mean", "low", "high", "n", "tokens", "steps"),
]


def make_tuning(context: Context, path: Path) -> None:
    """Write the table as CSV with its other forms beside it.

    Columns: `chosen` is true of a method's chosen setting; keys of training are empty where they
    were not varied, and `parameters` has the curriculum's own as JSON; mean, low and high are the
    accuracy at the budget, in [0, 1], over n tuning seeds; tokens and steps are means of a run.

    Raises:
        DataError: a choice is missing or damaged.
    """
    preset = context.preset
    found = [read_json(context.layout.choice(*each)) for each in choices(preset)]
    rows = [row for choice in found for row in _rows(preset, choice)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    write_text(path, frame.to_csv(index=False))
    write_views(path, list(_blocks(preset, found)))


def _rows(preset: Preset, choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for tried in choice["settings"]:
        values = dict(tried["values"])
        interval = _interval(preset, tried)
        yield {
            **{key: choice[key] for key in ("model", "dataset", "method")},
            "setting": tried["name"],
            "chosen": tried["name"] == choice["chosen"],
            **{key: values.pop(key) for key in Grid.model_fields if key in values},
            "parameters": json.dumps(values) if values else "",
            **{key: getattr(interval, key) for key in ("mean", "low", "high", "n")},
            "tokens": float(np.mean(tried["tokens"])),
            "steps": float(np.mean(tried["steps"])),
        }


def _interval(preset: Preset, tried: Mapping[str, Any]) -> Interval:
    return mean_interval(tried["accuracies"], preset.statistics.confidence, within=SHARES)


def _tokens(found: list[dict[str, Any]]) -> int:
    return sum(sum(tried["tokens"]) for choice in found for tried in choice["settings"])


def _blocks(preset: Preset, found: list[dict[str, Any]]) -> Iterator[Block]:
    yield Title("Tuning: what each method tried, and what was chosen")
    places = dict.fromkeys((choice["model"], choice["dataset"]) for choice in found)
    for model, dataset in places:
        here = [each for each in found if (each["model"], each["dataset"]) == (model, dataset)]
        yield Heading(f"{model}, {dataset}")
        lines = [("method", "setting", "accuracy (%)", "steps", "chosen")]
        for choice in here:
            label = preset.methods[choice["method"]].label or choice["method"]
            for tried in choice["settings"]:
                interval = _interval(preset, tried)
                cells = with_interval(interval.mean, interval.low, interval.high, ".1f", 100)
                steps = f"{np.mean(tried['steps']):.0f}"
                mark = "chosen" if tried["name"] == choice["chosen"] else ""
                lines.append((label, words(tried["values"]), cells, steps, mark))
        yield Table(lines)
    first, seeds = found[0], len(found[0]["seeds"])
    yield Caption(
        f"Accuracy when {first['budget']:,} generated tokens are spent, of n = {seeds} tuning "
        f"seed{'s' if seeds > 1 else ''}, which no comparison has; each method tried "
        f"{len(first['settings'])} settings; {interval_words(preset.statistics.confidence)}. The "
        "highest mean is chosen, of equal ones the first, and stays chosen: a chosen setting's "
        "accuracy here is the largest of several and so too high, and a comparison rests on its "
        f"own seeds alone. All tried runs together generated {_tokens(found):,} tokens."
    )
