"""Sizes of models: published counts, counts by transformers, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import transformers

from gainrl.config.models import HubModel, LocalModel, Nano, PackagedGguf
from gainrl.errors import ModelError
from gainrl.models import nano, shapes
from gainrl.models.shapes import KNOWN, architecture

PUBLISHED = {
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-Math-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-Math-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-Coder-3B-Instruct": 3_085_938_688,
    "Qwen/Qwen2.5-Math-7B": 7_615_616_512,
    "Qwen/Qwen2.5-Math-7B-Instruct": 7_615_616_512,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
}
"""Parameters as the hub shows them, from the models' safetensors files."""


def counted(config):
    """Parameters of a model that is built without memory."""
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    return sum(weights.numel() for weights in model.parameters())


@pytest.mark.parametrize("name", KNOWN)
def test_known_models_have_their_published_size(name):
    assert architecture(HubModel(source="hub", id=name), "m").parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", sorted({id(a): name for name, a in KNOWN.items()}.values()))
def test_transformers_counts_the_same(name):
    known = KNOWN[name]
    kind = transformers.Qwen2Config if known.bias else transformers.LlamaConfig
    config = kind(
        num_hidden_layers=known.layers,
        hidden_size=known.hidden,
        intermediate_size=known.feed_forward,
        num_attention_heads=known.heads,
        num_key_value_heads=known.kv_heads,
        vocab_size=known.vocabulary,
        tie_word_embeddings=known.tied,
    )
    assert counted(config) == known.parameters


def test_a_nano_model_is_counted_from_its_keys():
    spec = Nano(source="nano", hidden=48, layers=2, heads=3, feed_forward=80)
    built = nano.build_model(spec, len(nano.build_tokenizer()))
    found = architecture(spec, "nano")
    assert found.parameters == sum(weights.numel() for weights in built.parameters())
    assert (found.layers, found.hidden, found.kv_width) == (2, 48, 48)
    assert found.vocabulary == built.config.vocab_size


def test_the_packaged_model_is_smollm2():
    found = architecture(PackagedGguf(source="smollm2_gguf"), "m")
    assert found == KNOWN["HuggingFaceTB/SmolLM2-135M-Instruct"]


# --- from a config.json --------------------------------------------------------------------------


def small(kind, **more):
    return transformers.AutoConfig.for_model(
        kind,
        num_hidden_layers=2,
        hidden_size=64,
        intermediate_size=96,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=120,
        pad_token_id=0,
        **more,
    )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", [*shapes.BIASED, *shapes.NORMED, *shapes.PLAIN])
def test_a_local_folder_is_counted_from_its_config(tmp_path, kind, tied):
    more = {"head_dim": 24} if kind in ("gemma", "llama", "mistral", "qwen3") else {}
    config = small(kind, tie_word_embeddings=tied, **more)
    config.save_pretrained(tmp_path)
    found = architecture(LocalModel(source="local", path=str(tmp_path)), "mine")
    assert found.parameters == counted(config)
    assert found.kv_width == 2 * more.get("head_dim", 16)


def test_a_folder_without_a_config(tmp_path):
    with pytest.raises(ModelError, match=rf"^models\.mine: {tmp_path}: has no config\.json$"):
        architecture(LocalModel(source="local", path=str(tmp_path)), "mine")


def test_a_damaged_config_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"^models\.mine: cannot read the config of .*") as caught:
        architecture(LocalModel(source="local", path=str(tmp_path)), "mine")
    assert "\n" not in str(caught.value)


def test_a_kind_that_cannot_be_counted_is_refused(tmp_path):
    transformers.GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"^models\.mine: '.*' is a 'gpt2', .*; known: .*llama"):
        architecture(LocalModel(source="local", path=str(tmp_path)), "mine")


def test_another_hub_model_is_asked_for(monkeypatch):
    asked = []

    def from_pretrained(source, revision):
        asked.append((source, revision))
        return small("llama")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", from_pretrained)
    found = architecture(HubModel(source="hub", id="some/one", revision="v2"), "mine")
    assert asked == [("some/one", "v2")]
    assert found.parameters == counted(small("llama"))


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    def from_pretrained(source, revision):
        raise OSError("We couldn't connect.\nCheck your internet connection")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", from_pretrained)
    with pytest.raises(ModelError) as caught:
        architecture(HubModel(source="hub", id="some/one"), "mine")
    words = "models.mine: cannot read the config of 'some/one': We couldn't connect."
    assert str(caught.value) == words


def test_known_models_need_neither_torch_nor_transformers():
    code = (
        "import sys; from gainrl.config.models import HubModel; from gainrl.models import shapes; "
        "shapes.architecture(HubModel(source='hub', id=sys.argv[1]), 'm'); "
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, next(iter(KNOWN))]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"
