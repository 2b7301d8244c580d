"""Our training settings as verl's configuration. Pure; imports no verl.

docs/verl.md has the same mapping as a table, with the paper's flags (appendix E.2).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gainrl.config.evaluation import Evaluation
from gainrl.config.ppo import PPO
from gainrl.config.preset import Training
from gainrl.config.verl import Verl
from gainrl.models.known import Architecture
from gainrl.training import files
from gainrl.training.algorithms import Algorithm
from gainrl.training.verl import memory, names

REWARD = Path(__file__).with_name("reward.py")
AGENTS = Path(__file__).with_name("agents.yaml")
CONTENTS = ["model", "optimizer", "extra"]
EXPORT = ["hf_model"]
"""The weights as a Hugging Face folder, in the dtype they are trained in."""


@dataclass(frozen=True)
class Place:
    """Where a run reads and writes: all paths absolute. train, tests: Parquet files for verl."""

    folder: Path
    model: Path
    train: Path
    tests: tuple[Path, ...]


def place_of(folder: Path, model: Path, benchmarks: Iterable[str]) -> Place:
    """The paths of a run: what verl reads is below the run's folder."""
    inputs = folder.absolute() / files.VERL
    tests = tuple(inputs / f"eval-{name}.parquet" for name in benchmarks)
    return Place(folder.absolute(), model.absolute(), inputs / "train.parquet", tests)


def overrides(
    verl: Verl,
    training: Training,
    evaluation: Evaluation,
    place: Place,
    algorithm: Algorithm,
    ppo: PPO,
    seed: int,
    export: bool = True,
    arguments: Mapping[str, Any] | None = None,
    architecture: Architecture | None = None,
    context: int | None = None,
    longest_problem: int = 0,
    longest_answer: int = 0,
) -> list[str]:
    """Hydra overrides of verl's ppo_trainer for a run.

    Args:
        ppo: what algorithms with a critic have besides.
        export: checkpoints hold the weights as a Hugging Face folder too.
        arguments: of the chat template.
        architecture: of the model, by which memory is divided; None leaves that to
            micro_batch_tokens, and 0.6 of a GPU to vLLM.
        context: of the model, tokens.
        longest_problem: of those that are tested on, tokens. verl has one limit for all prompts and
            cuts the start off a longer one; those of training are chosen before.
        longest_answer: to a problem that is tested on, tokens.

    Returns:
        'key=value' strings, sorted by key; `verl.keys` win over what the preset says otherwise.

    Raises:
        ConfigError: the model does not fit on the GPUs.
    """
    mini = training.mini_batch or training.prompts
    longest = training.max_prompt + training.max_response
    problem = max(training.max_prompt, longest_problem)
    room = max(problem + training.max_response, longest_problem + longest_answer)
    tokens = max(training.micro_batch_tokens, longest)
    greedy = evaluation.temperature == 0
    values: dict[str, Any] = {
        "algorithm.use_kl_in_reward": False,
        "data.train_files": str(place.train),
        "data.val_files": [str(path) for path in place.tests],
        "data.train_batch_size": training.prompts,
        "data.max_prompt_length": problem,
        "data.max_response_length": training.max_response,
        "data.seed": seed,
        "data.truncation": "error",
        "actor_rollout_ref.model.path": str(place.model),
        "actor_rollout_ref.model.external_lib": names.ENGINE,
        "actor_rollout_ref.model.use_remove_padding": True,
        "actor_rollout_ref.model.enable_gradient_checkpointing": True,
        "actor_rollout_ref.actor.strategy": "fsdp2",
        "actor_rollout_ref.actor.optim.lr": training.lr,
        "actor_rollout_ref.actor.optim.weight_decay": training.weight_decay,
        "actor_rollout_ref.actor.optim.betas": list(training.betas),
        "actor_rollout_ref.actor.optim.clip_grad": training.max_grad_norm,
        "actor_rollout_ref.actor.ppo_mini_batch_size": mini,
        "actor_rollout_ref.actor.use_dynamic_bsz": True,
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": tokens,
        "actor_rollout_ref.actor.checkpoint.save_contents": CONTENTS + EXPORT * export,
        "actor_rollout_ref.ref.strategy": "fsdp2",
        "actor_rollout_ref.ref.log_prob_use_dynamic_bsz": True,
        "actor_rollout_ref.ref.log_prob_max_token_len_per_gpu": tokens,
        "actor_rollout_ref.ref.fsdp_config.param_offload": True,
        "actor_rollout_ref.rollout.name": "vllm",
        "actor_rollout_ref.rollout.n": training.rollouts,
        "actor_rollout_ref.rollout.temperature": training.temperature,
        "actor_rollout_ref.rollout.top_p": training.top_p,
        "actor_rollout_ref.rollout.tensor_model_parallel_size": verl.tensor_parallel,
        "actor_rollout_ref.rollout.gpu_memory_utilization": 0.6,
        "actor_rollout_ref.rollout.max_model_len": min(room, context or room),
        "actor_rollout_ref.rollout.seed": seed,
        "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz": True,
        "actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu": tokens,
        "actor_rollout_ref.rollout.calculate_log_probs": True,
        "actor_rollout_ref.rollout.agent.agent_loop_config_path": str(AGENTS),
        "actor_rollout_ref.rollout.val_kwargs.n": evaluation.samples,
        "actor_rollout_ref.rollout.val_kwargs.do_sample": not greedy,
        "actor_rollout_ref.rollout.val_kwargs.temperature": evaluation.temperature,
        "actor_rollout_ref.rollout.val_kwargs.top_p": evaluation.top_p,
        "reward.custom_reward_function.path": str(REWARD),
        "reward.custom_reward_function.name": "compute_score",
        "trainer.v1.trainer_mode": names.RUN_MODE,
        "trainer.logger": ["console"],
        "trainer.project_name": "gainrl",
        "trainer.experiment_name": place.folder.name,
        "trainer.nnodes": verl.nodes,
        "trainer.n_gpus_per_node": verl.gpus_per_node,
        "trainer.total_training_steps": training.steps,
        "trainer.save_freq": training.save_every,
        "trainer.test_freq": evaluation.every,
        "trainer.val_before_train": False,
        "trainer.critic_warmup": 0,
        "trainer.resume_mode": "auto",
        "trainer.default_local_dir": str(place.folder / files.CHECKPOINTS),
        "trainer.max_actor_ckpt_to_keep": 2,
        "trainer.max_critic_ckpt_to_keep": 2,
    }
    if algorithm.critic:
        values |= {
            "critic.strategy": "fsdp2",
            "critic.model.path": str(place.model),
            "critic.model.use_remove_padding": True,
            # verl 0.9.1 takes it for the update too, and never reads ppo_max_token_len_per_gpu
            "+critic.ppo_infer_max_token_len_per_gpu": tokens,
            "critic.optim.weight_decay": training.weight_decay,
            "critic.optim.betas": list(training.betas),
            "critic.optim.clip_grad": training.max_grad_norm,
        }
    if training.lora:
        targets = training.lora.targets
        values |= {
            "actor_rollout_ref.model.lora_rank": training.lora.rank,
            "actor_rollout_ref.model.lora_alpha": training.lora.alpha,
            "actor_rollout_ref.model.target_modules": (
                targets if isinstance(targets, str) else [*targets]
            ),
            # vLLM gets whole weights: the rollouts' policy is the one that is trained and kept
            "actor_rollout_ref.model.lora.merge": True,
            "+actor_rollout_ref.actor.checkpoint.save_lora_only": True,
        }
    if training.format_weight:
        name = "+reward.custom_reward_function.reward_kwargs.format_weight"
        values[name] = training.format_weight
    if architecture and verl.environment != "cpu":
        values |= memory.settings(architecture, training, verl, algorithm.critic)
    values |= algorithm.verl_keys(training, ppo)
    for name, value in (arguments or {}).items():
        values[f"+data.apply_chat_template_kwargs.{name}"] = value
    values |= verl.keys
    return [f"{key}={hydra_value(value)}" for key, value in sorted(values.items())]


def hydra_value(value: Any) -> str:
    """A value in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{hydra_value(item)}" for key, item in value.items()) + "}"
    return json.dumps(value) if isinstance(value, str | list | bool) else str(value)
