"""What the machine offers to scoring: its fastest exact-enough dtype and a token budget."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch

from gainrl.models.loading import device, hidden_size

CPU_BYTES = 4096
GPU_TOKENS = 65536
"""More gains nothing: a CPU's caches are full (1024 tokens of fp32, 2048 of bf16 were the best
of 256 to 4096), a GPU's matrix units are busy."""
GPU_SHARE = 0.3
"""Of the GPU's memory for activations; weights, the prefix's cache and fragmentation need room."""
SMALL = 512
"""Hidden sizes below this are scored in fp32: bf16 gains nothing there and blurs the order."""

KEPT = 1 << 30
"""Bytes that a process keeps for itself after it has freed them, and the largest such block."""


def keep_freed_memory() -> None:
    """Have the C library reuse freed memory, where it is glibc; numbers do not depend on it.

    Else large tensors come fresh from the system again and again, which clears them page by page.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries lack it
    if mallopt is None:
        return
    trim, largest = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    mallopt(trim, KEPT)
    if not mallopt(largest, KEPT):
        mallopt(largest, 32 << 20)  # the most that older versions take


def scoring_dtype(setting: str, folder: Path) -> str:
    """The dtype's name; 'auto' is bf16 where the hardware multiplies it faster, else fp32.

    bf16 keeps the order of SmolLM2-135M on GSM8K at a rank correlation above .997 with fp32
    (benchmarks/score.py prints it).
    """
    if setting != "auto":
        return setting
    if hidden_size(folder) < SMALL:
        return "float32"
    if device().type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    features = torch.cpu.get_capabilities()
    return "bfloat16" if features.get("avx512_bf16") or features.get("amx_bf16") else "float32"


def token_budget(setting: int | str, model: Any) -> int:
    """Question tokens a batch; 'auto' goes by the device's whole memory, not by what is free now.

    So that a job that is repeated on the same kind of machine makes the same batches.
    """
    if isinstance(setting, int):
        return setting
    parameter = next(model.parameters())
    if parameter.device.type != "cuda":
        return CPU_BYTES // parameter.element_size()
    config = model.config.get_text_config()
    wide = 12 * config.hidden_size + 3 * getattr(config, "intermediate_size", config.hidden_size)
    total = torch.cuda.get_device_properties(parameter.device).total_memory
    return max(1024, min(GPU_TOKENS, int(GPU_SHARE * total / (wide * parameter.element_size()))))
