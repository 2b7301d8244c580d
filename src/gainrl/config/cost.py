"""The preset's `cost`: what the estimate of GPU-hours (`snakemake plan`) assumes. No torch."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, ConfigDict, Field

from gainrl.config.base import Absent, Name, Positive, Section

Fraction = Annotated[float, Field(ge=0.001, le=1)]
FromOne = Annotated[float, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(ge=0.001)]
Ends = TypeVar("Ends", bound=float | tuple[float, float])


def _in_order(value: Ends) -> Ends:
    if isinstance(value, tuple) and value[0] > value[1]:
        raise ValueError(f"[{value[0]:g}, {value[1]:g}] is not a lower and a higher number")
    return value


Ordered = AfterValidator(_in_order)
Fractions = Annotated[Fraction | tuple[Fraction, Fraction], Ordered]
Spans = Annotated[Seconds | tuple[Seconds, Seconds], Ordered]
Rates = Annotated[Rate | tuple[Rate, Rate], Ordered]
Lengths = Annotated[FromOne | tuple[FromOne, FromOne], Ordered]


class Assumptions(Section):
    """What an estimate rests on where nothing was measured (docs/cost.md has the sources).

    A number, or a lower and a higher one, between which the bill gets its two ends.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    peak_tflops: FromOne = 312.0
    """Dense bf16 peak of a GPU, 1e12 FLOP/s (A100: 312, H100 SXM: 989)."""
    memory_gb_per_s: FromOne = 2039.0
    """Its memory bandwidth, 1e9 bytes/s (A100 80GB: 2039, H100 SXM: 3350)."""
    train_mfu: Fractions = (0.17, 0.35)
    """Share of the peak that an update reaches, over the FLOP done, recomputation included."""
    forward_mfu: Fractions = (0.28, 0.40)
    """Share of the peak in passes without gradients, prefill, compute-bound decoding."""
    decode_efficiency: Fractions = (0.11, 0.5)
    """Share of the memory bandwidth that decoding reaches."""
    decode_batch: Positive = 128
    """Most sequences that a GPU decodes together."""
    response_tokens: Annotated[dict[Name, Lengths], Absent()] = Field(default_factory=dict)
    """Mean response of a model, by its name, in rollouts and tests; without it, what was measured,
    else what was published of it."""
    prompt_tokens: FromOne = 200.0
    """Mean length of a prompt; each rollout prefills its own copy."""
    recompute: bool = True
    """Gradient checkpointing: a second forward, so an update costs 8 P, not 6 P, per token."""
    overhead_seconds: Spans = (6.0, 15.0)
    """A step's weight sync, reward and scheduling, whatever the number of GPUs."""
    test_seconds: Annotated[Spans, Absent()] = (2.0, 15.0)
    """A test beside its answers: what is paid however few problems there are."""
    start_seconds: Annotated[Spans, Absent()] = (60.0, 300.0)
    """From the start of a job to its first step: Ray, vLLM, weights; again after a time limit."""
    save_gb_per_s: Annotated[Rates, Absent()] = (0.5, 2.0)
    """1e9 bytes/s at which a checkpoint is written, by all GPUs of a run together."""
