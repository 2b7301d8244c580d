"""A results folder that the report can be made of, and the page read back."""

from __future__ import annotations

import copy
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.image import imsave
from run_folders import GAIN, GRPO, write_run

from gainrl import plan
from gainrl.compare.render import Caption, Heading, Points, Table, Title, write_views
from gainrl.config.preset import Preset
from gainrl.records import DIFFICULTY, SCORES
from gainrl.records import write_table as write_parquet
from gainrl.report.make import make_report
from gainrl.results.runs import collect
from gainrl.stages.common import Context
from gainrl.tables.split import split_table, write_split
from gainrl.tables.table import table1, write_table

PRESET = yaml.safe_load(
    """
preset: nano
seeds: [0, 1]
models: {tiny: {source: nano}}
datasets: {chain: {source: generate, task: chain, train: 4, eval: 10}}
methods:
  grpo: {curriculum: uniform, label: GRPO}
  gain: {curriculum: {name: gain}, order: angle, label: GAIN-RL}
statistics: {resamples: 200}
studies:
  models: [tiny]
  datasets: [chain]
  signal: {gradient_prompts: 0}
  layers: {prompts: 4, maps: 2}
experiments:
  table1: {models: [tiny], datasets: [chain], methods: [grpo, gain], figure: figure7}
  alone: {models: [tiny], datasets: [chain], methods: [grpo]}
"""
)
COMMON = {
    "commit": "abc123",
    "versions": {"torch": "2.0+cpu", "gainrl": "0.1.0"},
    "machine": {
        "platform": "Linux-6",
        "processor": "AnyMake, family 25",
        "cores": 2,
        "gpus": 0,
        "gpu": None,
    },
    "slice": {"threads": 2, "method": {"algorithm": "grpo"}},
}
SIGNAL = [
    Title("What C goes with, preset nano"),
    Points(("tiny on chain: C goes with prompt length, rho = -0.39 [-0.50, -0.27], n = 4.",)),
    Heading("tiny on chain"),
    Table([["Signal", "Length (n = 4)"], ["C_intra", "-0.39 [-0.50, -0.27]"]]),
    Caption("Cells are Spearman's rank correlation."),
]
CLAIMS = """\
claim,statement,model,dataset,benchmark,quantity,mean,low,high,n,rule,verdict,note
better,GAIN-RL ends above GRPO,,,,,,,,,the interval lies above 0,supported,one data set
better,GAIN-RL ends above GRPO,tiny,chain,chain,difference (points),2.8125,2.1,4.2,2,,supported,
faster,GAIN-RL is faster,,,,,,,,,the interval lies above 1,undecided,
faster,GAIN-RL is faster,tiny,chain,word,speed-up,inf,0.9,,2,,undecided,3 of 3 censored
free,"Scoring ""C"" costs < 1%",,,,share,0.25,,,,,not supported,
"""


def claiming(data: dict[str, Any]) -> dict[str, Any]:
    """The preset with the claim that its tables can decide; CLAIMS is what was written of it."""
    rule = {"measure": "difference", "experiment": "table1", "methods": ["gain"], "threshold": 0}
    return {**data, "claims": {"better": {"statement": "GAIN-RL ends above GRPO", **rule}}}


class Page(HTMLParser):
    """What a browser would see: start tags with attributes, texts by tag, cells of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags, self.tables = text, [], []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data.replace("\xa0", " ")

    def all(self, tag: str, attribute: str) -> list[str]:
        """An attribute of all tags of a name."""
        return [found[attribute] for name, found in self.tags if name == tag]

    def table(self, *head: str) -> list[dict[str, str]]:
        """The rows of the first table with such a header, by column."""
        for header, *rows in self.tables:
            if header[: len(head)] == list(head):
                return [dict(zip(header, map(str.strip, row), strict=False)) for row in rows]
        raise AssertionError(f"no table {head}")


def write_results(root: Path, **changes: Any) -> None:
    """Runs, tables, figures, scores and tracking notes of PRESET; `changes` go into run.json."""
    labels = {"grpo": "GRPO", "gain": "GAIN-RL"}
    folders = [
        write_run(root, method, seed, curve, **{**COMMON, "label": labels[method], **changes})
        for method, curves in (("grpo", GRPO), ("gain", GAIN))
        for seed, curve in enumerate(curves)
    ]
    for folder in folders:
        note = {"run_id": f"{folder.parent.name}{folder.name[-1]}0123456789", "config_hash": "h"}
        (folder / "tracking.json").write_text(json.dumps(note))
    layout, statistics = plan.Layout("nano", root), plan.load(PRESET).statistics
    for name, used in (("table1", folders), ("alone", folders[:2])):
        write_table(
            table1(collect(used), statistics, "grpo"), layout.table(name), f"{name}, preset nano"
        )
        split = split_table(collect(used), statistics)
        write_split(split, labels, statistics, f"Cost of {name}", layout.table(f"{name}_cost"))
    layout.figure("figure7").parent.mkdir()
    for name in (
        "figure7",
        "figure7_curriculum",
        "figure7_training",
        "figure7_cost",
        "figure3",
        "layers",
    ):
        imsave(layout.figure(name), np.zeros((60, 100)))
    write_views(layout.table("signal"), SIGNAL)
    layout.model("tiny").mkdir(parents=True)
    (layout.model("tiny") / "gainrl.json").write_text('{"seconds": 125.25}')
    frame = pd.DataFrame({"id": ["a"], "n_prefix": 1, "n_question": 1})
    scores = frame.assign(c_intra=0.5, c_inter=0.5)
    home = layout.signals("tiny", "chain")
    write_parquet(home / "scores.parquet", scores, SCORES, {"seconds": 1.25})
    rates = frame[["id"]].assign(difficulty=50.0, pass_rate=0.5, samples=2)
    write_parquet(home / "difficulty.parquet", rates, DIFFICULTY, {"seconds": 7.5})
    write_index(root)


def write_index(root: Path, uri: str = "sqlite:////somewhere/mlflow.db") -> None:
    """What `gainrl tracking init` leaves."""
    ids = {f"gainrl/nano/{name}": str(at) for at, name in enumerate(("alone", "table1"), start=7)}
    (root / "nano/tracking.json").write_text(json.dumps({"uri": uri, "experiments": ids}))


def changed(**sections: Any) -> dict[str, Any]:
    """PRESET with some sections replaced; None removes one."""
    data = {**copy.deepcopy(PRESET), **sections}
    return {name: value for name, value in data.items() if value is not None}


def page(
    root: Path, preset: dict[str, Any] | Preset | None = None, everything: bool = True
) -> Page:
    """Make the report, and read it."""
    chosen = preset if isinstance(preset, Preset) else plan.load(preset or PRESET)
    made = Context(chosen, root)
    path = made.layout.home / "report.html"
    make_report(made, path, everything)
    return Page(path.read_text(encoding="utf-8"))
