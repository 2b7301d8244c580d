"""verl engine plugin: the angle signal of each prompt from the old-log-probability pass; RL-Extra.

Imported by verl's workers (`actor_rollout_ref.model.external_lib`). Registered under a vendor key,
which wins over verl's own engine. Nothing extra is run: a hook on the final norm sees the hidden
states, sums of unit vectors per segment give C, and the value travels back with the
log-probabilities.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from torch.optim.lr_scheduler import LambdaLR
from verl.utils.device import get_device_id
from verl.utils.fsdp_utils import (
    merged_lora_context,
    normalize_peft_param_name,
    offload_fsdp_model_to_cpu,
)
from verl.utils.transformers_compat import drop_tied_target_keys
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from gainrl.config.extra import Extra
from gainrl.signals.angle import unit
from gainrl.signals.concentration import angles
from gainrl.signals.taps import tapped
from gainrl.training.extra import Jumps
from gainrl.training.rate import share_of_rate
from gainrl.training.verl.names import FIELD, SECONDS
from gainrl.training.verl.segments import SEGMENTS, SIGNAL, Signal

EXTRA = "GAINRL_EXTRA"
"""Environment variable: the section `training.extra` as JSON; the policy jumps where it is set."""
EXPORTS = "GAINRL_EXPORTS"
"""Environment variable: steps, a JSON list; others are saved without a Hugging Face folder."""
RATE = "GAINRL_RATE"
"""Environment variable: `training.lr_schedule` and `steps`, a JSON list; where it is set the rate
falls so."""
VENDOR = "gainrl"


class SignalEngine(FSDPEngineWithLMHead):
    """verl's FSDP engine, which also gives (B, 1) C of every sample's prompt, and may jump."""

    _jumps: Jumps | None = None
    _made = 0
    """RL steps since the start or since the checkpoint that was loaded."""

    def _build_lr_scheduler(self, optimizer: Any) -> Any:
        """As verl's, or a schedule that verl does not have; it is asked once an RL step."""
        if RATE not in os.environ:
            return super()._build_lr_scheduler(optimizer)
        schedule, steps = json.loads(os.environ[RATE])
        return LambdaLR(optimizer, lambda step: share_of_rate(schedule, step, steps))

    def optimizer_step(self) -> Any:
        """As verl's; before the first one the weights are theta_s."""
        if self._jumps is None and EXTRA in os.environ:
            section = Extra.model_validate_json(os.environ[EXTRA])
            self._jumps = Jumps(self.optimizer, section)
        return super().optimizer_step()

    def lr_scheduler_step(self) -> Any:
        """As verl's, which calls it once an RL step, after its last optimiser step: then jump."""
        rate = super().lr_scheduler_step()
        self._made += 1
        if self._jumps is not None:
            self._jumps.after(self._made)
        return rate

    def get_per_tensor_param(self, *arguments: Any, **named: Any) -> Any:
        """As verl's: the weights for the rollout engine, but each once.

        A head that is tied to the embedding comes without it where the two are in different buckets
        of the transfer, which vLLM 0.30 refuses; verl then waits for ever.
        """
        weights, adapter = super().get_per_tensor_param(*arguments, **named)
        if self.module.config.tie_word_embeddings:
            weights = (each for each in weights if each[0] != "lm_head.weight")
        return weights, adapter

    def _merged_lora_per_tensor_param(self) -> Iterator[tuple[str, torch.Tensor]]:
        """As verl's, which rounds every weight to bf16, in the dtype that the weights have.

        A weight that one device holds is no copy, and is taken back at the end: so it is copied.
        """
        device = get_device_id()
        try:
            with merged_lora_context(self.module, backup_adapters=True):
                for name, weight in normalize_peft_param_name(self.module.state_dict()).items():
                    yield name, weight.to(device, non_blocking=True).full_tensor().clone()
        finally:
            if self._is_offload_param:
                offload_fsdp_model_to_cpu(self.module)

    def load_checkpoint(self, *arguments: Any, **named: Any) -> None:
        """As verl's; only weights that a jump left are gone on from, so these are theta_s."""
        super().load_checkpoint(*arguments, **named)
        self._jumps, self._made = None, 0

    def save_checkpoint(
        self,
        local_path: str,
        hdfs_path: str | None = None,
        global_step: int = 0,
        max_ckpt_to_keep: int | None = None,
        **named: Any,
    ) -> None:
        """As verl's; the Hugging Face folder only at the steps whose weights are wanted.

        verl writes that of a model with adapters under peft's names and without them, so it is
        written here, merged.
        """
        manager = self.checkpoint_manager
        everything = manager.checkpoint_save_contents
        wanted = global_step in json.loads(os.environ.get(EXPORTS, f"[{global_step}]"))
        if self._is_lora or not wanted:
            plain = [each for each in everything if each != "hf_model"]
            manager.checkpoint_save_contents = plain
        try:
            super().save_checkpoint(local_path, hdfs_path, global_step, max_ckpt_to_keep, **named)
        finally:
            manager.checkpoint_save_contents = everything
        if self._is_lora and wanted and "hf_model" in everything:
            self._export_merged(Path(local_path) / "huggingface")

    def _export_merged(self, folder: Path) -> None:
        """The policy with its adapters merged; configuration and tokenizer are there already."""
        weights = {}
        for name, weight in self._merged_lora_per_tensor_param():
            if torch.distributed.get_rank() == 0:
                weights[name] = weight.cpu()
        if torch.distributed.get_rank() == 0:
            plain = self.module.get_base_model()
            drop_tied_target_keys(weights, plain, plain.config)
            save_torch_state_dict(weights, folder)
        torch.distributed.barrier()

    def forward_step(self, micro_batch: Any, loss_function: Any, forward_only: bool) -> Any:
        """As verl's; adds the signal in the forward-only pass that computes the entropy."""
        from verl.utils import tensordict_utils as tu

        wanted = forward_only and tu.get_non_tensor_data(micro_batch, "calculate_entropy", False)
        asked = tu.get_non_tensor_data(micro_batch, SIGNAL, None)
        if not wanted or asked is None:
            return super().forward_step(micro_batch, loss_function, forward_only)
        if self.ulysses_sequence_parallel_size > 1:
            raise ValueError("gainrl: the angle signal needs ulysses_sequence_parallel_size = 1")
        signal = Signal(**asked)
        with tapped(self.module, [signal.tap]) as states:
            result = super().forward_step(micro_batch, loss_function, forward_only)
        began = time.perf_counter()
        output = (result[1] if isinstance(result, tuple) else result)["model_output"]
        output[FIELD] = _signal(states[signal.tap], micro_batch, signal)
        if "GAINRL_TIME_SIGNAL" in os.environ:
            if output[FIELD].is_cuda:
                torch.cuda.synchronize()
            share = (time.perf_counter() - began) / len(output[FIELD])
            output[SECONDS] = torch.full_like(output[FIELD], share)
        return result


def _signal(states: torch.Tensor, micro_batch: Any, signal: Signal) -> torch.Tensor:
    """(B, 1) C from (1, T, d) packed or (B, L, d) padded states.

    NaN where a prompt is not as long as its segments say: it is one that verl filled a batch up
    with, or verl rendered it otherwise.
    """
    inputs = micro_batch["input_ids"]
    starts = inputs.offsets()[:-1].tolist()
    lengths = [len(row) for row in micro_batch["prompts"].unbind()]
    rows = [row.tolist() for row in micro_batch[SEGMENTS].unbind()]
    packed = (states.shape[0] == 1 and len(lengths) > 1) or states.shape[0] != len(lengths)
    values = []
    for i, (n, size, whole) in enumerate(rows):
        if lengths[i] != whole:
            values.append(torch.full((1,), torch.nan, device=states.device))
            continue
        there = states[0, starts[i] : starts[i] + n + size] if packed else states[i, : n + size]
        units = unit(there)
        found = angles(
            units[n:].sum(0, keepdim=True),
            units[:n].sum(0),
            torch.tensor([size], device=units.device),
            n,
        )
        values.append(found.combined(signal.weight, signal.offdiagonal))
    return torch.stack(values)


def register() -> None:
    """Make this engine the one that verl builds for language models with FSDP."""
    os.environ["VERL_ENGINE_VENDOR"] = VENDOR
    EngineRegistry.register("language_model", ["fsdp", "fsdp2"], "cuda", VENDOR)(SignalEngine)


register()
