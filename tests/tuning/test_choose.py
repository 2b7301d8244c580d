"""The choice among tried settings: worked by hand, frozen, and read by the runs."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from presets import BASE
from run_folders import TRAINING, write_lines, write_run

from gainrl import plan
from gainrl.errors import ConfigError, DataError
from gainrl.records import read_json
from gainrl.results.runs import read_run
from gainrl.stages.common import Context
from gainrl.stages.settled import settled
from gainrl.tuning.choose import accuracy_at_budget, choose
from gainrl.tuning.make import make_tuning

PLACE = ("tiny", "chain")
SEEDS = (10, 11)


def preset(**changes):
    """Two methods on one place; four settings of two grids each."""
    data = copy.deepcopy(BASE)
    data["preset"] = "nano"
    data["models"] = {"tiny": {"source": "nano"}}
    data["experiments"] = {
        "table1": {"models": ["tiny"], "datasets": ["chain"], "methods": ["grpo", "gain"]}
    }
    data["methods"]["grpo"]["label"] = "GRPO"
    data["statistics"] = {"smoothing": 1}
    data["tuning"] = {
        "grid": {"lr": [1e-4, 1e-3]},
        "methods": {"grpo": {}, "gain": {"beta": [0.3, 0.5]}},
        "seeds": list(SEEDS),
        "budget": 400,
        "tests": 2,
        **changes,
    }
    return plan.load(data)


def tried_run(root: Path, name: str, seed: int, finals, tokens=100) -> Path:
    """A finished run of 4 steps and 400 tokens, tested after 2 and 4."""
    training = {**TRAINING, "tokens": 400, "tests": 2, "steps": 25}
    return write_run(root, name, seed, [0.2, *finals], tokens=tokens, training=training)


def cut(folder: Path, steps: int) -> None:
    """Leave the first steps of a run, tested after each."""
    for name in ("steps", "timing"):
        path = folder / f"{name}.jsonl"
        write_lines(path, [json.loads(line) for line in path.read_text().splitlines()[:steps]])
    rows = [json.loads(line) for line in (folder / "eval.jsonl").read_text().splitlines()]
    for row, step in zip(rows, range(steps + 1), strict=True):
        row["step"] = step
    write_lines(folder / "eval.jsonl", rows)
    done = json.loads((folder / "done.json").read_text())
    (folder / "done.json").write_text(json.dumps({**done, "steps": steps}))


CURVES = {  # two seeds each; the mean of the last is what counts
    "grpo.try0": ([0.9, 0.4], [0.9, 0.6]),
    "grpo.try1": ([0.1, 0.7], [0.1, 0.5]),
    "gain.try0": ([0.3, 0.5], [0.3, 0.6]),
    "gain.try1": ([0.3, 0.6], [0.3, 0.5]),
}


@pytest.fixture
def context(tmp_path):
    for name, curves in CURVES.items():
        for seed, finals in zip(SEEDS, curves, strict=True):
            tried_run(tmp_path, name, seed, finals)
    return Context(preset(), tmp_path)


def test_the_highest_mean_at_the_budget_is_chosen_and_of_equal_ones_the_first(context, capsys):
    for method in ("grpo", "gain"):
        choose(context, *PLACE, method)
    grpo, gain = (read_json(context.layout.choice(*PLACE, name)) for name in ("grpo", "gain"))
    assert (grpo["chosen"], grpo["values"]) == ("grpo.try1", {"lr": 1e-3})
    assert gain["chosen"] == "gain.try0"  # 0.55 as the other
    assert grpo["settings"][0]["accuracies"] == [0.4, 0.6]
    assert grpo["tried"] == plan.digest(plan.tuning_slice(context.preset, *PLACE, "grpo"))
    assert "grpo on chain, tiny: lr 0.001: 60.0%, the best of 2" in capsys.readouterr().out


def test_what_a_run_has_beyond_its_budget_does_not_count(tmp_path):
    """Steps of 300 tokens: tested at 300 and 600 of 400; at 400 it is on the line between."""
    folder = tried_run(tmp_path, "grpo.try0", 10, [0.4, 1.0], tokens=300)
    cut(folder, 2)
    run = read_run(folder)
    assert accuracy_at_budget(run, 1) == pytest.approx(0.4 + 0.6 / 3)
    # two tests of a run that spends exactly its budget are at 200 and 400
    assert accuracy_at_budget(run, 2) == pytest.approx((0.2 + 0.2 * 2 / 3 + 0.4 + 0.6 / 3) / 2)


@pytest.mark.parametrize("window", [1, 2])
def test_the_size_of_a_step_makes_no_level(tmp_path, window):
    """Two runs on one line, 0.2 + 0.001 a token: of steps of 100 tokens, and of one of 500."""
    small = tried_run(tmp_path, "grpo.try0", 10, [0.4, 0.6])
    folder = write_run(
        tmp_path, "grpo.try1", 10, [0.2, 0.7], tokens=500,
        training={**TRAINING, "tokens": 400, "tests": 2, "steps": 25},
    )  # fmt: skip
    cut(folder, 1)
    levels = [accuracy_at_budget(read_run(each), window) for each in (small, folder)]
    assert levels[1] == pytest.approx(levels[0])


def test_the_same_choice_is_written_again_and_another_one_is_refused(context, tmp_path):
    choose(context, *PLACE, "grpo")
    path = context.layout.choice(*PLACE, "grpo")
    first = path.read_bytes()
    path.unlink()  # as Snakemake does before a job is run again
    choose(context, *PLACE, "grpo")
    assert path.read_bytes() == first
    path.unlink()
    folder = context.layout.run(plan.RunKey(*PLACE, "grpo.try0", 10))
    text = (folder / "eval.jsonl").read_text()
    (folder / "eval.jsonl").write_text(text.replace("0.4", "1.0"))
    with pytest.raises(DataError, match=r"grpo\.try1 was chosen by other results of the same") as e:
        choose(context, *PLACE, "grpo")
    assert "grpo.try0); delete this file to choose again" in str(e.value)
    assert not path.exists()
    frozen = Path(str(e.value).partition(":")[0])
    frozen.unlink()
    choose(context, *PLACE, "grpo")
    assert read_json(path)["chosen"] == "grpo.try0"


def test_another_grid_is_another_choice_and_the_one_before_it_stays(context, tmp_path, capsys):
    choose(context, *PLACE, "grpo")
    before = read_json(context.layout.choice(*PLACE, "grpo"))
    changed = Context(preset(grid={"lr": [2e-4, 1e-3]}), tmp_path)
    choose(changed, *PLACE, "grpo")
    after = read_json(changed.layout.choice(*PLACE, "grpo"))
    assert before["tried"] != after["tried"]
    kept = changed.layout.frozen(*PLACE, "grpo", before["tried"])
    assert f"what was chosen from other settings before stays in {kept}" in capsys.readouterr().out
    for record in (before, after):
        assert read_json(changed.layout.frozen(*PLACE, "grpo", record["tried"])) == record


def test_an_unfinished_run_is_named(context):
    (context.layout.run(plan.RunKey(*PLACE, "grpo.try1", 11)) / "done.json").unlink()
    with pytest.raises(DataError, match=r"grpo\.try1/seed11: the run is not finished"):
        choose(context, *PLACE, "grpo")


def test_a_run_has_the_chosen_setting_under_its_methods_name(context):
    choose(context, *PLACE, "gain")
    key = plan.RunKey(*PLACE, "gain", 0)
    found, noted = settled(context, key)
    setting = plan.settings_of(context.preset, "gain")["gain.try0"]
    method = found.preset.methods["gain"]
    assert method.training.given == {"lr": setting["lr"]}
    assert method.curriculum.parameters["beta"] == setting["beta"]
    assert method.label is None  # as the preset calls it
    assert found.preset.training_for("chain", "tiny", "gain").lr == setting["lr"]
    assert noted["chosen"] == "gain.try0"
    assert set(noted) == {"chosen", "tried", "results"}
    untuned = plan.RunKey(*PLACE, "adarft", 0)
    assert settled(context, untuned) == (context, None)


def test_a_choice_from_other_settings_is_no_choice(context, tmp_path):
    choose(context, *PLACE, "gain")
    changed = Context(preset(budget=500), tmp_path)
    with pytest.raises(ConfigError, match=r"gain\.json: chosen from other settings"):
        settled(changed, plan.RunKey(*PLACE, "gain", 0))
    with pytest.raises(DataError, match=r"grpo\.json"):
        settled(context, plan.RunKey(*PLACE, "grpo", 0))


def test_the_table_has_all_settings_and_marks_the_chosen_ones(context, tmp_path):
    for method in ("grpo", "gain"):
        choose(context, *PLACE, method)
    make_tuning(context, tmp_path / "tuning.csv")
    table = pd.read_csv(tmp_path / "tuning.csv")
    assert table["setting"].tolist() == list(CURVES)
    assert table.loc[table["chosen"], "setting"].tolist() == ["grpo.try1", "gain.try0"]
    assert table["mean"].tolist() == pytest.approx([0.5, 0.6, 0.55, 0.55])
    # two seeds: 12.706 standard errors, of 0.1, are more than there are accuracies
    assert (table["low"].iloc[0], table["high"].iloc[0]) == (0, 1)
    assert table["tokens"].tolist() == [400] * 4
    assert table["steps"].tolist() == [4] * 4
    assert np.isnan(table["prompts"]).all()
    assert json.loads(table["parameters"].iloc[2])["beta"] in (0.3, 0.5)
    text = (tmp_path / "tuning.md").read_text()
    assert "| GRPO | lr 0.001 | 60.0 [0.0, 100.0] | 4 | chosen |" in text
    assert "400 generated tokens" in text
    assert "All tried runs together generated 3,200 tokens." in text  # 8 of 400
