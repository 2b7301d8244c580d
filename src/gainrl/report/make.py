"""`results/report.html`: reads what a preset's results are and hands it to analysis.report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from gainrl import plan
from gainrl.claims import plan as claims_plan
from gainrl.config.preset import Preset
from gainrl.errors import DataError, TrackingError
from gainrl.linearity import plan as linearity_plan
from gainrl.plan import benchmarks as benchmark_plan
from gainrl.plan.benchmarks import Test
from gainrl.records import read_json, write_text
from gainrl.report.claims import read_claims
from gainrl.report.cost import costs, preparation
from gainrl.report.page import Counts, Origins, Picture, Report, RunRow, Table, png_size, render
from gainrl.results.runs import Run, collect
from gainrl.simulation import plan as simulation_plan
from gainrl.stages.common import Context
from gainrl.tracking.record import LOCAL_PAGES, pages
from gainrl.training.files import TRACKING

CURVES = (
    "Accuracy on held-out problems over RL steps: mean over seeds and its bootstrap band. The "
    "dashed line is the level that the table's steps are counted to."
)
WALK = (
    "What each curriculum did over RL steps: accuracy of the training batches, their mean angle "
    "signal C under the current model, the share of groups without variance, and the mean mu of "
    "the Gaussian as a share of the data set."
)
SPEED = (
    "Each method against the baseline: how far from it it ends, how far it is when both have spent "
    "as much, and how many times less it spends to the baseline's final level. A bar without a "
    "marker is what censored seeds leave open; there is none where they leave everything open."
)
CHOSEN = (
    "Prompts that each selection takes (coloured) among all prompts (grey), by the angle signal C "
    "before RL, for the first seed."
)
SIMULATED = (
    "Simulated methods against the baseline, by regime: final accuracy, and how many times fewer "
    "rollout tokens to the baseline's final level. A bar without a marker is what censored seeds "
    "leave open."
)
STUDIES = {
    "figure2": ("Figure 2", "Right answers of the start models, question by question."),
    "figure3": ("Figure 3", "Cosines between all pairs of a prompt's tokens, by layer."),
    "layers": ("Layers", "Mean C_intra and C_inter of the training prompts by layer."),
    "figure4": (
        "Figure 4",
        "C_intra, C_inter and C of the training prompts while a policy trains.",
    ),
    "figure5": ("Figure 5", "Right answers over RL steps by bins of the start model's C."),
    "figure6": ("Figure 6", "Core neurons of the same prompts over RL steps, in two dimensions."),
}


def make_report(context: Context, path: Path, everything: bool) -> None:
    """Write the page of a preset's results.

    Args:
        everything: all experiments, benchmarks and figures; else what the default target builds:
            the first experiment and the signal table.

    Raises:
        DataError: something that the page is to show is missing or damaged.
        TrackingError: the tracking index does not know a run's experiment.
    """
    found = Reader(context, everything)
    write_text(path, render(found.report()))
    print(f"{path}: {len(found.runs)} runs, {len(found.tests)} tests")


@dataclass(frozen=True)
class Reader:
    """Reads the files of a page; which ones goes by the preset alone, as in rules/common.smk."""

    context: Context
    everything: bool

    @property
    def preset(self) -> Preset:
        """The preset whose results are shown."""
        return self.context.preset

    @cached_property
    def experiments(self) -> list[str]:
        """The experiments that are shown."""
        names = list(self.preset.experiments)
        return names if self.everything else names[:1]

    @cached_property
    def by_experiment(self) -> dict[str, list[Run]]:
        """The runs of each experiment, checked as its table checks them."""
        layout = self.context.layout
        return {
            name: collect(layout.run(key) for key in plan.runs(self.preset, [name]))
            for name in self.experiments
        }

    @cached_property
    def runs(self) -> list[Run]:
        """All runs, each once."""
        found = [run for runs in self.by_experiment.values() for run in runs]
        return list({run.folder: run for run in found}.values())

    @cached_property
    def tests(self) -> dict[Test, dict[str, Any]]:
        """score.json of the tests under protocols, of final models and of models as they are."""
        wanted = benchmark_plan.final_tests(self.preset, self.experiments)
        if self.benchmarks:
            wanted += benchmark_plan.start_tests(self.preset)
        layout = self.context.layout
        return {test: read_json(test.score(layout)) for test in wanted}

    @property
    def benchmarks(self) -> bool:
        """Whether the table of models as they are is shown."""
        return self.preset.benchmarks is not None and (
            self.everything or not self.preset.experiments
        )

    def report(self) -> Report:
        """The page's content."""
        root, preset = self.context.root, self.preset
        signal = preset.studies is not None and preset.studies.signal is not None
        studies = plan.study_figures(preset) if self.everything else []
        claimed = claims_plan.table(preset, self.everything)
        rows, whole = costs(self.context, self.by_experiment, self.runs, self.tests)
        ui = pages(self._index["uri"]) if self.runs else LOCAL_PAGES
        return Report(
            preset=preset.preset,
            counts=_counts(self.runs),
            tests=_tested(test for test in self.tests if self.benchmarks and test.run is None),
            claims=read_claims(root / claimed) if claimed else None,
            tables=[
                *(self._table(name) for name in self.experiments),
                *self._linearity(),
                *self._simulation(),
            ],
            signal=Table("signal", _text(root / "signal.md")) if signal else None,
            benchmarks=(
                Table("Models as they are", _text(root / "benchmarks.md"))
                if self.benchmarks
                else None
            ),
            costs=rows,
            whole=whole,
            preparation=preparation(self.context, self.runs, self.tests),
            settings=settings_of(preset),
            origins=origins(self.runs, list(self.tests.values())),
            runs=[self._row(run, ui) for run in self.runs],
            ui=ui,
            local_store=ui == LOCAL_PAGES,
            studies=[self._picture(name, *STUDIES[name]) for name in studies],
        )

    def _table(self, name: str) -> Table:
        figure = self.preset.experiments[name].figure
        pictures: tuple[Picture, ...] = ()
        if figure:
            if self.preset.experiments[name].speed:
                pictures += (self._picture(f"{figure}_speed", "All methods", SPEED),)
            pictures += (
                self._picture(figure, "Learning curves", CURVES),
                self._picture(f"{figure}_curriculum", "What the curricula did", WALK, True),
            )
            if plan.selecting(self.preset, name):
                pictures += (self._picture(f"{figure}_selection", "Chosen prompts", CHOSEN),)
        return Table(name, _text(self.context.root / f"{name}.md"), pictures)

    def _linearity(self) -> list[Table]:
        """How straight runs move, with its figures; the default target does not build it."""
        names = linearity_plan.figures(self.preset) if self.everything else []
        pictures = [self._picture(name, *linearity_plan.FIGURES[name]) for name in names]
        text = self.context.root / linearity_plan.TABLE
        return (
            [Table("linearity", _text(text.with_suffix(".md")), tuple(pictures))] if names else []
        )

    def _simulation(self) -> list[Table]:
        """The simulation's tables; its figure stands below the first."""
        found, root = [], self.context.root
        for name in simulation_plan.tables(self.preset, self.everything):
            drawn = name == "simulation.csv"
            pictures = (self._picture("simulation", "Simulated", SIMULATED),) if drawn else ()
            path = root / name
            found.append(Table(path.stem, _text(path.with_suffix(".md")), pictures))
        return found

    def _picture(self, name: str, title: str, caption: str, folded: bool = False) -> Picture:
        path = self.context.root / "figures" / f"{name}.png"
        picture = Picture(title, caption, _bytes(path), folded)
        try:
            png_size(picture.png)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        return picture

    @cached_property
    def _index(self) -> dict[str, Any]:
        return read_json(self.context.layout.tracking)

    def _row(self, run: Run, ui: str) -> RunRow:
        run_id = read_json(run.folder / TRACKING)["run_id"]
        home = plan.experiments_of(self.preset, run.model, run.dataset, run.method)[0]
        name = self.context.experiment(home)
        if name not in self._index["experiments"]:
            raise TrackingError(
                f"{self.context.layout.tracking}: knows no experiment '{name}'; run "
                "'gainrl tracking init'"
            )
        experiment = quote(str(self._index["experiments"][name]), safe="")
        return RunRow(
            model=run.model,
            dataset=run.dataset,
            method=run.label,
            seed=run.seed,
            steps=len(run.steps),
            final={name: float(run.curve(name)[-1]) for name in run.benchmarks},
            config_hash=str(run.config.get("config_hash", "unknown")),
            commit=str(run.config.get("commit", "unknown")),
            run_id=run_id,
            link=f"{ui}/#/experiments/{experiment}/runs/{quote(run_id, safe='')}",
        )


def _counts(runs: Sequence[Run]) -> Counts:
    return Counts(
        models=len({run.model for run in runs}),
        datasets=len({run.dataset for run in runs}),
        methods=len({run.method for run in runs}),
        seeds=len({run.seed for run in runs}),
        runs=len(runs),
        steps=sum(len(run.steps) for run in runs),
    )


def _tested(tests: Iterable[Test]) -> Counts:
    found = list(tests)
    return Counts(
        models=len({test.model for test in found}),
        datasets=len({test.benchmark for test in found}),
        runs=len(found),
    )


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error


# --- configuration -------------------------------------------------------------------------------

HIDDEN = "(not shown)"


def settings_of(preset: Preset) -> str:
    """The preset with all defaults as YAML, without what may be secret: the page gets around."""
    content = preset.model_dump(mode="json")
    content["verl"]["variables"] = dict.fromkeys(content["verl"]["variables"], HIDDEN)
    if content["tracking"]["uri"]:
        content["tracking"]["uri"] = re.sub(r"//[^/@]*@", "//", content["tracking"]["uri"])
    return yaml.safe_dump(
        content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=96
    )


def origins(runs: Sequence[Run], scores: Sequence[dict[str, Any]]) -> Origins:
    """Commits, versions and machines of runs (run.json) and of tests (score.json)."""
    written = [run.config for run in runs] + list(scores)
    versions: dict[str, Counter[str]] = {}
    for each in written:
        for package, version in each.get("versions", {}).items():
            versions.setdefault(package, Counter())[version] += 1
    return Origins(
        runs=len(runs),
        tests=len(scores),
        commits=Counter(str(each.get("commit", "unknown")) for each in written),
        versions=versions,
        machines=Counter(_machine(run.config.get("machine")) for run in runs),
    )


def _machine(noted: dict[str, Any] | None) -> str:
    if noted is None:
        return "not recorded"
    cores = f"{noted['cores']} core{'' if noted['cores'] == 1 else 's'}"
    gpus = f"{noted['gpus']} x {noted['gpu'] or 'GPU'}" if noted["gpus"] else "no GPU"
    return f"{noted['platform']}, {cores}, {gpus}"
