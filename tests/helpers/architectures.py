"""Tiny models of several architectures, and what plain forward passes of single rows give."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

SIZES = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
WINDOW = {"sliding_window": 12}
MIXED = {"layer_types": ["linear_attention", "full_attention"]}
DELTA = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "head_dim": 8,
}
KINDS = {
    "llama": ("llama", {}),
    "window": ("mistral", WINDOW),
    "wide window": ("mistral", {"sliding_window": 200}),
    "windows in some layers": ("olmo3", WINDOW),
    "nested": ("gemma3", {}),
    "caps": ("gemma2", {"head_dim": 8, "sliding_window": 12, "attn_logit_softcapping": 2.0}),
    "scales": ("granite", {"logits_scaling": 8.0, "residual_multiplier": 0.3}),
    "scaled head": ("cohere", {"logit_scale": 0.0625}),
    "own attention": ("diffllama", {}),
    "own attention too": ("nemotron", {}),
    "sinks": (
        "gpt_oss",
        {**WINDOW, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
    ),
    "other names": ("gpt2", {"n_inner": 64}),
    "leaks with sdpa": ("doge", {"keep_window_size": 64}),
    "own cache": ("minimax", {**MIXED, "num_local_experts": 4, "head_dim": 8, "block_size": 8}),
    "state space": (
        "mamba2",
        {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 16},
    ),
    "convolution": ("lfm2", {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8}),
    "hybrid": ("qwen3_5_text", {**MIXED, **DELTA}),
}
"""Model types and their options, by what sets them apart."""


def config(name, **changes):
    kind, options = KINDS.get(name, ("phi3", {"sliding_window": None}))
    if kind == "gemma3":
        text = AutoConfig.for_model("gemma3_text", **SIZES, **WINDOW, head_dim=8)
        eyes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
        eyes |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
        return AutoConfig.for_model("gemma3", text_config=text.to_dict(), vision_config=eyes)
    return AutoConfig.for_model(kind, **{**SIZES, **options, **changes})


def tiny(name, attention=None, **changes):
    """Weights large enough for attention to matter."""
    chosen = config(name, **changes)
    eager = name in ("caps", "sinks", "leaks with sdpa", "state space")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = AutoModelForCausalLM.from_config(
            chosen, attn_implementation=attention or ("eager" if eager else "sdpa")
        ).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                scale = 1.2 / module.weight.shape[1] ** 0.5
                drawn = torch.randn(module.weight.shape, generator=generator)
                module.weight.copy_(drawn * scale)
    return model


def plain(model, tokens):
    """(L, V) logits and (L, d) last hidden states of one row, by the model's own forward pass."""
    found = model(input_ids=torch.tensor([tokens]), use_cache=False, output_hidden_states=True)
    return found.logits[0], found.hidden_states[-1][0]


def plain_log_probabilities(model, prompt, response):
    logits, _ = plain(model, [*prompt, *response])
    everything = torch.log_softmax(logits[len(prompt) - 1 : -1].float(), -1)
    return everything.gather(1, torch.tensor(response)[:, None]).squeeze(1)
