"""Traces of runs whose snapshots are on a line or go to and fro, and what is made of them."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from signal_frames import assert_no_text_leaves, keys_of
from traced_runs import STRAIGHT, ZIGZAG, context_of, key_of, lay_out

from gainrl import cli
from gainrl.claims import verdicts as rules
from gainrl.config.preset import Statistics
from gainrl.errors import DataError, ModelError
from gainrl.linearity.figures import figure_distance, figure_tokens, figure_weights
from gainrl.linearity.make import read_traces
from gainrl.linearity.table import COLUMNS, linearity_table, write_linearity
from gainrl.linearity.trace import trace_run
from gainrl.models.tensors import TensorFolder
from gainrl.models.weights import distance, same_weights
from gainrl.records import LINEARITY, read_json, read_table

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = Statistics(resamples=200)
TENSORS = 2 * 9 + 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Seed 0 goes straight, seed 1 to and fro; both are traced."""
    context = context_of(tmp_path_factory.mktemp("traced"))
    counts = [lay_out(context, seed, path) for seed, path in enumerate((STRAIGHT, ZIGZAG))]
    for seed in (0, 1):
        trace_run(context, key_of(seed))
    return context, counts


@pytest.fixture(scope="module")
def traced(made):
    return read_traces(made[0])


def table_of(context, seed):
    return read_table(context.layout.linearity(key_of(seed)), LINEARITY)


def facts_of(context, seed):
    return read_json(context.layout.extrapolated(key_of(seed)))


# --- the stage -----------------------------------------------------------------------------------


def test_snapshots_on_a_line_have_an_r_squared_of_1(made):
    context, counts = made
    frame = table_of(context, 0)
    weights = frame[frame["part"] == "weights"]
    assert weights["q05"].min() == pytest.approx(1, abs=1e-9)
    for selection in ("all", "range", "released"):
        (row,) = weights[
            (weights["selection"] == selection) & (weights["grouping"] == "all")
        ].to_dict("records")
        assert (row["constant"], row["count"]) == counts[0] or selection == "released"
        assert row["count"] == counts[0][1]
    whole = weights[weights["selection"] == "all"].set_index("grouping")
    assert whole.loc["all", "kept"] == counts[0][1] - counts[0][0]
    assert sum(whole.loc["all", "histogram"]) == whole.loc["all", "histogram"][-1]
    assert whole.loc["module", "count"].sum() == whole.loc["layer", "count"].sum() == counts[0][1]
    assert len(whole.loc["tensor"]) == TENSORS
    assert set(whole.loc["layer", "group"]) == {"0", "1", "outside"}


def test_snapshots_that_go_to_and_fro_have_one_of_0(made):
    frame = table_of(made[0], 1)
    (row,) = frame[
        (frame["part"] == "weights") & (frame["selection"] == "all") & (frame["grouping"] == "all")
    ].to_dict("records")
    assert row["q95"] == pytest.approx(0, abs=1e-9)
    assert 0.3 < row["null_median"] < 0.9


def test_extrapolating_a_line_gives_the_trained_model(made):
    (line,) = facts_of(made[0], 0)["extrapolations"]
    assert (line["from"], line["to"], line["target"]) == (0, 2, 4)
    assert line["weight_distance"] == 0
    assert line["cosine"] == pytest.approx(1)
    assert line["kl"]["weights"] == 0
    assert line["kl"]["stay"] > line["kl"]["logits"] > 0
    assert line["accuracy"]["weights"] == line["accuracy"]["trained"]
    assert set(line["accuracy"]["logits"]) == {"chain"}


def test_where_training_came_back_there_is_no_distance(made):
    (line,) = facts_of(made[0], 1)["extrapolations"]
    assert line["weight_distance"] is None  # steps 0, 2 and 4 have the same weights
    assert line["kl"] == {"weights": 0, "logits": 0, "stay": 0}


def test_tokens_of_both_models_are_forced_under_every_snapshot(made):
    context, _ = made
    facts, frame = facts_of(context, 0), table_of(context, 0)
    assert facts["steps"] == [0, 1, 2, 3, 4]
    for part in ("tokens_start", "tokens_last"):
        rows = frame[frame["part"] == part].set_index("selection")
        assert rows.loc["all", "count"] == facts["tokens"][part] > 50
        assert rows.loc["released", "kept"] < rows.loc["all", "kept"]
        # Straight weights over so short a way: nearly straight log-probabilities.
        assert rows.loc["all", "median"] > 0.9
    assert facts["tokens"]["tokens_start"] == facts_of(context, 1)["tokens"]["tokens_start"]


def test_a_trace_is_the_same_when_it_is_made_again(made, tmp_path):
    context, _ = made
    before = context.layout.extrapolated(key_of(0)).read_bytes()
    frame = table_of(context, 0)
    trace_run(context, key_of(0))
    assert context.layout.extrapolated(key_of(0)).read_bytes() == before
    pd.testing.assert_frame_equal(table_of(context, 0), frame)


def test_a_share_of_the_weights_is_enough(tmp_path):
    context = context_of(tmp_path, share=0.05, extrapolate=[], prompts=2)
    lay_out(context, 0, STRAIGHT)
    trace_run(context, key_of(0))
    tensors = table_of(context, 0).query("selection == 'all' and grouping == 'tensor'")
    sizes = dict(zip(tensors["group"], tensors["count"], strict=True))
    assert sizes["model.norm.weight"] == 32  # all of them
    assert sizes["model.layers.0.self_attn.q_proj.weight"] == int(0.05 * 32 * 32)
    assert facts_of(context, 0)["extrapolations"] == []


def test_a_missing_snapshot_is_named(tmp_path, capsys):
    context = context_of(tmp_path)
    lay_out(context, 0, STRAIGHT)
    folder = context.layout.snapshot(key_of(0), 2)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"step000002: neither model.safetensors nor"):
        trace_run(context, key_of(0))
    assert not context.layout.linearity(key_of(0)).exists()


# --- distances -----------------------------------------------------------------------------------


def weights_of(folder, **tensors):
    folder.mkdir()
    save_file({name: torch.tensor(v) for name, v in tensors.items()}, folder / "model.safetensors")
    return TensorFolder(folder)


def test_distances_by_hand(tmp_path):
    """From 0 by 1 to 4, where training went to 3; a second weight goes 0, 0, 2: missed by 2."""
    first = weights_of(tmp_path / "a", w=[0.0], v=[[0.0]])
    second = weights_of(tmp_path / "b", w=[1.0], v=[[0.0]])
    trained = weights_of(tmp_path / "c", w=[3.0], v=[[2.0]])
    found = distance(first, second, trained, 4.0)
    assert found.relative == pytest.approx(math.sqrt((1 + 4) / (4 + 4)))
    assert found.cosine == pytest.approx(3 * 2 / math.sqrt(9 * 8))
    assert math.isnan(distance(first, second, second, 4.0).relative)
    other = weights_of(tmp_path / "d", w=[3.0])
    with pytest.raises(ModelError, match="only one of them has the tensor 'v'"):
        same_weights([first.folder, other.folder])


# --- over seeds ----------------------------------------------------------------------------------


def cell(table, part, metric, selection="all", group="all"):
    found = table[
        (table["part"] == part)
        & (table["metric"] == metric)
        & (table["selection"] == selection)
        & (table["group"] == group)
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_the_table_is_over_seeds(traced):
    table = linearity_table(traced, CONFIG)
    assert list(table.columns) == COLUMNS
    row = cell(table, "weights", "r2_median")
    assert (row["mean"], row["low"], row["high"], row["n"]) == pytest.approx((0.5, 0, 1, 2))
    assert cell(table, "weights", "r2_median", group="module q")["mean"] == pytest.approx(0.5)
    line = "0, 2 → 4"
    distance_ = cell(table, "extrapolation", "weight_distance", "weights", line)
    assert (distance_["mean"], distance_["n"]) == (0, 1)
    assert distance_["note"] == "1 of 2 seeds have no value"
    pairs = [one.lines[0]["accuracy"] for one in traced]
    wanted = sum(100 * (p["logits"]["chain"] - p["trained"]["chain"]) for p in pairs) / 2
    found = cell(table, "extrapolation", "difference/chain", "logits", line)
    assert found["mean"] == pytest.approx(wanted)


def test_the_files_hold_the_same_for_people(traced, tmp_path):
    table = linearity_table(traced, CONFIG)
    write_linearity(table, {"grpo": "GRPO"}, tmp_path / "linearity.csv", "How straight", CONFIG)
    text = (tmp_path / "linearity.md").read_text(encoding="utf-8")
    assert text.startswith("How straight\n")
    assert "**GRPO, nano on chain**" in text
    assert "| Weights, all that move | 0.500 [0.000, 1.000] | " in text
    assert "| 0, 2 → 4: Trained | 0 | 0 | " in text
    again = pd.read_csv(tmp_path / "linearity.csv")
    assert len(again) == len(table)
    latex = (tmp_path / "linearity.tex").read_text(encoding="utf-8")
    assert "R$^2$" in latex
    assert "²" not in latex
    assert "→" not in latex


@pytest.mark.parametrize("draw", [figure_weights, figure_tokens, figure_distance])
def test_figures_are_the_same_every_time(traced, tmp_path, draw):
    for name in ("one", "two"):
        figure = draw(traced, tmp_path / f"{name}.png", tmp_path / f"{name}.pdf", CONFIG)
    assert_no_text_leaves(figure)
    for kind in ("png", "pdf"):
        one, two = (tmp_path / f"{name}.{kind}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_the_figure_of_weights_has_a_line_a_module_and_the_random_walk(traced, tmp_path):
    figure = figure_weights(traced, tmp_path / "w.png", tmp_path / "w.pdf", CONFIG)
    modules = ["down", "embedding", "gate", "k", "norm", "o", "q", "up", "v"]
    assert sorted(keys_of(figure)) == sorted([*modules, "all weights", "random walk"])
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    shares = lines["all weights"].get_ydata()
    assert shares[[1, -2, -1]] == pytest.approx([0.5, 0.5, 1])  # one seed at 0, one at 1


def test_without_extrapolations_there_is_no_distance_to_draw(traced, tmp_path):
    from dataclasses import replace

    bare = [replace(one, facts={**one.facts, "extrapolations": []}) for one in traced]
    with pytest.raises(DataError, match="no extrapolations"):
        figure_distance(bare, tmp_path / "d.png", tmp_path / "d.pdf", CONFIG)


# --- claims --------------------------------------------------------------------------------------


def test_linearity_is_claimed_of_the_median_over_seeds(traced):
    part = rules.straightness(traced, "weights", "all", CONFIG)
    assert (part.interval.mean, part.interval.low, part.interval.high) == pytest.approx((0.5, 0, 1))
    assert part.note.startswith("random walk 0.")
    assert part.quantity == "median R² of weights, all that move; grpo"


def test_a_seed_of_which_nothing_is_kept_leaves_a_claim_open(traced):
    part = rules.straightness(traced, "tokens_last", "released", CONFIG)  # seed 1 came back
    assert math.isnan(part.interval.low)
    assert "nothing is kept" in part.note


def test_extrapolation_is_claimed_in_points_and_paired_by_seed(traced):
    part = rules.extrapolated(traced, 0, "weights", CONFIG)
    assert (part.interval.mean, part.interval.low, part.interval.high) == (0, 0, 0)
    assert (part.benchmark, part.interval.n) == ("chain", 2)
    assert part.quantity == "weights extrapolated, 0, 2 → 4, less trained; grpo"


def test_the_command_line_makes_a_trace_and_refuses_a_preset_without_the_section(made, tmp_path):
    context, _ = made
    names = ["--model", "nano", "--dataset", "chain", "--method", "grpo", "--seed", "0"]
    preset = tmp_path / "preset.json"
    preset.write_text(context.preset.model_dump_json(), encoding="utf-8")
    path = context.layout.linearity(key_of(0))
    path.unlink()
    where = ["--preset", str(preset), "--root", str(context.root)]
    assert cli.main(["linearity", *names, *where]) == 0
    assert path.exists()
    tiny = context.preset.model_copy(update={"linearity": None})
    preset.write_text(tiny.model_dump_json(), encoding="utf-8")
    assert cli.main(["linearity", *names, *where]) == 2
