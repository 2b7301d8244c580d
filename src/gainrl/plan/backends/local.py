"""The local backend: a readable trainer in the job's own process, for a CPU or one GPU."""

from __future__ import annotations

from gainrl.plan.backends.base import Backend


class LocalBackend(Backend):
    """gainrl.training.local."""

    name = "local"
    trainer = "gainrl.stages.train_local:LocalRun"
    options = frozenset(
        {"downsample", "extra", "format_weight", "lora", "target_kl", "templates", "tokens"}
    )
    several_draws = True
    measures_noise = True
    measures_entropy = True
    seeds_together = True
    shares_prompts = True
    recomputes = False
