"""Prompts that are not trained on by RL, and too long: left out and counted, as the others are."""

from __future__ import annotations

import pytest
from traced_runs import STRAIGHT, context_of, key_of, lay_out

from gainrl import plan
from gainrl.errors import DataError
from gainrl.linearity.trace import trace_run
from gainrl.records import PROMPTS, read_json, read_table, write_table
from gainrl.stages import prepare
from gainrl.stages.common import Context
from gainrl.stages.data import prepare_data
from gainrl.stages.tracking import initialise_tracking

pytestmark = pytest.mark.usefixtures("one_thread")


def warmed(root, overlong="drop", every=False) -> Context:
    """A model with room for 96 tokens, and worked solutions; questions of some are longer."""
    phase = {"datasets": ["chain"], "solutions": "clean", "steps": 2, "batch": 2, "lr": 1e-3}
    nano = {"source": "nano", "hidden": 16, "layers": 1, "heads": 2, "feed_forward": 32}
    preset = {
        "preset": "warm",
        "seeds": [0],
        "models": {"nano": {**nano, "context": 96, "warmup": {"phases": [phase]}}},
        "datasets": {
            "chain": {
                "source": "generate", "task": "chain", "train": 4, "eval": 4, "warmup": 8,
                "levels": [1], "overlong": overlong,
            }
        },
        "training": {"max_prompt": 48, "max_response": 8},
    }  # fmt: skip
    context = Context(plan.load(preset), root)
    initialise_tracking(context)
    prepare_data(context, "chain")
    path = context.layout.split("chain", "warmup")
    table = read_table(path, PROMPTS)
    chosen = table.index if every else table.index.isin([3, 5])
    table.loc[chosen, "question"] = "1 + " * 60 + "1 = ?"
    write_table(path, table, PROMPTS)
    return context


def test_worked_solutions_whose_prompts_are_too_long_are_left_out_and_counted(tmp_path, capsys):
    context = warmed(tmp_path)
    ids = read_table(context.layout.split("chain", "warmup"), PROMPTS)["id"]
    prepare.build_model(context, "nano")
    note = read_json(context.layout.model_note("nano"))["overlong"]["chain"]
    assert list(note["overlong"]) == [ids[3], ids[5]]
    assert (note["prompts"], note["kept"], note["limit"]) == (8, 6, 96)
    assert note["reason"] == "the model's context of 96"
    assert "left out 2 of 8 prompts have more than 96 tokens" in capsys.readouterr().out


def test_a_warm_up_of_prompts_that_all_fit_says_nothing(tmp_path):
    context = warmed(tmp_path)
    path = context.layout.split("chain", "warmup")
    write_table(path, read_table(path, PROMPTS).drop([3, 5]), PROMPTS)
    prepare.build_model(context, "nano")
    assert "overlong" not in read_json(context.layout.model_note("nano"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"overlong": "error"}, r"warmup.parquet: 2 of 8 prompts .* datasets.chain.overlong: drop"),
        ({"every": True}, r"warmup.parquet: 8 of 8 prompts .* none is left for nano"),
    ],
)
def test_a_warm_up_is_refused_where_the_preset_says_so_or_nothing_is_left(tmp_path, given, message):
    context = warmed(tmp_path, **given)
    with pytest.raises(DataError, match=message):
        prepare.build_model(context, "nano")
    assert not context.layout.model("nano").exists()


def test_a_trace_takes_the_first_held_out_prompts_that_fit(tmp_path):
    context = context_of(tmp_path, prompts=3, extrapolate=[])
    lay_out(context, 0, STRAIGHT)
    path = context.layout.split("chain", "eval")
    table = read_table(path, PROMPTS)
    table.loc[1, "question"] = "1 + " * 80 + "1 = ?"
    write_table(path, table, PROMPTS)
    trace_run(context, key_of(0))
    facts = read_json(context.layout.extrapolated(key_of(0)))
    assert list(facts["overlong"]["overlong"]) == [table["id"][1]]
    assert (facts["overlong"]["prompts"], facts["overlong"]["kept"]) == (16, 15)
    assert facts["overlong"]["limit"] == 128

    write_table(path, table.drop([1]), PROMPTS)
    trace_run(context, key_of(0))
    again = read_json(context.layout.extrapolated(key_of(0)))
    assert again["tokens"] == facts["tokens"]
    assert "overlong" not in again
