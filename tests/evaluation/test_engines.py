"""The transformers engine: an answer depends on its own request and on nothing else."""

from __future__ import annotations

import pytest
import torch

from gainrl.config.models import Nano
from gainrl.evaluation.engines import AnswerRequest, TransformersEngine
from gainrl.models.nano import build_model, build_tokenizer
from gainrl.models.sampling import Sampling, choose

pytestmark = pytest.mark.usefixtures("one_thread")
GREEDY, WARM = Sampling(0.0, 1.0, 12), Sampling(1.0, 0.9, 12)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    spec = Nano(source="nano", hidden=32, layers=2, heads=2, feed_forward=64)
    network = build_model(spec, len(tokenizer)).eval()
    # so that a random model's answers end at different lengths
    network.generation_config.eos_token_id = [1, *range(60, 80)]
    return network


@pytest.fixture(scope="module")
def requests(tokenizer):
    questions = ["2 + 3 = ?", "17 + 5 - 9 = ?", "4 + 4 + 4 + 4 = ?", "9 - 1 = ?", "5 + 5 = ?"]
    return [
        AnswerRequest(row, f"chain/eval/{row}", tokenizer(question)["input_ids"], sample)
        for row, question in enumerate(questions)
        for sample in range(3)
    ]


def answers(model, tokenizer, requests, sampling=WARM, seed=7, batch=64):
    engine = TransformersEngine(model, tokenizer, batch)
    batches = engine.answers(requests, sampling, seed)
    return {(a.row, a.sample): a for answers in batches for a in answers}


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
@pytest.mark.parametrize("batch", [1, 2, 4, 7])
def test_answers_do_not_depend_on_the_batch(model, tokenizer, requests, batch, sampling):
    whole = answers(model, tokenizer, requests, sampling)
    assert answers(model, tokenizer, requests, sampling, batch=batch) == whole
    assert set(whole) == {(each.row, each.sample) for each in requests}


def test_what_is_missing_is_answered_as_if_nothing_had_been_there(model, tokenizer, requests):
    whole = answers(model, tokenizer, requests)
    left = [each for each in requests if (each.row + each.sample) % 3]
    rest = answers(model, tokenizer, left, batch=4)
    assert rest == {key: whole[key] for key in rest}
    assert len(rest) == len(left)


def test_samples_differ_by_seed_problem_and_sample(model, tokenizer, requests):
    whole = answers(model, tokenizer, requests)
    assert answers(model, tokenizer, requests, seed=8) != whole
    assert len({tuple(answer.tokens) for answer in whole.values()}) > 10
    again = [AnswerRequest(each.row, "other", each.tokens, each.sample) for each in requests]
    assert answers(model, tokenizer, again) != whole


def test_an_answer_says_whether_it_ended(model, tokenizer, requests):
    found = answers(model, tokenizer, requests)
    ends = TransformersEngine(model, tokenizer, 1).ends
    assert {answer.ended for answer in found.values()} == {True, False}
    for answer in found.values():
        assert answer.ended == (answer.tokens[-1] in ends)
        assert len(answer.tokens) == 12 or answer.ended


# --- drawing by numbers --------------------------------------------------------------------------


def test_a_number_in_the_unit_interval_picks_by_probability():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]])).expand(1000, 3)
    draws = torch.arange(1000) / 1000
    chosen = choose(logits, Sampling(1.0, 1.0, 1), draws)
    assert torch.bincount(chosen, minlength=3).tolist() == pytest.approx([500, 300, 200], abs=1)


def test_a_token_without_probability_is_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(3, 5)
    draws = torch.tensor([0.0, 0.5, 1 - 1e-9], dtype=torch.float64)
    assert choose(logits, Sampling(1.0, 1.0, 1), draws).tolist() == [1, 3, 3]


def test_top_p_and_temperature_hold_for_numbers_too():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]])).expand(200, 3)
    draws = torch.arange(200) / 200
    assert set(choose(logits, Sampling(1.0, 0.6, 1), draws).tolist()) == {0, 1}
    assert set(choose(logits, Sampling(0.0, 1.0, 1), draws).tolist()) == {0}
