"""Eq. 4 of "Angles Don't Lie" for real layers, and Eq. 5 from inner products of a longer prefix."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gainrl.signals.concentration import Products, from_products
from gainrl.signals.taps import tapped

LAYERS = {
    "up_proj": "model.layers.1.mlp.up_proj",
    "q_proj": "model.layers.1.self_attn.q_proj",
    "first q_proj": "model.layers.0.self_attn.q_proj",
    "lm_head": "lm_head",
}
TAPS = {"up_proj": "up_proj_input", "lm_head": "post_norm"}


def cosines(x):
    norms = np.linalg.norm(x, axis=1)
    return (x @ x.T) / np.outer(norms, norms)


# --- Eq. 4 ---------------------------------------------------------------------------------------


def build(dtype):
    config = LlamaConfig(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=dtype) * 0.3)
    return model


def grpo_loss(logits, tokens, n_prompt):
    """Clipped ratios of four answers to one prompt, two of them right."""
    logs = logits[:, n_prompt - 1 : -1].log_softmax(-1)
    logs = logs.gather(-1, tokens[:, n_prompt:, None]).squeeze(-1)
    generator = torch.Generator().manual_seed(2)
    drift = 0.3 * torch.randn(logs.shape, generator=generator, dtype=logs.dtype)
    ratio = (logs - logs.detach() + drift).exp()
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=logs.dtype)[:, None]
    return -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_norm_is_the_double_sum_over_angles(name, dtype, tolerance):
    """|dL/dW|^2 = sum_ij |x_i| |x_j| cos(theta_ij) <g_i, g_j> over the tokens of all answers."""
    model = build(dtype)
    layer = model.get_submodule(LAYERS[name])
    found = {}

    def keep(_module, inputs, output):
        output.retain_grad()
        found.update(x=inputs[0].detach(), output=output)

    layer.register_forward_hook(keep)
    tokens = torch.randint(60, (4, 18), generator=torch.Generator().manual_seed(3))
    tokens[:, :11] = tokens[0, :11]
    taps = [TAPS[name]] if name in TAPS else []
    with tapped(model, taps) as states:
        loss = grpo_loss(model(input_ids=tokens).logits, tokens, n_prompt=11)
    loss.backward()
    for tap in taps:  # the signal is taken over this very x
        assert torch.equal(states[tap], found["x"])
    x = found["x"].double().flatten(0, 1).numpy()
    g = found["output"].grad.double().flatten(0, 1).numpy()
    norms = np.linalg.norm(x, axis=1)
    double_sum = (np.outer(norms, norms) * cosines(x) * (g @ g.T)).sum()
    squared = float(layer.weight.grad.double().square().sum())
    assert squared > 1e-4
    assert double_sum == pytest.approx(squared, rel=tolerance)
    diagonal = (norms**2 * (g * g).sum(1)).sum()
    assert abs(diagonal / squared - 1) > 0.01  # the angles between tokens do count


# --- Eq. 5 of a shorter prefix --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_products_of_a_longer_prefix_give_the_signal_of_a_shorter_one(seed):
    draw = np.random.default_rng(seed)
    p, extra = int(draw.integers(1, 9)), int(draw.integers(0, 4))
    prefix = draw.normal(size=(p + extra, 5)) + 0.5
    prefix /= np.linalg.norm(prefix, axis=1)[:, None]
    wholes = [
        np.concatenate([prefix[:p], draw.normal(size=(size, 5))])
        for size in draw.integers(1, 7, size=3)
    ]
    sums = np.stack([sum(x / np.linalg.norm(x) for x in whole[p:]) for whole in wholes])
    sizes = np.array([len(whole) - p for whole in wholes])
    products = Products((sums**2).sum(1), sums @ prefix[:p].T, sizes)
    for n in range(1, p + 1):
        found = from_products(products, prefix @ prefix.T, n)
        parts = (found.intra, found.inter, found.intra_offdiagonal)
        for whole, got in zip(wholes, zip(*parts, strict=True), strict=True):
            cos = cosines(whole)
            off = ~np.eye(len(whole) - n, dtype=bool)
            rest = cos[n:, n:][off].mean() if off.any() else 0.0
            want = (cos[n:, n:].mean(), cos[n:, :n].mean(), rest)
            np.testing.assert_allclose(got, want, atol=1e-12, rtol=0)
    for n in (0, -1, p + 1):
        with pytest.raises(ValueError, match=f"prefix of {n} tokens, products for 1 to {p}"):
            from_products(products, prefix @ prefix.T, n)
