"""The page of tuned comparisons, and its figure: numbers of the tables, none of its own."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from presets import BASE
from run_folders import TRAINING, write_run

from gainrl import plan
from gainrl.claims.make import make_claims
from gainrl.errors import ConfigError, DataError
from gainrl.report.study import make_study
from gainrl.results.runs import collect
from gainrl.stages.common import Context
from gainrl.tables.ranked_figure import figure_ranked, make_ranked_figure
from gainrl.tables.table import table1, write_table
from gainrl.tuning.choose import choose

PLACE = ("tiny", "chain")


def preset():
    data = copy.deepcopy(BASE)
    data |= {"preset": "nano", "seeds": [0, 1, 2], "statistics": {"smoothing": 1}}
    data["models"] = {"tiny": {"source": "nano"}}
    data["datasets"]["chain"]["pool"] = {"long": 0.4, "trivial": 0.3}
    data["methods"] |= {
        "grpo": {"label": "GRPO", "curriculum": "uniform"},
        "mopps": {"label": "MoPPS", "curriculum": "mopps"},
    }
    compared = ["grpo", "gain", "mopps"]
    place = {"models": ["tiny"], "datasets": ["chain"]}
    data["experiments"] = {
        "study": {**place, "methods": compared},
        "ours": {**place, "methods": ["grpo", "mopps"]},  # a part of it, for a claim alone
    }
    data["claims"] = {
        "pays": {"statement": "A curriculum pays", "measure": "difference", "experiment": "study",
                 "methods": ["gain", "mopps"], "threshold": 0}
    }  # fmt: skip
    data["tuning"] = {
        "grid": {"lr": [1e-4, 1e-3]},
        "methods": {name: {} for name in compared},
        "seeds": [10],
        "budget": 400,
        "tests": 2,
    }
    return plan.load(data)


@pytest.fixture
def context(tmp_path):
    """GAIN-RL is 20 points above GRPO at its end, more or less; MoPPS is level with it."""
    training = {**TRAINING, "tokens": 400, "tests": 2, "steps": 25}
    settings = {"grpo": {}, "gain": {"prompts": 4, "steps": 13}, "mopps": {"lr": 0.01}}
    gains = {"grpo": (0.0, 0.0, 0.0), "gain": (0.2, 0.21, 0.19), "mopps": (-0.1, 0.1, 0.03)}
    for method, found in gains.items():
        for k in range(2):
            write_run(tmp_path, f"{method}.try{k}", 10, [0.2, 0.3, 0.4 + 0.1 * k],
                      tokens=100, training=training)  # fmt: skip
        for seed, gain in enumerate(found):
            curve = [0.2, 0.3, 0.4 + 0.01 * seed + gain]
            write_run(tmp_path, method, seed, curve, tokens=100, overrides=[*settings[method]],
                      training={**training, **settings[method]})  # fmt: skip
    found = Context(preset(), tmp_path)
    for method in gains:
        choose(found, *PLACE, method)
    return found


@pytest.fixture
def made(context, tmp_path):
    """Everything that the page reads."""
    runs = collect([context.layout.run(key) for key in plan.runs(context.preset, ["study"])])
    frame = table1(runs, context.preset.statistics, "grpo")
    write_table(frame, context.layout.table("study"), "study")
    make_claims(context, True, context.layout.table("claims"))
    make_ranked_figure(context, "study", context.layout.figure("study_ranked"))
    return context


def test_the_page_has_question_design_table_figure_and_verdicts(made, tmp_path):
    page = made.layout.home / "report_study.md"
    make_study(made, page)
    text = page.read_text()
    order = ["## What was found", "study_ranked.png", "## Design", "\n## study\n"]
    order += ["## What each method was given", "## What tuning was worth"]
    order += ["## Verdicts", "## What would change the answer"]
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    assert (
        "32 prompts of the task chain, of which 70% teach nothing (40% long, 30% trivial)" in text
    )
    assert "tuning: 2 settings for each method, 1 seed(s) of 400 generated tokens each" in text
    assert "comparison: 3 fresh seeds of 400 generated tokens each, tested 2 times" in text
    # 20 + 0.05 c from 40 to 200 tokens and, steeper by 0.005 in the mean, on to 41 at 400:
    # 20 + (0.05 x 360 + 0.005 (200 - 200 ln 2)) / ln 10
    area = 20 + (18 + 1 - np.log(2)) / np.log(10)
    assert re.search(rf"\| GRPO \(%\) \| 41\.0 \[[^|]*\] \| {area:.1f} \[", text)
    (gain,) = re.findall(r"\| gain \(points\) \| \+20\.0 \[\+17\.5, \+22\.5\](.*?) \|", text)
    assert gain == "†"
    found = r"\| MoPPS \(points\) \| \+1\.0 \[-[\d.]+, \+[\d.]+\] \| \+0\.1 \["
    assert re.search(found, text)
    assert "MoPPS do not survive the control of false discoveries; known to" in text
    headline = "Of 2 differences to the baseline at equal tokens 1 is above it and 0 below by more"
    assert headline in text
    assert "The highest is that of gain on tiny, chain: +20.0 [+17.5, +22.5] points." in text
    assert text.count("| lr 0.001 |") == 3  # the better of the two settings, of each method
    assert re.search(r"\| MoPPS \| 50\.0 \(45\.0; 40\.0\) \|", text)
    (sooner,) = re.findall(r"tokens than GRPO\*\*\n\n(.*?)\n\n", text, re.DOTALL)
    # MoPPS ends a point higher, and of GRPO's last 200 tokens a point takes 18; both get to GRPO's
    # final level with their last test
    assert re.search(r"\| MoPPS \| 1\.\d\d× \[[^|]*\] \| 1\.00× \(1 of 3 censored\) \|", sooner)
    (early,) = re.findall(r"half of these tokens\*\*\n\n(.*?)\n\n", text, re.DOTALL)
    assert "| gain | +0.0 [+0.0, +0.0] | +0.0 [+0.0, +0.0] |" in early  # the gain comes at the end
    assert "A curriculum pays" in text
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (page.parent / link).exists(), link


def test_in_documentation_it_has_its_figures_beside_it_and_links_to_no_results(made, tmp_path):
    page = tmp_path / "docs" / "study.md"
    make_study(made, page)
    text = page.read_text()
    assert re.findall(r"\]\(([^)]+)\)", text) == ["img/study.png"]
    picture = made.layout.figure("study_ranked").read_bytes()
    assert (page.parent / "img/study.png").read_bytes() == picture
    table = made.layout.table("study").relative_to(tmp_path.parent)
    assert f"a row of `{table}`" in text


def test_what_the_page_rests_on_is_named_where_it_is_missing(made, tmp_path):
    made.layout.figure("study_ranked").unlink()
    with pytest.raises(DataError, match=r"study_ranked\.png: no such figure"):
        make_study(made, tmp_path / "report_study.md")
    made.layout.table("study").unlink()
    with pytest.raises(DataError, match=r"study\.csv: no such table; `snakemake study`"):
        make_study(made, tmp_path / "report_study.md")
    assert not (tmp_path / "report_study.md").exists()


def test_it_says_how_many_choices_hang_on_a_seed_of_tuning(made, tmp_path):
    make_study(made, tmp_path / "study.md")
    assert "alone would have made" not in (tmp_path / "study.md").read_text()  # there is one seed
    for at, method in enumerate(("grpo", "gain", "mopps")):
        path = made.layout.choice(*PLACE, method)
        choice = json.loads(path.read_text())
        choice["seeds"] = [10, 11]
        for k, each in enumerate(choice["settings"]):  # of the first method the seeds disagree
            each["accuracies"] = [0.4 + 0.1 * k, 0.5 - 0.1 * k if at == 0 else 0.4 + 0.1 * k]
        path.write_text(json.dumps(choice))
    make_study(made, tmp_path / "study.md")
    text = (tmp_path / "study.md").read_text()
    assert "alone would have made the same choice in 2 of 3 cases" in text


def test_a_page_of_the_baseline_alone_is_refused(made, tmp_path):
    table = made.layout.table("study")
    frame = pd.read_csv(table)
    frame[frame["method"] == "grpo"].to_csv(table, index=False)
    with pytest.raises(DataError, match="no methods to compare beside the baseline"):
        make_study(made, tmp_path / "report_study.md")


def test_a_preset_without_tuning_has_no_such_page(tmp_path):
    with pytest.raises(ConfigError, match="preset 'small' has no experiment of tuned methods"):
        make_study(Context(plan.load(BASE), tmp_path), tmp_path / "report_study.md")


def test_the_best_method_is_on_top_and_what_does_not_survive_is_grey(made, tmp_path):
    frame = pd.read_csv(made.layout.table("study"))
    labels = {"grpo": "GRPO", "gain": "GAIN-RL", "mopps": "MoPPS"}
    paths = (tmp_path / "a.png", tmp_path / "a.pdf")
    (axis,) = figure_ranked(frame, "grpo", labels, *paths).axes
    assert [each.get_text() for each in axis.get_yticklabels()] == ["GAIN-RL", "MoPPS"]
    dots = [line for line in axis.get_lines() if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in dots] == pytest.approx([20, 1])
    assert dots[0].get_color() != dots[1].get_color()
    assert axis.get_xlabel() == "Points above GRPO"
    assert Path(paths[0]).stat().st_size > 1000
