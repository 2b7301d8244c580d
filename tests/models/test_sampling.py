"""Batched sampling against transformers' own, and what it promises about draws and order."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import GPT2Config, GPT2LMHeadModel

from gainrl.config.models import Nano
from gainrl.errors import ModelError
from gainrl.models.nano import build_model, build_tokenizer
from gainrl.models.sampling import Sampling, choose, generate

PAD, END = 0, 1
GREEDY = Sampling(0.0, 1.0, 24)
PROMPTS = [[2, 3], [2, 40, 41, 42, 43, 44, 45, 46, 47], [2, 9, 8, 7, 6], [5], [60] * 30]


@pytest.fixture(scope="module")
def model():
    """Weights large enough for greedy answers that differ by prompt and context."""
    spec = Nano(source="nano", hidden=32, layers=2, heads=2, feed_forward=64)
    network = build_model(spec, len(build_tokenizer())).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.35)
    return network


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sample(model, prompts, samples, sampling, *, seed=0, ends=frozenset({END})):
    return generate(model, prompts, samples, sampling, seeded(seed), ends=ends, pad=PAD)


@pytest.fixture(scope="module")
def ends(model):
    """An end token that ends some of the greedy answers early, not all and not at once."""
    answers = sample(model, PROMPTS, 1, GREEDY)
    for token in sorted({token for row in answers for token in row}):
        places = [row.index(token) if token in row else len(row) for row in answers]
        if len(set(places)) > 2 and max(places) == 24:
            return frozenset({token})
    raise AssertionError("no such token")


def by_transformers(model, prompts, ends):
    """Greedy answers of transformers, one prompt at a time and so without padding."""
    answers = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=GREEDY.max_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=PAD,
        )
        answers.append(out[0, len(prompt) :].tolist())
    return answers


# --- greedy --------------------------------------------------------------------------------------


def test_greedy_answers_equal_those_of_transformers(model, ends):
    expected = by_transformers(model, PROMPTS, ends)
    assert len({len(row) for row in expected}) > 2
    assert len({tuple(row) for row in expected}) == len(PROMPTS)
    assert sample(model, PROMPTS, 1, GREEDY, ends=ends) == expected
    twice = sample(model, PROMPTS, 2, GREEDY, ends=ends)
    assert twice == [row for row in expected for _ in range(2)]


def test_greedy_answers_with_learned_positions_equal_those_of_transformers():
    """Rotary positions forgive an offset by the padding; learned ones do not."""
    config = GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=80, vocab_size=100)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = GPT2LMHeadModel(config).eval()
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=0.4)
    none = frozenset({99})
    assert sample(network, PROMPTS, 1, GREEDY, ends=none) == by_transformers(network, PROMPTS, none)


def test_several_end_tokens_end_an_answer(model, ends):
    plain = sample(model, PROMPTS, 1, GREEDY, ends=ends)
    more = ends | {plain[0][1]}
    expected = by_transformers(model, PROMPTS, more)
    assert expected != plain
    assert sample(model, PROMPTS, 1, GREEDY, ends=more) == expected


def test_an_answer_ends_with_its_end_token_or_at_the_limit(model, ends):
    (end,) = ends
    answers = sample(model, PROMPTS, 1, GREEDY, ends=ends)
    for row in answers:
        assert end not in row[:-1]
        assert (row[-1] == end) or len(row) == 24
    short = sample(model, PROMPTS, 1, Sampling(0.0, 1.0, 1), ends=ends)
    assert short == [row[:1] for row in answers]


def test_rows_that_finish_leave_the_batch(model, ends, monkeypatch):
    """Each decoding step runs the rows that are still going, and no other."""
    answers = sample(model, PROMPTS, 2, GREEDY, ends=ends)
    widths, plain = [], model.forward

    def counted(**kwargs):
        widths.append(len(kwargs["input_ids"]))
        return plain(**kwargs)

    monkeypatch.setattr(model, "forward", counted)
    assert sample(model, PROMPTS, 2, GREEDY, ends=ends) == answers
    going = [sum(len(row) > step for row in answers) for step in range(1, 24)]
    assert widths == [len(PROMPTS), *(count for count in going if count)]
    assert min(widths[1:]) < max(widths[1:]) == 10


# --- sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [Sampling(1.0, 1.0, 12), Sampling(0.7, 0.9, 12)])
def test_the_generator_alone_decides_the_samples(model, sampling):
    first = sample(model, PROMPTS, 3, sampling, seed=1)
    torch.manual_seed(99)
    torch.rand(5)
    assert sample(model, PROMPTS, 3, sampling, seed=1) == first
    assert sample(model, PROMPTS, 3, sampling, seed=2) != first
    assert len({tuple(row) for row in first[:3]}) > 1


def test_samples_of_a_prompt_stand_together(model):
    """The first tokens of each group follow the distribution that its own prompt gives."""
    prompts, samples = PROMPTS[:3], 3000
    got = sample(model, prompts, samples, Sampling(1.0, 1.0, 1))
    assert len(got) == 3 * samples
    for i, prompt in enumerate(prompts):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
        p = torch.softmax(logits.double(), -1).numpy()
        counts = np.bincount(
            [row[0] for row in got[i * samples : (i + 1) * samples]], minlength=len(p)
        )
        common = samples * p >= 5
        observed = np.append(counts[common], counts[~common].sum())
        expected = samples * np.append(p[common], p[~common].sum())
        assert chisquare(observed, expected).pvalue > 0.01


def test_later_tokens_follow_the_distribution_after_their_own_context(model):
    """Rows whose first token is the same draw their second from that context."""
    samples = 4000
    got = sample(model, PROMPTS[:2], samples, Sampling(1.0, 1.0, 2))[:samples]
    firsts = np.bincount([row[0] for row in got])
    first = int(firsts.argmax())
    seconds = [row[1] for row in got if row[0] == first and len(row) > 1]
    assert len(seconds) > 200
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*PROMPTS[0], first]])).logits[0, -1]
    p = torch.softmax(logits.double(), -1).numpy()
    counts, common = np.bincount(seconds, minlength=len(p)), len(seconds) * p >= 5
    observed = np.append(counts[common], counts[~common].sum())
    expected = len(seconds) * np.append(p[common], p[~common].sum())
    assert chisquare(observed, expected).pvalue > 0.01


LOGITS = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()


def drawn(sampling, count=4000):
    chosen = choose(LOGITS.expand(count, 4), sampling, seeded(8))
    return np.bincount(chosen, minlength=4) / count


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (1.0, [0, 1, 2, 3]),
        (0.96, [0, 1, 2, 3]),
        (0.94, [0, 1, 3]),
        (0.81, [0, 1, 3]),
        (0.79, [1, 3]),
        (0.51, [1, 3]),
        (0.49, [1]),
        (0.01, [1]),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p, kept):
    share = drawn(Sampling(1.0, top_p, 1))
    assert np.flatnonzero(share).tolist() == kept
    p = np.array([0.15, 0.5, 0.05, 0.3])[kept]
    np.testing.assert_allclose(share[kept], p / p.sum(), atol=0.03)


def test_temperature_sharpens_the_distribution_before_top_p():
    """At temperature 1/2 the shares go as squares: .0225, .25, .0025, .09 of .365."""
    squares = np.array([0.0225, 0.25, 0.0025, 0.09]) / 0.365
    np.testing.assert_allclose(drawn(Sampling(0.5, 1.0, 1)), squares, atol=0.03)
    assert np.flatnonzero(drawn(Sampling(0.5, 0.92, 1))).tolist() == [1, 3]  # .93 reached
    assert np.flatnonzero(drawn(Sampling(1.0, 0.92, 1))).tolist() == [0, 1, 3]


def test_temperature_zero_takes_the_likeliest_and_draws_nothing():
    generator = seeded(1)
    before = generator.get_state()
    assert choose(LOGITS.expand(5, 4), Sampling(0.0, 1.0, 1), generator).tolist() == [1] * 5
    assert torch.equal(before, generator.get_state())


# --- logits that are no numbers ------------------------------------------------------------------

WAYS = [GREEDY, Sampling(1.0, 1.0, 4), Sampling(1.0, 0.9, 4)]


@pytest.mark.parametrize("sampling", WAYS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("drawn", [True, False])
def test_a_row_with_one_logit_that_is_no_number_is_refused(sampling, value, drawn):
    logits = torch.zeros(3, 8)
    logits[1, 5] = value
    draws = torch.rand(3, generator=seeded()) if drawn else seeded()
    with pytest.raises(FloatingPointError, match="NaN or infinite"):
        choose(logits, sampling, draws)


@pytest.mark.parametrize("sampling", WAYS)
def test_tokens_ruled_out_by_an_infinitely_small_logit_are_none_of_them(sampling):
    logits = torch.full((3, 8), float("-inf"))
    logits[:, 6] = -1e4
    assert choose(logits, sampling, seeded()).tolist() == [6, 6, 6]
    with pytest.raises(FloatingPointError):
        choose(torch.full((3, 8), float("-inf")), sampling, seeded())


def test_a_model_of_broken_weights_is_named(model):
    broken = copy.deepcopy(model)
    broken.name_or_path = "some/model"
    with torch.no_grad():
        broken.model.norm.weight[3] = float("nan")
    with pytest.raises(ModelError, match=r"^some/model: its forward pass gives NaN"):
        sample(broken, PROMPTS, 2, GREEDY)


def test_a_model_that_broke_after_its_first_answers_is_named_too(model):
    broken = copy.deepcopy(model)
    broken.name_or_path = "some/model"
    sample(broken, PROMPTS, 2, GREEDY)
    with torch.no_grad():
        broken.model.norm.weight[3] = float("nan")
    with pytest.raises(ModelError, match=r"^some/model: its logits are NaN"):
        sample(broken, PROMPTS, 2, GREEDY)
