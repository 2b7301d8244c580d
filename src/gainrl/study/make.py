"""The table and the figures about the signal, from what the studies stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gainrl import plan
from gainrl.plan import RunKey
from gainrl.records import (
    DIFFICULTY,
    GRADIENTS,
    LAYERS,
    PROBE,
    PROMPTS,
    SAMPLES,
    SCORES,
    read_table,
)
from gainrl.stages.common import Context
from gainrl.study import figures as signal_figures
from gainrl.study.figures import AngleMap, NeuronPanel
from gainrl.study.plan import places
from gainrl.study.table import signal_table, write_signal


def make_signal_table(context: Context, path: Path) -> None:
    """Write the table `signal`, with its other forms beside it."""
    studies = plan.need_studies(context.preset, "signal")
    frames = {place: _signal_frame(context, *place) for place in places(context.preset, "signal")}
    statistics, study = context.preset.statistics, studies.signal
    assert study is not None
    table = signal_table(frames, study.resamples, statistics.confidence, statistics.seed)
    write_signal(table, path, f"What C goes with, preset {context.preset.preset}")


def _signal_frame(context: Context, model: str, dataset: str) -> pd.DataFrame:
    """One row a prompt: signals, and whatever was measured of it."""
    layout = context.layout
    scores = read_table(layout.signal(model, dataset, "scores"), SCORES).drop(columns="n_prefix")
    frame = scores.rename(columns={"n_question": "tokens"})
    train = read_table(layout.prompts(model, dataset), PROMPTS)
    if "difficulty" in train and train["difficulty"].notna().any():
        frame = frame.merge(train[["id", "difficulty"]], on="id")
    rates = read_table(layout.signal(model, dataset, "difficulty"), DIFFICULTY)
    frame = frame.merge(rates[["id", "pass_rate"]], on="id")
    gradients = layout.study(model, dataset, "gradients")
    if gradients.exists():
        norms = read_table(gradients, GRADIENTS)
        frame = frame.merge(norms[["id", "gradient_norm"]], on="id", how="left")
    return frame


def make_study_figure(context: Context, name: str, path: Path) -> None:
    """Draw one of study_plan.FIGURES as PNG with PDF beside it."""
    statistics = context.preset.statistics
    out = (path, path.with_suffix(".pdf"))
    panels: Any = _PANELS[name](context)
    if name == "figure3":
        signal_figures.figure_maps(panels, *out)
    elif name == "layers":
        signal_figures.figure_layers(panels, *out, statistics.confidence)
    elif name == "figure2":
        signal_figures.figure_answers(panels, *out)
    elif name == "figure4":
        signal_figures.figure_epochs(panels, *out, statistics.confidence)
    elif name == "figure5":
        signal_figures.figure_bins(panels, *out)
    else:
        signal_figures.figure_neurons(panels, *out)


def _maps(context: Context) -> list[AngleMap]:
    found = []
    for model, dataset in places(context.preset, "layers"):
        with np.load(context.layout.study(model, dataset, "maps")) as stored:
            for number, about in enumerate(json.loads(str(stored["about"]))):
                cosines = stored[f"map{number}"].astype(np.float32)
                found.append(
                    AngleMap(
                        prompt=about["id"],
                        cosines=cosines,
                        layers=range(len(cosines)),
                        n_prefix=about["n_prefix"],
                        n_question=about["n_question"],
                        n_suffix=about["n_suffix"],
                        correct=about["correct"],
                        samples=about["samples"],
                        caption=f"{model}, {dataset}",
                    )
                )
    return found


def _layers(context: Context) -> dict[str, pd.DataFrame]:
    return {
        f"{model}, {dataset}": read_table(context.layout.study(model, dataset, "layers"), LAYERS)
        for model, dataset in places(context.preset, "layers")
    }


def _answers(context: Context) -> dict[str, pd.DataFrame]:
    parts: dict[str, list[pd.DataFrame]] = {}
    for model, dataset in places(context.preset, "answers"):
        samples = read_table(context.layout.study(model, dataset, "answers"), SAMPLES)
        counts = samples.groupby("id")["correct"].agg(correct="sum", samples="size")
        parts.setdefault(dataset, []).append(counts.reset_index().assign(model=model))
    return {dataset: pd.concat(each, ignore_index=True) for dataset, each in parts.items()}


def _probed(context: Context) -> dict[str, RunKey]:
    return {f"{key.model}, {key.dataset}": key for key in plan.probed(context.preset)}


def _epochs(context: Context) -> dict[str, pd.DataFrame]:
    return {
        title: read_table(context.layout.probe(key), PROBE)
        for title, key in _probed(context).items()
    }


def _bins(context: Context) -> dict[str, pd.DataFrame]:
    panels = {}
    for title, frame in _epochs(context).items():
        start = frame[frame["step"] == 0].set_index("id")["c"]
        panels[title] = frame.assign(start_c=frame["id"].map(start))[
            ["step", "id", "correct", "samples", "start_c"]
        ]
    return panels


def _neurons(context: Context) -> dict[str, NeuronPanel]:
    panels = {}
    for title, key in _probed(context).items():
        table = read_table(context.layout.probe(key), PROBE)
        share = (table["correct"] / table["samples"]).rename("accuracy")
        with np.load(context.layout.neurons(key)) as stored:
            steps = stored["steps"].tolist()
            vectors = np.unpackbits(stored["cores"], axis=2, count=int(stored["neurons"]))
        accuracy = np.stack([share[table["step"] == step].to_numpy() for step in steps])
        panels[title] = NeuronPanel(steps=steps, vectors=vectors.astype(bool), accuracy=accuracy)
    return panels


_PANELS: dict[str, Any] = {
    "figure2": _answers,
    "figure3": _maps,
    "figure4": _epochs,
    "figure5": _bins,
    "figure6": _neurons,
    "layers": _layers,
}
