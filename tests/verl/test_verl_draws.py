"""Several draws, any group sizes, D3S, templates and a format reward on verl, as the local trainer.

One run, with the options of `training`, whose steps are of one curriculum each (probe.py). What
verl's responses were is given to the local trainer, which has to ask for the same rows and to
admit, mask and learn the same.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import place as places
import pytest
import torch
from replay import curriculum_steps, replayed, replays

from gainrl.config.evaluation import Evaluation, Sandbox
from gainrl.data.prompts import encode
from gainrl.evaluation.accuracy import answer
from gainrl.evaluation.samples import Benchmark
from gainrl.grading.graders import find
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.records import read_json, read_lines
from gainrl.training.steps import outcome_of

pytestmark = [pytest.mark.verl, pytest.mark.timeout(1800)]
RELAY: list[Any] = [
    "dapo",
    {"name": "adcl", "chunks": 8, "rollouts": 2},
    "adaptive_uniform",
    {"name": "oracle", "pool": 2, "samples": 3},
    "predicted",
    {"sampler": "uniform", "filter": {"name": "mixed", "limit": 3}, "rollouts": "uneven:Uneven"},
    "uniform",
]
OPTIONS = {
    "downsample": {"rollouts": [0.6, 0.4], "tokens": [0.7, 0.5]},
    "templates": ["{question}", "Work step by step . {question}", "{question} ? ?"],
    "format_weight": 0.25,
}


@pytest.fixture(scope="module")
def place(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("draws")
    content = places.preset(folder, steps=len(RELAY), save_every=20)
    content["seeds"] = [0]
    content["methods"] = {
        "relay": {"curriculum": "predicted", "difficulty": "measured", "training": OPTIONS},
        "lost": {"curriculum": "uniform"},
    }
    content["evaluation"]["every"] = 20
    content["overrides"] = {
        "chain": {"evaluation": {"samples": 2, "temperature": 0.0, "max_response": 9}}
    }
    content["experiments"]["table1"] |= {
        "methods": list(content["methods"]), "baseline": "relay",
        "benchmarks": ["sevens", "chain"],
    }  # fmt: skip
    content["verl"]["variables"] |= {"GAINRL_KEEP": "1"}
    place = places.Place.like(prepared, folder, content)
    place.here("features", "--model", "nano", "--dataset", "sevens")
    place.here("evaluate", "--model", "nano", "--benchmark", "chain")
    return place


@pytest.fixture(scope="module")
def relayed(place):
    """The run of all curricula, a step each, with D3S, templates and a format reward."""
    content = json.loads(json.dumps(place.content))
    probe = {"GAINRL_RELAY": json.dumps(RELAY), "GAINRL_PROBE": str(place.folder / "relay")}
    content["verl"]["variables"] |= probe
    one = places.Place(place.folder, content)
    one.gainrl(*one.train("relay"))
    return one


def same_step(step, recorded):
    """What verl did in a step is what the local `gather` does with the same answers."""
    found, requests = step
    assert requests == recorded.requests
    assert found.rows.tolist() == recorded.batch["all"]["rows"]
    assert found.sizes.tolist() == recorded.batch["all"]["sizes"]
    assert found.kept.tolist() == recorded.batch["all"]["kept"]
    assert [found.estimated, found.free] == recorded.batch["all"]["tokens"]
    trained = found.trained
    ours = trained.rows.repeat(trained.sizes).tolist()
    assert ours == recorded.batch["rows"]
    theirs = torch.stack([row[0] for row in recorded.batch["advantages"]])
    torch.testing.assert_close(trained.advantages, theirs, atol=1e-5, rtol=0)
    signal = np.zeros(len(trained.rows))
    outcome = outcome_of(found, trained, signal)
    for name in ("rows", "rollouts", "tokens", "mixed"):
        assert getattr(outcome, name).tolist() == recorded.observed[name], name
    np.testing.assert_allclose(outcome.accuracy, recorded.observed["accuracy"], atol=1e-6)
    np.testing.assert_allclose(outcome.advantage, recorded.observed["advantage"], atol=1e-5)


@pytest.mark.parametrize("number", range(len(RELAY)))
def test_a_curriculum_gets_the_rows_and_groups_of_the_local_trainer(relayed, number):
    recorded = replays(relayed, "relay")[number]
    (step,) = curriculum_steps(relayed, RELAY[number], [recorded])
    same_step(step, recorded)
    learned = [bool(mask.any()) for mask in recorded.batch["response_mask"]]
    groups = np.split(np.array(learned), np.cumsum(step[0].trained.sizes)[:-1])
    expected = np.zeros(len(recorded.observed["rows"]), dtype=bool)
    expected[recorded.batch["all"]["kept"]] = [group.any() for group in groups]
    assert recorded.observed["trained"] == expected.tolist()
    row = read_lines(relayed.run("relay") / "steps.jsonl")[number]
    everything = sum(map(len, recorded.batch["all"]["responses"]))
    assert row["rollout_tokens"] == everything + recorded.batch["all"]["tokens"][0]


def test_the_relay_had_every_kind_of_request(relayed):
    recorded = replays(relayed, "relay")
    purposes = {purpose for one in recorded for _, _, purpose in one.requests}
    assert purposes == {"group", "estimate", "free"}
    assert max(len(one.requests) for one in recorded) > 1
    sizes = recorded[5].batch["all"]["sizes"]
    assert 1 in sizes
    assert 5 in sizes
    several = [
        one for one in recorded if len(one.batch["all"]["rows"]) > len(one.batch["all"]["kept"])
    ]
    assert several  # groups that were drawn and not admitted


def test_masks_losses_and_records_are_the_local_trainers(relayed):
    recorded = replays(relayed, "relay")[0]
    record, trainer = replayed(relayed, "relay", recorded=recorded, spec=RELAY[0])
    first = read_lines(relayed.run("relay") / "steps.jsonl")[0]
    for key in ("loss", "entropy", "grad_norm", "signal", "response_length", "accuracy", "reward"):
        assert record[key] == pytest.approx(first[key], abs=1e-5, rel=1e-4), key
    for key in ("kept_rollouts", "kept_tokens", "trained_rollout_tokens", "rollout_tokens"):
        assert record[key] == first[key], key
    for key in ("prompt_tokens", "trained_prompt_tokens", "trained_groups", "groups", "format"):
        assert record[key] == first[key], key
    prompts = trainer.prompts.tokens
    for row, tokens in zip(recorded.batch["rows"], recorded.batch["prompts"], strict=True):
        assert prompts[row] == tokens.tolist()
    mask = trainer.masked.mask
    scores = trainer.masked.advantages.abs()[:, None] * trainer.masked.old.entropy
    last = scores[mask].min()
    for k, (response, loss) in enumerate(
        zip(recorded.batch["response_mask"], recorded.batch["loss_mask"], strict=True)
    ):
        other = response.bool() != mask[k, : len(response)]
        # verl's scores are its own, to rounding: one as high as the last kept may change its side.
        torch.testing.assert_close(
            scores[k, : len(response)][other], last.expand(int(other.sum())), atol=1e-5, rtol=1e-4
        )
        assert torch.equal(response, loss)
    assert sum(int(one.sum()) for one in recorded.batch["response_mask"]) == int(mask.sum())
    assert 0 < first["kept_tokens"] < 0.6


def test_every_template_is_used_and_the_bonus_is_no_accuracy(relayed):
    recorded = replays(relayed, "relay")
    rewards = torch.cat([one.batch["all"]["rewards"] for one in recorded])
    correct = torch.cat([one.batch["all"]["correct"] for one in recorded])
    bonus = rewards - correct
    assert set(bonus.tolist()) == {0.0, 0.25}
    lengths = {len(tokens) for one in recorded for tokens in one.batch["prompts"]}
    assert len(lengths) > 2


def test_the_start_is_tested_by_vllm_whose_greedy_answers_are_the_models(place):
    folder = place.home / "evals" / "nano"
    assert (folder / "chain.vllm.log").exists()
    assert read_json(folder / "sevens.json")["samples"] == 4
    found = pd.read_parquet(folder / "chain.parquet").sort_values(["id", "sample"])
    table = pd.read_parquet(place.home / "data/chain/eval.parquet")
    model, tokenizer = (
        load_model(place.home / "models/nano"),
        load_tokenizer(folder.parents[1] / "models/nano"),
    )
    prompts = encode(tokenizer, list(table["id"]), list(table["question"]), segments=False)
    grader = find("maths", Sandbox())
    benchmark = Benchmark("chain", prompts, list(table["answer"]), grader)
    greedy = Evaluation(samples=2, temperature=0.0)
    ours = answer(model, tokenizer, benchmark, greedy, 9).sort_values(["id", "sample"])
    same = found["response"].to_numpy() == ours["response"].to_numpy()
    assert same.mean() > 0.9


def test_a_benchmark_has_settings_of_its_own(relayed):
    folder = relayed.run("relay")
    tests = [row for row in read_lines(folder / "eval.jsonl") if row["step"]]
    assert {row["benchmark"]: row["samples"] for row in tests} == {"sevens": 4, "chain": 2}
    done = read_json(folder / "done.json")
    for name, longest in (("sevens", 24), ("chain", 9)):
        answers = pd.read_parquet(folder / "samples" / f"{name}.parquet")
        assert answers["tokens"].max() <= longest
        assert answers["correct"].mean() == pytest.approx(done["final"][name])
    one, other = answers[answers["sample"] == 0], answers[answers["sample"] == 1]
    assert one["response"].tolist() == other["response"].tolist()  # greedy
    assert answers["tokens"].max() == 9


@pytest.mark.slow
def test_a_run_whose_answers_are_lost_stops_and_says_why(place):
    content = json.loads(json.dumps(place.content))
    content["verl"]["variables"] |= {"GAINRL_LOSE": "1", "GAINRL_PROBE": str(place.folder / "lost")}
    one = places.Place(place.folder, content)
    with one.start(*one.train("lost")) as process:
        output = process.communicate(timeout=600)[0]
    assert process.returncode != 0
    said = "8 of the step's 8 prompts have no response, which is more than 1%"
    assert said in output.splitlines()[-1]
    assert "no grader here" in (one.run("lost") / "verl.log").read_text()
    assert not (one.run("lost") / "steps.jsonl").exists()
