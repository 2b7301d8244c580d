"""The preset's `verl`: which environment, how many GPUs, and verl's own keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from gainrl.config.base import Absent, Positive, Section

_ROWS = "a row that verl leaves out or moves is not the row that the curriculum drew"
_LOOP = "the run's records and its checkpoints go by the preset's"
_PLUGIN = "gainrl plugs in here"
OURS = {
    "algorithm.filter_groups": f"{_ROWS}; a curriculum with a filter does it (docs/curricula.md)",
    "data.custom_cls": _PLUGIN,
    "data.filter_overlong_prompts": f"{_ROWS}; say datasets.*.overlong",
    "data.gen_batch_size": f"{_LOOP} training.prompts",
    "data.max_prompt_length": f"{_LOOP} training.max_prompt",
    "data.max_response_length": f"{_LOOP} training.max_response",
    "data.sampler": _PLUGIN,
    "data.shuffle": f"{_ROWS}; say methods.*.curriculum",
    "data.train_batch_size": f"{_LOOP} training.prompts",
    "data.train_files": _ROWS,
    "data.train_max_samples": f"{_ROWS}; say datasets.*.train or methods.*.selection",
    "data.val_batch_size": "a test is of whole benchmarks",
    "data.val_files": "a test is of whole benchmarks",
    "data.val_max_samples": "a test is of whole benchmarks; say datasets.*.eval",
    "data.validation_shuffle": "answers of a test are told apart by their order",
    "actor_rollout_ref.actor.checkpoint": "a run goes on from what is saved",
    "actor_rollout_ref.model.external_lib": _PLUGIN,
    "actor_rollout_ref.model.path": f"{_LOOP} models.*",
    "actor_rollout_ref.rollout.n": f"{_LOOP} training.rollouts",
    "actor_rollout_ref.rollout.name": _PLUGIN,
    "actor_rollout_ref.rollout.val_kwargs": f"{_LOOP} evaluation",
    "reward.custom_reward_function": _PLUGIN,
    "reward.reward_model.enable": "rewards are the graders'",
    "skip": "rollouts that were not made have no cost",
    "trainer.critic_warmup": f"{_LOOP} training.steps",
    "trainer.default_hdfs_dir": "a run goes on from its own folder",
    "trainer.default_local_dir": "a run goes on from its own folder",
    "trainer.del_local_ckpt_after_load": "a run goes on from its own folder",
    "trainer.esi_redundant_time": "jobs that end soon are saved by training.save_minutes",
    "trainer.max_actor_ckpt_to_keep": "a run goes on from its own folder",
    "trainer.max_critic_ckpt_to_keep": "a run goes on from its own folder",
    "trainer.n_gpus_per_node": f"{_LOOP} verl.gpus_per_node",
    "trainer.nnodes": f"{_LOOP} verl.nodes",
    "trainer.resume_from_path": "a run goes on from its own folder",
    "trainer.resume_mode": "a run goes on from its own folder",
    "trainer.save_freq": f"{_LOOP} training.save_every",
    "trainer.test_freq": f"{_LOOP} evaluation.every",
    "trainer.total_epochs": f"{_LOOP} training.steps",
    "trainer.total_training_steps": f"{_LOOP} training.steps",
    "trainer.use_v1": _PLUGIN,
    "trainer.v1": _PLUGIN,
    "trainer.val_before_train": "step 0 is tested once for a model",
    "trainer.val_only": f"{_LOOP} training.steps",
}
"""Keys that `verl.keys` may not set, those below them neither, and why: what we rely on, found by
going through verl 0.9.1's configuration."""


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
    gpu_memory_gib: Annotated[float, Field(gt=0), Absent()] = 80.0
    """Memory of each, GiB; by it micro-batches, offloading and vLLM's share are chosen
    (docs/verl.md) and a model that cannot fit is refused. Changes no result."""
    tensor_parallel: Positive = 1
    """GPUs of one vLLM replica."""
    patience: Positive = 3600
    """Seconds without a finished response, step, test or checkpoint after which a run is ended and
    fails (a failed weight push hangs for ever). Where a step of the run takes longer, four of
    them."""
    variables: dict[str, str] = Field(default_factory=dict)
    """Environment variables of its processes."""
    keys: dict[str, Any] = Field(default_factory=dict)
    """verl's own configuration keys (Hydra paths); they win over what the rest of the preset
    says."""

    @field_validator("keys")
    @classmethod
    def _leaves_what_is_relied_on(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in value:
            name = key.lstrip("+~")
            for start, why in OURS.items():
                if name == start or name.startswith(f"{start}."):
                    raise ValueError(f"{key}: {why}")
        return value

    @field_validator("keys")
    @classmethod
    def _leaves_the_signal(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key, setting in value.items():
            if key.endswith("ulysses_sequence_parallel_size") and setting != 1:
                raise ValueError(f"{key}: the angle signal needs whole sequences, so 1")
            if key.endswith("rollout_correction.bypass_mode") and setting:
                raise ValueError(f"{key}: skips the pass that the angle signal is read from")
        return value
