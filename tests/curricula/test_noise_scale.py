"""The gradient's noise scale by hand, on gradients of a known distribution, and of a real model."""

import json

import numpy as np
import pytest
import torch
from trainers import trainer_for

from gainrl.curricula.noise_scale import Moments, NoiseScale, moments, moments_of_groups


def test_two_batches_by_hand():
    """|g|^2 = 2 + 12 / B: 5 of four groups, 3 of twelve."""
    assert moments(4, 12, 5.0, 3.0) == Moments(pytest.approx(2.0), pytest.approx(12.0))
    with pytest.raises(ValueError, match="of two batches, not of 4 and 4 groups"):
        moments(4, 4, 5.0, 3.0)


def test_single_groups_by_hand():
    """(3, 0) and (1, 2): mean (2, 1), covariance trace 1 + 1 + 1 + 1 = 4 (unbiased), 5 - 4 / 2."""
    found = moments_of_groups(np.array([9.0, 5.0]), 5.0)
    assert found == Moments(pytest.approx(3.0), pytest.approx(4.0))


@pytest.mark.parametrize("part", [1, 8])
def test_estimates_are_right_on_average(part):
    """Fifty numbers, a mean of squared norm 4 and a covariance of trace 60: B_simple is 15."""
    rng = np.random.default_rng(3)
    mean, deviation = np.zeros(50), np.sqrt(60 / 50)
    mean[0] = 2.0
    scale = NoiseScale(decay=0.999)
    for _ in range(4000):
        gradients = mean + deviation * rng.standard_normal((32, 50))
        parts = gradients.reshape(-1, part, 50).mean(1)
        few, many = (parts**2).sum(1).mean(), (gradients.mean(0) ** 2).sum()
        scale.observe(moments(part, 32, few, many))
    assert scale.groups == pytest.approx(15, rel=0.05)
    assert scale.progress(15) == pytest.approx(0.5, rel=0.05)


def test_averages_are_divided_not_ratios_and_go_on_from_a_file():
    scale, other = NoiseScale(decay=0.5), NoiseScale(decay=0.5)
    assert scale.groups is None
    scale.observe(Moments(-1.0, 4.0))  # a step may say that there is no signal
    assert scale.groups is None
    scale.observe(Moments(3.0, 8.0))
    # signal .5 * (-.5) + 1.5 = 1.25, noise .5 * 2 + 4 = 5
    assert scale.groups == pytest.approx(4.0)
    other.load_state_dict(json.loads(json.dumps(scale.state_dict())))
    assert other.groups == scale.groups
    assert scale.progress(12) == pytest.approx(0.75)


def test_of_a_models_groups_it_is_that_of_their_covariance(tokenizer, prompts, table, gradients):
    """The gradient of a step of one prompt is a group's; that of all is their mean, by tokens."""
    trainer = trainer_for(tokenizer, prompts, table, prompts=4, mini_batch=1, lr=1e-12)
    rollouts = trainer._roll_out()
    trainer._update(rollouts)  # one optimiser step a group, at weights that do not move
    each = torch.stack([torch.cat([g.flatten() for g in step]) for step in gradients]).double()
    assert len(each) == 4
    mean = each.mean(0)
    found = moments_of_groups((each**2).sum(1).numpy(), float((mean**2).sum()))
    trace = float(((each - mean) ** 2).sum() / 3)
    assert found.noise == pytest.approx(trace, rel=1e-6)
    assert found.signal == pytest.approx(float((mean**2).sum()) - trace / 4, rel=1e-6)
