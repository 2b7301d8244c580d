"""The nano model: size, vocabulary, chat template, round trip and packed log-probabilities."""

import hashlib

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gainrl.config.data import Generated
from gainrl.config.models import Nano
from gainrl.data.generate import VOCABULARY, generate_splits
from gainrl.data.prompts import encode
from gainrl.models.nano import LESSONS, build_model, build_tokenizer
from gainrl.training.packing import PackedRow, log_probabilities, pack, split_rows
from gainrl.training.supervised import corpus


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    return build_model(Nano(source="nano"), len(tokenizer)).eval()


@pytest.fixture(scope="module", params=["chain", "word"])
def warmup(request):
    spec = Generated(
        source="generate", task=request.param, warmup=200, eval=5, corrupt=0.3, direct=0.2
    )
    return generate_splits(spec, request.param)["warmup"]


def test_the_model_has_under_two_million_parameters(model):
    assert sum(p.numel() for p in model.parameters()) < 2_000_000


def test_the_seed_alone_decides_the_weights(tokenizer, model):
    torch.rand(3)
    again = build_model(Nano(source="nano"), len(tokenizer))
    other = build_model(Nano(source="nano", seed=1), len(tokenizer))
    weights = [dict(m.named_parameters())["model.embed_tokens.weight"] for m in (model, again)]
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], other.get_input_embeddings().weight)


def test_every_word_of_the_generators_is_known(tokenizer, warmup):
    assert tokenizer.unk_token_id not in tokenizer.convert_tokens_to_ids(list(VOCABULARY))
    for column in ("question", "solution", "noisy_solution"):
        for text in warmup[column]:
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert tokenizer.unk_token_id not in ids, text
            assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


def test_the_default_tokenizer_is_the_one_that_results_were_published_for(tokenizer):
    texts = (tokenizer.backend_tokenizer.to_str(), tokenizer.chat_template)
    digests = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
    assert (len(tokenizer), *digests) == (242, "aeafefdd3ce68b01", "f6c1055c88c086af")


def test_an_unknown_word_is_marked(tokenizer):
    assert tokenizer("9 + zebra")["input_ids"][-1] == tokenizer.unk_token_id


def test_the_template_renders_system_prompt_worked_example_and_question(tokenizer, warmup):
    question = warmup["question"].iloc[0]
    messages = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    lesson = LESSONS["arithmetic"]
    assert text == (
        f"<|system|> {lesson.system} <|end|> <|user|> {lesson.question} <|end|> "
        f"<|assistant|> {lesson.answer} <|end|> <|user|> {question} <|end|> <|assistant|>"
    )
    own = [{"role": "system", "content": "How many ?"}, *messages]
    assert "<|system|> How many ? <|end|>" in tokenizer.apply_chat_template(own, tokenize=False)


def test_prompts_share_the_system_prompt_and_the_example(tokenizer, warmup):
    prompts = encode(tokenizer, list(warmup["id"]), list(warmup["question"]))
    shared = tokenizer.decode(prompts.tokens[0][: prompts.n_prefix])
    assert shared.startswith("<|system|>")
    assert shared.endswith("<|user|>")
    assert all(
        row[: prompts.n_prefix] == prompts.tokens[0][: prompts.n_prefix] for row in prompts.tokens
    )
    assert set(prompts.n_suffix) == {2}  # end of the turn, generation prompt


def test_saved_and_loaded_it_gives_the_same_logits(tokenizer, model, tmp_path):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    words = AutoTokenizer.from_pretrained(tmp_path)
    text = words.apply_chat_template(
        [{"role": "user", "content": "17 + 5 = ?"}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert torch.equal(ids, words(text, return_tensors="pt")["input_ids"])
    assert (words.pad_token_id, words.eos_token_id) == (0, 1)
    with torch.no_grad():
        assert torch.equal(model(ids).logits, loaded(ids).logits)


def test_packed_log_probabilities_equal_those_of_separate_sequences(tokenizer, model, warmup):
    rows = warmup.head(12)
    prompts = encode(tokenizer, list(rows["id"]), list(rows["question"]))
    suffixes = corpus(tokenizer, prompts, list(rows["noisy_solution"]), "completion")
    prefix = prompts.tokens[0][: prompts.n_prefix]
    with torch.no_grad():
        packed = pack(split_rows(prefix, suffixes, 128), 0)
        assert 1 < len(packed.rows) < len(suffixes)
        together, entropy = log_probabilities(model, packed)
        for suffix in suffixes:
            ids = torch.tensor([[*prefix, *suffix.tokens]])
            scores = torch.log_softmax(model(ids).logits[0, :-1], -1)
            alone = scores.gather(1, ids[0, 1:, None]).squeeze(1)
            expected = alone[len(prefix) + suffix.first - 1 :]
            mine = together[packed.suffix == suffix.index]
            torch.testing.assert_close(mine, expected, atol=1e-5, rtol=0)
        single = pack([PackedRow(prefix, suffixes[:1])], 0)
        torch.testing.assert_close(
            log_probabilities(model, single)[1],
            entropy[packed.suffix == suffixes[0].index],
            atol=1e-5,
            rtol=0,
        )


def test_the_corpus_predicts_the_solution_and_the_end_token(tokenizer, warmup):
    rows = warmup.head(5)
    prompts = encode(tokenizer, list(rows["id"]), list(rows["question"]))
    for loss_on, starts in (("completion", prompts.lengths - prompts.n_prefix), ("all", [0] * 5)):
        suffixes = corpus(tokenizer, prompts, list(rows["solution"]), loss_on)
        assert [suffix.first for suffix in suffixes] == list(starts)
        for suffix, text in zip(suffixes, rows["solution"], strict=True):
            assert suffix.tokens[-1] == tokenizer.eos_token_id
            solution = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert list(suffix.tokens[-1 - len(solution) : -1]) == solution
