"""Logistic regression on a record that fades: ridge-penalised, updated once a step."""

from __future__ import annotations

import numpy as np

from gainrl.curricula.base import FloatArray
from gainrl.curricula.parts import Stateful

NEWTON = 50
CONVERGED = 1e-8
"""Newton decrement, in units of log-likelihood, after which one more step is exact to rounding."""


class FadingLogistic(Stateful):
    """P(y | x) = 1 / (1 + exp(-x'w)), where the past counts `decay` times as much each step.

    A step with F inputs x_i, shares y_i in [0, 1] and counts n_i moves w to the minimum of

        sum_i n_i [log(1 + exp(x_i'w)) - y_i x_i'w] + decay (w'Aw / 2 - b'w) + ridge |w|^2 / 2,

    found by Newton's method to rounding. Then, with m_i = P(y | x_i) at the new w,

        A <- decay A + sum_i n_i m_i (1 - m_i) x_i x_i',
        b <- decay b + sum_i n_i [m_i (1 - m_i) x_i'w + y_i - m_i] x_i.

    A and b are the sums X'WX and X'Wz of iteratively reweighted least squares (McCullagh and Nelder
    1989, section 2.5): the step itself is fitted exactly, and each past step counts as the
    quadratic that touches its likelihood where it was fitted, so nothing of it has to be kept. The
    penalty does not fade and holds for every weight, an intercept's too: without it a first step of
    nothing but failures would have no finite fit.

    Args:
        size: F.
        ridge: above 0.
        decay: of the past, a step, in (0, 1].
    """

    state = ("precision", "target", "weights")

    def __init__(self, size: int, ridge: float, decay: float) -> None:
        self.ridge, self.decay = ridge, decay
        self.precision, self.target = np.zeros((size, size)), np.zeros(size)
        self.weights = np.zeros(size)

    def predict(self, inputs: FloatArray) -> FloatArray:
        """(N,) probabilities for (N, F) inputs."""
        return logistic(inputs @ self.weights)

    def observe(self, inputs: FloatArray, share: FloatArray, count: FloatArray) -> None:
        """Add one step.

        Args:
            inputs: (B, F).
            share: (B,) in [0, 1].
            count: (B,) above 0; what a share weighs.
        """
        past, pull = self.decay * self.precision, self.decay * self.target
        prior = past + self.ridge * np.eye(len(pull))

        def loss(weights: FloatArray) -> float:
            eta = inputs @ weights
            data = float(count @ (np.logaddexp(0.0, eta) - share * eta))
            return data + float(weights @ (prior @ weights / 2 - pull))

        weights = self.weights
        for _ in range(NEWTON):
            mean = logistic(inputs @ weights)
            gradient = inputs.T @ (count * (mean - share)) + prior @ weights - pull
            move = np.linalg.solve(_curvature(inputs, count, mean) + prior, gradient)
            decrement, length = float(gradient @ move), 1.0
            if decrement > CONVERGED:
                now = loss(weights)
                while loss(weights - length * move) > now:  # convex: it ends
                    length /= 2
            weights = weights - length * move
            if decrement <= CONVERGED:
                break
        eta = inputs @ weights
        mean = logistic(eta)
        own = count * mean * (1 - mean)
        self.precision = past + _curvature(inputs, count, mean)
        self.target = pull + inputs.T @ (own * eta + count * (share - mean))
        self.weights = weights


def logistic(eta: FloatArray) -> FloatArray:
    """1 / (1 + exp(-eta)), without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(eta, -700.0, 700.0)))


def _curvature(inputs: FloatArray, count: FloatArray, mean: FloatArray) -> FloatArray:
    return (inputs.T * (count * mean * (1 - mean))) @ inputs
