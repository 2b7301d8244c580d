"""The angle signal against the m x m cosine matrix, and the segments that it is taken over."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from gainrl.config.data import Generated
from gainrl.config.models import Nano
from gainrl.data.generate import generate_splits
from gainrl.data.prompts import encode
from gainrl.data.templates import template_hash
from gainrl.errors import DataError, ModelError
from gainrl.models.nano import build_model, build_tokenizer
from gainrl.records import SCORES, check_table
from gainrl.signals import prefill
from gainrl.signals.angle import from_states


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    """Weights large enough for attention to matter, and a norm that turns directions."""
    spec = Nano(source="nano", hidden=32, layers=2, heads=2, feed_forward=64)
    network = build_model(spec, len(tokenizer)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    return network


@pytest.fixture(scope="module")
def table():
    spec = Generated(source="generate", task="word", train=23, eval=1)
    return generate_splits(spec, "word")["train"]


@pytest.fixture(scope="module")
def prompts(tokenizer, table):
    return encode(tokenizer, list(table["id"]), list(table["question"]))


def naive(states, n_prefix, n_question):
    """C_intra, C_inter and C_intra without diagonal from the whole matrix, in float64."""
    x = states.double().numpy()
    norms = np.sqrt((x * x).sum(1))
    cosines = (x @ x.T) / np.outer(norms, norms)
    question = slice(n_prefix, n_prefix + n_question)
    intra, inter = cosines[question, question], cosines[question, :n_prefix]
    pairs = n_question * (n_question - 1)
    rest = (intra.sum() - np.trace(intra)) / pairs if pairs else 0.0
    return intra.mean(), inter.mean(), rest


def final_states(model, tokens):
    with torch.no_grad():
        out = model(input_ids=torch.tensor([tokens]), output_hidden_states=True)
    return out.hidden_states[-1][0]


@pytest.fixture(scope="module")
def expected(model, prompts):
    """The naive values of every prompt, one forward pass each."""
    return {
        name: naive(final_states(model, row), prompts.n_prefix, int(size))
        for name, row, size in zip(prompts.ids, prompts.tokens, prompts.n_question, strict=True)
    }


def values(frame):
    columns = ["c_intra", "c_inter", "c_intra_offdiagonal"]
    return dict(zip(frame["id"], frame[columns].to_numpy(), strict=True))


# --- the signal ----------------------------------------------------------------------------------


def test_the_example_has_something_to_tell_apart(prompts, expected):
    assert prompts.n_prefix > 10
    assert len(set(prompts.n_question)) > 5
    assert np.ptp([intra for intra, _, _ in expected.values()]) > 0.05
    assert np.ptp([inter for _, inter, _ in expected.values()]) > 0.05


@pytest.mark.parametrize("batch_tokens", [1, 70, 200, 8192])
def test_prefill_scores_equal_the_cosine_matrix(model, prompts, expected, batch_tokens):
    frame = prefill.score(model, prompts, batch_tokens)
    check_table(frame, SCORES, "scores")
    assert list(frame["id"]) == prompts.ids
    assert (frame["n_prefix"] == prompts.n_prefix).all()
    assert (frame["n_question"] == prompts.n_question).all()
    for name, row in values(frame).items():
        np.testing.assert_allclose(row, expected[name], atol=1e-5, rtol=0)


def test_prefill_scores_do_not_depend_on_the_order_of_the_prompts(model, prompts, expected):
    where = np.random.default_rng(0).permutation(len(prompts.ids))
    shuffled = dataclasses.replace(
        prompts,
        ids=[prompts.ids[i] for i in where],
        tokens=[prompts.tokens[i] for i in where],
        n_suffix=prompts.n_suffix[where],
    )
    frame = prefill.score(model, shuffled, 150)
    assert list(frame["id"]) == shuffled.ids
    for name, row in values(frame).items():
        np.testing.assert_allclose(row, expected[name], atol=1e-5, rtol=0)


def test_prefill_batches_keep_to_the_budget():
    lengths = np.array([5, 3, 9, 3, 7, 40, 4])
    found = list(prefill.batches(lengths, 16))
    assert np.concatenate(found).tolist() == [1, 3, 6, 0, 4, 2, 5]  # by length, ties by place
    for rows in found:
        assert len(rows) == 1 or lengths[rows].sum() <= 16
    assert len(found) == 4  # (3, 3, 4, 5), (7, 9), 40 and none that could join another


def test_prefill_batches_are_of_nearly_equal_size():
    lengths = np.random.default_rng(0).integers(10, 100, size=500)
    sums = [int(lengths[rows].sum()) for rows in prefill.batches(lengths, 4000)]
    assert len(sums) == -(-int(lengths.sum()) // 4000)
    assert max(sums) <= 4000
    assert min(sums) > 0.85 * max(sums)


def test_from_states_equals_the_cosine_matrix_and_ignores_what_follows_the_question():
    """Suffix and response tokens after the question change nothing."""
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(4, 30, 16, generator=generator) * 5
    sizes = [1, 7, 20, 24]
    found = from_states(states, 6, torch.tensor(sizes))
    for i, size in enumerate(sizes):
        want = naive(states[i], 6, size)
        got = [float(part[i]) for part in (found.intra, found.inter, found.intra_offdiagonal)]
        np.testing.assert_allclose(got, want, atol=1e-5, rtol=0)
    other = states.clone()
    for i, size in enumerate(sizes):
        other[i, 6 + size :] = 100 * torch.randn(30 - 6 - size, 16, generator=generator)
    again = from_states(other, 6, torch.tensor(sizes))
    assert torch.equal(found.combined(), again.combined())


def test_from_states_of_prompts_with_responses_equals_the_prefill_score(model, prompts, expected):
    """Causal states: what a model writes after the prompt leaves the prompt's signal alone."""
    for i, name in enumerate(prompts.ids[:4]):
        states = final_states(model, [*prompts.tokens[i], 9, 14, 30, 1])
        size = torch.tensor([int(prompts.n_question[i])])
        found = from_states(states[None], prompts.n_prefix, size)
        intra, inter, _ = expected[name]
        assert float(found.combined()) == pytest.approx(intra + inter, abs=1e-5)
        assert float(found.combined(8.0)) == pytest.approx(intra + 8 * inter, abs=1e-4)


def test_parallel_and_opposite_vectors_have_the_signal_of_their_angle():
    states = torch.tensor([[[2.0, 0], [5, 0], [-3, 0], [0, 7]]])
    found = from_states(states, 1, torch.tensor([3]))
    assert float(found.intra) == pytest.approx((3 - 2) / 9)  # diagonal 3; one pair of -1, twice
    assert float(found.inter) == pytest.approx(0.0)
    assert float(found.intra_offdiagonal) == pytest.approx(-2 / 6)


# --- segments ------------------------------------------------------------------------------------

TEMPLATE = (
    "{%- for turn in messages -%}{%- if turn['role'] == 'system' -%}S: {{ turn['content'] }} "
    "{% else -%}Q: {{ turn['content'] }}\nA:{%- endif -%}{%- endfor -%}"
)


def byte_tokenizer(merges=(), template=TEMPLATE):
    """A byte-level BPE tokenizer without word boundaries, so that merges cross any edge."""
    symbols = [*sorted(ByteLevel.alphabet()), *(a + b for a, b in merges)]
    core = Tokenizer(BPE({s: i for i, s in enumerate(symbols)}, list(merges)))
    core.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = ByteLevelDecoder()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core)
    tokenizer.chat_template = template
    return tokenizer


def parts(tokenizer, prompts, row):
    """The texts of prefix, question and suffix."""
    tokens, size = prompts.tokens[row], int(prompts.n_question[row])
    ends = (0, prompts.n_prefix, prompts.n_prefix + size, len(tokens))
    return [tokenizer.decode(tokens[a:b]) for a, b in pairwise(ends)]


def test_prefix_question_and_suffix_of_the_nano_template(tokenizer, table, prompts):
    for row, question in enumerate(table["question"]):
        prefix, middle, suffix = parts(tokenizer, prompts, row)
        assert prefix.endswith("<|end|> <|user|>")
        assert middle.replace(" ", "") == question.replace(" ", "")
        assert suffix == "<|end|> <|assistant|>"


def test_the_template_of_the_data_set_is_prefix_before_and_question_after():
    tokenizer = byte_tokenizer()
    prompts = encode(
        tokenizer, ["a", "b"], ["1+1", "2+20"], template="Compute {question}!", system="be brief"
    )
    assert parts(tokenizer, prompts, 0) == ["S: be brief Q: Compute ", "1+1!", "\nA:"]
    assert parts(tokenizer, prompts, 1) == ["S: be brief Q: Compute ", "2+20!", "\nA:"]


def test_what_all_questions_begin_with_belongs_to_the_prefix():
    tokenizer = byte_tokenizer()
    prompts = encode(tokenizer, ["a", "b"], ["What is 1?", "What is 2?"])
    assert parts(tokenizer, prompts, 0) == ["Q: What is ", "1?", "\nA:"]


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        (("?", "Ċ"), ["Q: ", "one?\n", "A:"]),  # across the end: question
        (("Ċ", "A"), ["Q: ", "one?", "\nA:"]),  # behind the end: suffix
        (("Ġ", "o"), ["Q:", " one?", "\nA:"]),  # across the beginning: question
    ],
)
def test_a_token_across_an_edge_of_the_question_belongs_to_the_question(merge, expected):
    tokenizer = byte_tokenizer([merge])
    prompts = encode(tokenizer, ["a", "b"], ["one?", "two?"])
    assert parts(tokenizer, prompts, 0) == expected


def test_suffixes_may_differ_by_prompt():
    tokenizer = byte_tokenizer([("?", "Ċ")])
    prompts = encode(tokenizer, ["a", "b"], ["one?", "two"])
    assert prompts.n_suffix.tolist() == [2, 3]
    assert parts(tokenizer, prompts, 1) == ["Q: ", "two", "\nA:"]


@pytest.mark.parametrize("question", ["A", "\nA", ":", "one A:"])
def test_a_question_that_reads_like_the_suffix_is_still_found(question):
    tokenizer = byte_tokenizer()
    prompts = encode(tokenizer, ["a", "b"], ["zero", question])
    assert parts(tokenizer, prompts, 1) == ["Q: ", question, "\nA:"]


@pytest.mark.parametrize("question", [" one ", "one\n"])
def test_templates_that_strip_their_content_are_understood(question):
    template = TEMPLATE.replace("turn['content'] }}\n", "turn['content'] | trim }}\n")
    tokenizer = byte_tokenizer(template=template)
    prompts = encode(tokenizer, ["a", "b"], [question, "two"])
    assert parts(tokenizer, prompts, 0) == ["Q: ", "one", "\nA:"]


def test_prompts_that_are_alike_keep_a_question_token_each():
    tokenizer = byte_tokenizer()
    for questions in (["same"], ["same", "same"], ["same", "sameness"]):
        prompts = encode(tokenizer, list("ab")[: len(questions)], questions)
        assert (prompts.n_question > 0).all()
        assert parts(tokenizer, prompts, 0) == ["Q: sam", "e", "\nA:"]


def test_prompts_without_a_shared_prefix_are_refused():
    template = "{{ messages[0]['content'] }}\nA:"
    tokenizer = byte_tokenizer(template=template)
    with pytest.raises(DataError, match=r"share no prefix.*'system'"):
        encode(tokenizer, ["a", "b"], ["one", "two"])
    assert encode(tokenizer, ["a", "b"], ["one", "two"], segments=False).n_prefix == 0


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_length": 12}, r"prompt 'long' has 13 tokens, more than 12 \(max_prompt\)"),
        ({"context": 12}, r"prompt 'long' has 13 tokens, more than 12 \(the model's context\)"),
        ({"max_length": 50, "context": 12}, "the model's context"),
        ({"max_length": 12, "context": 50}, "max_prompt"),
    ],
)
def test_a_prompt_that_is_too_long_is_named(limits, message):
    tokenizer = byte_tokenizer()
    with pytest.raises(DataError, match=message):
        encode(tokenizer, ["short", "long"], ["one", "one two"], **limits)
    encode(tokenizer, ["short", "long"], ["one", "one two"], max_length=13, context=13)


@pytest.mark.parametrize("question", ["", "  ", "\n"])
@pytest.mark.parametrize("template", ["{question}", "Solve: {question}"])
@pytest.mark.parametrize("segments", [True, False])
def test_an_empty_question_is_named(tokenizer, question, template, segments):
    for words in (tokenizer, byte_tokenizer()):
        with pytest.raises(DataError, match=r"prompt 'b'.*empty"):
            encode(words, ["a", "b"], ["9 + 4", question], template=template, segments=segments)


def test_no_prompts_and_no_chat_template_are_refused():
    with pytest.raises(DataError, match="no prompts"):
        encode(byte_tokenizer(), [], [])
    with pytest.raises(ModelError, match="no chat template"):
        encode(byte_tokenizer(template=None), ["a"], ["one"])


def test_the_hash_of_the_template_follows_the_template():
    one, same = template_hash(byte_tokenizer()), template_hash(byte_tokenizer())
    assert one == same != template_hash(byte_tokenizer(template=TEMPLATE + " "))
