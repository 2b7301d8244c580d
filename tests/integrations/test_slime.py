"""slime's calls, as its rollout manager and its two rollout functions make them."""

from __future__ import annotations

import copy
from types import SimpleNamespace as Plain

import numpy as np
import pytest

from gainrl.curricula import make
from gainrl.errors import CheckpointError, ConfigError, DataError
from gainrl.integrations.slime import ROW, CurriculumSource, report


def arguments(folder, **more):
    plain = {
        "rollout_shuffle": False,
        "rollout_batch_size": 4,
        "n_samples_per_prompt": 2,
        "rollout_seed": 1,
        "reward_key": None,
        "partial_rollout": False,
        "save": str(folder),
        "load": str(folder),
    }
    return Plain(**{**plain, **more})


class Prompts:
    """What slime's RolloutDataSource does at its start: it reads the prompts."""

    def __init__(self, args):
        samples = [
            Plain(prompt=f"prompt {i}", metadata={"kind": i % 2}, reward=None, index=None)
            for i in range(30)
        ]
        self.dataset = Plain(samples=samples)


class Source(CurriculumSource, Prompts):
    spec = "mopps"


def rewarded(groups, rewards=(1.0, 0.0)):
    """Groups as they come back: other objects, their samples' rewards set."""
    groups = copy.deepcopy(groups)
    for group in groups:
        for sample, reward in zip(group, rewards, strict=True):
            sample.reward = reward
    return groups


def rows(groups):
    return [group[0].metadata[ROW] for group in groups]


def test_a_rollout_of_more_groups_than_it_trains_on_with_the_rest_aborted(tmp_path):
    """The default rollout function: it asks for batches until enough groups pass its filter."""
    kind = type("Greso", (Source,), {"spec": "greso"})
    source, policy = kind(arguments(tmp_path)), make("greso", size=30, batch=4, rollouts=2, seed=1)
    source.load(-1)
    for turn in range(3):
        first = source.get_samples(4)
        drawn = [policy.next_batch() for _ in range(2)]
        assert rows(first) == drawn[0].tolist()
        assert [s.index for s in first[0]] == [turn * 22, turn * 22 + 1]
        assert first[0][0].metadata["kind"] == rows(first)[0] % 2
        second = source.get_samples(4)  # three of the first were filtered out
        done = rewarded([*first[::-1], second[2]])
        report(source.args, done, source.get_samples)  # slime hands the method over
        source.add_samples([])
        assert rows(second) == drawn[1].tolist()
        assert not source.work.in_flight
        rest = source.get_samples(3)  # the aborted ones come again, before others
        assert rows(rest) == [row for row in rows(second) if row != rows(second)[2]]
        report(source.args, rewarded(rest), source.get_samples)
        for each in drawn:
            policy.observe(each, [[1.0, 0.0]] * 4)
        source.save(turn)
    assert source.work.curriculum.metrics() == policy.metrics()


def test_partial_groups_go_out_again_as_they_are(tmp_path):
    source = Source(arguments(tmp_path, partial_rollout=True))
    groups = source.get_samples(4)
    report(source.args, rewarded(groups[:2]), source.get_samples)
    partial = rewarded(groups[2:], (None, None))
    source.add_samples(partial)
    assert source.get_samples(3)[:2] == partial
    assert len(source.work.in_flight) == 3


def test_the_asynchronous_rollout_function_asks_for_one_group_at_a_time(tmp_path):
    source, out, rng = Source(arguments(tmp_path)), [], np.random.default_rng(0)
    for turn in range(100):
        while len(out) < 7:
            (group,) = source.get_samples(1)
            assert rows([group])[0] not in rows(out)
            out.append(group)
        group = out.pop(rng.integers(7))
        if turn % 5 == 0:
            source.add_samples([group])  # an aborted one
            assert source.get_samples(1) == [group]
        source.observe(rewarded([group]), version=turn % 5)
    assert source.work.metrics()["lag_max"] > 0


def test_it_goes_on_after_a_rollout(tmp_path):
    source = Source(arguments(tmp_path))
    report(source.args, rewarded(source.get_samples(4)), source)
    out = source.get_samples(3)
    source.save(0)
    other = Source(arguments(tmp_path))
    other.load(0)
    assert rows(other.get_samples(3)) == rows(out)
    assert rows(other.get_samples(1)) == rows(source.get_samples(1))
    with pytest.raises(CheckpointError, match=r"gainrl_curriculum_1\.json: not there"):
        other.load(1)


def test_rewards_by_key_and_rollouts_that_became_several_samples(tmp_path):
    source = Source(arguments(tmp_path, reward_key="score"))
    groups = rewarded(source.get_samples(2), ({"score": 1.0}, {"score": 0.0}))
    nested = [[groups[0][:1], groups[0][1:]], groups[1]]
    report(source.args, nested, source)
    assert source.work.metrics()["held"] == 2
    assert len(source) == 30


def test_what_cannot_be_is_named(tmp_path):
    with pytest.raises(ConfigError, match="leave --rollout-shuffle out"):
        Source(arguments(tmp_path, rollout_shuffle=True))
    for name, more, said in (
        ("oracle", {}, "draws again"),
        ("gain", {"order": range(30)}, "reads C"),
    ):
        other = type("Other", (Source,), {"spec": name, "settings": more})
        with pytest.raises(ConfigError, match=f"'{name}' {said}"):
            other(arguments(tmp_path))
    source = Source(arguments(tmp_path))
    with pytest.raises(DataError, match="a sample has no metadata"):
        source.observe([[Plain(metadata={}, reward=1.0)]])
