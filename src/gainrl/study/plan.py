"""The table and the figures about the signal, and what they read. No torch: the DAG asks here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.config.studies import Studies
from gainrl.plan import Layout
from gainrl.plan.layout import FIGURES as FOLDER
from gainrl.plan.layout import Study
from gainrl.plan.results import SIGNAL, Picture, Result, scope

Part = Literal["answers", "layers", "dynamics"]
"""Parts of the section `studies` that figures are drawn from."""
ANSWERS: Final = "answers"
LAYERS: Final = "layers"
DYNAMICS: Final = "dynamics"
FIGURES: dict[str, tuple[Part, str, str]] = {
    "figure2": (ANSWERS, "Figure 2", "Right answers of the start models, question by question."),
    "figure3": (LAYERS, "Figure 3", "Cosines between all pairs of a prompt's tokens, by layer."),
    "layers": (LAYERS, "Layers", "Mean C_intra and C_inter of the training prompts by layer."),
    "figure4": (
        DYNAMICS,
        "Figure 4",
        "C_intra, C_inter and C of the training prompts while a policy trains.",
    ),
    "figure5": (
        DYNAMICS,
        "Figure 5",
        "Right answers over RL steps by bins of the start model's C.",
    ),
    "figure6": (
        DYNAMICS,
        "Figure 6",
        "Core neurons of the same prompts over RL steps, in two dimensions.",
    ),
}
"""Figures about the signal: the part that each is drawn from, title and caption."""


def results(preset: Preset, layout: Layout) -> Iterator[Result]:
    """The signal table and the figures that the preset's studies ask for."""
    studies = preset.studies
    if studies is None:
        return
    if studies.signal:
        yield Result(
            name="signal",
            section=SIGNAL,
            targets=scope(first=True),
            inputs=tuple(_signal_inputs(preset, layout)),
            fingerprint=_slice(preset, "signal"),
            make="gainrl.study.make:make_signal_table",
            table=True,
        )
    for name, (part, title, caption) in FIGURES.items():
        if getattr(studies, part) and _answered(studies, name):
            yield Result(
                name=f"{FOLDER}{name}",
                section=SIGNAL,
                targets=("all", "figures"),
                inputs=tuple(_figure_inputs(preset, layout, name, part)),
                fingerprint=_slice(preset, part),
                make="gainrl.study.make:make_study_figure",
                arguments=(name,),
                pictures=(Picture(name, title, caption),),
            )


def _answered(studies: Studies, name: str) -> bool:
    """Whether there are the answers that a figure about dynamics is drawn from, if it needs any."""
    needs = FIGURES[name][0] == DYNAMICS and name != "figure4"
    return not needs or bool(studies.dynamics and studies.dynamics.samples)


def places(preset: Preset, part: str) -> list[tuple[str, str]]:
    """Start models and data sets that a part of the studies looks at (`plan.studied`)."""
    studies = plan.need_studies(preset, part)
    models = studies.models
    if part == ANSWERS:
        assert studies.answers is not None
        models = studies.answers.models
    return plan.studied(preset, models)


def _signal_inputs(preset: Preset, layout: Layout) -> Iterator[Path]:
    """Everything that the signal table sets against each other."""
    studies = plan.need_studies(preset, "signal")
    assert studies.signal is not None
    for place in places(preset, "signal"):
        yield layout.signal(*place, "scores")
        yield layout.signal(*place, "difficulty")
        if studies.signal.gradient_prompts:
            yield layout.study(*place, "gradients")


def _figure_inputs(preset: Preset, layout: Layout, name: str, part: Part) -> Iterator[Path]:
    if part == DYNAMICS:
        yield from (layout.probe(key) for key in plan.probed(preset))
        return
    stored: Study = "maps" if name == "figure3" else part
    yield from (layout.study(*place, stored) for place in places(preset, part))


def _slice(preset: Preset, part: str) -> dict[str, Any]:
    """What the table or a figure depends on beside its files."""
    chosen = getattr(plan.need_studies(preset, part), part)
    return {
        part: chosen.fingerprint(),
        "statistics": preset.statistics.fingerprint(),
    }
