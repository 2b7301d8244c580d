"""PPO's critic: a value model of the policy's size, the advantages it gives, and its updates.

The definitions are verl 0.9.1's: GAE whitened over the batch's response tokens, a clipped value
loss averaged over tokens, the state that predicts a token has the token's value.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gainrl.config.ppo import PPO
from gainrl.config.preset import Training
from gainrl.models.loading import autocast
from gainrl.signals.taps import decoder_of
from gainrl.training.algorithms.ppo import explained_variance, gae, value_loss, whiten
from gainrl.training.packing import Packed, PackedRow, final_states, micro_batches, pack


def adamw(model: torch.nn.Module, training: Training, lr: float) -> torch.optim.AdamW:
    """The optimiser of what a policy or a critic trains; its gradients are zeros from then on."""
    trained = [each for each in model.parameters() if each.requires_grad]
    for parameter in trained:  # AdamW skips what has none, also after a restart
        parameter.grad = torch.zeros_like(parameter)
    return torch.optim.AdamW(
        trained,
        lr=lr,
        betas=training.betas,
        weight_decay=training.weight_decay,
        fused=True,
    )


class ValueModel(torch.nn.Module):
    """A copy of a language model's decoder with a new scalar head.

    What transformers' token classifiers are with one label, which verl's critic is: a linear map
    with bias of the final hidden states after the norm. Head weights are normal with the
    configuration's `initializer_range` (0.02 without), the bias is 0.
    """

    def __init__(self, model: Any, seed: int) -> None:
        super().__init__()
        self.decoder = copy.deepcopy(decoder_of(model))
        config, weight = model.config.get_text_config(), next(model.parameters())
        self.head = torch.nn.utils.skip_init(
            torch.nn.Linear, config.hidden_size, 1, device=weight.device, dtype=weight.dtype
        )
        mixed = int(np.random.SeedSequence([seed, 22]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(mixed)  # the same head on every device
        drawn = torch.randn(self.head.weight.shape, generator=generator)
        with torch.no_grad():
            self.head.weight.copy_(drawn * getattr(config, "initializer_range", 0.02))
            self.head.bias.zero_()

    def forward(self, packed: Packed) -> torch.Tensor:
        """(T,) values of a micro-batch's target tokens."""
        states = final_states(self.decoder, packed)
        chosen = states.flatten(0, 1)[packed.source.to(states.device)]
        values: torch.Tensor = self.head(chosen).float().squeeze(1)
        return values


@dataclass
class Estimates:
    """What is known of a step's K responses of at most N tokens before the first update.

    All (K, N), and 0 after a response's end. advantages: not whitened. mask: bool, its tokens.
    """

    mask: torch.Tensor
    rewards: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor

    @classmethod
    def of(cls, rewards: torch.Tensor, lengths: torch.Tensor) -> Estimates:
        """Nothing but (K,) rewards, which belong to the last one of a response's tokens."""
        place = torch.arange(int(lengths.max()), device=lengths.device)
        last = place == lengths[:, None] - 1
        given = last * rewards.float()[:, None]
        return cls(
            place < lengths[:, None], given, torch.zeros_like(given), torch.zeros_like(given)
        )

    @property
    def returns(self) -> torch.Tensor:
        """(K, N) targets of the values."""
        return self.advantages + self.values


class Critic:
    """The value model with its optimiser.

    Build it from the start model, before a checkpoint is loaded.
    """

    def __init__(self, model: Any, training: Training, settings: PPO, seed: int, pad: int) -> None:
        self.model = ValueModel(model, seed)
        self.training, self.settings, self.pad = training, settings, pad
        self.device = self.model.head.weight.device
        self.optimizer = adamw(self.model.requires_grad_(True), training, settings.critic_lr)

    def learn(
        self, parts: Sequence[Sequence[PackedRow]], rewards: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Advantages of a step's responses, and an update for each mini-batch.

        The returns of a response depend on its own values only, so the pass that evaluates the
        first mini-batch is also the one that it is trained with.

        Args:
            parts: packed rows of each mini-batch; `suffix.index` is a response, 0 to K - 1.
            rewards, lengths: (K,); lengths in tokens.

        Returns:
            (K, N) whitened advantages, 0 after a response's end; the mean `value_loss` of the
            updates and the `explained_variance` of the values before them.
        """
        known = Estimates.of(rewards.to(self.device), lengths.to(self.device))
        self.optimizer.zero_grad(set_to_none=False)
        loss = self._run(parts[0], known, evaluate=True, train=True)
        for rows in parts[1:]:
            self._run(rows, known, evaluate=True, train=False)
        self._step()
        for rows in parts[1:]:
            self.optimizer.zero_grad(set_to_none=False)
            loss += self._run(rows, known, evaluate=False, train=True)
            self._step()
        explained = explained_variance(known.values[known.mask], known.returns[known.mask])
        return whiten(known.advantages, known.mask), {
            "value_loss": loss / len(parts),
            "explained_variance": explained,
        }

    def _run(
        self, rows: Sequence[PackedRow], known: Estimates, *, evaluate: bool, train: bool
    ) -> float:
        """All micro-batches of some rows: note their values, or learn, or both.

        Returns:
            The token-mean loss (0 without training).
        """
        total = 0.0
        tokens = sum(len(suffix.tokens) for row in rows for suffix in row.suffixes)
        for batch in micro_batches(rows, self.training.micro_batch_tokens):
            packed = pack(batch, self.pad)
            at = packed.suffix.to(self.device), packed.places.to(self.device)
            with torch.set_grad_enabled(train), autocast(self.device):
                values = self.model(packed)
            if evaluate:
                known.values[at] = values.detach()
                self._estimate(known, at[0].unique())
            if train:
                clip = self.settings.clip_value
                loss = value_loss(values, known.values[at], known.returns[at], clip) / tokens
                loss.backward()
                total += loss.item()
        return total

    def _estimate(self, known: Estimates, chosen: torch.Tensor) -> None:
        """Advantages of some responses, whose values are known."""
        known.advantages[chosen] = gae(
            known.values[chosen],
            known.rewards[chosen],
            discount=self.settings.discount,
            gae_lambda=self.settings.gae_lambda,
        )

    def _step(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.max_grad_norm)
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimiser."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
