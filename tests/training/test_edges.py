"""Steps at the edge: rewards that are no numbers, truncated responses alone, groups of one."""

from __future__ import annotations

import pytest
import torch
from trainers import Fixed, same, trainer_for, weights

from gainrl.errors import GradingError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def make(tokenizer, prompts, table):
    def made(**options):
        return trainer_for(tokenizer, prompts, table, **options)

    return made


def finite(trainer):
    return all(bool(torch.isfinite(weight).all()) for weight in weights(trainer).values())


def test_a_reward_that_is_no_number_ends_the_step_before_the_update(make):
    trainer = make(reward=lambda response, gold: float("nan"))
    before = weights(trainer)
    with pytest.raises(GradingError, match="of the training table: its reward is nan"):
        trainer.step()
    assert same(before, weights(trainer))


def test_a_step_of_nothing_but_truncated_responses(make):
    trainer = make(max_response=1)
    trainer.ends = frozenset()
    record, _ = trainer.step()
    assert record["truncated"] == 1.0
    assert record["response_length"] == 1.0
    assert finite(trainer)


class Singles(Fixed):
    """One rollout of each prompt."""

    whole_batches = False

    def __init__(self, batches):
        super().__init__(batches, rollouts=1)


def test_groups_of_one_have_no_advantage(make):
    policy = Singles([[0, 1, 2, 3]])
    trainer = make(curriculum=policy)
    before = weights(trainer)
    record, _ = trainer.step()
    assert policy.outcome.advantage.tolist() == [0.0] * 4
    assert policy.outcome.rollouts.tolist() == [1] * 4
    assert record["loss"] == 0
    assert same(before, weights(trainer))
