"""Decoding with a cache that has room gives what transformers' own cache and attention give."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, MistralConfig
from transformers.cache_utils import DynamicLayer

from gainrl.models import stepping
from gainrl.models.decoding import ATTENTION, ROOM, RoomyLayer, fast_decoding, roomy_cache
from gainrl.models.sampling import Sampling, generate

pytestmark = pytest.mark.usefixtures("one_thread")
STATES = torch.arange(120.0).view(2, 3, 5, 4)
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14]]


def llama(key_heads):
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=key_heads,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def sample(model, tokens, end=1):
    draws = torch.Generator().manual_seed(3)
    sampling = Sampling(1.0, 1.0, tokens)
    return generate(model, PROMPTS, 2, sampling, draws, ends=frozenset({end}), pad=0)


@pytest.mark.parametrize("key_heads", [1, 2, 6])
def test_the_same_tokens_as_with_transformers_own_cache(key_heads, monkeypatch):
    model = llama(key_heads)
    end = sample(model, 30, end=-1)[0][20]
    ours = sample(model, ROOM + 40, end)
    monkeypatch.setattr(stepping, "roomy_cache", lambda config: DynamicCache(config=config))
    monkeypatch.setattr(stepping, "fast_decoding", lambda model: nullcontext())
    assert sample(model, ROOM + 40, end) == ours
    assert max(map(len, ours)) == ROOM + 40  # the buffers grew
    assert min(map(len, ours)) < ROOM  # and rows left on the way


def test_keys_and_values_are_views_until_the_room_is_used_up():
    layer = RoomyLayer()
    states = torch.randn(2, 3, 5, 4)
    layer.update(states, states)
    buffer = layer.buffers[0]
    for _ in range(ROOM):
        layer.update(states[:, :, :1], states[:, :, :1])
    assert layer.buffers[0] is buffer
    layer.update(states[:, :, :1], states[:, :, :1])
    assert layer.buffers[0] is not buffer
    assert layer.get_seq_length() == ROOM + 6
    assert torch.equal(layer.keys[:, :, :5], states)


def test_rows_that_are_repeated_or_kept_keep_their_room():
    layer, plain = RoomyLayer(), DynamicLayer()
    for each in (layer, plain):
        each.update(STATES, -STATES)
        each.batch_repeat_interleave(3)
        each.batch_select_indices(torch.tensor([0, 2, 5]))
    buffer = layer.buffers[0]
    more = STATES.repeat_interleave(3, 0)[:3, :, :1]
    for each in (layer, plain):
        each.update(more, -more)
    assert layer.buffers[0] is buffer
    assert torch.equal(layer.keys, plain.keys)
    assert torch.equal(layer.values, plain.values)


def test_attention_is_as_it_was_afterwards():
    model = llama(2)
    seen = []

    def fail():
        with fast_decoding(model):
            seen.append(model.config._attn_implementation)
            raise RuntimeError("in the block")

    with pytest.raises(RuntimeError, match="in the block"):
        fail()
    assert seen == [ATTENTION]
    assert model.config._attn_implementation == "sdpa"


def test_windowed_layers_keep_their_own_cache():
    config = MistralConfig(num_hidden_layers=2, sliding_window=8)
    assert not any(isinstance(layer, RoomyLayer) for layer in roomy_cache(config).layers)
