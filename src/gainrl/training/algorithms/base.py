"""The interface between an algorithm and the two trainers, and the registry of algorithms.

A file of this package is an algorithm: what a response is worth (advantage), what an update
minimises (loss), how its tokens are averaged (aggregation), whether a critic is trained, and what
verl calls all that. `@register("name")` makes it a method's `algorithm`; nothing else changes.

No torch is imported: tensors bring their methods, and the simulator and the DAG do without.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np

from gainrl.config.ppo import PPO
from gainrl.config.training import Training
from gainrl.curricula.base import FloatArray, IntArray
from gainrl.errors import ConfigError, nearest

if TYPE_CHECKING:
    from torch import Tensor

Aggregation = Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"]
"""How the tokens of a mini-batch become one loss, by verl's names: the mean over all tokens; the
mean over responses of their tokens' means; the sum over all tokens, divided by the number of
responses and by `training.max_response`, so that a token weighs the same in every step."""


NO_BOUND = 1e9
"""What verl is told in place of None: it holds every ratio below e^20, which is less."""


class Algorithm:
    """A clipped policy gradient whose advantages are group-relative, or a critic's.

    Two lines are enough for a new group-relative one: `scale`, and `estimator` if verl has its own.
    """

    name: str
    critic: ClassVar[bool] = False
    """A value model of the policy's size is trained; advantages are its, one a token."""
    aggregation: ClassVar[Aggregation] = "token-mean"
    dual_clip: ClassVar[bool] = True
    """Whether `training.clip_negative` holds."""
    estimator: ClassVar[str] = "grpo"
    """verl's `algorithm.adv_estimator`."""

    def scale(self, deviation: Any, size: Any) -> Any:
        """What a group's centred rewards are divided by.

        Args:
            deviation: unbiased standard deviation of the rewards; array or tensor.
            size: responses in the group; a number, or an array as `deviation`.
        """
        raise NotImplementedError(f"{self.name} has no group-relative advantages")

    def advantages(self, rewards: Tensor) -> Tensor:
        """(P, G) advantages of (P, G) rewards; exactly 0 in a group of equal rewards, or of one."""
        if rewards.shape[1] == 1:  # it has no deviation
            return rewards - rewards
        centred = rewards - rewards.mean(1, keepdim=True)
        advantages = centred / self.scale(rewards.std(1, keepdim=True), rewards.shape[1])
        equal = (rewards == rewards[:, :1]).all(1, keepdim=True)  # their mean is off by rounding
        return advantages.masked_fill(equal, 0.0)

    def mean_abs_advantage(self, accuracy: FloatArray, rollouts: IntArray) -> FloatArray:
        """(P,) mean |advantage| of groups whose rewards are 0 and 1, from their (P,) accuracies."""
        p, n = accuracy, rollouts
        deviation = np.sqrt(p * (1 - p) * n / np.maximum(n - 1, 1))
        found: FloatArray = 2 * p * (1 - p) / self.scale(deviation, n)
        return found

    def log_ratio(self, log_probability: Tensor, old: Tensor, response: Tensor) -> Tensor:
        """(T,) logarithm of the importance ratio that is clipped; arguments as for `loss`."""
        return log_probability - old

    def loss(
        self,
        log_probability: Tensor,
        old: Tensor,
        advantage: Tensor,
        response: Tensor,
        training: Training,
        reference: Tensor | None = None,
        entropy: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Clipped surrogate of a micro-batch, a sum that is to be divided by `divisor`.

        Args:
            log_probability, old, advantage: (T,), nats; of the responses' tokens.
            response: (T,) whose token it is; all tokens of a response are in one micro-batch.
            training: `clip`, `clip_high`, `clip_negative`, `entropy`, and `kl`, the weight of the
                divergence to the reference policy, by the low-variance estimator exp(d) - d - 1
                with d = reference - log_probability.
            reference: (T,); None where there is no such policy.
            entropy: (T,) nats, with a gradient; where `training.entropy` is not 0.

        Returns:
            The summed loss and the summed KL estimate (0 without a reference).
        """
        ratio = self.log_ratio(log_probability, old, response).exp()
        clipped = ratio.clamp(1 - training.clip, 1 + (training.clip_high or training.clip))
        surrogate = (ratio * advantage).minimum(clipped * advantage)
        if self.dual_clip and training.clip_negative is not None:
            bound = surrogate.maximum(training.clip_negative * advantage)
            surrogate = bound.where(advantage < 0, surrogate)
        loss = -self._sum(surrogate, response)
        if training.entropy:
            assert entropy is not None
            loss = loss - training.entropy * self._sum(entropy, response)
        if reference is None:
            return loss, loss.new_zeros(())
        gap = reference - log_probability
        divergence = self._sum(gap.exp() - gap - 1, response)
        return loss + training.kl * divergence, divergence.detach()

    def _sum(self, values: Tensor, response: Tensor) -> Tensor:
        """Of tokens, or of responses' means."""
        if self.aggregation == "seq-mean-token-mean":
            values = values / response.bincount()[response]
        return values.sum()

    def divisor(self, tokens: int, responses: int, max_response: int) -> int:
        """What the sums of a mini-batch's micro-batches are divided by.

        Args:
            tokens, responses: of the mini-batch, as far as the loss is of them.
        """
        return {
            "token-mean": tokens,
            "seq-mean-token-mean": responses,
            "seq-mean-token-sum-norm": responses * max_response,
        }[self.aggregation]

    def verl_keys(self, training: Training, ppo: PPO) -> dict[str, Any]:
        """The same algorithm in verl's configuration.

        Args:
            ppo: what algorithms with a critic have besides.
        """
        keys: dict[str, Any] = {
            "algorithm.adv_estimator": self.estimator,
            "actor_rollout_ref.actor.loss_agg_mode": self.aggregation,
            "actor_rollout_ref.actor.clip_ratio": training.clip,
            "actor_rollout_ref.actor.clip_ratio_low": training.clip,  # 0.2 by default, and they win
            "actor_rollout_ref.actor.clip_ratio_high": training.clip_high or training.clip,
            "actor_rollout_ref.actor.clip_ratio_c": training.clip_negative or NO_BOUND,
            "actor_rollout_ref.actor.entropy_coeff": training.entropy or 0,
            "actor_rollout_ref.actor.use_kl_loss": training.kl > 0,
            "actor_rollout_ref.actor.kl_loss_coef": training.kl,
            "actor_rollout_ref.actor.kl_loss_type": "low_var_kl",
        }
        if training.epochs > 1:  # verl's default is 1; its critic makes as many
            keys["actor_rollout_ref.actor.ppo_epochs"] = training.epochs
        if self.aggregation == "seq-mean-token-sum-norm":
            # Without it verl divides by the longest response of each micro-batch.
            keys["actor_rollout_ref.actor.loss_scale_factor"] = training.max_response
        return keys


# --- the registry --------------------------------------------------------------------------------

REGISTRY: dict[str, Algorithm] = {}
Kind = TypeVar("Kind", bound=type[Algorithm])


def register(name: str) -> Callable[[Kind], Kind]:
    """Class decorator: make an algorithm available to presets under `name`."""

    def add(kind: Kind) -> Kind:
        if name in REGISTRY:
            raise ValueError(f"algorithm '{name}' is registered twice")
        REGISTRY[name] = kind()
        REGISTRY[name].name = name
        return kind

    return add


def named(name: str, key: str = "algorithm") -> Algorithm:
    """The algorithm of a name.

    Args:
        key: where the preset says so, for the error message.

    Raises:
        ConfigError: there is none.
    """
    if name not in REGISTRY:
        raise ConfigError(f"{key}: unknown algorithm '{name}'{nearest(name, REGISTRY)}")
    return REGISTRY[name]


def discover() -> None:
    """Import every module of this package, so that each algorithm registers itself."""
    package = importlib.import_module("gainrl.training.algorithms")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"gainrl.training.algorithms.{module.name}")
