"""Checkpoints that are not the whole, plain, finite weights of the model they name."""

import pickle
import re

import pytest
import torch
from given_models import SIZES, built, configure, in_bin, rewrite, save

from gainrl.errors import ModelError
from gainrl.models.loading import check_model, load_model
from gainrl.stages.prepare import weights_digest


def without(part):
    return lambda weights: {name: each for name, each in weights.items() if part not in name}


def prefixed(prefix):
    return lambda weights: {prefix + name: each for name, each in weights.items()}


def with_one(name, *shape):
    return lambda weights: {**weights, name: torch.ones(shape)}


def filled(part, value):
    return lambda weights: {
        name: torch.full_like(each, value) if part in name else each
        for name, each in weights.items()
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("lm_head"), "lacks 'lm_head.weight', which would be drawn at random"),
        (without("model.norm"), "lacks 'model.norm.weight'"),
        (without("layers.1."), "lacks 9 weights (model.layers.1.input_layernorm.weight, "),
        (prefixed("module."), "has 21 weights (module.lm_head.weight, "),
        (prefixed("_orig_mod."), "has 21 weights (_orig_mod.lm_head.weight, "),
        (with_one("model.norm.bias", 32), "no place for 'model.norm.bias'"),
        (with_one("model.layers.2.mlp.up_proj.weight", 48, 32), "no place for 'model.layers.2."),
        (
            lambda weights: {**weights, "lm_head.weight": weights["lm_head.weight"][1:].clone()},
            "not of config.json's shape: 'lm_head.weight [",
        ),
    ],
    ids=["head", "norm", "layer", "module", "compiled", "bias", "more layers", "shape"],
)
def test_weights_that_are_not_the_models_are_refused(tmp_path, capfd, change, message):
    given = rewrite(save(tmp_path / "given"), change)
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        built(given, tmp_path / "results")
    assert str(given) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "results").rglob("config.json"))
    with pytest.raises(ModelError, match=re.escape(message)):
        load_model(given)
    assert capfd.readouterr().err == ""


def test_experts_that_are_not_all_there_are_refused(tmp_path, capfd):
    given = save(tmp_path / "given", "mixtral", num_local_experts=2)
    rewrite(given, without("layers.0.block_sparse_moe.experts.1.w1"))
    with pytest.raises(ModelError, match=r"given: .* some weights are missing"):
        check_model(given)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("stored", ["the embedding", "both"])
def test_a_tied_head_is_not_missing(tmp_path, stored):
    given = save(tmp_path / "given", tie_word_embeddings=True)
    if stored == "both":
        rewrite(given, lambda w: {**w, "lm_head.weight": w["model.embed_tokens.weight"].clone()})
    assert check_model(given) == []
    model = load_model(built(given, tmp_path / "results"))
    torch.testing.assert_close(model.lm_head.weight, model.model.embed_tokens.weight)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_tied_model_without_its_embedding_is_refused(tmp_path, shards):
    given = save(tmp_path / "given", tie_word_embeddings=True)
    in_bin(rewrite(given, without("embed_tokens")), shards)
    with pytest.raises(ModelError, match="lacks 2 weights"):
        check_model(given)


def test_what_no_part_of_the_model_has_is_said(tmp_path, capsys):
    """A value head is not the language model's; constants of old versions are not weights."""
    given = rewrite(save(tmp_path / "given"), with_one("v_head.summary.weight", 1, 32))
    rewrite(given, with_one("model.layers.0.self_attn.rotary_emb.inv_freq", 8))
    built(given, tmp_path / "results")
    assert (
        "1 weights are not the language model's: v_head.summary.weight" in capsys.readouterr().out
    )


def test_masks_that_old_versions_stored_are_not_weights(tmp_path):
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2}
    given = save(tmp_path / "given", "gpt2", **sizes)
    rewrite(given, with_one("transformer.h.0.attn.masked_bias", 1))
    assert check_model(given) == []


def test_layers_for_multi_token_prediction_are_not_missed(tmp_path, capsys):
    extra = with_one(f"model.layers.{SIZES['num_hidden_layers']}.eh_proj.weight", 4, 4)
    given = rewrite(save(tmp_path / "given", num_nextn_predict_layers=1), extra)
    assert check_model(given) == ["model.layers.2.eh_proj.weight"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("shards", [0, 1, 3])
def test_weights_that_are_not_finite_are_named(tmp_path, value, shards):
    given = rewrite(save(tmp_path / "given"), filled("layers.1.mlp.up_proj", value))
    if shards:
        in_bin(given, shards)
    with pytest.raises(ModelError, match=r"'model\.layers\.1\.mlp\.up_proj\.weight' is not finite"):
        built(given, tmp_path / "results")


def test_one_value_that_is_not_finite_is_found_in_bfloat16(tmp_path):
    def change(weights):
        weights = {name: each.bfloat16() for name, each in weights.items()}
        weights["model.embed_tokens.weight"][-1, -1] = float("nan")
        return weights

    with pytest.raises(ModelError, match=r"embed_tokens\.weight' is not finite"):
        check_model(rewrite(save(tmp_path / "given"), change))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
        ({"quantization_config": {"load_in_4bit": True}}, "bitsandbytes"),
        ({"compression_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"text_config": {"quantization_config": {"quant_method": "gptq"}}}, "gptq"),
    ],
    ids=["awq", "fp8", "bitsandbytes", "compressed", "nested"],
)
def test_quantised_folders_are_refused_by_name(tmp_path, changes, name):
    given = configure(save(tmp_path / "given"), **changes)
    with pytest.raises(ModelError, match=rf"given: .* quantised \({name}\).* unquantised"):
        built(given, tmp_path / "results")


def test_a_quantisers_note_beside_the_configuration_is_read(tmp_path):
    (save(tmp_path / "given") / "quantize_config.json").write_text('{"bits": 4}')
    with pytest.raises(ModelError, match=r"quantised \(gptq\)"):
        check_model(tmp_path / "given")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
def test_eight_bits_without_a_word_in_the_configuration(tmp_path, dtype):
    """transformers would take them for the weights themselves, without their scales."""
    name = "model.layers.0.mlp.up_proj.weight"
    given = rewrite(save(tmp_path / "given"), lambda w: {**w, name: w[name].to(dtype)})
    with pytest.raises(ModelError, match=rf"'{name}' is quantised"):
        check_model(given)


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.bin"])
@pytest.mark.parametrize("alone", [True, False])
def test_an_adapter_is_refused(tmp_path, file, alone):
    given = save(tmp_path / "given")
    (given / file).write_text('{"peft_type": "LORA", "base_model_name_or_path": "some/base"}')
    if alone:
        (given / "config.json").unlink()
        (given / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"given: holds an adapter.*merge_and_unload"):
        built(given, tmp_path / "results")


def test_other_weights_in_bin_files_have_another_hash(tmp_path):
    found = {
        weights_digest(built(in_bin(save(tmp_path / f"{seed}{n}", seed=seed), n), tmp_path / "x"))
        for seed in (0, 1)
        for n in (1, 3)
    }
    assert len(found) == 4


def test_a_folder_without_weights_is_refused(tmp_path):
    (save(tmp_path / "given") / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="given: "):
        built(tmp_path / "given", tmp_path / "results")


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps(object)])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_weights_are_refused(tmp_path, name, content):
    given = save(tmp_path / "given")
    (given / "model.safetensors").unlink()
    (given / name).write_bytes(content)
    with pytest.raises(ModelError, match="given"):
        check_model(given)


def test_a_mask_of_older_versions_may_be_infinite(tmp_path):
    folder = save(tmp_path / "given")
    mask = {"model.layers.0.attn.masked_bias": torch.tensor(float("-inf"))}
    check_model(rewrite(folder, lambda weights: weights | mask))


def test_an_adapter_in_the_same_file_is_refused(tmp_path):
    adapter = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(4, 32)}
    folder = rewrite(save(tmp_path / "given"), lambda weights: weights | adapter)
    with pytest.raises(ModelError, match=r"lora_A\.weight' of an adapter would be left out"):
        check_model(folder)
