"""Starts verl for one job: python -m gainrl.training.verl.entry RUN_FOLDER/job.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ray
from verl.trainer.main_ppo import TaskRunnerV1, run_ppo
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

_Plain: Any = TaskRunnerV1.__ray_metadata__.modified_class


@ray.remote
class Runner(_Plain):
    """verl's task runner, which knows our trainer."""

    def run(self, config: Any) -> None:
        """Register the trainer in this process, then run."""
        import gainrl.training.verl.trainer  # noqa: F401

        super().run(config)


def main(path: str) -> None:
    """Train the job that launch.py wrote."""
    from gainrl.training.verl.trainer import config_of

    job = json.loads(Path(path).read_text(encoding="utf-8"))
    config = config_of(job)
    validate_config(config, need_reference_policy(config), need_critic(config))
    run_ppo(config, task_runner_class=Runner)


if __name__ == "__main__":
    main(sys.argv[1])
