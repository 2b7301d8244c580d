"""The preset's `verl`: which environment, how many GPUs, and verl's own keys."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from gainrl.config.base import Positive, Section


class Verl(Section):
    """Training on verl and vLLM (`training.backend: verl`)."""

    environment: Literal["auto", "cuda", "cu129", "cpu"] = "auto"
    """Which of envs/verl-*.txt is built and used: 'cuda' is CUDA 13, 'cu129' CUDA 12.9, and 'auto'
    one of them by the driver of the machine that it is built on."""
    python: str | None = None
    """An interpreter of your own environment instead."""
    nodes: Positive = 1
    """Machines that one run gets."""
    gpus_per_node: Positive = 8
    """GPUs that it gets on each."""
    tensor_parallel: Positive = 1
    """GPUs of one vLLM replica."""
    patience: Positive = 3600
    """Seconds without a finished step or test after which a run is ended and fails (a failed weight
    push hangs for ever)."""
    variables: dict[str, str] = Field(default_factory=dict)
    """Environment variables of its processes."""
    keys: dict[str, Any] = Field(default_factory=dict)
    """verl's own configuration keys (Hydra paths); they win over what the rest of the preset
    says."""

    @field_validator("keys")
    @classmethod
    def _leaves_the_signal(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key, setting in value.items():
            if key.endswith("ulysses_sequence_parallel_size") and setting != 1:
                raise ValueError(f"{key}: the angle signal needs whole sequences, so 1")
            if key.endswith("rollout_correction.bypass_mode") and setting:
                raise ValueError(f"{key}: skips the pass that the angle signal is read from")
        return value
