"""Half of the data by rank, prompts dropped once solved, and methods with keys of their own."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from outcomes import build, next_batch, outcome
from presets import BASE, changed, error_of

from gainrl import plan
from gainrl.config.methods import parse_order
from gainrl.curricula import Setting
from gainrl.curricula.selection import select
from gainrl.errors import DataError
from gainrl.plan import RunKey
from gainrl.records import DIFFICULTY, ORDER, PROMPTS, read_table, write_json, write_table
from gainrl.stages.common import Context
from gainrl.stages.data import prepare_data
from gainrl.stages.runs import TrainingRun
from gainrl.stages.training_data import training_data

# --- selection by rank ---------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("slope", [1.0, 0.0, -1.0])
def test_a_selection_has_distinct_ranks_and_its_size(share, slope):
    ranks = select(40, share, slope, seed=3)
    assert len(ranks) == len(set(ranks.tolist())) == 40 * share
    assert ranks.min() >= 0
    assert ranks.max() < 40
    assert (np.diff(ranks) > 0).all()


def test_single_draws_follow_the_linear_probability():
    """With one rank of eight drawn, P(i) is the weight over their sum, 8."""
    drawn = [int(select(8, 1 / 8, 1.0, seed)[0]) for seed in range(8000)]
    expected = (1 + (1 - (2 * np.arange(8) + 1) / 8)) / 8
    assert expected.sum() == pytest.approx(1)
    assert np.bincount(drawn, minlength=8) / 8000 == pytest.approx(expected, abs=0.015)


def test_the_slope_says_which_end_is_preferred():
    middle = {s: np.mean([select(100, 0.5, s, k).mean() for k in range(50)]) for s in (1, 0, -1)}
    assert middle[1] < 42 < middle[0] < 57 < middle[-1]
    assert middle[0] == pytest.approx(49.5, abs=2)
    assert middle[1] + middle[-1] == pytest.approx(99, abs=2)


def test_a_selection_depends_on_the_seed_alone():
    assert select(40, 0.5, 1.0, 7).tolist() == select(40, 0.5, 1.0, 7).tolist()
    assert select(40, 0.5, 1.0, 7).tolist() != select(40, 0.5, 1.0, 8).tolist()


# --- accuracy_filter -----------------------------------------------------------------------------


def seen(rows, solved):
    accuracy = np.array([1.0 if row in solved else 0.5 for row in rows.tolist()])
    return outcome(rows, accuracy)


def test_solved_prompts_are_never_drawn_again_while_others_are_left():
    policy = build("accuracy_filter", {}, Setting(20, 4, 0))
    solved = {1, 5, 9, 13}
    gone = set()
    for _ in range(40):
        rows = next_batch(policy)
        assert len(set(rows.tolist())) == 4
        assert not gone & set(rows.tolist())
        policy.observe(seen(rows, solved))
        gone |= solved & set(rows.tolist())
    assert gone == solved
    assert policy.metrics()["dropped_share"] == 0.2


def test_without_solved_prompts_it_draws_what_uniform_draws():
    setting = Setting(10, 4, 3)
    policies = [build(name, {}, setting) for name in ("accuracy_filter", "uniform")]
    for _ in range(9):
        one, other = (next_batch(policy) for policy in policies)
        assert one.tolist() == other.tolist()
        policies[0].observe(seen(one, set()))


def test_a_batch_is_completed_with_solved_prompts_when_too_few_are_left():
    policy = build("accuracy_filter", {}, Setting(6, 4, 0))
    for _ in range(6):
        policy.observe(seen(next_batch(policy), {0, 1, 2, 3, 4}))
    for _ in range(5):
        rows = next_batch(policy).tolist()
        assert len(set(rows)) == 4
        assert 5 in rows


def test_the_filter_continues_exactly():
    policy, other = (build("accuracy_filter", {}, Setting(12, 4, 1)) for _ in range(2))
    for _ in range(4):
        policy.observe(seen(next_batch(policy), {2, 3, 7}))
    other.load_state_dict(json.loads(json.dumps(policy.state_dict())))
    for _ in range(6):
        one, two = next_batch(policy), next_batch(other)
        assert one.tolist() == two.tolist()
        for each in (policy, other):
            each.observe(seen(one, {2, 3, 7, 11}))
    assert policy.metrics() == other.metrics()


# --- methods with keys of their own --------------------------------------------------------------


def test_a_method_sets_its_own_batch_and_weight():
    preset = plan.load(
        changed(
            "methods",
            "gain",
            to={
                "curriculum": "gain",
                "order": "angle",
                "inter_weight": 4,
                "training": {"prompts": 4},
            },
        )
    )
    assert preset.training_for("chain", "nano", "gain").prompts == 4
    assert preset.training_for("chain", "nano", "grpo").prompts == 8
    assert preset.training_for("chain", "nano").prompts == 8
    assert preset.scoring_for("gain").inter_weight == 4
    assert preset.scoring_for("grpo").inter_weight == 1
    assert preset.methods["gain"].order_key == "angle-c4"
    assert "angle-c4" in plan.order_keys(preset)
    assert plan.run_slice(preset, "nano", "chain", "gain")["signal"][2] == 4


@pytest.mark.parametrize(
    ("key", "order", "weight"),
    [("angle", "angle", None), ("angle-c0.25", "angle", 0.25), ("reversed-c8", "reversed", 8.0)],
)
def test_names_of_orders_are_read_back(key, order, weight):
    assert parse_order(key) == (order, weight)


@pytest.mark.parametrize("key", ["length-c4", "nothing", "angle-cmuch"])
def test_other_names_of_orders_are_refused(key):
    with pytest.raises(ValueError, match=r"unknown order|could not convert"):
        parse_order(key)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            {"curriculum": "uniform", "selection": {"slope": 1}},
            "selection draws by rank: it needs the key 'order'",
        ),
        ({"curriculum": "gain", "order": "length", "inter_weight": 2}, "inter_weight needs"),
        ({"curriculum": "uniform", "training": {"steps": 9}}, "steps"),
        (
            {"curriculum": "uniform", "training": {"mini_batch": 3}},
            "mini_batch 3 does not divide prompts 8",
        ),
        (
            {"curriculum": "gain", "order": "angle", "selection": {"slope": 2}},
            "methods.gain.selection.slope",
        ),
    ],
)
def test_methods_that_do_not_fit_are_refused(method, message):
    assert message in error_of(changed("methods", "gain", to=method))


def test_the_released_variant_has_no_other_weight():
    data = changed("scoring", to={"variant": "released"})
    data["methods"]["gain"]["inter_weight"] = 2
    assert "methods.gain.inter_weight" in error_of(data)


# --- what a run is trained on --------------------------------------------------------------------

IDS = [f"chain/train/{k}" for k in range(8)]
HALF = {"curriculum": "gain", "order": "angle", "selection": {"share": 0.5, "slope": 1}}


def files(root, method, ids=IDS, **columns):
    """A context with a training table, an order (the table's reverse) and difficulties."""
    preset = plan.load(changed("methods", "gain", to=method))
    context, key = Context(preset, root), RunKey("nano", "chain", "gain", 2)
    frame = pd.DataFrame({"id": ids, "question": ids, "answer": [str(k) for k in range(8)]})
    frame = frame.assign(**columns)
    write_table(context.layout.prompts("nano", "chain"), frame, PROMPTS)
    order = pd.DataFrame({"rank": range(8), "id": IDS[::-1]})
    write_table(context.layout.order("nano", "chain", "angle"), order, ORDER)
    values = {"difficulty": [10.0 * k for k in range(8)], "pass_rate": 0.5, "samples": 4}
    target = context.layout.signals("nano", "chain") / "difficulty.parquet"
    write_table(target, pd.DataFrame({"id": IDS, **values}), DIFFICULTY)
    return context, key


def test_a_run_sees_the_selected_half_in_the_order_of_its_ranks(tmp_path):
    context, key = files(tmp_path, {**HALF, "difficulty": "measured"})
    data = training_data(context, key)
    wanted = [IDS[::-1][rank] for rank in select(8, 0.5, 1.0, 2)]
    assert data.table["id"].iloc[data.order].tolist() == wanted
    assert data.table["id"].tolist() == sorted(wanted)
    assert data.difficulty.tolist() == [10.0 * int(name[-1]) for name in sorted(wanted)]


def test_without_a_selection_it_sees_everything(tmp_path):
    context, key = files(tmp_path, {"curriculum": "gain", "order": "angle"})
    data = training_data(context, key)
    assert data.table["id"].tolist() == IDS
    assert data.order.tolist() == list(range(8))[::-1]
    assert data.difficulty is None
    assert data.categories is None


def test_categories_are_codes_and_a_selection_keeps_them(tmp_path):
    levels = [f"level {k % 3}" for k in range(8)]
    context, key = files(tmp_path, {"curriculum": "uniform"}, category=levels)
    assert training_data(context, key).categories.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    context, key = files(tmp_path, HALF, category=levels)
    data = training_data(context, key)
    assert data.categories.tolist() == [int(name[-1]) % 3 for name in data.table["id"]]
    assert len(data.categories) == 4


def test_parts_of_a_mix_share_no_category(tmp_path):
    ids = [f"{part}/train/{k}" for part in ("word", "chain", "plain") for k in range(3)][:8]
    levels = ["easy", "hard", "easy", "easy", "easy", "hard", None, None]
    context, key = files(tmp_path, {"curriculum": "uniform"}, ids, category=levels)
    # sorted: chain easy, chain hard, plain without any, word easy, word hard
    assert training_data(context, key).categories.tolist() == [3, 4, 3, 0, 0, 1, 2, 2]
    context, key = files(tmp_path, {"curriculum": "uniform"}, ids, category=[None] * 8)
    assert training_data(context, key).categories is None


def test_a_curriculum_is_told_the_rollouts_and_the_categories(tmp_path):
    context, key = files(tmp_path, {"curriculum": "sec"}, category=["a", "b"] * 4)
    write_json(context.layout.model("nano") / "gainrl.json", {"weights": "of the start"})
    setting = TrainingRun(context, key).setting()
    assert setting.categories.tolist() == [0, 1] * 4
    assert setting.rollouts == context.preset.training.rollouts
    assert build("sec", {}, setting).metrics()["q_1"] == 0


def test_an_order_of_other_prompts_is_refused(tmp_path):
    context, key = files(tmp_path, HALF)
    path = context.layout.order("nano", "chain", "angle")
    write_table(path, pd.DataFrame({"rank": range(2), "id": ["a", "b"]}), ORDER)
    with pytest.raises(DataError, match=r"angle.parquet: not of this training table"):
        training_data(context, key)


# --- mixes ---------------------------------------------------------------------------------------

MIX = {"source": "mix", "parts": ["chain", "word"]}


def test_a_mix_holds_the_prompts_of_its_parts(tmp_path):
    context = Context(plan.load(changed("datasets", "both", to=MIX)), tmp_path)
    for name in ("chain", "word", "both"):
        prepare_data(context, name)
    for split in ("train", "eval"):
        tables = {
            name: read_table(context.layout.split(name, split), PROMPTS)
            for name in ("chain", "word", "both")
        }
        together = [*tables["chain"]["id"], *tables["word"]["id"]]
        assert tables["both"]["id"].tolist() == together
    assert plan.known_rows(context.preset, "both", "train") == 64
    assert plan.known_rows(context.preset, "both", "eval") == 32


def test_a_mix_depends_on_its_parts():
    one = plan.load(changed("datasets", "both", to=MIX))
    data = changed("datasets", "both", to=MIX)
    data["datasets"]["word"]["train"] = 40
    other = plan.load(data)
    slices = [plan.dataset_slice(preset, "both") for preset in (one, other)]
    assert slices[0] != slices[1]
    assert plan.known_rows(plan.load(BASE), "gsm", "eval") == 1319


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({**MIX, "parts": ["chain", "wrod"]}, "unknown name 'wrod'; did you mean 'word'?"),
        ({**MIX, "parts": ["chain"]}, "datasets.both"),
        ({**MIX, "parts": ["chain", "both"]}, "'both' is a mix itself"),
        ({**MIX, "system": "Think."}, "datasets.both.system: differs from that of its part"),
        ({**MIX, "grader": "code"}, "datasets.both.grader: 'code', but that of its part 'chain'"),
    ],
)
def test_mixes_that_do_not_fit_are_refused(mix, message):
    assert message in error_of(changed("datasets", "both", to=mix))
