"""The preset's `cost`: what the estimate of GPU-hours (`snakemake plan`) assumes. No torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from gainrl.config.base import Positive, Section

Fraction = Annotated[float, Field(ge=0.001, le=1)]
FromOne = Annotated[float, Field(ge=1)]


class Assumptions(Section):
    """The throughput and lengths that an estimate rests on; none of them is measured here.

    peak_tflops: dense bf16 peak of a GPU, 1e12 FLOP/s (A100: 312, H100 SXM: 989).
    memory_gb_per_s: its memory bandwidth, 1e9 bytes/s (A100 80GB: 2039, H100 SXM: 3350).
    train_mfu: share of the peak that an update reaches, over the FLOP done, recomputation included.
    forward_mfu: share of the peak in passes without gradients, prefill, compute-bound decoding.
    decode_efficiency: share of the memory bandwidth that decoding reaches.
    decode_batch: most sequences that a GPU decodes together.
    response_share, evaluation_share: mean response length over max_response, in rollouts and tests.
    prompt_tokens: mean length of a prompt; each rollout prefills its own copy.
    recompute: gradient checkpointing: a second forward, so an update costs 8 P, not 6 P, per token.
    overhead_seconds: a step's weight sync, reward and scheduling, whatever the number of GPUs.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    peak_tflops: FromOne = 312.0
    memory_gb_per_s: FromOne = 2039.0
    train_mfu: Fraction = 0.35
    forward_mfu: Fraction = 0.40
    decode_efficiency: Fraction = 0.5
    decode_batch: Positive = 128
    response_share: Fraction = 0.3
    evaluation_share: Fraction = 0.3
    prompt_tokens: FromOne = 200.0
    recompute: bool = True
    overhead_seconds: float = Field(default=15.0, ge=0)
