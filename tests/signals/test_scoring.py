"""Prefill scores against whole cosine matrices, however the prompts are cut up and interrupted."""

from itertools import takewhile
from threading import Event

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from gainrl.config.data import Generated
from gainrl.config.preset import Scoring
from gainrl.data.generate import generate_splits
from gainrl.data.prompts import Chunk, Renderer
from gainrl.errors import DataError
from gainrl.models.nano import LESSONS, build_tokenizer
from gainrl.signals.prefill import Prefill, ahead, gather
from gainrl.signals.shared_prefix import packable
from gainrl.signals.taps import TAPS
from gainrl.stages.score import with_signals

TOKENIZER = build_tokenizer()
WORDS = generate_splits(Generated(source="generate", task="word", train=300, eval=1), "w")["train"]
POOL = [word for question in WORDS["question"] for word in TOKENIZER.tokenize(question)]
SUFFIX = 2  # <|end|> <|assistant|>
SIZES = [5, 31, 12, 1, 19, 12, 44, 8, 27, 3, 16, 35]


# --- models, prompts and the naive reference -----------------------------------------------------


def build(kind="llama", **options):
    """Weights large enough for attention to matter, and norms that turn directions."""
    sizes = {
        "vocab_size": len(TOKENIZER),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
    }
    config = AutoConfig.for_model(kind, **{**sizes, **options})
    attention = "eager" if kind == "gemma2" else "sdpa"  # sdpa drops Gemma's soft cap
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    return model


@pytest.fixture(scope="module")
def model():
    return build()


def questions(sizes, seed=0, begin=""):
    """Questions of the given numbers of words, which are tokens, from the generator's own."""
    draw = np.random.default_rng(seed)
    texts = [" ".join([begin, *draw.choice(POOL, size)]).strip() for size in sizes]
    texts[1] = " ".join([*begin.split(), "####", *texts[1].split()[len(begin.split()) + 1 :]])
    return texts  # no question begins with ####, so no more than `begin` is common to them


def chunks(texts, size=2048, system=None):
    ids = [f"p{i}" for i in range(len(texts))]
    return list(Renderer(TOKENIZER, system=system).chunks(ids, texts, size))


def run(model, cut, budget=150, settings=None, shards=1):
    """The columns of the score table and the last job."""
    settings = settings or Scoring()
    found = []
    for shard in range(shards):
        job = Prefill(model, budget, settings.taps, settings.with_released)
        found += job.run(iter(cut), lambda number, shard=shard: sum(number) % shards == shard)
    ids = [f"p{i}" for i in range(sum(len(chunk.tokens) for chunk in cut))]
    return with_signals(gather(ids, found, job.gram, job.n_prefix), settings), job


def states_of(model, tokens):
    """Each tap's float64 states of one whole prompt, read where the code under test does not."""
    found, last = {}, model.model.layers[-1]
    before_mlp = getattr(last, "pre_feedforward_layernorm", last.post_attention_layernorm)
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out}))
        for name, module in (("pre_norm", last), ("up_proj_input", before_mlp))
    ]
    with torch.no_grad():
        out = model(input_ids=torch.tensor([tokens]), output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    found["post_norm"] = out.hidden_states[-1]
    return {tap: found[tap][0].double().numpy() for tap in TAPS}


def cosines(x):
    norms = np.sqrt((x * x).sum(1))
    return (x @ x.T) / np.outer(norms, norms)


def mean(block):
    return block.mean() if block.size else np.nan


def released_naive(cos):
    """The script: rows are cut twice, columns never."""
    cos = np.tril(cos, 1)
    rows = cos[110:-6]
    return mean(rows[110:-6]) + 8 * mean(rows[:110])


def common(rows):
    """How many tokens all rows begin with."""
    columns = zip(*rows, strict=False)
    return len(list(takewhile(lambda column: len(set(column)) == 1, columns)))


def segments(cut):
    """The data set's true longest common prefix that leaves every prompt a question token."""
    tokens = [row for chunk in cut for row in chunk.tokens]
    room = min(map(len, tokens)) - SUFFIX - 1
    return tokens, min(common(tokens), room)


def reference(model, cut, weight=1.0):
    """Every column of every prompt from the m x m matrix of one full forward pass."""
    tokens, n_prefix = segments(cut)
    rows = []
    for row in tokens:
        matrices = {tap: cosines(x) for tap, x in states_of(model, row).items()}
        found = {"n_prefix": n_prefix, "n_question": len(row) - SUFFIX - n_prefix}
        for tap, cos in matrices.items():
            question = slice(n_prefix, len(row) - SUFFIX)
            intra, inter = cos[question, question], cos[question, :n_prefix].mean()
            off = ~np.eye(len(intra), dtype=bool)
            rest = intra[off].mean() if len(intra) > 1 else 0.0
            found[f"{tap}.c_intra"], found[f"{tap}.c_inter"] = intra.mean(), inter
            found[f"{tap}.c_intra_offdiagonal"] = rest
            found[f"{tap}.paper"] = intra.mean() + weight * inter
            found[f"{tap}.offdiagonal"] = rest + weight * inter
        found["released"] = released_naive(matrices["up_proj_input"])
        rows.append(found)
    return pd.DataFrame(rows)


def assert_close(got, want):
    np.testing.assert_allclose(got, want, atol=1e-5, rtol=0)


def assert_equals_reference(frame, want, settings=None):
    settings = settings or Scoring()
    assert (frame["n_prefix"] == want["n_prefix"]).all()
    assert (frame["n_question"] == want["n_question"]).all()
    for part in ("c_intra", "c_inter", "c_intra_offdiagonal"):
        assert_close(frame[part], want[f"{settings.tap}.{part}"])
    released = settings.variant == "released"
    assert_close(frame["c"], want["released" if released else f"{settings.tap}.{settings.variant}"])
    if not released:
        for tap in settings.taps[1:]:
            assert_close(frame[f"c_{tap}"], want[f"{tap}.{settings.variant}"])
    assert ("c_released" in frame) == settings.with_released
    if settings.with_released:
        assert_close(frame["c_released"], want["released"])


# --- 1. variants, taps and weights ---------------------------------------------------------------


@pytest.fixture(scope="module")
def short():
    return chunks(questions(SIZES))


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("tap", TAPS)
@pytest.mark.parametrize("variant", ["paper", "offdiagonal", "released"])
def test_every_variant_at_every_tap_equals_the_cosine_matrix(model, variant, tap, weight):
    cut = chunks(questions([3, 1, 240, 28, 226]))
    settings = Scoring(
        variant=variant, tap=tap, inter_weight=weight, also=[name for name in TAPS if name != tap]
    )
    frame, _ = run(model, cut, 300, settings)
    want = reference(model, cut, weight)
    assert np.ptp(want[f"{tap}.{'paper' if variant == 'released' else variant}"]) > 0.005
    assert_equals_reference(frame, want, settings)


LONG = " ".join([LESSONS["arithmetic"].system, *POOL[:86]])  # makes a prefix of 111 tokens


@pytest.mark.parametrize(
    ("system", "lengths"),
    [(None, [100, 116, 117, 232, 233, 260, 400]), (LONG, [116, 117, 232, 233, 260, 400])],
)
@pytest.mark.parametrize("also", [("released",), ("released", "up_proj_input")])
def test_the_released_value_equals_the_script_whatever_the_length(model, system, lengths, also):
    n_prefix = common(chunks(questions([3, 3]), system=system)[0].tokens)
    assert n_prefix == (111 if system else 25)
    cut = chunks(questions([size - n_prefix - SUFFIX for size in lengths]), system=system)
    assert [len(row) for row in cut[0].tokens] == lengths
    settings = Scoring(also=also)
    frame, _ = run(model, cut, 500, settings)
    assert frame["c_released"].isna().tolist() == [length <= 232 for length in lengths]
    assert_equals_reference(frame, reference(model, cut), settings)


# --- 2. architectures ----------------------------------------------------------------------------

CAP = {"attn_logit_softcapping": 2.0}
PACKED = {
    "grouped": ("llama", {}),
    "one key head": ("llama", {"num_key_value_heads": 1}),
    "bias": ("qwen2", {}),
    "query and key norms": ("qwen3", {"head_dim": 16}),
    "no window": ("mistral", {"sliding_window": None}),
}
PADDED = {
    "soft cap": (
        "gemma2",
        {"sliding_window": 512, "layer_types": ["full_attention"] * 2, "head_dim": 8, **CAP},
    ),
    "window over it all": ("mistral", {"sliding_window": 512}),
    "window within the prefix": ("mistral", {"sliding_window": 9}),
    "window within the question": ("mistral", {"sliding_window": 40}),
    "windows in some layers": ("gemma2", {"sliding_window": 9, "head_dim": 8, **CAP}),
    "wide windows in some layers": ("gemma2", {"sliding_window": 40, "head_dim": 8, **CAP}),
    "qwen's window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
    ),
}
ARCHITECTURES = [(*PACKED[name], True) for name in PACKED]
ARCHITECTURES += [(*PADDED[name], False) for name in PADDED]


@pytest.mark.parametrize("size", [2048, 4])
@pytest.mark.parametrize(("kind", "options", "packs"), ARCHITECTURES, ids=[*PACKED, *PADDED])
def test_every_architecture_equals_full_forward_passes_of_single_prompts(
    kind, options, packs, size
):
    """In chunks of 4, the prefix of the first chunk is longer than the data set's."""
    texts = [*questions(SIZES[2:6], begin="Ada has 3"), *questions(SIZES, seed=1)]
    cut = chunks(texts, size)
    model = build(kind, **options)
    assert packable(model) == packs
    settings = Scoring(also=("up_proj_input", "pre_norm"))
    frame, _ = run(model, cut, 100, settings)
    assert_equals_reference(frame, reference(model, cut), settings)


# --- 3. what must not matter ---------------------------------------------------------------------

NUMBERS = ["c", "c_intra", "c_inter", "c_intra_offdiagonal", "c_up_proj_input", "c_released"]
EVERYTHING = Scoring(also=("up_proj_input", "released"))


@pytest.fixture(scope="module")
def texts():
    return questions([*SIZES, 230])


@pytest.fixture(scope="module")
def whole(model, texts):
    """In one batch."""
    frame, _ = run(model, chunks(texts), 10**6, EVERYTHING)
    return frame


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_the_prompts_does_not_matter(model, texts, whole, seed):
    place = np.random.default_rng(seed).permutation(len(texts))
    frame, _ = run(model, chunks([texts[i] for i in place], 5), 150, EVERYTHING)
    assert_close(frame[NUMBERS], whole.loc[place, NUMBERS])
    assert frame["n_question"].tolist() == whole["n_question"][place].tolist()


@pytest.mark.parametrize("budget", [1, 40, 150, 400])
def test_the_batches_do_not_matter(model, texts, whole, budget):
    frame, _ = run(model, chunks(texts), budget, EVERYTHING)
    assert_close(frame[NUMBERS], whole[NUMBERS])


@pytest.mark.parametrize("size", [1, 2, 5, 13])
def test_the_chunks_do_not_matter(model, texts, whole, size):
    frame, _ = run(model, chunks(texts, size), 150, EVERYTHING)
    assert_close(frame[NUMBERS], whole[NUMBERS])
    assert (frame["n_prefix"] == whole["n_prefix"]).all()


@pytest.mark.parametrize("size", [3, 2048])
@pytest.mark.parametrize("shards", [2, 3, 40])
def test_shards_give_the_bits_of_one_job(model, texts, shards, size):
    cut = chunks(texts, size)
    alone, _ = run(model, cut, 70, EVERYTHING)
    frame, _ = run(model, cut, 70, EVERYTHING, shards)
    pd.testing.assert_frame_equal(frame, alone, check_exact=True)


@pytest.mark.parametrize(
    ("begins", "lengths"),
    [
        (("Ada has 3 eggs .", "Ada has", ""), (30, 27, 25)),
        (("Ada has", "Ada has 3 eggs .", "", "Ada has"), (27, 27, 25, 25)),
        (("Ada has 3 eggs .", "Ada", "Ada has"), (30, 26, 26)),
    ],
)
def test_a_prefix_that_shrinks_from_chunk_to_chunk(model, begins, lengths):
    texts = [text for i, begin in enumerate(begins) for text in questions(SIZES[2:6], i, begin)]
    cut = chunks(texts, 4)
    for number, length in enumerate(lengths, start=1):
        _, job = run(model, cut[:number], 30)
        assert job.n_prefix == length == segments(cut[:number])[1]
    frame, _ = run(model, cut, 30, EVERYTHING)
    assert_equals_reference(frame, reference(model, cut), EVERYTHING)


def test_a_question_that_all_begin_with_keeps_a_token(model):
    """It is too short for the prefix that the first chunk had."""
    cut = chunks([*questions([4, 7], begin="Ada has 3 eggs ."), "Ada has 3", "Ada has 3 pens"], 2)
    frame, _ = run(model, cut, 30, EVERYTHING)
    assert frame["n_question"].min() == 1
    assert_equals_reference(frame, reference(model, cut), EVERYTHING)


def test_prompts_without_a_shared_prefix_are_refused(model):
    def chunk(start, *rows):
        return Chunk(start, list(rows), np.zeros(len(rows), int))

    for cut in (
        [chunk(0, [7, 8, 9], [5, 8, 9])],
        [chunk(0, [7, 8, 9], [7, 8, 4]), chunk(2, [5, 8, 9])],
        [chunk(0, [7])],
    ):
        with pytest.raises(DataError, match="share no prefix"):
            run(model, cut)


# --- 5. what is run ------------------------------------------------------------------------------


@pytest.mark.parametrize("released", [False, True])
def test_a_pass_for_the_prefix_and_one_a_batch_after_the_trial(model, texts, released):
    """Without padding and LM head; the suffix only where the released value needs it."""
    settings = Scoring(also=("released", "pre_norm") if released else ("pre_norm",))
    tokens, heads = [], []
    hooks = [
        model.model.register_forward_hook(
            lambda _m, _i, out: tokens.append(out.last_hidden_state.shape[:2].numel())
        ),
        model.lm_head.register_forward_hook(lambda *_: heads.append(1)),
    ]
    job, cut = Prefill(model, 100, settings.taps, settings.with_released), chunks(texts, 6)
    found = list(job.run(iter(cut)))
    for hook in hooks:
        hook.remove()
    rows, n_prefix = segments(cut)
    cut_off, sizes = 0 if released else SUFFIX, sorted(map(len, cut[0].tokens))
    tried, once, run = sizes[:1] + sizes[3:4] + sizes[-1:], len(job.prefix), tokens[5:]
    # the trial: three prompts of the first chunk, whole, and their questions after the prefix
    assert tokens[:5] == [*tried, once, sum(tried) - 3 * once]
    assert once + sum(run) == job.tokens
    assert job.tokens == n_prefix + sum(len(r) - n_prefix - cut_off for r in rows)
    assert len(run) == len({batch.number for batch in found}) > 3
    assert not heads


# --- 6. tokenisation ahead of the forward pass ---------------------------------------------------


def test_the_next_chunk_is_made_while_one_is_in_use_and_no_further_one(model, texts):
    made = [Event() for _ in range(3)]

    def source():
        for event, chunk in zip(made, chunks(texts, 5), strict=True):
            event.set()
            yield chunk

    for number, _ in enumerate(ahead(source())):
        assert all(event.wait(20) for event in made[: number + 2])
        assert not any(event.wait(0.2) for event in made[number + 2 :])
    for event in made:
        event.clear()
    batches = Prefill(model, 10**6).run(source())
    next(batches)
    assert made[1].wait(20)
    assert not made[2].wait(0.2)
    assert [len(batch.rows) for batch in batches] == [5, 3]


def test_what_tokenising_raises_reaches_the_caller_with_its_message(model, texts):
    bad = [*texts[:4], "  ", *texts[4:]]
    batches = Prefill(model, 10**6).run(
        Renderer(TOKENIZER).chunks([f"p{i}" for i in range(len(bad))], bad, 2)
    )
    assert [sorted(next(batches).rows) for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(DataError, match=r"^prompt 'p4': the question is empty$"):
        next(batches)
