"""Models of all builds are scored, trained and decoded as what they are, or refused in a line."""

import copy
import re

import numpy as np
import pytest
import torch
from architectures import KINDS, plain, plain_log_probabilities, tiny

from gainrl.config.models import Warmup, WarmupPhase
from gainrl.data.prompts import Chunk, Prompts
from gainrl.errors import ModelError
from gainrl.models import stepping
from gainrl.models.extrapolated import Extrapolated
from gainrl.models.loading import load_model
from gainrl.models.sampling import Sampling, generate
from gainrl.signals.layers import core_neurons, layer_profile
from gainrl.signals.prefill import Prefill, gather
from gainrl.signals.shared_prefix import reach
from gainrl.training.layout import row_tokens_for
from gainrl.training.packing import (
    ALONE,
    Suffix,
    log_probabilities,
    micro_batches,
    pack,
    split_rows,
)
from gainrl.training.supervised import train_supervised

pytestmark = pytest.mark.usefixtures("one_thread")

PAD, SUFFIX, PREFIX = 0, 2, 9
RNG = np.random.default_rng(5)
COMMON = RNG.integers(2, 250, PREFIX).tolist()
PROMPTS = [[*COMMON, *RNG.integers(2, 250, n).tolist(), 3, 4] for n in (4, 17, 8, 17, 31)]
RESPONSES = [RNG.integers(2, 250, n).tolist() for n in (3, 25, 9, 1)]
WAYS = {
    # how it is scored, trained and decoded
    "llama": ("packed", "packed", "fast"),
    "window": ("padded", "alone", "fast"),
    "wide window": ("padded", "packed", "fast"),
    "windows in some layers": ("padded", "alone", "fast"),
    "nested": ("padded", "alone", "fast"),
    "caps": ("padded", "alone", "fast"),
    "scales": ("packed", "alone", "fast"),
    "scaled head": ("packed", "alone", "fast"),
    "own attention": ("padded", "packed", "fast"),
    "own attention too": ("padded", "packed", "fast"),
    "sinks": ("padded", "alone", "fast"),
    "other names": ("packed", "packed", "fast"),
    "leaks with sdpa": ("padded", "alone", "fast"),
    "own cache": ("plain", "alone", "whole"),
    "state space": ("plain", "alone", "fast"),
    "convolution": ("plain", "alone", "fast"),
    "hybrid": ("plain", "alone", "fast"),
}
every = pytest.mark.parametrize("name", KINDS)


def refused(call):
    with pytest.raises(ModelError) as caught:
        call()
    assert re.match(r"model type '\w+'", str(caught.value))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def scored(model, budget=60, **options):
    prefill = Prefill(model, budget, **options)
    chunk = Chunk(0, PROMPTS, np.full(len(PROMPTS), SUFFIX))
    found = list(prefill.run([chunk]))
    return gather([str(i) for i in range(len(PROMPTS))], found, prefill.gram, PREFIX), prefill.path


@every
def test_scores_equal_eq_5_of_single_whole_prompts(name, capsys):
    model = tiny(name)
    frame, path = scored(model)
    assert path == WAYS[name][0]
    assert ("each prompt is run whole" in capsys.readouterr().err) == (path == "plain")
    for i, row in enumerate(PROMPTS):
        with torch.no_grad():
            states = torch.nn.functional.normalize(plain(model, row)[1].double(), dim=-1)
        cosines, end = states @ states.T, len(row) - SUFFIX
        wanted = cosines[PREFIX:end, PREFIX:end].mean(), cosines[PREFIX:end, :PREFIX].mean()
        got = frame.loc[i, ["c_intra", "c_inter"]].astype(float)
        np.testing.assert_allclose(got, [float(value) for value in wanted], atol=2e-6)


def longest():
    return max(map(len, PROMPTS)) + max(map(len, RESPONSES))


@every
def test_trained_log_probabilities_and_gradients_equal_those_of_single_sequences(name, capsys):
    model = tiny(name)
    row_tokens = row_tokens_for(model, 200, PROMPTS, longest(), PAD)
    assert ("alone" if row_tokens == ALONE else "packed") == WAYS[name][1]
    assert ("one sequence a row" in capsys.readouterr().err) == (row_tokens == ALONE)
    rows = []
    for i in (1, 4):
        suffixes = [Suffix(10 * i + k, each, k) for k, each in enumerate(RESPONSES)]
        rows += split_rows(PROMPTS[i], suffixes, row_tokens, i)
    weighted = wanted = torch.zeros(())
    for batch in micro_batches(rows, 300):
        packed = pack(batch, PAD)
        found, _ = log_probabilities(model, packed)
        weighted = weighted + (found * (packed.suffix + 1)).sum()
        for k in sorted(set(packed.suffix.tolist())):
            response = RESPONSES[k % 10]
            alone = plain_log_probabilities(model, PROMPTS[k // 10], response)[k % 10 :]
            torch.testing.assert_close(found[packed.suffix == k], alone, atol=1e-4, rtol=0)
            wanted = wanted + (alone * (k + 1)).sum()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    ours, theirs = (
        torch.autograd.grad(each, weights, allow_unused=True) for each in (weighted, wanted)
    )
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if b is not None]
    gap = sum((a - b).square().sum() for a, b in pairs) / sum(b.square().sum() for _, b in pairs)
    assert float(gap) < 1e-8


@every
def test_greedy_answers_equal_those_of_whole_passes(name, capsys):
    """Past the window, with prompts of several lengths, and rows that leave the batch."""
    model, ends = tiny(name), frozenset(range(5, 25))
    prompts = [row[:-SUFFIX] for row in PROMPTS[:3]]
    found = generate(
        model, prompts, 2, Sampling(0.0, 1.0, 16), torch.Generator(), ends=ends, pad=PAD
    )
    assert stepping.TRIED[model] == WAYS[name][2]
    assert ("without a cache" in capsys.readouterr().err) == (WAYS[name][2] == "whole")
    for i, prompt in enumerate(prompts):
        row = list(prompt)
        while len(row) < len(prompt) + 16 and (row == prompt or row[-1] not in ends):
            with torch.no_grad():
                row.append(int(plain(model, row)[0][-1].argmax()))
        assert found[2 * i] == found[2 * i + 1] == row[len(prompt) :]


@pytest.mark.parametrize("name", ["llama", "window", "caps", "scales", "scaled head", "hybrid"])
def test_the_loss_of_a_warm_up_is_that_of_the_model_itself(name):
    model = tiny(name)
    start = copy.deepcopy(model)
    suffixes = [Suffix(i, [*row[PREFIX:], 1], 3) for i, row in enumerate(PROMPTS)]
    phase = WarmupPhase(datasets=["none"], steps=1, batch=len(PROMPTS), lr=1e-3)
    losses = []
    train_supervised(
        model,
        [(COMMON, suffixes)],
        Warmup(phases=[phase], row_tokens=100),
        pad=PAD,
        report=lambda step: losses.append(step.loss),
    )
    with torch.no_grad():
        each = [
            plain_log_probabilities(
                start, [*COMMON, *row[PREFIX : PREFIX + 3]], [*row[PREFIX + 3 :], 1]
            )
            for row in PROMPTS
        ]
    assert losses == [pytest.approx(-float(torch.cat(each).mean()), rel=1e-4)]


def test_dropout_in_a_warm_up_is_drawn_from_its_seed():
    suffixes = [Suffix(i, [*row[PREFIX:], 1]) for i, row in enumerate(PROMPTS)]
    phase = WarmupPhase(datasets=["none"], steps=3, batch=2, lr=1e-3)

    def losses(seed):
        found, model = [], tiny("other names", resid_pdrop=0.3)
        train_supervised(
            model,
            [(COMMON, suffixes)],
            Warmup(phases=[phase], seed=seed),
            pad=PAD,
            report=lambda step: found.append(step.loss),
        )
        return found

    torch.manual_seed(1)
    first = losses(4)
    torch.manual_seed(2)
    assert losses(4) == first != losses(5)


@pytest.mark.parametrize("name", ["state space", "own cache"])
def test_two_models_as_one_answer_what_whole_passes_of_both_give(name):
    first, second = tiny(name), tiny(name)
    with torch.no_grad():
        second.lm_head.weight.add_(second.lm_head.weight.roll(1, 0) * 0.3)
    model, prompts = Extrapolated(first, second, 2.0), [row[:-SUFFIX] for row in PROMPTS[:2]]
    sampling, ends = Sampling(0.0, 1.0, 8), frozenset({1})
    found = generate(model, prompts, 1, sampling, torch.Generator(), ends=ends, pad=PAD)
    for prompt, answer in zip(prompts, found, strict=True):
        row = list(prompt)
        while len(row) < len(prompt) + len(answer):
            with torch.no_grad():
                mixed = torch.lerp(plain(first, row)[0][-1], plain(second, row)[0][-1], 2.0)
            row.append(int(mixed.argmax()))
        assert answer == row[len(prompt) :]


# --- what trying out does, and does not ----------------------------------------------------------


def test_trying_out_leaves_a_model_and_random_states_as_they_are():
    model = tiny("hybrid").train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    row_tokens_for(model, 200, PROMPTS, longest(), PAD)
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(weight.grad is None for weight in model.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize(("options", "tokens"), [
    ({"sliding_window": 60}, 60),
    ({"sliding_window": 60, "layer_types": ["full_attention"] * 2}, float("inf")),
])  # fmt: skip
def test_how_far_attention_is_plain(options, tokens):
    model = tiny("window")
    for key, value in options.items():
        setattr(model.config, key, value)
    assert reach(model) == tokens
    assert (row_tokens_for(model, 200, PROMPTS, 61, PAD) == ALONE) == (tokens == 60)
    assert row_tokens_for(model, 200, PROMPTS, 12, PAD) == 200


def test_rotary_embeddings_that_depend_on_the_batch_are_refused_where_they_do():
    short, long = [1.0] * 4, [3.0] * 4
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": short, "long_factor": long}
    model = tiny("rope by length", rope_parameters=rope, original_max_position_embeddings=32)
    assert reach(model) == 32
    assert row_tokens_for(model, 200, PROMPTS, 32, PAD) == 200
    assert "padding" in refused(lambda: row_tokens_for(model, 200, PROMPTS, 40, PAD))
    assert "beyond 32 tokens" in refused(lambda: scored(model))


def test_every_shard_takes_the_same_path(capsys):
    """Each tries it out on the same prompts, whatever it scores itself."""
    model, found = tiny("own attention"), []
    for shard in (0, 1):
        prefill = Prefill(model, 30)
        chunk = Chunk(0, PROMPTS, np.full(len(PROMPTS), SUFFIX))
        found += list(prefill.run([chunk], lambda number, shard=shard: sum(number) % 2 == shard))
        assert prefill.path == "padded"
    whole, _ = scored(model, 30)
    frame = gather([str(i) for i in range(len(PROMPTS))], found, prefill.gram, PREFIX)
    assert frame.equals(whole)


@pytest.mark.parametrize("name", ["sinks", "leaks with sdpa", "state space", "caps", "llama"])
def test_a_folder_is_loaded_with_the_attention_that_is_right(name, tmp_path):
    tiny(name).save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config._attn_implementation == ("sdpa" if name == "llama" else "eager")
    with torch.no_grad():
        whole, part = plain(loaded, PROMPTS[3])[0], plain(loaded, PROMPTS[3][:10])[0]
    torch.testing.assert_close(whole[:10], part, atol=1e-4, rtol=0)


# --- refused, in one line ------------------------------------------------------------------------


def test_a_model_that_sees_later_tokens_is_refused():
    model = tiny("leaks with sdpa", "sdpa")
    assert "depend on what follows" in refused(lambda: scored(model))
    assert "padding after a sequence" in refused(
        lambda: row_tokens_for(model, 200, PROMPTS, longest(), PAD)
    )


def test_a_model_that_gives_nan_is_refused():
    model = tiny("llama")
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    sampling = Sampling(0.0, 1.0, 4)
    for call in (
        lambda: scored(model),
        lambda: row_tokens_for(model, 200, PROMPTS, longest(), PAD),
        lambda: generate(model, PROMPTS, 1, sampling, torch.Generator(), ends=frozenset(), pad=PAD),
    ):
        assert "NaN" in refused(call)


@pytest.mark.parametrize("error", [TypeError("no\nsuch"), IndexError("x"), RuntimeError("y")])
def test_what_a_forward_pass_raises_is_a_line_with_the_model_type(error, monkeypatch):
    model = tiny("llama")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(model.model.layers[0].mlp, "forward", fail)
    for call in (
        lambda: scored(model),
        lambda: row_tokens_for(model, 200, PROMPTS, longest(), PAD),
        lambda: generate(
            model, PROMPTS, 1, Sampling(0, 1, 4), torch.Generator(), ends=frozenset(), pad=0
        ),
    ):
        assert type(error).__name__ in refused(call)


def test_too_little_memory_is_not_taken_for_another_build(monkeypatch):
    model = tiny("llama")

    def fail(*_, **__):
        raise torch.OutOfMemoryError("none left")

    monkeypatch.setattr(model.model.layers[0].mlp, "forward", fail)
    with pytest.raises(torch.OutOfMemoryError):
        scored(model)


def test_a_place_that_an_architecture_lacks_is_named():
    assert "'mlp'" in refused(lambda: scored(tiny("state space"), taps=("up_proj_input",)))
    assert "'up_proj'" in refused(lambda: scored(tiny("other names"), taps=("up_proj_input",)))


def test_figures_of_layers_and_neurons_name_what_is_missing():
    prompts = Prompts(["a"], PROMPTS[:1], PREFIX, np.array([SUFFIX]))
    for name in ("state space", "other names", "convolution"):
        refused(lambda name=name: core_neurons(tiny(name), prompts))
        assert len(layer_profile(tiny(name), prompts)) == 3
