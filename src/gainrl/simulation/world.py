"""What a simulated policy is trained on and how it answers, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gainrl.curricula.base import FloatArray, IntArray


@dataclass(frozen=True)
class PromptPool:
    """What is known of N prompts before RL; all arrays are (N,).

    tokens: mean length of a response; prompt_tokens: length of the question;
    signal: C of the start model; difficulty: the data set's own, in [0, 100], or None; categories:
    codes from 0 on, or None; features: what the prefill of the start model says, by name.
    """

    tokens: FloatArray
    prompt_tokens: IntArray
    signal: FloatArray
    difficulty: FloatArray | None = None
    categories: IntArray | None = None
    features: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """N."""
        return len(self.tokens)


class World(Protocol):
    """A pool of prompts and a policy that learns from them."""

    pool: PromptPool

    @property
    def ability(self) -> float:
        """How far the policy has come, in a unit of the world's own."""

    def rates(self, rows: IntArray) -> FloatArray:
        """(P,) probabilities that a response of the current policy is right."""

    def signals(self, rows: IntArray) -> FloatArray:
        """(P,) C under the current policy."""

    def learn(self, rows: IntArray, accuracy: FloatArray, rollouts: IntArray) -> float:
        """One update with some groups, (P,) each, P > 0; returns their mean gradient signal."""

    def test_accuracy(self) -> float:
        """Expected accuracy on the test, in [0, 1]."""
