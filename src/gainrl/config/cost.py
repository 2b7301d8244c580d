"""The preset's `cost`: what the estimate of GPU-hours (`snakemake plan`) assumes. No torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from gainrl.config.base import Positive, Section

Fraction = Annotated[float, Field(ge=0.001, le=1)]
FromOne = Annotated[float, Field(ge=1)]


class Assumptions(Section):
    """The throughput and lengths that an estimate rests on; none of them is measured here."""

    model_config = ConfigDict(allow_inf_nan=False)

    peak_tflops: FromOne = 312.0
    """Dense bf16 peak of a GPU, 1e12 FLOP/s (A100: 312, H100 SXM: 989)."""
    memory_gb_per_s: FromOne = 2039.0
    """Its memory bandwidth, 1e9 bytes/s (A100 80GB: 2039, H100 SXM: 3350)."""
    train_mfu: Fraction = 0.35
    """Share of the peak that an update reaches, over the FLOP done, recomputation included."""
    forward_mfu: Fraction = 0.40
    """Share of the peak in passes without gradients, prefill, compute-bound decoding."""
    decode_efficiency: Fraction = 0.5
    """Share of the memory bandwidth that decoding reaches."""
    decode_batch: Positive = 128
    """Most sequences that a GPU decodes together."""
    response_share: Fraction = 0.3
    """Mean response length of rollouts over training.max_response."""
    evaluation_share: Fraction = 0.3
    """Mean response length of tests over their max_response."""
    prompt_tokens: FromOne = 200.0
    """Mean length of a prompt; each rollout prefills its own copy."""
    recompute: bool = True
    """Gradient checkpointing: a second forward, so an update costs 8 P, not 6 P, per token."""
    overhead_seconds: float = Field(default=15.0, ge=0)
    """A step's weight sync, reward and scheduling, whatever the number of GPUs."""
