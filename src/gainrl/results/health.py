"""How finished runs fared, put together by method: the signs of gainrl.records.health."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from gainrl.records.health import LIGHTS, Light, Sign, light, signs
from gainrl.results.runs import Run, grouped

Fared = tuple[str, str, str, dict[Light, int], dict[str, int]]
"""Model, data set, label, runs of each light, and runs by what is not green in them."""


def fared(runs: Sequence[Run]) -> list[Fared]:
    """For each model, data set and method how many runs are green, yellow and red, and why.

    A reason is a sign with what was seen in the worst run, the reddest sign first.
    """
    return [
        (model, dataset, found[0].label, *_together([signs_of(run) for run in found]))
        for (model, dataset), group in grouped(runs).items()
        for found in group.values()
    ]


def signs_of(run: Run) -> list[Sign]:
    """The signs of a finished run."""
    return signs(_rows(run.steps), _rows(run.evaluations), run.config["training"].get("tests"))


def _together(found: Sequence[Sequence[Sign]]) -> tuple[dict[Light, int], dict[str, int]]:
    lights: dict[Light, int] = dict.fromkeys(LIGHTS, 0)
    unwell: dict[str, list[Sign]] = {}
    for each in found:
        lights[light(each)] += 1
        for sign in each:
            if sign.light != "green":
                unwell.setdefault(sign.name, []).append(sign)
    worst = {name: max(seen, key=_rank) for name, seen in unwell.items()}
    ordered = sorted(worst.values(), key=lambda sign: -_rank(sign))
    return lights, {f"{sign.name}: {sign.saw}": len(unwell[sign.name]) for sign in ordered}


def _rank(sign: Sign) -> int:
    return LIGHTS.index(sign.light)


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows without what they do not have, which a frame holds as NaN."""
    return [
        {str(key): value for key, value in row.items() if _is_there(value)}
        for row in frame.to_dict("records")
    ]


def _is_there(value: Any) -> bool:
    return isinstance(value, list) or bool(pd.notna(value))
