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
from gainrl.simulation.run import simulate
from gainrl.training.verl.section import Plugin
from gainrl.training.verl.section import build as built_for_verl


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
    curriculum = policy(adaptive=False, share=0.125, horizon=20.0)
    assert len(drawn(curriculum).rows) == 8
    assert curriculum.rate() == 1.0
    told(curriculum, *[(0.5, 64.0)] * 40)  # 128, but at most 4 horizons: 80
    asked = drawn(curriculum)
    assert len(asked.rows) == 10
    assert set(asked.rollouts.tolist()) == {8}
    # (1 + 80 / 8) / (1 + 80 / 10) = 11 / 9
    assert curriculum.rate() == pytest.approx((11 / 9) ** 0.5)
    metrics = curriculum.allocation.metrics()
    assert metrics["noise_scale"] == pytest.approx(80.0)
    assert metrics["batch"] == 10.0
    assert metrics["rate"] == curriculum.rate()


def test_gradients_without_noise_have_no_noise_scale():
    curriculum = policy()
    told(curriculum, (1.0, -0.5))
    assert curriculum.allocation.metrics()["noise_scale"] == 0.0
    assert curriculum.allocation.metrics()["batch"] == 8.0


def test_moments_are_averaged_over_groups():
    """Of a horizon of 8 groups the second step of 8 weighs 1 - 1/e, the first 1/e of that."""
    curriculum = policy(horizon=8.0)
    told(curriculum, (1.0, 20.0), (1.0, 30.0))
    first, second = np.exp(-1) * (1 - np.exp(-1)), 1 - np.exp(-1)
    expected = (first * 20 + second * 30) / (first + second)
    assert curriculum.metrics()["noise_scale"] == pytest.approx(expected)


def test_with_adaptive_rollouts_so_many_prompts_have_the_first_and_mixed_ones_as_many_again():
    curriculum = policy(share=0.25, horizon=8.0)
    assert len(drawn(curriculum).rows) == 8
    told(curriculum, (1.0, 64.0))  # 8 of 32, in eight groups: moved by 2 at most
    curriculum.allocation.now = 16.0
    asked = drawn(curriculum)
    assert len(asked.rows) == 16
    assert set(asked.rollouts.tolist()) == {4}
    mixed = np.arange(16) < 5
    seen = Groups(asked.rows, asked.rollouts, mixed / 2, mixed, 10 * asked.rollouts)
    assert curriculum.draw(seen, None).rows.tolist() == asked.rows[:5].tolist()


def test_without_them_there_is_one_draw_even_of_as_many_rollouts():
    curriculum = policy(rollouts=4, adaptive=False)
    asked = drawn(curriculum)
    seen = Groups(asked.rows, asked.rollouts, np.full(8, 0.5), np.full(8, True), asked.rollouts)
    assert curriculum.draw(seen, None) is None


def test_a_step_moves_the_batch_by_its_share_of_the_horizon_at_most():
    """Eight groups of a horizon of 80: 1.1 times, or the same part of it."""
    curriculum, sizes = policy(adaptive=False, share=0.25, horizon=80.0), []
    for moments in [(1.0, 300.0)] * 3 + [(1e6, 1.0)] * 2:
        told(curriculum, moments)
        sizes.append(curriculum.allocation.now)
    assert sizes == pytest.approx([8.8, 9.68, 10.648, 9.68, 8.8])


def test_no_batch_is_below_the_lowest():
    curriculum = policy(adaptive=False, lowest=5, horizon=20.0)
    told(curriculum, *[(10.0, 1.0)] * 9)
    assert len(drawn(curriculum).rows) == 5


def test_where_no_gradient_is_seen_the_noise_scale_counts_as_four_horizons():
    curriculum = policy(adaptive=False, share=0.25, horizon=16.0)
    told(curriculum, *[(-9.0, 128.0)] * 3)
    assert curriculum.metrics()["noise_scale"] == 64.0
    assert len(drawn(curriculum).rows) == 16  # a quarter


def test_no_batch_is_larger_than_the_table_or_the_highest():
    for size, highest, batch in ((20, 256, 20), (400, 30, 30)):
        curriculum = policy(adaptive=False, size=size, highest=highest, share=0.5, horizon=100.0)
        told(curriculum, *[(1.0, 300.0)] * 40)
        assert len(drawn(curriculum).rows) == batch


def test_a_single_prompt_a_step_is_no_batch_that_tells_its_noise():
    assert len(drawn(policy(batch=1)).rows) == 2


def test_filters_that_choose_among_the_groups_and_mini_batches_are_refused():
    spec = {"sampler": "uniform", "filter": "mixed", "rollouts": "noise_batch"}
    with pytest.raises(ConfigError, match="the filter 'mixed' chooses among them"):
        curricula.compose(spec)
    data = changed("methods", "grpo", to={"curriculum": {**spec, "filter": "all"}})
    data["training"]["mini_batch"] = data["training"]["prompts"]
    assert error_of(data).endswith("sets the batch of one update: leave out mini_batch")


def test_the_simulator_has_no_gradient():
    spec = {"sampler": "uniform", "rollouts": "noise_batch"}
    with pytest.raises(ConfigError, match="gradient, which a simulated step does not have"):
        simulate(None, curricula.build(spec, Setting(40, 4, 0)), 3, 0)


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
