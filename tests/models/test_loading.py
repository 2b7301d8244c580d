"""Loading of model folders."""

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from gainrl.models.loading import load_model


@pytest.mark.parametrize(("cap", "attention"), [(2.0, "eager"), (None, "sdpa")])
def test_a_cap_on_attention_scores_is_kept(tmp_path, cap, attention):
    """sdpa would drop it without a word."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        attn_logit_softcapping=cap,
        initializer_range=0.5,
    )
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.config._attn_implementation == attention
    tokens = torch.arange(20)[None]
    with torch.inference_mode():
        given = model(tokens).logits
        model.set_attn_implementation("eager")
        exact = model(tokens).logits
    torch.testing.assert_close(given, exact, atol=1e-4, rtol=1e-4)
