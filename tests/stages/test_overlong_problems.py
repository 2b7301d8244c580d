"""Problems that are longer than a model can take: never lost, never asked, always counted."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from chat_models import ROWS, bytes_tokenizer, context_of, save

from gainrl.data.prompts import Prompts
from gainrl.errors import DataError
from gainrl.evaluation.accuracy import answer, summary
from gainrl.evaluation.samples import OVERLONG, Benchmark
from gainrl.grading.graders import Grade
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.plan import RunKey
from gainrl.plan.benchmarks import parse
from gainrl.records import SAMPLES, read_json, read_lines, read_table
from gainrl.stages import benchmark, data, evaluate, prepare, prompts
from gainrl.stages.common import Context
from gainrl.stages.runs import train
from gainrl.stages.tracking import initialise_tracking
from gainrl.stages.train_verl import VerlRun

LONG, LONGER = "sums/eval/0001", "sums/eval/0003"
QUESTIONS = ["2 + 3 = ?", f"{'1 + ' * 47}1 = ?", "4 + 4 = ?", f"{'1 + ' * 70}1 = ?"]
"""With the template's 40 bytes or so, the second has over 200 tokens and the last over 256."""


def rows(path: Path, questions: list[str]) -> str:
    text = "".join(json.dumps({"question": each, "answer": "7"}) + "\n" for each in questions)
    path.write_text(text, encoding="utf-8")
    return str(path)


def made(root: Path, **keys) -> Context:
    """A tiny Llama with a context of 256 tokens and responses of 6; tokens are bytes."""
    folder = save(root / "given", bytes_tokenizer(), ROWS)
    asked = rows(root / "eval.jsonl", QUESTIONS)
    context = context_of(root, folder, eval_file=asked, **keys)
    initialise_tracking(context)
    data.prepare_data(context, "sums")
    prepare.build_model(context, "mine")
    return context


class Kind:
    """Finds every answer right."""

    version = "kind"

    def __call__(self, responses, golds):
        return [Grade(True, "7", "right", "end") for _ in responses]


@pytest.mark.usefixtures("one_thread")
def test_a_problem_that_does_not_fit_is_wrong_and_not_lost(tmp_path):
    folder = save(tmp_path, bytes_tokenizer(), ROWS)
    network, tokenizer = load_model(folder), load_tokenizer(folder)
    tokens = [[5] * length for length in (9, 41, 40, 300)]
    four = Benchmark("b", Prompts(list("abcd"), tokens, 0, 0), ["7"] * 4, Kind(), limit=40)
    context = type("Settings", (), {"samples": 2, "temperature": 1.0, "top_p": 1.0})
    context.batch, context.seed = 4, 1
    found = answer(network, tokenizer, four, context, 5)
    assert found["id"].tolist() == list("aabbccdd")
    assert found["correct"].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
    assert (found["reason"] == OVERLONG).tolist() == [False, False, True, True] * 2
    row = summary(found, "b", 3)
    assert row["accuracy"] == 0.5
    assert row["problems"] == 4
    assert row["overlong"] == ["b", "d"]
    assert row["response_length"] == found.loc[found["reason"] != OVERLONG, "tokens"].mean()


def test_where_no_problem_fits_the_test_is_refused():
    none = Benchmark("b", Prompts(["a"], [[5] * 9], 0, 0), ["7"], Kind(), limit=8)
    with pytest.raises(DataError, match="every problem has more than 8 tokens"):
        _ = none.asked


def test_before_and_in_training_the_response_leaves_the_limit(tmp_path):
    context = made(tmp_path)
    evaluate.evaluate_start(context, "mine", "sums")
    start = context.layout.start("mine", "sums")
    assert read_json(start)["overlong"] == [LONGER]  # LONG is beyond training.max_prompt alone
    assert read_json(start)["problems"] == 4
    prompts.choose_prompts(context, "mine", "sums")
    key = RunKey("mine", "sums", "grpo", 0)
    train(context, [key])
    folder = context.layout.run(key)
    assert [row["overlong"] for row in read_lines(folder / "eval.jsonl")] == [[LONGER]] * 2
    last = read_table(folder / "samples" / "sums.parquet", SAMPLES).set_index("id")
    assert last.loc[LONGER, "reason"] == OVERLONG
    assert last.loc[LONG, "reason"] != OVERLONG


def test_the_preset_may_set_the_limit(tmp_path):
    context = made(tmp_path)
    asked = {**context.preset.model_dump(), "evaluation": {"every": 1, "max_prompt": 200}}
    preset = type(context.preset).model_validate(asked)
    evaluate.evaluate_start(Context(preset, context.root), "mine", "sums")
    assert read_json(context.layout.start("mine", "sums"))["overlong"] == [LONG, LONGER]


@pytest.mark.usefixtures("one_thread")
def test_a_protocol_asks_what_the_context_leaves_room_for(tmp_path):
    questions = ["2 + 3 = ?", f"{'1 + ' * 52}1 = ?", f"{'1 + ' * 70}1 = ?"]
    context = made(tmp_path)
    rows(tmp_path / "eval.jsonl", questions)
    limits = {"eval": 3}
    changed = context.preset.model_dump()
    changed["datasets"]["sums"] |= limits
    changed["protocols"] = {"long": {"max_response": 40, "samples": 1}}
    context = Context(type(context.preset).model_validate(changed), context.root)
    data.prepare_data(context, "sums")
    test = parse(context.preset, "evals/mine", "sums", "long", "transformers")
    benchmark.generate(context, test)
    benchmark.collect(context, test)
    score = read_json(test.score(context.layout))
    found = read_table(test.samples(context.layout), SAMPLES).set_index("id")
    assert score["overlong"] == ["sums/eval/0002"]
    assert score["problems"] == len(found) == 3
    assert score["sampling"]["max_tokens"] == 40  # one long problem does not shorten the others
    work = benchmark.prepare(context, test)
    (short,), (near,) = work.requests(0), work.requests(1)
    assert short.limit(work.sampling) == 40
    assert len(near.tokens) + near.limit(work.sampling) == 256
    assert near.limit(work.sampling) < 40
    assert found.loc["sums/eval/0001", "tokens"] <= near.limit(work.sampling)


def test_verl_gets_the_problems_that_fit_and_a_limit_that_cuts_none(tmp_path):
    context = made(tmp_path)
    evaluate.evaluate_start(context, "mine", "sums")
    prompts.choose_prompts(context, "mine", "sums")
    run = VerlRun(context, RunKey("mine", "sums", "grpo", 0))
    job = run._job(0)
    assert job["overlong"] == {"sums": [LONGER]}
    (path,) = (run.folder / "verl").glob("eval-*.parquet")
    written = pd.read_parquet(path)
    assert [row[-1]["content"] for row in written["prompt"]] == QUESTIONS[:3]
    limit = next(each for each in job["overrides"] if each.startswith("data.max_prompt_length="))
    assert int(limit.partition("=")[2]) > context.preset.training.max_prompt
