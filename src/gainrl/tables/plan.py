"""What an experiment's table reads beside its runs. Imported while the DAG is built: no torch."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from gainrl.config.preset import Method, Preset
from gainrl.plan import Layout, feature_kinds

UNSCORED = ("length", "shuffled")
"""Orders that need no prefill scores."""


def preparation(layout: Layout, model: str, dataset: str, method: Method) -> dict[str, Path]:
    """What had to be measured before a method could train: in words, and the file that timed it.

    Nothing for a method without order, difficulty and features, nor for orders by length or by
    chance, nor for the length as a feature.
    """
    folder, found = layout.signals(model, dataset), {}
    kinds = feature_kinds(method)
    if (method.order is not None and method.order not in UNSCORED) or "angle" in kinds:
        found["prefill scoring"] = folder / "scores.parquet"
    if "states" in kinds:
        found["mean states"] = folder / "features.parquet"
    if method.difficulty == "measured":
        found["difficulty rollouts"] = folder / "difficulty.parquet"
    return found


def prepared(preset: Preset, layout: Layout, experiment: str) -> list[Path]:
    """The files of `preparation` of all runs of an experiment, each once."""
    chosen = preset.experiments[experiment]
    found: dict[Path, None] = {}
    for (model, dataset), name in product(chosen.places, chosen.methods):
        files = preparation(layout, model, dataset, preset.methods[name])
        found.update(dict.fromkeys(files.values()))
    return list(found)
