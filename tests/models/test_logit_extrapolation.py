"""Logits of two models as one: sampling, teacher forcing and divergence, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gainrl.config.models import Nano
from gainrl.errors import ModelError
from gainrl.models.extrapolated import Extrapolated, extrapolated_weights
from gainrl.models.nano import build_model
from gainrl.models.sampling import Sampling, generate
from gainrl.training.forced import divergences, forced_log_probabilities, packed_responses
from gainrl.training.packing import target_logits

PAD, VOCABULARY = 0, 60
ENDS = frozenset({1, *range(40, 50)})  # so that answers of random models differ in length
PROMPTS = [[2, 3], [2, 30, 31, 32, 33, 34, 35], [5], [6, 9, 8, 7, 6]]
SAMPLING = Sampling(0.9, 0.95, 16)

pytestmark = pytest.mark.usefixtures("one_thread")


def network(seed, vocabulary=VOCABULARY):
    spec = Nano(source="nano", hidden=32, layers=2, heads=2, feed_forward=64)
    model = build_model(spec, vocabulary).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.25)
    return model


@pytest.fixture(scope="module")
def first():
    return network(1)


@pytest.fixture(scope="module")
def second():
    return network(2)


def sample(model, sampling=SAMPLING, draws=None, samples=3):
    given = torch.Generator().manual_seed(7) if draws is None else draws
    return generate(model, PROMPTS, samples, sampling, given, ends=ENDS, pad=PAD)


def logits_of(model, tokens):
    """(L, V) logits of one sequence alone, without a cache."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens])).logits[0].double()


def ahead(first, second, tokens, factor):
    one, other = logits_of(first, tokens), logits_of(second, tokens)
    return one + factor * (other - one)


# --- sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [SAMPLING, Sampling(0.0, 1.0, 16)], ids=["drawn", "greedy"])
def test_factors_0_and_1_give_the_samples_of_the_two_models(first, second, sampling):
    ours = [sample(Extrapolated(first, second, factor), sampling) for factor in (0.0, 1.0)]
    assert ours == [sample(first, sampling), sample(second, sampling)]
    assert ours[0] != ours[1]
    assert len({len(row) for row in ours[0]}) > 1  # rows leave the batch, and both caches


def test_rows_that_are_drawn_by_their_own_numbers_are_those_of_the_models(first, second):
    draws = torch.from_numpy(np.random.default_rng(3).random((12, 16)))
    assert sample(Extrapolated(first, second, 1.0), draws=draws) == sample(second, draws=draws)


def test_the_first_token_is_drawn_from_the_extrapolated_distribution(first, second):
    """l = 2 l1 - l0, then temperature, then the inverse of the cumulated shares at a number."""
    count = 50
    draws = torch.from_numpy(np.random.default_rng(4).random((len(PROMPTS) * count, 1)))
    model = Extrapolated(first, second, 2.0)
    got = sample(model, Sampling(0.7, 1.0, 1), draws=draws, samples=count)
    for place, prompt in enumerate(PROMPTS):
        mixed = 2 * logits_of(second, prompt)[-1] - logits_of(first, prompt)[-1]
        shares = torch.softmax(mixed / 0.7, -1).cumsum(-1).numpy()
        mine = slice(place * count, (place + 1) * count)
        wanted = np.searchsorted(shares, draws[mine, 0].numpy() * shares[-1], side="right")
        assert [row[0] for row in got[mine]] == wanted.tolist()


def test_greedy_answers_are_those_of_a_loop_without_caches(first, second):
    model = Extrapolated(first, second, 2.5)
    for prompt, got in zip(PROMPTS, sample(model, Sampling(0.0, 1.0, 16), samples=1), strict=True):
        tokens = list(prompt)
        while len(tokens) < len(prompt) + 16 and (tokens == prompt or tokens[-1] not in ENDS):
            tokens.append(int(ahead(first, second, tokens, 2.5)[-1].argmax()))
        assert got == tokens[len(prompt) :]


def test_top_p_cuts_the_extrapolated_distribution(first, second):
    got = sample(Extrapolated(first, second, 3.0), Sampling(1.0, 0.3, 1), samples=200)
    for place, prompt in enumerate(PROMPTS):
        shares = torch.softmax(ahead(first, second, prompt, 3.0)[-1], -1)
        ordered, order = shares.sort(descending=True)
        kept = order[(ordered.cumsum(-1) - ordered) < 0.3].tolist()
        assert {row[0] for row in got[place * 200 : (place + 1) * 200]} <= set(kept)


def test_attention_is_put_back_for_both(first, second):
    sample(Extrapolated(first, second, 2.0))
    for model in (first, second):
        assert model.config._attn_implementation == "sdpa"


def test_other_vocabularies_are_refused_by_name(first):
    other = network(3, VOCABULARY + 1)
    other.name_or_path = "runs/other"
    with pytest.raises(ModelError, match=r"runs/other: .* vocabulary: 60 and 61 tokens"):
        Extrapolated(first, other, 2.0)


# --- teacher forcing -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packs(first):
    return packed_responses(PROMPTS, sample(first), PAD, 24, VOCABULARY)


def by_hand(packs, logits):
    """Log-probabilities of all targets from the logits of each sequence alone, pack by pack."""
    found = []
    for packed in packs:
        for row in packed.rows:
            for suffix in row.suffixes:
                whole = torch.log_softmax(logits([*row.prefix, *suffix.tokens]), -1)
                at = range(len(row.prefix) - 1, len(row.prefix) + len(suffix.tokens) - 1)
                found += [float(whole[i, t]) for i, t in zip(at, suffix.tokens, strict=True)]
    return found


def test_forced_log_probabilities_are_those_of_the_mixed_logits(first, second, packs):
    assert len(packs) == 1
    model = Extrapolated(first, second, 2.0)
    wanted = by_hand(packs, lambda tokens: ahead(first, second, tokens, 2.0))
    np.testing.assert_allclose(forced_log_probabilities(model, packs), wanted, atol=2e-4)
    plain = forced_log_probabilities(first, packs)
    np.testing.assert_allclose(plain, by_hand(packs, lambda t: logits_of(first, t)), atol=2e-5)
    same = forced_log_probabilities(Extrapolated(first, second, 0.0), packs)
    np.testing.assert_array_equal(same, plain)


def test_small_micro_batches_give_the_same_tokens(monkeypatch, first, second, packs):
    monkeypatch.setattr("gainrl.training.forced.LOGITS", 30 * VOCABULARY)
    more = packed_responses(PROMPTS, sample(first), PAD, 24, VOCABULARY)
    assert len(more) > 1
    apart, together = (np.sort(forced_log_probabilities(second, each)) for each in (more, packs))
    np.testing.assert_allclose(apart, together, atol=1e-5)


def test_the_divergence_is_exact_over_the_vocabulary(first, second, packs):
    found = divergences(first, {"second": second, "same": first}, packs)
    sums, tokens = 0.0, 0
    for packed in packs:
        true, other = (
            torch.log_softmax(target_logits(model, packed).detach().double(), -1)
            for model in (first, second)
        )
        sums += float((true.exp() * (true - other)).sum())
        tokens += len(true)
    assert found["second"] == pytest.approx(sums / tokens, rel=1e-4)
    assert found["second"] > 0.1
    assert found["same"] == 0


# --- weights -------------------------------------------------------------------------------------


def test_weights_are_extrapolated_exactly_at_both_ends(first, second):
    for factor, wanted in ((0.0, first), (1.0, second)):
        made = extrapolated_weights(first, second, factor)
        for mine, true in zip(made.parameters(), wanted.parameters(), strict=True):
            assert torch.equal(mine, true)


def test_weights_go_on_along_the_line_and_leave_both_models_alone(first, second):
    before = [weight.clone() for weight in second.parameters()]
    made = extrapolated_weights(first, second, 3.0)
    for mine, one, other in zip(
        made.parameters(), first.parameters(), second.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, one + 3 * (other - one))
    assert all(map(torch.equal, before, second.parameters()))
    assert made.lm_head.weight is made.model.embed_tokens.weight  # still tied


def test_models_of_other_shapes_are_refused(first):
    with pytest.raises(ModelError, match=r"differ in the shape of 'model\.embed_tokens\.weight'"):
        extrapolated_weights(first, network(3, VOCABULARY + 1), 2.0)
