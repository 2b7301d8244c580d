"""The training prompts that fit a model: chosen once, the same for every stage, counted."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from chat_models import ROWS, bytes_tokenizer, context_of, save

from gainrl import plan
from gainrl.data.prompts import encode
from gainrl.errors import ConfigError, DataError
from gainrl.plan import RunKey
from gainrl.records import PROMPTS, read_json, read_table
from gainrl.stages import data, difficulty, evaluate, features, orders, prepare, prompts, score
from gainrl.stages.common import Context
from gainrl.stages.runs import train
from gainrl.stages.tracking import initialise_tracking
from gainrl.stages.train_verl import VerlRun
from gainrl.study import measure
from gainrl.tables.make import make_table

PLACE = ("mine", "sums")
LEFT = ["sums/train/0003", "sums/train/0007"]
FIT = [f"sums/train/{row:04d}" for row in range(10) if row not in (3, 7)]
METHODS = {
    "grpo": {"curriculum": "uniform"},
    "gain": {"curriculum": "gain", "order": "angle"},
    "adarft": {"curriculum": "adarft", "difficulty": "measured"},
    "predicted": {"curriculum": "predicted"},
}


def rows(path: Path) -> str:
    """Ten prompts, two of them of more than 200 tokens and one of more than 256."""
    terms = {3: 45, 7: 80}
    texts = [f"{'1 + ' * terms.get(row, row % 3)}{row} = ?" for row in range(10)]
    lines = [json.dumps({"question": text, "answer": "7"}) + "\n" for text in texts]
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def changed(context: Context, **sections) -> Context:
    """The preset with other sections."""
    content = {**context.preset.model_dump(), **sections}
    return Context(plan.load(content), context.root)


def made(root: Path, **dataset) -> Context:
    """Everything before the choice: a model with a context of 256 tokens, which are bytes."""
    folder = save(root / "given", bytes_tokenizer(), ROWS)
    context = context_of(root, folder, train_file=rows(root / "train.jsonl"), **dataset)
    experiments = {"t": {"models": ["mine"], "datasets": ["sums"], "methods": list(METHODS)}}
    layers = {"prompts": 10, "maps": 1}
    study = {"models": ["mine"], "datasets": ["sums"], "layers": layers}
    sections = {"methods": METHODS, "experiments": experiments, "studies": study}
    context = changed(context, scoring={"difficulty_samples": 2}, **sections)
    initialise_tracking(context)
    data.prepare_data(context, "sums")
    prepare.build_model(context, "mine")
    return context


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    context = made(tmp_path_factory.mktemp("chosen"))
    prompts.choose_prompts(context, *PLACE)
    for measured in (score.score_prompts, difficulty.measure_difficulty, features.measure_features):
        measured(context, *PLACE)
    orders.make_order(context, *PLACE, "angle")
    measure.study_layers(context, *PLACE)
    evaluate.evaluate_start(context, "mine", "sums")
    return context


def test_prompts_that_are_too_long_are_left_out_and_counted(chosen):
    table = read_table(chosen.layout.prompts(*PLACE), PROMPTS)
    assert table["id"].tolist() == FIT
    whole = read_table(chosen.layout.split("sums", "train"), PROMPTS).set_index("id")
    pd.testing.assert_frame_equal(table.set_index("id"), whole.loc[FIT])
    note = read_json(chosen.layout.prompts_note(*PLACE))
    assert list(note["overlong"]) == LEFT
    assert all(length > note["limit"] == 200 for length in note["overlong"].values())
    assert note["longest"] == max(note["overlong"].values())
    assert (note["prompts"], note["kept"]) == (10, 8)
    assert note["reason"] == "training.max_prompt"


def test_every_stage_has_the_same_prompts(chosen):
    layout = chosen.layout
    tables = [layout.signal(*PLACE, name) for name in ("scores", "features", "difficulty")]
    tables += [layout.order(*PLACE, "angle"), layout.study(*PLACE, "layers")]
    for path in tables:
        assert set(pd.read_parquet(path)["id"]) == set(FIT), path
    job = VerlRun(chosen, RunKey(*PLACE, "gain", 0))._job(0)
    written = pd.read_parquet(layout.run(RunKey(*PLACE, "gain", 0)) / "verl" / "train.parquet")
    assert [row["id"] for row in written["extra_info"]] == FIT
    assert sorted(job["curriculum"]["order"]) == list(range(8))
    assert [len(lengths) for lengths in job["prompt_lengths"]] == [8]


def test_runs_say_how_many_and_which_and_so_does_the_table(chosen):
    keys = [RunKey(*PLACE, method, 0) for method in METHODS]
    train(chosen, keys)
    for key in keys:
        done = read_json(chosen.layout.done(key))
        assert done["overlong"] == {"prompts": 10, "limit": 200, "ids": LEFT}
    make_table(chosen, "t", chosen.root / "t.csv")
    text = (chosen.root / "t.md").read_text(encoding="utf-8")
    assert "Training prompts left out: 2 of 10 (mine on sums, over 200 tokens)." in text


def test_where_all_fit_the_table_is_a_copy(tmp_path):
    context = made(tmp_path, train=1)
    prompts.choose_prompts(context, *PLACE)
    source, target = context.layout.split("sums", "train"), context.layout.prompts(*PLACE)
    assert target.read_bytes() == source.read_bytes()
    assert read_json(context.layout.prompts_note(*PLACE))["overlong"] == {}


def test_the_models_context_is_a_limit_too(chosen):
    training = {**chosen.preset.training.model_dump(), "max_prompt": 400, "max_response": 40}
    context = changed(chosen, training=training)
    prompts.choose_prompts(context, *PLACE)
    note = read_json(context.layout.prompts_note(*PLACE))
    assert note["limit"] == 216
    assert note["reason"] == "the model's context of 256 less a response"
    prompts.choose_prompts(chosen, *PLACE)


def test_a_methods_templates_decide_for_all_methods(chosen):
    table = read_table(chosen.layout.prompts(*PLACE), PROMPTS)
    ids, questions = list(table["id"]), list(table["question"])
    lengths = encode(bytes_tokenizer(), ids, questions, system="Answer briefly.").lengths
    padded = "{question}" + "!" * (200 - lengths.min())
    shortest = table.loc[lengths == lengths.min(), "id"].tolist()
    assert 0 < len(shortest) < len(table)
    grpo = {"curriculum": "uniform", "training": {"templates": [padded]}}
    context = changed(chosen, methods={**METHODS, "grpo": grpo})
    assert plan.prompts_slice(context.preset, *PLACE) != plan.prompts_slice(chosen.preset, *PLACE)
    prompts.choose_prompts(context, *PLACE)
    assert read_table(chosen.layout.prompts(*PLACE), PROMPTS)["id"].tolist() == shortest
    prompts.choose_prompts(chosen, *PLACE)


def test_overlong_error_refuses_them(chosen):
    spec = {**chosen.preset.datasets["sums"].model_dump(), "overlong": "error"}
    with pytest.raises(DataError) as caught:
        prompts.choose_prompts(changed(chosen, datasets={"sums": spec}), *PLACE)
    message = str(caught.value)
    assert "2 of 10 prompts have more than 200 tokens (training.max_prompt)" in message
    assert "the longest, 'sums/train/0007', has " in message
    assert "datasets.sums.overlong: drop" in message


def test_where_none_is_left_the_data_set_is_refused(chosen):
    training = {**chosen.preset.training.model_dump(), "max_prompt": 20}
    with pytest.raises(DataError, match=r"10 of 10 prompts .* none is left for mine"):
        prompts.choose_prompts(changed(chosen, training=training), *PLACE)


def test_a_mix_goes_by_its_own_key_which_is_that_of_its_parts(chosen):
    spec = chosen.preset.datasets["sums"].model_dump()
    mix = {"source": "mix", "parts": ["sums", "more"], "system": spec["system"]}
    datasets = {"sums": spec, "more": spec, "both": mix}
    context = changed(chosen, datasets=datasets)
    data.prepare_data(context, "both")
    prompts.choose_prompts(context, "mine", "both")
    note = read_json(context.layout.prompts_note("mine", "both"))
    assert [name.split("/")[0] for name in note["overlong"]] == ["more"] * 2 + ["sums"] * 2
    datasets["more"] = {**spec, "overlong": "error"}
    with pytest.raises(ConfigError, match=r"both\.overlong: differs from that of its part 'more'"):
        changed(chosen, datasets=datasets)


def test_the_key_changes_no_prompt_table(chosen):
    spec = {**chosen.preset.datasets["sums"].model_dump(), "overlong": "error"}
    other = changed(chosen, datasets={"sums": spec}).preset
    assert plan.dataset_slice(other, "sums") == plan.dataset_slice(chosen.preset, "sums")
    assert plan.prompts_slice(other, *PLACE) != plan.prompts_slice(chosen.preset, *PLACE)
