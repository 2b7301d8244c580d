"""Bytes that training and serving a model take on a GPU, from its architecture alone. No torch.

Training is FSDP with fp32 master weights, gradients and AdamW's two moments, sharded over all GPUs;
layers run in bf16 with gradient checkpointing. Serving is vLLM with bf16 weights and KV cache.
Everything here is a least amount: fragmentation, buffers of communication and the CUDA contexts
come on top, so a GPU that has less cannot do it, and one that has just as much may not either.
"""

from __future__ import annotations

from gainrl.models.shapes import Architecture

GIB = 1 << 30
STATE = 16
"""Of a parameter in training: weight, gradient and AdamW's two moments, fp32."""
CHECKPOINT = 16
"""Of a parameter in a checkpoint: weight, AdamW's two moments, and the weight once more in a
Hugging Face folder, fp32."""
HALF = 2
"""Of a number in bf16."""


def training_states(model: Architecture, gpus: int, critic: bool = False) -> float:
    """Weights, gradients and moments on each of `gpus`; a critic has as many again."""
    return (2 if critic else 1) * STATE * model.parameters / gpus


def training_step(model: Architecture, tokens: int) -> float:
    """What a forward and backward pass over `tokens` needs beside the states, on each GPU.

    The hidden states that gradient checkpointing keeps; the layer that is run again, its gathered
    weights and their gradient; the gathered output head, logits and the gradient of both. All bf16.
    """
    tables = model.vocabulary * model.hidden
    heads = 1 if model.tied else 2
    layer = (model.parameters - heads * tables - model.hidden) / model.layers
    kept = model.layers * model.hidden * tokens
    widths = 8 * model.hidden + 2 * model.kv_width + 3 * model.feed_forward
    again = widths * tokens + 2 * layer
    output = 2 * (tables + tokens * model.vocabulary)
    return HALF * (kept + max(again, output))


def serving_weights(model: Architecture, tensor_parallel: int = 1) -> float:
    """vLLM's weights on each of the GPUs of a replica."""
    return HALF * model.parameters / tensor_parallel


def key_value_cache(model: Architecture, tokens: float, tensor_parallel: int = 1) -> float:
    """The cached keys and values of `tokens`, on each of the GPUs of a replica.

    Key-value heads are shared out; where there are fewer than GPUs, they are copied.
    """
    split = min(tensor_parallel, model.kv_heads)
    return HALF * 2 * model.layers * model.kv_width * tokens / split
