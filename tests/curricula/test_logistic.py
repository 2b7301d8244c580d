"""Logistic regression on a record that fades."""

import numpy as np
import pytest

from gainrl.curricula.logistic import FadingLogistic


def test_the_logistic_model_moves_as_in_a_hand_worked_example():
    """3 w = 4 (.75 - m): w = .25033. Then, from 3 of 4 to 0 of 4, at a decay of .9:

    4 m + (.9 A + 3) w - .9 b = 0 with A = 4 m (1 - m) = .98450, b = A w + 4 (.75 - m) = .99741.
    """
    model, one = FadingLogistic(1, ridge=3.0, decay=0.9), np.ones((1, 1))
    assert model.predict(one).tolist() == [0.5]
    model.observe(one, np.array([0.75]), np.array([4.0]))
    assert model.weights[0] == pytest.approx(0.250325, abs=1e-6)
    assert model.precision[0, 0] == pytest.approx(0.98450, abs=1e-5)
    assert model.target[0] == pytest.approx(0.99741, abs=1e-5)
    model.observe(one, np.array([0.0]), np.array([4.0]))
    assert model.weights[0] == pytest.approx(-0.22580, abs=1e-5)


@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_the_weights_are_those_of_the_statistics(decay):
    """(A + ridge) w = b after every step: the fit is exact, not one Newton step towards it."""
    rng = np.random.default_rng(0)
    model = FadingLogistic(3, ridge=2.0, decay=decay)
    for _ in range(5):
        inputs = np.column_stack([np.ones(50), rng.normal(size=(50, 2))])
        model.observe(inputs, rng.random(50), rng.integers(1, 9, 50).astype(float))
        left = (model.precision + 2 * np.eye(3)) @ model.weights
        assert left == pytest.approx(model.target, abs=1e-9)


def test_the_model_stays_finite_when_everything_turns_round():
    """From nothing but failures, where it is all but certain, to nothing but successes."""
    rng = np.random.default_rng(0)
    inputs = np.column_stack([np.ones(1000), rng.normal(size=(1000, 3))])
    model, count = FadingLogistic(4, ridge=3.0, decay=0.9), np.full(1000, 8.0)
    for share, low, high in ((0.0, 0.0, 0.01), (1.0, 0.9, 1.0), (0.0, 0.0, 0.2)):
        for _ in range(3):
            model.observe(inputs, np.full(1000, share), count)
        assert low <= model.predict(inputs).min() <= model.predict(inputs).max() <= high


def test_the_past_fades():
    inputs = np.ones((8, 1))
    slow, fast = (FadingLogistic(1, ridge=3.0, decay=decay) for decay in (1.0, 0.5))
    for share in (1.0, 1.0, 1.0, 0.0):
        for model in (slow, fast):
            model.observe(inputs, np.full(8, share), np.full(8, 4.0))
    assert fast.predict(inputs)[0] < 0.5 < slow.predict(inputs)[0]
