"""`report.html`: reads what a preset's results are and hands it to report.page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import yaml

from gainrl import plan
from gainrl.claims.table import DecidedClaim, read_claims
from gainrl.compare.render import Title, read_views
from gainrl.config.preset import Preset
from gainrl.errors import DataError, TrackingError
from gainrl.plan import benchmarks as benchmark_plan
from gainrl.plan.benchmarks import Test
from gainrl.plan.results import SECTIONS, VERDICTS, PageSection, Picture, Result
from gainrl.records import read_json, write_text
from gainrl.report import plan as report_plan
from gainrl.report.cost import costs, preparation
from gainrl.report.page import (
    Chapter,
    Counts,
    Document,
    Drawn,
    HealthRow,
    Origins,
    Report,
    RunRow,
    png_size,
    render,
)
from gainrl.report.tracked import record
from gainrl.results.health import fared
from gainrl.results.runs import Run, of_experiment
from gainrl.stages.common import Context
from gainrl.tables.answer import answers
from gainrl.tracking.client import LOCAL_PAGES, pages
from gainrl.tracking.journal import sync
from gainrl.tracking.parents import read_index
from gainrl.training.files import TRACKING


def make_result(context: Context, name: str) -> None:
    """Make a table or figure, where the preset's targets have it.

    Raises:
        ConfigError: the preset has no such result.
    """
    found = report_plan.results(context.preset, context.layout)
    result = report_plan.find(found, name)
    module, _, function = result.make.partition(":")
    made_of = getattr(import_module(module), function)
    made_of(context, *result.arguments, *result.files(context.layout.home))
    record(context, result)
    if result.table:
        print(context.layout.table(name).with_suffix(".md").read_text(encoding="utf-8"))


def make_report(context: Context, path: Path, everything: bool) -> None:
    """Write the page of a preset's results.

    Args:
        everything: all experiments, benchmarks and figures; else what the default target builds:
            the first experiment and the signal table.

    Raises:
        DataError: something that the page is to show is missing or damaged.
        TrackingError: the tracking index does not know a run's experiment, or as `journal.sync`.
    """
    sync(context.layout.tracking, context.layout.home)  # the page links to the store's runs
    found = Reader(context, everything)
    write_text(path, render(found.report()))
    print(f"{path}: {len(found.runs)} runs, {len(found.tests)} tests")


@dataclass(frozen=True)
class Reader:
    """Reads the files of a page: those that the target builds whose page it is."""

    context: Context
    everything: bool

    @property
    def preset(self) -> Preset:
        """The preset whose results are shown."""
        return self.context.preset

    @cached_property
    def results(self) -> dict[str, Result]:
        """What is shown, in the order of the page."""
        found = report_plan.results(self.preset, self.context.layout)
        return report_plan.built(found, "all" if self.everything else "default")

    @cached_property
    def experiments(self) -> list[str]:
        """The experiments whose tables are shown."""
        return [name for name in self.preset.experiments if name in self.results]

    @cached_property
    def by_experiment(self) -> dict[str, list[Run]]:
        """The runs of each experiment, checked as its table checks them."""
        layout = self.context.layout
        return {name: of_experiment(self.preset, layout, name) for name in self.experiments}

    @cached_property
    def runs(self) -> list[Run]:
        """All runs, each once."""
        found = [run for runs in self.by_experiment.values() for run in runs]
        return list({run.folder: run for run in found}.values())

    @cached_property
    def tests(self) -> dict[Test, dict[str, Any]]:
        """score.json of the tests under protocols, of final models and of models as they are."""
        wanted = benchmark_plan.final_tests(self.preset, self.experiments)
        if "benchmarks" in self.results:
            wanted += benchmark_plan.start_tests(self.preset)
        layout = self.context.layout
        return {test: read_json(test.score(layout)) for test in wanted}

    def report(self) -> Report:
        """The page's content."""
        preset = self.preset
        rows, whole = costs(self.context, self.by_experiment, self.runs, self.tests)
        ui = pages(self._index["uri"]) if self.runs else LOCAL_PAGES
        return Report(
            preset=preset.preset,
            counts=_counts(self.runs),
            tests=_tested(test for test in self.tests if self._as_it_is(test)),
            answers=self._answers(),
            health=[HealthRow(*each) for each in fared(self.runs)],
            claims=self._claims(),
            chapters=[
                Chapter(section, content)
                for section in SECTIONS
                if section != VERDICTS and (content := list(self._content(section)))
            ],
            costs=rows,
            whole=whole,
            preparation=preparation(self.context, self.runs, self.tests),
            settings=settings_of(preset),
            origins=origins(self.runs, list(self.tests.values())),
            runs=[self._row(run, ui) for run in self.runs],
            ui=ui,
            local_store=ui == LOCAL_PAGES,
        )

    def _as_it_is(self, test: Test) -> bool:
        """Whether a test stands in the table of models as they are."""
        return test.run is None and "benchmarks" in self.results

    def _answers(self) -> list[str]:
        """What the tables of experiments say, a sentence for each model and data set."""
        found: list[str] = []
        for name in self.experiments:
            chosen, table = self.preset.experiments[name], self._table(self.results[name])
            labels = {each: self.preset.methods[each].label or each for each in chosen.methods}
            found += answers(pd.read_csv(table), chosen.baseline, labels, name)
        return found

    def _claims(self) -> list[DecidedClaim]:
        files = [self._table(each) for each in self.results.values() if each.section == VERDICTS]
        return [claim for file in files for claim in read_claims(file)]

    def _content(self, section: PageSection) -> Iterator[Document | Drawn]:
        for result in self.results.values():
            if result.section != section:
                continue
            if result.table:
                title, blocks = result.title or result.name, read_views(self._table(result))
                if blocks and isinstance(blocks[0], Title):
                    title, blocks = blocks[0].text, blocks[1:]
                yield Document(title, blocks)
            yield from map(self._drawn, result.pictures)

    def _table(self, result: Result) -> Path:
        return result.files(self.context.layout.home)[0]

    def _drawn(self, picture: Picture) -> Drawn:
        path = self.context.layout.figure(picture.name)
        try:
            png = path.read_bytes()
            png_size(png)
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        return Drawn(picture, png)

    @cached_property
    def _index(self) -> dict[str, Any]:
        return read_index(self.context.layout.tracking)

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
    kind = noted.get("processor")  # not of runs that were made before it was noted
    return ", ".join([noted["platform"], *([kind] if kind else []), cores, gpus])
