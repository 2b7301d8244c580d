"""verl engine plugin: the angle signal of each prompt from the old-log-probability pass.

Imported by verl's workers (`actor_rollout_ref.model.external_lib`). Registered under a vendor key,
which wins over verl's own engine. Nothing extra is run: a hook on the final norm sees the hidden
states, sums of unit vectors per segment give C, and the value travels back with the
log-probabilities.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from gainrl.signals.angle import angles, unit

FIELD = "gainrl_signal"
SEGMENTS = "GAINRL_SEGMENTS"
"""Environment variable: the .npz of `gainrl.training.verl.launch.write_segments`."""
VENDOR = "gainrl"


class Segments:
    """How long each prompt's question is: (prefix length, {prompt tokens: question length})."""

    def __init__(self, path: str) -> None:
        with np.load(path) as stored:
            self.n_prefix, self.weight = int(stored["n_prefix"]), float(stored["weight"])
            self.offdiagonal = bool(stored["offdiagonal"])
            flat, lengths = stored["tokens"], stored["lengths"]
            ends = np.cumsum(lengths)
            rows = zip(ends - lengths, ends, stored["n_question"], strict=True)
            self.sizes = {flat[start:end].tobytes(): int(size) for start, end, size in rows}

    def question(self, tokens: torch.Tensor) -> int:
        """Question tokens of a prompt; KeyError if verl rendered it otherwise than we did."""
        return self.sizes[tokens.cpu().numpy().astype(np.int64).tobytes()]


class SignalEngine(FSDPEngineWithLMHead):
    """verl's FSDP engine, which also gives (B, 1) C of every sample's prompt."""

    def forward_step(self, micro_batch: Any, loss_function: Any, forward_only: bool) -> Any:
        """As verl's; adds the signal in the forward-only pass that computes the entropy."""
        from verl.utils import tensordict_utils as tu

        wanted = forward_only and tu.get_non_tensor_data(micro_batch, "calculate_entropy", False)
        if not wanted or SEGMENTS not in os.environ:
            return super().forward_step(micro_batch, loss_function, forward_only)
        if self.ulysses_sequence_parallel_size > 1:
            raise ValueError("gainrl: the angle signal needs ulysses_sequence_parallel_size = 1")
        seen: list[torch.Tensor] = []
        norm = _final_norm(self.module)
        handle = norm.register_forward_hook(lambda _m, _i, output: seen.append(output.detach()))
        try:
            result = super().forward_step(micro_batch, loss_function, forward_only)
        finally:
            handle.remove()
        output = result[1] if isinstance(result, tuple) else result
        output["model_output"][FIELD] = self._signal(seen[-1], micro_batch)
        return result

    def _signal(self, states: torch.Tensor, micro_batch: Any) -> torch.Tensor:
        """(B, 1) C from (1, T, d) packed or (B, L, d) padded states."""
        if not hasattr(self, "_segments"):
            self._segments = Segments(os.environ[SEGMENTS])
        segments, inputs = self._segments, micro_batch["input_ids"]
        starts = inputs.offsets()[:-1].tolist()
        prompts = [row for row in micro_batch["prompts"].unbind()]
        packed = (states.shape[0] == 1 and len(prompts) > 1) or states.shape[0] != len(prompts)
        values = []
        for i, prompt in enumerate(prompts):
            size = segments.question(prompt)
            n = segments.n_prefix
            rows = states[0, starts[i] : starts[i] + n + size] if packed else states[i, : n + size]
            units = unit(rows)
            found = angles(
                units[n:].sum(0, keepdim=True),
                units[:n].sum(0),
                torch.tensor([size], device=units.device),
                n,
            )
            values.append(found.combined(segments.weight, segments.offdiagonal))
        return torch.stack(values)


def _final_norm(module: Any) -> Any:
    """The decoder's final norm below whatever wraps the model."""
    model = getattr(module, "_fsdp_wrapped_module", module)
    return model.get_decoder().norm


def register() -> None:
    """Make this engine the one that verl builds for language models with FSDP."""
    os.environ["VERL_ENGINE_VENDOR"] = VENDOR
    EngineRegistry.register("language_model", ["fsdp", "fsdp2"], "cuda", VENDOR)(SignalEngine)


register()
