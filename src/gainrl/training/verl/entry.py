"""Starts verl for one job: python -m gainrl.training.verl.entry RUN_FOLDER/job.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ray
import ray._private.state
from ray import JobID
from verl.trainer.main_ppo import TaskRunnerV1, run_ppo
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

_Plain: Any = TaskRunnerV1.__ray_metadata__.modified_class


@ray.remote
class Runner(_Plain):
    """verl's task runner, which knows our trainer."""

    def run(self, config: Any) -> None:
        """Register the trainer in this process, then run.

        Raises:
            RuntimeError: Ray gave the run another number: its weights could go to another run's.
        """
        import gainrl.training.verl.trainer  # noqa: F401

        job = json.loads(Path(config.gainrl.job).read_text(encoding="utf-8"))
        given = ray.get_runtime_context().get_job_id()
        if given != JobID.from_int(job["ray_job"]).hex():
            raise RuntimeError(f"gainrl: Ray calls the run job {given}, not {job['ray_job']}")
        super().run(config)


def main(path: str) -> None:
    """Train the job that launch.py wrote."""
    from gainrl.training.verl.trainer import config_of

    job = json.loads(Path(path).read_text(encoding="utf-8"))
    # verl names the sockets in /tmp that weights go through by Ray's number of the job, and every
    # cluster of one's own counts from 1: two runs on a node would have the same sockets.
    ray._private.state.next_job_id = lambda: JobID.from_int(job["ray_job"])
    config = config_of(job)
    validate_config(config, need_reference_policy(config), need_critic(config))
    run_ppo(config, task_runner_class=Runner)


if __name__ == "__main__":
    main(sys.argv[1])
