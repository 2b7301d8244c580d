"""Features of the prefill: mean states, their components, the stage, and how a run gets them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from presets import BASE, changed, error_of
from signal_places import KEYS, context_of, signals
from trainers import network

from gainrl import plan
from gainrl.curricula import build
from gainrl.curricula.predicted import KINDS, STATE
from gainrl.errors import DataError
from gainrl.plan import Layout, RunKey
from gainrl.plan.inputs import FEATURE_TABLES
from gainrl.records import FEATURES, PROMPTS, SCORES, read_metadata, read_table, write_table
from gainrl.signals.pooled import mean_states, principal_components
from gainrl.stages import features, prepare
from gainrl.stages.common import Context
from gainrl.stages.data import prepare_data
from gainrl.stages.prompts import choose_prompts
from gainrl.stages.runs import TrainingRun
from gainrl.stages.tracking import initialise_tracking
from gainrl.stages.training_data import TrainingData, input_digests, training_data

COMPONENTS = [name for name in FEATURES.required if name != "id"]

# --- mean states ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_tokens", [1, 40, 10_000])
def test_mean_states_are_those_of_whole_prompts(tokenizer, prompts, batch_tokens):
    model = network(tokenizer)
    found = mean_states(model, prompts, batch_tokens)
    start = prompts.n_prefix
    assert start > 0
    for row, (tokens, size) in enumerate(zip(prompts.tokens, prompts.n_question, strict=True)):
        with torch.inference_mode():
            output = model.get_decoder()(input_ids=torch.tensor([tokens]))
        states = output.last_hidden_state[0, start : start + size].double().numpy()
        assert found[row] == pytest.approx(states.mean(0), abs=1e-5)


# --- principal components ------------------------------------------------------------------------


def test_components_are_as_in_a_hand_worked_example():
    """Points at +-2 and +-4 along (3, -4) / 5 and +-1 across it: variances 40 and 4 of 44."""
    along, across = np.array([3.0, -4.0]) / 5, np.array([4.0, 3.0]) / 5
    offsets = [(-2, 1), (2, 1), (-4, -1), (4, -1)]
    values = np.array([7 + a * along + b * across for a, b in offsets])
    found, shares = principal_components(values, 3)
    assert found[:, 0] == pytest.approx([2, -2, 4, -4])  # the sign is that of -4 / 5, turned round
    assert found[:, 1] == pytest.approx([1, 1, -1, -1])
    assert found[:, 2].tolist() == [0, 0, 0, 0]  # there is no third direction
    assert shares == pytest.approx([40 / 44, 4 / 44, 0])


@pytest.mark.parametrize(("rows", "width"), [(200, 30), (20, 64), (5, 64)])
def test_components_are_those_of_the_covariance(rows, width):
    values = np.random.default_rng(rows).normal(size=(rows, width)) * np.linspace(1, 3, width)
    found, shares = principal_components(values, 16)
    spread = np.linalg.eigvalsh(np.cov(values.T, bias=True))[::-1][:16]
    assert found.var(0) == pytest.approx(spread, abs=1e-9)
    assert shares == pytest.approx(spread / values.var(0).sum(), abs=1e-9)
    some = min(rows - 1, 16)
    assert np.corrcoef(found[:, :some].T) == pytest.approx(np.eye(some), abs=1e-9)
    assert not found[:, some:].any()  # and not what rounding left


def test_components_do_not_depend_on_the_order_of_the_prompts():
    rng = np.random.default_rng(0)
    values, shuffled = rng.normal(size=(50, 20)), rng.permutation(50)
    whole, again = (principal_components(v, 4)[0] for v in (values, values[shuffled]))
    assert again == pytest.approx(whole[shuffled], abs=1e-9)


def test_equal_states_have_no_components():
    found, shares = principal_components(np.ones((4, 3)), 2)
    assert not found.any()
    assert not shares.any()


# --- the stage -----------------------------------------------------------------------------------


def test_the_stage_writes_a_table_of_every_prompt_twice_the_same(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    context, target = context_of(tmp_path), signals(tmp_path) / "features.parquet"
    initialise_tracking(context)
    prepare_data(context, "chain")
    prepare.build_model(context, "nano")
    choose_prompts(context, *KEYS)
    features.measure_features(context, *KEYS)
    frame, about = read_table(target, FEATURES), read_metadata(target)
    ids = read_table(context.layout.split("chain", "train"), PROMPTS)["id"]
    assert frame["id"].tolist() == ids.tolist()
    assert list(frame.columns) == ["id", *COMPONENTS]
    assert np.isfinite(frame[COMPONENTS].to_numpy()).all()
    assert (np.diff(frame[COMPONENTS].var()) < 0).all()
    assert 0.5 < sum(about["variance"]) <= 1 + 1e-12
    assert about["seconds"] > 0
    features.measure_features(context, *KEYS)
    assert read_table(target, FEATURES).equals(frame)


RUN = RunKey("nano", "chain", "learnt", 0)

# --- what a preset needs -------------------------------------------------------------------------


def preset(**curriculum):
    """The base preset with a method that learns from features."""
    method = {"curriculum": {"name": "predicted", **curriculum}}
    return changed("methods", "learnt", to=method)


@pytest.mark.parametrize(
    ("choice", "tables", "timed"),
    [
        ("none", [], []),
        ("length", ["scores"], []),
        ("length_c", ["scores"], ["scores"]),
        ("all", ["scores", "features"], ["scores", "features"]),
    ],
)
def test_a_method_needs_the_tables_of_its_features(choice, tables, timed):
    layout = Layout("small")
    found = plan.inputs_of(plan.load(preset(features=choice)), layout, RUN)
    folder = layout.signals("nano", "chain")
    assert found.walked == [folder / f"{name}.parquet" for name in tables]
    assert list(found.features) == list(found.measured) == tables
    assert list(found.costly.values()) == [folder / f"{name}.parquet" for name in timed]


def test_other_methods_need_none():
    base, layout = plan.load(BASE), Layout("small")
    runs = [RunKey("nano", "chain", method, 0) for method in base.methods]
    assert [plan.inputs_of(base, layout, run).features for run in runs] == [{}] * 3


def test_every_kind_of_feature_has_its_table_and_components_their_name():
    assert {kind for kinds in KINDS.values() for kind in kinds} == set(FEATURE_TABLES)
    assert all(name.startswith(STATE) for name in COMPONENTS)
    assert sorted(COMPONENTS) == COMPONENTS
    assert len(COMPONENTS) == 16


def test_a_wrong_choice_of_features_is_named():
    found = error_of(preset(features="angles"))
    assert "methods.learnt.curriculum: curriculum 'predicted': 'features' is 'angles'" in found


def test_only_the_features_rerun_the_components():
    before = plan.features_slice(plan.load(BASE), "nano", "chain")
    for path, value, same in (
        (("scoring",), {"inter_weight": 4}, True),
        (("training", "lr"), 0.1, True),
        (("scoring",), {"dtype": "float32"}, False),
        (("training", "max_prompt"), 99, False),
    ):
        after = plan.features_slice(plan.load(changed(*path, to=value)), "nano", "chain")
        assert (after == before) == same


# --- what a run gets -----------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path):
    """A context for some features, with tables whose rows are in another order than the prompts."""

    def make(choice, **changes):
        context = Context(plan.load(preset(features=choice)), tmp_path)
        prepare_data(context, "chain")
        folder = context.layout.signals("nano", "chain")
        table = read_table(context.layout.split("chain", "train"), PROMPTS)
        write_table(context.layout.prompts("nano", "chain"), table, PROMPTS)
        ids = table["id"].tolist()
        size = np.arange(len(ids))
        scores = {"id": ids, "n_prefix": 3, "n_question": 5 + size, "c_intra": 0.5 + size / 100}
        scores |= {"c_inter": -size / 100, **changes}
        table = pd.DataFrame(scores).iloc[::-1]
        write_table(folder / "scores.parquet", table, SCORES)
        states = {name: size * (k + 1.0) for k, name in enumerate(COMPONENTS)}
        write_table(folder / "features.parquet", pd.DataFrame({"id": ids, **states}), FEATURES)
        return context, folder

    return make


def test_features_are_those_of_the_training_tables_rows(place):
    found = training_data(place("all")[0], RUN).features
    assert list(found) == ["tokens", "c_intra", "c_inter", *COMPONENTS]
    assert found["tokens"].tolist() == list(range(5, 37))
    assert found["c_inter"].tolist() == [-row / 100 for row in range(32)]
    assert found["state15"].tolist() == [16.0 * row for row in range(32)]
    assert list(training_data(place("length")[0], RUN).features) == ["tokens", "c_intra", "c_inter"]
    assert training_data(place("none")[0], RUN).features is None


def test_a_selection_keeps_the_features_of_its_prompts():
    table = pd.DataFrame({"id": list("abcd")})
    whole = TrainingData(table, np.array([3, 1, 0, 2]), None, features={"tokens": np.arange(4.0)})
    part = whole.part(np.array([0, 2]))
    assert part.table["id"].tolist() == ["a", "d"]
    assert part.features["tokens"].tolist() == [0.0, 3.0]


def test_what_a_run_depends_on_are_the_features_that_it_reads(place):
    first = input_digests(place("length_c")[0], RUN)
    assert list(first) == ["features"]
    assert input_digests(place("length_c")[0], RUN) == first
    assert input_digests(place("length_c", c_inter=0.0)[0], RUN) != first
    assert input_digests(place("all")[0], RUN) != first
    assert input_digests(place("none")[0], RUN) == {}


def test_a_missing_table_is_named(place):
    context, folder = place("all")
    (folder / "features.parquet").unlink()
    with pytest.raises(DataError, match=r"features\.parquet: no such feature table"):
        training_data(context, RUN)
    frame = read_table(folder / "scores.parquet", SCORES)
    write_table(folder / "scores.parquet", frame.iloc[1:], SCORES)
    with pytest.raises(DataError, match=r"scores\.parquet: not of this training table"):
        training_data(context, RUN)


def test_the_curriculum_of_a_run_gets_its_features_and_rollouts(place, monkeypatch):
    monkeypatch.setattr(TrainingRun, "_inputs", lambda _: {})  # no model is there to hash
    context, _ = place("length_c")
    setting = TrainingRun(context, RUN).setting()
    assert (setting.batch, setting.rollouts) == (8, 4)
    policy = build(context.preset.methods["learnt"].curriculum.model_dump(), setting)
    assert policy.sampler.names == ["intercept", "tokens", "c_intra", "c_inter"]
    assert policy.allocation.prompts() == 5  # 8 * 4 rollouts are 4 * n * 1.5
