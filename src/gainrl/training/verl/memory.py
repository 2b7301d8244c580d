"""What a run on verl needs of a GPU's memory, and the settings by which it fits. Pure.

docs/verl.md has the same arithmetic with its results for the models of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gainrl.config.training import Training
from gainrl.config.verl import Verl
from gainrl.errors import ConfigError
from gainrl.models.known import Architecture
from gainrl.models.memory import GIB

SHARE = 0.92
"""Of a GPU's memory; the rest is CUDA's, NCCL's and lost between blocks."""
UTILISATION = 0.6
"""Most of a GPU's memory that vLLM gets while it samples (the paper's command, appendix E.2)."""
ENGINE = 3 * GIB
"""vLLM's CUDA graphs and activations."""
SEQUENCES = 4
"""Longest sequences that the KV cache of a replica has to hold at least."""


@dataclass(frozen=True)
class Needs:
    """Bytes on one GPU, data parallel over `gpus` with FSDP2 in fp32 and bf16 autocast.

    shard: one byte for each parameter that lies on this GPU.
    gathered: two layers and the tables, whole, in bf16.
    activations: of a micro-batch: every layer's input, one layer recomputed, and the logits.
    cache: of vLLM for the longest sequences; engine: its weights besides.
    """

    shard: float
    gathered: float
    activations: float
    cache: float
    engine: float

    def update(self, offloaded: bool, critic: bool) -> float:
        """At the worst moment of an update: 4 bytes a weight, 4 its gradient, 8 AdamW's moments.

        Offloaded, the moments are on the GPU for the optimiser's step only, and a critic not at all
        while the policy is trained.
        """
        step, passes = 16 * self.shard, self.gathered + self.activations
        if offloaded:
            return max(step, 8 * self.shard + passes)
        return step + passes + (12 * self.shard if critic else 0)

    def resident(self, offloaded: bool, critic: bool) -> float:
        """What stays while vLLM samples: weights and moments."""
        return 0 if offloaded else 12 * self.shard * (2 if critic else 1)


def needs(model: Architecture, training: Training, verl: Verl, tokens: int) -> Needs:
    """Of a model with micro-batches of so many tokens."""
    tables = model.vocabulary * model.hidden * (1 if model.tied else 2)
    layer = (model.parameters - tables) / model.layers
    recomputed = 2 * (8 * model.hidden + 4 * model.feed_forward)
    logits = 8 * model.vocabulary  # bf16 and its gradient, and their softmax in fp32
    longest = training.max_prompt + training.max_response
    return Needs(
        shard=model.parameters / (verl.nodes * verl.gpus_per_node),
        gathered=2 * (2 * layer + tables),
        activations=tokens * (2 * model.hidden * model.layers + recomputed + logits),
        cache=SEQUENCES * longest * 4 * model.layers * model.kv_width / verl.tensor_parallel,
        engine=2 * model.parameters / verl.tensor_parallel + ENGINE,
    )


def settings(
    model: Architecture, training: Training, verl: Verl, critic: bool = False
) -> dict[str, Any]:
    """verl's keys by which a run fits into `verl.gpu_memory_gib`; the fastest that do.

    Micro-batches get smaller first, down to the longest sequence; then weights and moments go to
    the host's memory between their uses.

    Raises:
        ConfigError: nothing fits.
    """
    memory, longest = verl.gpu_memory_gib * GIB, training.max_prompt + training.max_response
    for offloaded in (False, True):
        tokens = max(training.micro_batch_tokens, longest)
        while True:
            need = needs(model, training, verl, tokens)
            room = SHARE * memory - need.resident(offloaded, critic)
            sampling = min(UTILISATION * memory, room)
            if need.update(offloaded, critic) <= SHARE * memory and (
                sampling >= need.engine + need.cache
            ):
                return _keys(tokens, offloaded, int(100 * sampling / memory) / 100, critic)
            if tokens == longest:
                break
            tokens = max(tokens // 2, longest)
    update, engine = need.update(True, critic) / GIB, (need.engine + need.cache) / GIB
    raise ConfigError(
        f"{model.parameters / 1e9:.1f}B parameters on {verl.nodes} x {verl.gpus_per_node} GPUs of "
        f"{verl.gpu_memory_gib:.0f} GiB: an update takes {update:.0f} GiB of each and vLLM "
        f"{engine:.0f} GiB, of {SHARE * verl.gpu_memory_gib:.0f} and "
        f"{UTILISATION * verl.gpu_memory_gib:.0f}, even with offloading and micro-batches of one "
        f"sequence ({longest} tokens); it needs more GPUs (verl.nodes, gpus_per_node, "
        f"tensor_parallel) or a smaller training.max_response"
    )


def _keys(tokens: int, offloaded: bool, utilisation: float, critic: bool) -> dict[str, Any]:
    keys: dict[str, Any] = {"actor_rollout_ref.rollout.gpu_memory_utilization": utilisation}
    for part in ("actor_rollout_ref.actor", *(["critic"] if critic else [])):
        where = "fsdp_config" if part != "critic" else "fsdp"
        keys[f"{part}.{where}.param_offload"] = offloaded
        keys[f"{part}.{where}.optimizer_offload"] = offloaded
    keys["actor_rollout_ref.actor.ppo_max_token_len_per_gpu"] = tokens
    for part in ("actor_rollout_ref.ref", "actor_rollout_ref.rollout"):
        keys[f"{part}.log_prob_max_token_len_per_gpu"] = tokens
    if critic:
        keys["+critic.ppo_infer_max_token_len_per_gpu"] = tokens
    return keys
