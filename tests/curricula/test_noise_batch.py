"""Batches by the gradient's noise, worked by hand; who cannot have them says so."""

from dataclasses import replace

import numpy as np
import pytest
from outcomes import outcome
from presets import changed, error_of

from gainrl import curricula
from gainrl.curricula import Groups, Setting
from gainrl.curricula.base import Moments
from gainrl.curricula.noise_scale import moments_of_halves
from gainrl.errors import ConfigError, DataError
from gainrl.training.verl.section import Plugin
from gainrl.training.verl.section import build as built_for_verl

PLAIN = "plain_backend:PlainBackend"


def policy(batch=8, size=400, rollouts=8, **parameters):
    spec = {"sampler": "uniform", "rollouts": {"name": "noise_batch", **parameters}}
    return curricula.build(spec, Setting(size, batch, 0, rollouts=rollouts))


def told(curriculum, *moments, accuracy=0.5):
    """Steps of eight groups whose gradients have these moments."""
    for signal, noise in moments:
        seen = outcome(np.arange(8), accuracy)
        curriculum.observe(replace(seen, moments=Moments(signal, noise)))


def drawn(curriculum):
    return curriculum.draw(Groups.none(), None)


def test_halves_of_different_sizes_by_hand():
    """Mean 2 + 12 / b: of 4 and 12 groups 5 and 3, of all 16 2.75; 1 / b is 1/6 on average."""
    found = moments_of_halves(4, 12, (5.0, 3.0), 2.75)
    assert found == Moments(pytest.approx(2.0), pytest.approx(12.0))


def test_the_batch_is_a_share_of_the_noise_scale_and_the_rate_goes_with_it():
    curriculum = policy(adaptive=False, share=0.125)
    assert len(drawn(curriculum).rows) == 8
    assert curriculum.rate() == 1.0
    told(curriculum, (0.5, 64.0))  # B_simple 128
    asked = drawn(curriculum)
    assert len(asked.rows) == 16
    assert set(asked.rollouts.tolist()) == {8}
    # (1 + 128 / 8) / (1 + 128 / 16) = 17 / 9
    assert curriculum.rate() == pytest.approx((17 / 9) ** 0.5)
    assert curriculum.allocation.metrics() == {
        "mixed_share": pytest.approx(0.55),
        "noise_scale": pytest.approx(128.0),
        "batch": 16.0,
        "rate": curriculum.rate(),
    }


def test_moments_are_averaged_over_groups():
    """Of a horizon of 8 groups the second step of 8 weighs 1 - 1/e, the first 1/e of that."""
    curriculum = policy(horizon=8.0)
    told(curriculum, (1.0, 20.0), (1.0, 60.0))
    first, second = np.exp(-1) * (1 - np.exp(-1)), 1 - np.exp(-1)
    expected = (first * 20 + second * 60) / (first + second)
    assert curriculum.metrics()["noise_scale"] == pytest.approx(expected)


def test_with_adaptive_rollouts_the_budget_is_divided_among_more_prompts():
    curriculum = policy(share=0.25)
    # 8 * 8 rollouts are 4 * n * 1.5
    assert len(drawn(curriculum).rows) == 11
    told(curriculum, (1.0, 64.0))  # 16 prompts; .55 mixed: 128 = 4 * n * 1.55
    asked = drawn(curriculum)
    assert len(asked.rows) == 21
    assert set(asked.rollouts.tolist()) == {4}


def test_a_batch_is_at_most_twice_the_one_before_and_at_least_half():
    curriculum, sizes = policy(adaptive=False, share=0.25, lowest=3), []
    for moments in [(1.0, 400.0)] * 4 + [(1e6, 1.0)] * 6:
        told(curriculum, moments)
        sizes.append(len(drawn(curriculum).rows))
    assert sizes == [16, 32, 64, 100, 50, 25, 12, 6, 3, 3]


def test_where_no_gradient_is_seen_the_batch_grows_to_its_bounds_and_the_rate_stays():
    curriculum = policy(adaptive=False, highest=40)
    told(curriculum, (0.5, 128.0))
    rate = curriculum.rate()
    told(curriculum, *[(-9.0, 128.0)] * 3)
    assert len(drawn(curriculum).rows) == 40
    assert curriculum.rate() == rate
    assert curriculum.metrics()["noise_scale"] == -1.0


def test_no_batch_is_larger_than_the_table():
    curriculum = policy(adaptive=False, size=20)
    told(curriculum, *[(1.0, 4000.0)] * 2)
    assert len(drawn(curriculum).rows) == 20


@pytest.mark.parametrize("name", ["share", "lowest", "scaling", "horizon", "first"])
def test_parameters_out_of_range_are_refused(name):
    with pytest.raises(ConfigError, match=f"allocation 'noise_batch': {name}"):
        policy(**{name: 0 if name == "lowest" else -1.0 if name != "first" else 1})


def test_a_gradient_that_is_no_number_is_refused_and_nothing_learned():
    curriculum = policy()
    before = curriculum.state_dict()
    with pytest.raises(DataError, match="the moments of the gradient are no numbers"):
        told(curriculum, (float("nan"), 1.0))
    assert curriculum.state_dict() == before


def test_loops_that_observe_before_the_update_cannot_have_it():
    spec = {"sampler": "uniform", "rollouts": "noise_batch"}
    with pytest.raises(ConfigError, match="only gainrl's own trainer tells it"):
        curricula.make(spec, size=40, batch=4)
    with pytest.raises(ConfigError, match="'uniform \\+ noise_batch' goes by the noise"):
        built_for_verl(Plugin(curriculum=spec), 40, 4, 8, 0, {}.__getitem__)


def test_a_backend_may_not_measure_it():
    fixed = {"name": "noise_batch", "adaptive": False}
    data = changed("methods", "grpo", to={"curriculum": {"sampler": "uniform", "rollouts": fixed}})
    data["training"]["backend"] = "verl"
    assert error_of(data).endswith(
        "'uniform + noise_batch' goes by the noise of the gradient, which is not measured"
    )
