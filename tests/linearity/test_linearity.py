"""R^2 against the RL step by hand, filters, the random walk, and places of tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from presets import changed, error_of

from gainrl import plan
from gainrl.config.linearity import Extrapolation
from gainrl.errors import ConfigError
from gainrl.linearity import plan as linearity_plan
from gainrl.linearity.measures import (
    BINS,
    distinct,
    r_squared,
    random_walks,
    rows,
    sampled,
    summary,
    token_r_squared,
    walk_row,
    weight_r_squared,
)
from gainrl.models.weights import place_of

STEPS = [0, 10, 20, 30]


def columns(*values):
    """(K, n) of trajectories given one after another."""
    return np.array(values, dtype=np.float64).T


# --- R^2 -----------------------------------------------------------------------------------------


def test_r_squared_by_hand():
    """Steps -1.5 to 1.5 around their mean: 3^2 / (5 x 2), 0, 1 and none."""
    found = r_squared(STEPS, columns([0, 1, 1, 2], [1, 0, 0, 1], [5, 3, 1, -1], [4, 4, 4, 4]))
    assert found[:3] == pytest.approx([0.9, 0, 1])
    assert math.isnan(found[3])


def test_r_squared_is_that_of_numpy_whatever_the_unit():
    rng = np.random.default_rng(0)
    steps, values = np.sort(rng.random(9)), rng.normal(size=(9, 20))
    wanted = [np.corrcoef(steps, column)[0, 1] ** 2 for column in values.T]
    np.testing.assert_allclose(r_squared(steps, values), wanted, rtol=1e-10)
    np.testing.assert_allclose(r_squared(100 * steps, 7 - 1e-6 * values), wanted, rtol=1e-5)


def test_a_small_move_of_a_large_weight_keeps_its_digits():
    values = columns([1e3 + k * 2.0**-40 for k in range(4)])
    assert r_squared(STEPS, values)[0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("steps", "values"), [(STEPS, np.zeros((3, 2))), ([0], np.zeros((1, 2))), (STEPS, np.zeros(4))]
)
def test_shapes_that_do_not_fit_are_refused(steps, values):
    with pytest.raises(ValueError, match="shapes do not fit"):
        r_squared(steps, values)


# --- filters -------------------------------------------------------------------------------------


def test_filters_of_weights_by_hand():
    """Straight and 3e-4 long; as straight and 3e-5 long; 2e-4 long, with two values; constant."""
    values = columns(
        [0.01, 0.0101, 0.0102, 0.0103],
        [0.01, 0.01001, 0.01002, 0.01003],
        [0.01, 0.01, 0.0102, 0.0102],
        [0.01, 0.01, 0.01, 0.01],
    )
    rounded = torch.from_numpy(values).bfloat16().double().numpy()
    assert distinct(rounded).tolist() == [4, 1, 2, 1]  # bf16 is 6e-5 apart there
    found = weight_r_squared(STEPS, values, rounded)
    assert found["all"][:3] == pytest.approx([1, 1, 0.8])
    assert np.isnan(found["all"]).tolist() == [False, False, False, True]
    assert np.isnan(found["range"]).tolist() == [False, True, False, True]
    assert np.isnan(found["released"]).tolist() == [False, True, True, True]
    assert found["released"][0] == r_squared(STEPS, rounded)[0]


def test_the_released_filter_sees_weights_in_bf16():
    values = columns([1.0, 1.01, 1.02, 1.03], [1.0, 1.001, 1.002, 1.003])
    rounded = torch.from_numpy(values).bfloat16().double().numpy()
    found = weight_r_squared(STEPS, values, rounded)
    assert found["all"] == pytest.approx([1, 1])
    assert found["released"][0] == r_squared(STEPS, rounded)[0] < 1
    assert math.isnan(found["released"][1])  # rounding leaves nothing of it


def test_the_filter_of_tokens_goes_by_first_and_last_value():
    values = columns([-1, -1.1, -1.2, -1.3], [-1, -9, -9, -1.1], [-2, -2, -2, -2])
    found = token_r_squared(STEPS, values)
    assert found["released"][0] == pytest.approx(1)
    assert np.isnan(found["released"]).tolist() == [False, True, True]
    assert np.isnan(found["all"]).tolist() == [False, False, True]


def test_at_least_fifty_weights_of_a_tensor_are_looked_at():
    assert sampled(30, 0.001, 0, 1).tolist() == list(range(30))
    assert len(sampled(4000, 0.001, 0, 1)) == 50
    many = sampled(100_000, 0.001, 0, 1)
    assert len(many) == len(set(many.tolist())) == 100
    assert many.tolist() == sampled(100_000, 0.001, 0, 1).tolist() == sorted(many)
    assert many.tolist() != sampled(100_000, 0.001, 1, 1).tolist()
    assert many.tolist() != sampled(100_000, 0.001, 0, 2).tolist()
    assert len(sampled(4000, 1.0, 0, 1)) == 4000


# --- random walks --------------------------------------------------------------------------------


def test_random_walks_are_straight_by_themselves():
    """Two points are always on a line; with many the median stays far from 0 (Phillips 1986)."""
    np.testing.assert_allclose(random_walks(2, 100, 0).r_squared, 1)
    medians = [random_walks(points, 20_000, 0).median(None, 1) for points in (4, 9, 200)]
    assert medians[0] > medians[1] > medians[2] > 0.35


def test_random_walks_are_those_of_a_plain_loop():
    rng = np.random.default_rng(8)
    found = []
    for _ in range(4000):
        walk = np.append(0, np.cumsum(rng.normal(size=8)))
        found.append(np.corrcoef(np.arange(9), walk)[0, 1] ** 2)
    walks = random_walks(9, 20_000, 1)
    for level in (0.25, 0.5, 0.75):
        assert np.quantile(walks.r_squared, level) == pytest.approx(
            np.quantile(found, level), abs=0.03
        )


def test_walks_that_moved_most_are_straighter():
    walks = random_walks(9, 20_000, 0)
    plain = walks.median(None, 1)
    assert walks.median("change", 1.0) == plain
    assert walks.median("change", 0.1) > walks.median("range", 0.1) > plain + 0.2


# --- summaries -----------------------------------------------------------------------------------


def test_a_summary_counts_what_it_leaves_out():
    walks = random_walks(4, 1000, 0)
    every = np.array([0.2, 0.4, 0.8, 1.0, np.nan])
    kept = np.where(every > 0.3, every, np.nan)
    row = summary(kept, every, walks, "range")
    assert (row["count"], row["constant"], row["kept"]) == (5, 1, 3)
    assert (row["median"], row["mean"]) == pytest.approx((0.8, 2.2 / 3))
    assert (row["over_0.7"], row["over_0.9"]) == pytest.approx((2 / 3, 1 / 3))
    assert len(row["histogram"]) == BINS
    assert [place for place, n in enumerate(row["histogram"]) if n] == [40, 80, 99]
    assert row["null_median"] == walks.median("range", 0.75)


def test_where_nothing_is_kept_there_are_no_numbers():
    nothing = np.full(3, np.nan)
    row = summary(nothing, nothing, random_walks(4, 100, 0), None)
    assert (row["count"], row["constant"], row["kept"], sum(row["histogram"])) == (3, 3, 0, 0)
    assert math.isnan(row["median"])


def test_rows_are_by_selection_and_group():
    values = columns([0, 1, 1, 2], [0, 0.1, 0.1, 0.1])
    walks = random_walks(4, 100, 0)
    found = rows("tokens_last", {("all", "all"): token_r_squared(STEPS, values)}, walks)
    assert [(row["part"], row["selection"], row["kept"]) for row in found] == [
        ("tokens_last", "all", 2),
        ("tokens_last", "released", 1),
    ]
    assert walk_row(walks)["median"] == walks.median(None, 1)


@pytest.mark.parametrize(
    ("name", "layer", "module"),
    [
        ("model.embed_tokens.weight", None, "embedding"),
        ("model.layers.3.self_attn.q_proj.weight", 3, "q"),
        ("model.layers.11.self_attn.v_proj.bias", 11, "v"),
        ("model.layers.0.self_attn.q_norm.weight", 0, "norm"),
        ("model.layers.0.self_attn.o_proj.weight", 0, "o"),
        ("model.layers.1.mlp.gate_proj.weight", 1, "gate"),
        ("model.layers.1.mlp.up_proj.weight", 1, "up"),
        ("model.layers.1.mlp.down_proj.weight", 1, "down"),
        ("model.layers.1.post_attention_layernorm.weight", 1, "norm"),
        ("model.norm.weight", None, "norm"),
        ("lm_head.weight", None, "lm_head"),
        ("model.layers.1.mlp.experts.weight", 1, "other"),
    ],
)
def test_where_a_tensor_is(name, layer, module):
    assert place_of(name) == (layer, module)


# --- presets -------------------------------------------------------------------------------------

SECTION = {"models": ["nano"], "datasets": ["chain"], "methods": ["grpo"], "every": 1}
LINE = {"from": 0, "to": 2, "target": 4}


def test_snapshots_of_the_traced_runs_are_kept_beside_those_of_the_probe():
    data = changed("linearity", to={**SECTION, "seeds": [1]})
    data["studies"] = {"models": ["nano"], "datasets": ["chain", "word"]}
    data["studies"]["dynamics"] = {"method": "grpo", "every": 2}
    preset = plan.load(data)
    assert plan.snapshots(preset, "nano", "chain", "grpo") == (1, 2, 3, 4)
    assert plan.probe_steps(preset, "nano", "chain", "grpo") == (2,)
    assert plan.snapshots(preset, "nano", "word", "grpo") == (2,)
    assert plan.snapshots(preset, "nano", "chain", "gain") == ()
    assert plan.traced(preset) == [plan.RunKey("nano", "chain", "grpo", 1)]


def test_the_last_model_of_a_run_that_a_study_follows_is_kept():
    """A rehearsal of the paper's preset found its probe without it: 'tested' was not enough."""
    data = changed("training", "keep_model", to="tested")
    data["studies"] = {"models": ["nano"], "datasets": ["chain"]}
    data["studies"]["dynamics"] = {"method": "grpo", "every": 2}
    preset = plan.load(data)
    assert plan.keeps_model(preset, "nano", "chain", "grpo")
    assert not plan.keeps_model(preset, "nano", "chain", "gain")
    assert not plan.keeps_model(preset, "nano", "word", "grpo")
    data["training"]["keep_model"] = False
    with pytest.raises(ConfigError, match=r"studies\.dynamics looks at trained models"):
        plan.load(data)


def test_a_preset_is_the_same_after_it_was_written():
    preset = plan.load(changed("linearity", to={**SECTION, "extrapolate": [LINE]}))
    written = preset.model_dump(mode="json")
    assert written["linearity"]["extrapolate"] == [LINE]
    assert plan.load(written) == preset
    assert [key.seed for key in plan.traced(preset)] == [0, 1]
    assert linearity_plan.figures(preset) == list(linearity_plan.FIGURES)


def test_the_factor_is_the_ratio_of_the_ways():
    line = Extrapolation(**{"from": 8, "to": 16, "target": 32})
    assert (line.factor, line.label) == (3, "8, 16 → 32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["gian"]}, "linearity.methods: unknown name 'gian'; did you mean 'gain'"),
        ({"seeds": [7]}, "linearity.seeds: 7 is not one of the seeds"),
        ({"models": ["other"]}, "no experiment has the run other/chain/grpo"),
        ({"every": 3}, "linearity.every: 3 does not divide the 4 steps of nano/chain/grpo"),
        ({"every": 2}, "linearity.every: 2 gives nano/chain/grpo fewer than 4 snapshots"),
        ({"extrapolate": [{**LINE, "target": 5}]}, "keeps no snapshot of step 5"),
        ({"extrapolate": [{**LINE, "to": 4}]}, "each must be after the one before"),
        ({"extrapolate": [{**LINE, "form": 0}]}, "unknown key 'linearity.extrapolate.0.form'"),
        ({"answers": 4}, "linearity.answers: at temperature 0 all answers are the same"),
        ({"share": 0}, "linearity.share"),
        ({"shares": 1}, "unknown key 'linearity.shares'; did you mean 'share'?"),
    ],
)
def test_sections_that_cannot_be_traced_are_refused(change, message):
    data = changed("linearity", to={**SECTION, **change})
    if "models" in change:
        data["experiments"]["table2"]["methods"] = ["adarft"]
        data["experiments"]["table2"]["baseline"] = "adarft"
    assert message in error_of(data)


def test_the_hint_of_a_wrong_key_is_what_the_preset_calls_it():
    line = {"fro": 0, "to": 2, "target": 4}
    message = error_of(changed("linearity", to={**SECTION, "extrapolate": [line]}))
    assert "unknown key 'linearity.extrapolate.0.fro'; did you mean 'from'?" in message


def test_a_name_that_is_taken_is_refused():
    data = changed("linearity", to=SECTION)
    data["experiments"]["linearity"] = data["experiments"]["table1"]
    assert "experiments.linearity: the name is that of the section" in error_of(data)


def test_a_preset_without_the_section_says_so():
    preset = plan.load(changed("seeds", to=[0]))
    assert plan.traced(preset) == []
    assert linearity_plan.figures(preset) == []
    with pytest.raises(ConfigError, match="preset 'small' has no key 'linearity'"):
        linearity_plan.need(preset)


# --- claims --------------------------------------------------------------------------------------

STRAIGHT = {"statement": "x", "measure": "linearity", "quantity": "weights", "threshold": 0.9}


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"quantity": "logits"}, "measure 'linearity' needs 'quantity': weights, tokens_start"),
        ({"experiment": "table1"}, "it takes no 'experiment' or 'against'"),
        ({"methods": ["gain"]}, "claims.x.methods: unknown name 'gain'"),
        ({"quantity": "tokens_last", "selection": "range"}, "selection 'range' is of quantity"),
        ({"measure": "extrapolation"}, "claims.x: linearity.extrapolate is empty"),
        (
            {"measure": "extrapolation", "selection": "range"},
            "'selection' belongs to measure 'linearity'",
        ),
    ],
)
def test_claims_on_traced_runs_that_cannot_be_decided_are_refused(claim, message):
    data = changed("linearity", to=SECTION)
    data["claims"] = {"x": {**STRAIGHT, **claim}}
    assert message in error_of(data)


def test_a_claim_on_traced_runs_needs_the_section():
    message = error_of(changed("claims", to={"x": STRAIGHT}))
    assert "claims.x: measure 'linearity' needs the key 'linearity'" in message
