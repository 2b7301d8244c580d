"""prime-rl's calls, as its orchestrator makes them: `next`, `observe(group)`, and checkpoints."""

from __future__ import annotations

import json
from types import SimpleNamespace as Plain

import pytest

from gainrl.curricula import make
from gainrl.errors import ConfigError, DataError
from gainrl.integrations.prime_rl import CurriculumSampler

TASKS = [Plain(key=f"task-{i}") for i in range(30)]


def group(task, rewards, version=None, errors=(), judge=None):
    """A finalized group: an episode a rollout, a trace each; perhaps one of an untrained judge."""
    span = None if version is None else Plain(start=version, end=version + 1)
    episodes = []
    for i, reward in enumerate(rewards):
        agent = Plain(trainable=True)
        traces = [Plain(reward=reward, has_error=i in errors, agent=agent, policy=span)]
        if judge is not None:
            traces.append(
                Plain(reward=judge, has_error=False, agent=Plain(trainable=False), policy=None)
            )
        episodes.append(Plain(task=task, traces=traces))
    return episodes


def test_groups_that_come_out_of_order_are_the_batch_to_the_policy():
    sampler = CurriculumSampler(TASKS, "mopps", batch=4, rollouts=2, seed=1)
    policy = make("mopps", size=30, batch=4, rollouts=2, seed=1)
    for _ in range(6):
        rows = policy.next_batch()
        tasks = [next(sampler) for _ in rows]
        assert [task.key for task in tasks] == [f"task-{row}" for row in rows]
        for task in reversed(tasks):
            sampler.observe(group(task, [1.0, 0.0], judge=7.0))
        policy.observe(rows, [[1.0, 0.0]] * 4)
    assert sampler.metrics()["seen_share"] == policy.metrics()["seen_share"]


def test_errors_stale_groups_and_versions():
    sampler = CurriculumSampler(TASKS, "uniform", batch=2, rollouts=2, lost_after=1)
    first, second = next(sampler), next(sampler)
    sampler.observe(group(first, [1.0, 0.5], errors=[0, 1]))  # no survivor
    sampler.observe(group(second, [1.0, 0.5], version=3))
    third = next(sampler)
    next(sampler)  # of a group that the orchestrator drops as stale: it says nothing
    sampler.observe(group(third, [0.0, 1.0], version=1))
    fifth = next(sampler)  # the batch before is given up
    sampler.observe(group(fifth, [0.0, 0.0], version=4))
    shown = sampler.metrics()
    assert (shown["lost"], shown["lag_max"], shown["in_flight"]) == (2, 2, 0)


def test_a_checkpoint_of_the_orchestrator():
    sampler = CurriculumSampler(TASKS, "mopps", batch=4, rollouts=2)
    tasks = [next(sampler) for _ in range(6)]
    sampler.observe(group(tasks[1], [1.0, 0.0]))
    other = CurriculumSampler(TASKS, "mopps", batch=4, rollouts=2)
    other.load_state_dict(json.loads(json.dumps(sampler.state_dict())))
    again = [next(other).key for _ in range(5)]
    assert sorted(again) == sorted(task.key for task in (tasks[0], *tasks[2:]))


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match="'dapo' draws again within a step"):
        CurriculumSampler(TASKS, "dapo", batch=4)
    with pytest.raises(ConfigError, match="'gain' reads C"):
        CurriculumSampler(TASKS, "gain", batch=4, order=range(30))
    with pytest.raises(ConfigError, match="two tasks have the same key"):
        CurriculumSampler([*TASKS, TASKS[0]], "uniform", batch=4)
    sampler = CurriculumSampler(TASKS, "uniform", batch=4)
    with pytest.raises(DataError, match="'task-99' is none"):
        sampler.observe(group(Plain(key="task-99"), [1.0]))
    for _ in TASKS:
        next(sampler)
    with pytest.raises(DataError, match="30 of 30 tasks are in flight"):
        next(sampler)
