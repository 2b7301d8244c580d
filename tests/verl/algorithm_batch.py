"""Run by verl's Python: verl's advantages, loss and gradient of a batch, by our overrides.

`python algorithm_batch.py BATCH RESULT`. BATCH: for each algorithm its Hydra overrides; (R,)
rewards and groups; (R, N) log-probabilities now, before and of a reference, entropies, and the
mask. RESULT: for each algorithm advantages, loss and the loss's gradients.
"""

import sys

import numpy as np
import torch
from hydra import compose, initialize_config_module
from verl.trainer.ppo.core_algos import (
    agg_loss,
    get_adv_estimator_fn,
    get_policy_loss_fn,
    kl_penalty,
)
from verl.utils.config import omega_conf_to_dataclass


def advantages_of(config, batch, mask):
    """As verl's trainer calls the estimator."""
    last = mask.sum(1).long() - 1
    rewards = torch.zeros_like(mask)
    rewards[torch.arange(len(mask)), last] = batch["rewards"]
    estimator = get_adv_estimator_fn(config.algorithm.adv_estimator)
    options = {"config": config.algorithm}
    if config.algorithm.adv_estimator == "grpo":
        options["norm_adv_by_std_in_grpo"] = config.algorithm.norm_adv_by_std_in_grpo
    groups = np.array(batch["groups"])
    return estimator(
        token_level_rewards=rewards, response_mask=mask, index=groups, **options
    )[0]  # fmt: skip


def loss_of(actor, batch, mask, advantages, now, entropy):
    """As verl.workers.utils.losses.ppo_loss, of a mini-batch that is one micro-batch."""
    whole = {"dp_size": 1, "batch_num_tokens": int(mask.sum()), "global_batch_size": len(mask)}
    actor.global_batch_info.update(whole, loss_scale_factor=actor.loss_scale_factor)
    loss, _ = get_policy_loss_fn(actor.policy_loss.get("loss_mode", "vanilla"))(
        old_log_prob=batch["old"], log_prob=now, advantages=advantages, response_mask=mask.bool(),
        loss_agg_mode=actor.loss_agg_mode, config=actor,
    )  # fmt: skip
    if actor.entropy_coeff != 0:  # then verl's trainer has entropies computed
        mode, whole = actor.loss_agg_mode, actor.global_batch_info
        loss = loss - actor.entropy_coeff * agg_loss(entropy, mask, mode, **whole)
    if actor.use_kl_loss:
        divergence = kl_penalty(now, batch["reference"], actor.kl_loss_type)
        mode, whole = actor.loss_agg_mode, actor.global_batch_info
        loss = loss + actor.kl_loss_coef * agg_loss(divergence, mask, mode, **whole)
    return loss


def main(source, target):
    batch = torch.load(source, weights_only=True)
    mask, result = batch["mask"].float(), {}
    for name, overrides in batch["overrides"].items():
        with initialize_config_module("verl.trainer.config", version_base=None):
            config = compose("ppo_trainer", overrides=overrides)
        advantages = batch["advantages"]
        if config.algorithm.adv_estimator != "gae":  # what GAE gives: core_algos.py
            advantages = advantages_of(config, batch, mask)
        actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
        now, entropy = (batch[key].clone().requires_grad_() for key in ("now", "entropy"))
        loss = loss_of(actor, batch, mask, advantages, now, entropy)
        loss.backward()
        result[name] = {
            "advantages": advantages,
            "loss": loss.detach(),
            "gradient": now.grad,
            "entropy_gradient": entropy.grad,
        }
    torch.save(result, target)


main(*sys.argv[1:])
