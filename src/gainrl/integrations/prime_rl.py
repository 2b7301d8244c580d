"""A task sampler with the methods of prime-rl's `TaskSampler` (docs/any-loop.md). No prime-rl.

It was written against prime-rl as of August 2026 (its pull request #3261) and is tested against the
calls that its orchestrator makes; prime-rl itself was not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gainrl.curricula.batches import make
from gainrl.curricula.registry import Spec
from gainrl.errors import ConfigError, DataError
from gainrl.integrations.asynchronous import Asynchronous


class CurriculumSampler(Iterator[Any]):
    """Chooses tasks by a policy: `next(sampler)` is a task, `observe` takes its finished group.

    Args:
        tasks: a finite set, each with a `key` of its own.
        spec: as for `gainrl.curricula.make`.
        batch: B, groups that the policy is told of together: prompts a step.
        rollouts: G, episodes of a group.
        lost_after: batches drawn since, after which a group that has not come back is given up: the
            orchestrator drops stale groups without telling the sampler.
        settings: as for `make`.

    Raises:
        ConfigError: as `make`; the policy draws again within a step, which asks the orchestrator to
            wait; keys that are not distinct.
    """

    def __init__(
        self,
        tasks: Sequence[Any],
        spec: Spec | Mapping[str, Spec | None],
        *,
        batch: int,
        rollouts: int = 8,
        seed: int = 0,
        lost_after: int = 8,
        **settings: Any,
    ) -> None:
        self.tasks = list(tasks)
        self.row_of = {task.key: row for row, task in enumerate(self.tasks)}
        if len(self.row_of) < len(self.tasks):
            raise ConfigError("two tasks have the same key")
        curriculum = make(
            spec, size=len(self.tasks), batch=batch, seed=seed, rollouts=rollouts, **settings
        )
        if curriculum.several_draws:
            raise ConfigError(
                f"curriculum '{curriculum.name}' draws again within a step, for which the "
                "orchestrator would have to wait; predicted has adaptive=False"
            )
        if curriculum.reads_signal:
            raise ConfigError(
                f"curriculum '{curriculum.name}' reads C, which is not known here; gain has "
                "use_signal=False"
            )
        self.work = Asynchronous(curriculum, lost_after)

    def __next__(self) -> Any:
        """The next task.

        Raises:
            DataError: almost every task is in flight.
        """
        found = self.work.next_group(self.work.version)
        if found is None:
            raise DataError(
                f"{len(self.work.in_flight)} of {len(self.tasks)} tasks are in flight, and a batch "
                "takes more than are left: fewer concurrent groups, a smaller batch or more tasks"
            )
        return self.tasks[found[0]]

    def observe(self, group: Sequence[Any]) -> None:
        """Take a finished group: the rewards of its trainable traces without an error.

        Raises:
            DataError: an unknown task, one that is not in flight, or a reward that is no number.
        """
        task, traces = group[0].task, [trace for episode in group for trace in episode.traces]
        if task.key not in self.row_of:
            raise DataError(f"task '{task.key}' is none of the sampler's")
        kept = [each for each in traces if not each.has_error and each.agent.trainable]
        versions = [s.start for each in kept if (s := getattr(each, "policy", None)) is not None]
        self.work.observe(
            self.row_of[task.key],
            [each.reward for each in kept],
            version=min(versions) if versions else None,
        )

    def state_dict(self) -> dict[str, Any]:
        """As JSON has it: groups that are held back and tasks in flight too."""
        return self.work.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on; tasks that were in flight come again first, since their episodes are gone."""
        self.work.load_state_dict(state, in_flight="again")

    def metrics(self) -> dict[str, float]:
        """Of the policy and of the groups."""
        return self.work.metrics()
