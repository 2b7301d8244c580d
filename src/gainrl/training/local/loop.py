"""The RL loop: ask the curriculum, roll out, grade, update, observe."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gainrl.config.preset import Scoring, Training
from gainrl.curricula import Curriculum
from gainrl.curricula.base import Moments
from gainrl.data.prompts import Prompts
from gainrl.grading.graders import Reward
from gainrl.grading.maths import marks_once
from gainrl.models.loading import autocast, end_tokens, pad_token
from gainrl.models.sampling import Sampling, generate
from gainrl.models.texts import texts_of
from gainrl.records.runs import StepRecord
from gainrl.signals.taps import tapped
from gainrl.training import algorithms
from gainrl.training.algorithms import Algorithm
from gainrl.training.downsample import down_sample
from gainrl.training.extra import Jumps
from gainrl.training.layout import row_tokens_for
from gainrl.training.local.critic import Critic, adamw
from gainrl.training.local.entropy import prompt_entropies
from gainrl.training.local.noise import HalfGradient, halves
from gainrl.training.local.signal import signal_of
from gainrl.training.packing import (
    ALONE,
    Packed,
    PackedRow,
    Suffix,
    log_probabilities,
    micro_batches,
    pack,
    split_rows,
)
from gainrl.training.rate import set_rate
from gainrl.training.rollouts import OldPolicy, Rollouts, gather
from gainrl.training.steps import outcome_of, record_of
from gainrl.training.templates import Templates

DEFAULT_SCORING, GRPO = Scoring(), algorithms.named("grpo")


class LocalTrainer:
    """RL on one device by an algorithm, driven by a curriculum.

    The forward pass that gives the log-probabilities also gives the prompts' hidden states, so the
    angle signal costs no pass of its own. Groups whose advantages are 0 have no gradient; with
    kl = 0 they are run without a graph. With `downsample` a pass without a graph comes before the
    update: over the rollouts that are kept, for their entropies, and over all prompts, for the
    signal.

    renderings: of the prompts, one for each of `settings.templates`; every step draws among them.
    critic: of algorithms that have one; `value_loss` and `explained_variance` are recorded then.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        prompts: Prompts,
        answers: Sequence[str],
        curriculum: Curriculum,
        settings: Training,
        seed: int,
        reward: Reward,
        scoring: Scoring = DEFAULT_SCORING,
        renderings: Sequence[Prompts] = (),
        algorithm: Algorithm = GRPO,
        critic: Critic | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.prompts, self.answers = prompts, answers
        self.templates = Templates(renderings, seed) if renderings else None
        self.curriculum, self.settings, self.reward = curriculum, settings, reward
        self.scoring, self.algorithm, self.critic = scoring, algorithm, critic
        self.device = next(model.parameters()).device
        self.step_number = 0
        self.choosing = self.answering = 0.0
        self.moments: Moments | None = None
        self.ends, self.pad = end_tokens(model, tokenizer), pad_token(model, tokenizer)
        everything = [row for each in renderings or [prompts] for row in each.tokens]
        longest = max(map(len, everything)) + settings.max_response
        self.row_tokens = row_tokens_for(model, settings.row_tokens, everything, longest, self.pad)
        self.adapter = self.reference = None
        if settings.lora:  # peft takes seconds to import
            from gainrl.training.local.lora import Adapter

            self.adapter = Adapter(model, settings.lora, seed)
        elif settings.kl:
            self.reference = copy.deepcopy(model).requires_grad_(False)
        self.optimizer = adamw(model, settings, settings.lr)
        self.jumps = Jumps(self.optimizer, settings.extra) if settings.extra else None
        mixed = int(np.random.SeedSequence([seed, 21]).generate_state(1)[0])
        self.generator = torch.Generator(device=self.device).manual_seed(mixed)

    def step(self) -> tuple[dict[str, Any], dict[str, float]]:
        """One RL step.

        Returns:
            The step record (deterministic) and its seconds by part.
        """
        began = time.perf_counter()
        rollouts = self._roll_out()
        rolled = time.perf_counter()
        trained, learned = self._credit(rollouts.trained)
        signal, losses = self._update(trained)
        self.step_number += 1
        record = {"step": self.step_number, **self._record(rollouts, trained, signal)}
        record |= {**losses, **learned}
        if self.jumps:
            record["jumped"] = int(self.jumps.after(self.step_number))
        updated = time.perf_counter()
        seen = outcome_of(rollouts, trained, signal)
        self.curriculum.observe(replace(seen, moments=self.moments))
        row = StepRecord.of(record, self.curriculum.metrics())
        ended = time.perf_counter()
        return row, {
            "seconds_rollout": rolled - began,
            "seconds_train": ended - rolled,
            "seconds_step": ended - began,
            "seconds_curriculum": self.choosing + ended - updated,
        }

    def _roll_out(self) -> Rollouts:
        if self.templates:
            self.prompts = self.templates.draw()
        began, self.answering = time.perf_counter(), 0.0
        bonus = self._bonus if self.settings.format_weight else None
        rollouts = gather(self.curriculum, self._respond, self.algorithm, bonus, self._read)
        self.choosing = time.perf_counter() - began - self.answering
        return rollouts

    def _respond(self, rows: np.ndarray, rollouts: int) -> tuple[list[list[int]], list[float]]:
        """Responses to some rows, `rollouts` each, and 1 for the correct ones, else 0."""
        began, settings = time.perf_counter(), self.settings
        sampling = Sampling(settings.temperature, settings.top_p, settings.max_response)
        with autocast(self.device):
            responses = generate(
                self.model,
                [self.prompts.tokens[row] for row in rows],
                rollouts,
                sampling,
                self.generator,
                ends=self.ends,
                pad=self.pad,
            )
        texts = texts_of(self.tokenizer, responses)
        rewards = self.reward(texts, [self.answers[row] for row in rows for _ in range(rollouts)])
        self.answering += time.perf_counter() - began
        return responses, list(rewards)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """(P,) entropies of prompts under the policy."""
        began, alone = time.perf_counter(), self.row_tokens == ALONE
        prompts, budget = [self.prompts.tokens[k] for k in rows], self.settings.micro_batch_tokens
        with autocast(self.device):
            found = prompt_entropies(self.model, prompts, budget, self.pad, alone)
        self.answering += time.perf_counter() - began
        return found

    def _bonus(self, responses: list[list[int]]) -> list[float]:
        """What the format of responses adds to their rewards."""
        began = time.perf_counter()
        texts = texts_of(self.tokenizer, responses)
        found = [self.settings.format_weight * marks_once(text) for text in texts]
        self.answering += time.perf_counter() - began
        return found

    def _credit(self, rollouts: Rollouts) -> tuple[Rollouts, dict[str, float]]:
        """The rollouts with what is to be trained on, and what to record of that."""
        if self.critic:
            parts, lengths = self._mini_batches(rollouts), torch.from_numpy(rollouts.lengths)
            advantages, learned = self.critic.learn(parts, rollouts.rewards, lengths)
            return replace(rollouts, advantages=advantages.cpu()), learned
        section = self.settings.downsample
        if section is None:
            return rollouts, {}
        progress = self.step_number / max(self.settings.steps - 1, 1)
        return down_sample(rollouts, section, progress, self._measure)

    def _update(self, rollouts: Rollouts) -> tuple[np.ndarray, dict[str, float]]:
        """All optimiser steps on one batch of rollouts; returns (P,) C and the mean losses."""
        set_rate(self.optimizer, self.settings, self.step_number, self.curriculum.rate())
        self.moments = None
        parts, old = self._mini_batches(rollouts) * self.settings.epochs, rollouts.old
        if old is None and len(parts) > 1:
            old = self._measure(rollouts)
        signal = np.full(len(rollouts.rows), np.nan) if old is None else old.signal
        sums = dict.fromkeys(("loss", "kl", "entropy", "grad_norm"), 0.0)
        target, made, moved = self.settings.target_kl or math.inf, 0, 0.0
        for made, rows in enumerate(parts, start=1):
            measured = made == 1 and self.curriculum.reads_noise
            moved = self._differentiate(rows, rollouts, old, signal, sums, measured)
            norm = torch.nn.utils.clip_grad_norm_(
                self.model.parameters(), self.settings.max_grad_norm
            )
            sums["grad_norm"] += float(norm)
            if made * self.settings.epochs > len(parts) and moved > target:
                break
            self.optimizer.step()
        learned = {key: value / made for key, value in sums.items()}
        if self.settings.target_kl and self.settings.epochs > 1:
            learned |= {"epochs": made * self.settings.epochs / len(parts), "approx_kl": moved}
        return signal, learned

    def _differentiate(
        self,
        rows: list[PackedRow],
        rollouts: Rollouts,
        old: OldPolicy | None,
        signal: np.ndarray,
        sums: dict[str, float],
        measured: bool,
    ) -> float:
        """The gradient of one mini-batch; its losses are added to `sums`.

        Args:
            measured: keep the gradient's moments.

        Returns:
            How far the policy has moved from the one that rolled out, in nats a token; 0 without
            `target_kl`.
        """
        mine = [suffix.index for row in rows for suffix in row.suffixes]
        divisor = self.algorithm.divisor(
            int(rollouts.tokens_in_loss[mine].sum()), len(mine), self.settings.max_response
        )
        everything = int(rollouts.lengths[mine].sum())
        self.optimizer.zero_grad(set_to_none=False)
        parts, half, moved = halves(rows) if measured else [rows], None, 0.0
        for part in parts:
            for packed in self._packs(part, rollouts):
                entropy, gap = self._accumulate(packed, rollouts, old, signal, divisor, sums)
                sums["entropy"] += entropy / everything
                moved += gap / everything
            if half is not None:
                self.moments = half.moments(part)
            elif len(parts) > 1:
                half = HalfGradient(self.model.parameters(), part)
        return moved

    def _accumulate(
        self,
        packed: Packed,
        rollouts: Rollouts,
        old: OldPolicy | None,
        signal: np.ndarray,
        divisor: int,
        sums: dict[str, float],
    ) -> tuple[float, float]:
        """Forward (and backward where there is a gradient) of one micro-batch.

        Returns:
            Sums over all its target tokens, also those that the loss is not of: of the entropies,
            and of the divergence from the policy that rolled out, r - 1 - log r with r the ratio.
        """
        settings = self.settings
        advantage = rollouts.advantages_of(packed).to(self.device)
        has_gradient = settings.kl > 0 or bool(settings.entropy) or bool(advantage.any())
        with torch.set_grad_enabled(has_gradient), autocast(self.device):
            now, entropy, states = self._log_probabilities(packed)
        response = packed.suffix.to(self.device)
        if old is None:
            self._signal_of(packed, states, rollouts, signal)
            before = now.detach()
        else:
            before = old.log_probability[response, packed.places.to(self.device)]
        reference = self._reference(packed) if settings.kl else None
        total, spread = entropy.sum().item(), entropy
        moved = 0.0
        if settings.target_kl and old is not None:
            gap = now.detach() - before
            moved = (gap.exp() - 1 - gap).sum().item()
        if (chosen := rollouts.mask_of(packed)) is not None:
            chosen = chosen.to(self.device)
            now, before, advantage = now[chosen], before[chosen], advantage[chosen]
            response, spread = response[chosen], spread[chosen]
            reference = None if reference is None else reference[chosen]
        loss, divergence = self.algorithm.loss(
            now, before, advantage, response, settings, reference, spread
        )
        if has_gradient:
            (loss / divisor).backward()
        sums["loss"] += loss.item() / divisor
        sums["kl"] += divergence.item() / divisor
        return total, moved

    def _reference(self, packed: Packed) -> torch.Tensor:
        """(T,) log-probabilities of the start model, which without its adapters is the policy."""
        frozen = self.reference or self.model
        plain = self.adapter.disabled() if self.adapter else nullcontext()
        with plain, torch.no_grad(), autocast(self.device):
            return log_probabilities(frozen, packed, self.settings.temperature)[0]

    def _measure(self, rollouts: Rollouts) -> OldPolicy:
        """A pass before the first update, over what it runs and the other prompts alone."""
        count, shape = len(rollouts.rows), (len(rollouts.responses), int(rollouts.lengths.max()))
        picked, entropy = torch.zeros((2, *shape), device=self.device)
        old = OldPolicy(np.full(count, np.nan), picked, entropy)
        rows = self._rows_of(rollouts, range(count))
        for i in sorted(set(range(count)) - {row.index for row in rows}):
            rows.append(
                PackedRow(self.prompts.tokens[rollouts.rows[i]], (), i, self.row_tokens == ALONE)
            )
        for packed in self._packs(rows, rollouts):
            at = packed.suffix.to(self.device), packed.places.to(self.device)
            with torch.no_grad(), autocast(self.device):
                picked[at], entropy[at], states = self._log_probabilities(packed)
            self._signal_of(packed, states, rollouts, old.signal)
        return old

    def _log_probabilities(self, packed: Packed) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `log_probabilities`, with the states of the tap that C is read at."""
        with tapped(self.model, [self.scoring.tap]) as states:
            now, entropy = log_probabilities(
                self.model, packed, self.settings.temperature, bool(self.settings.entropy)
            )
        return now, entropy, states[self.scoring.tap]

    def _signal_of(
        self, packed: Packed, states: torch.Tensor, rollouts: Rollouts, signal: np.ndarray
    ) -> None:
        """C of the prompts of this micro-batch, from states computed anyway."""
        places = np.array([row.index for row in packed.rows])
        signal[places] = signal_of(states, self.prompts, rollouts.rows[places], self.scoring)

    def _mini_batches(self, rollouts: Rollouts) -> list[list[PackedRow]]:
        """The packed rows of each mini-batch; a group stays whole."""
        count, size = len(rollouts.rows), self.settings.mini_batch or len(rollouts.rows)
        return [
            self._rows_of(rollouts, range(at, min(at + size, count)))
            for at in range(0, count, size)
        ]

    def _rows_of(self, rollouts: Rollouts, chosen: range) -> list[PackedRow]:
        """Packed rows of some prompts of the batch (positions in the batch), with what is run."""
        starts, wanted, rows = rollouts.starts, rollouts.tokens_in_loss, []
        for i in chosen:
            responses = range(starts[i], starts[i] + rollouts.sizes[i])
            suffixes = [Suffix(k, rollouts.responses[k]) for k in responses if wanted[k]]
            prefix = self.prompts.tokens[rollouts.rows[i]]
            rows += split_rows(prefix, suffixes, self.row_tokens, i)
        return rows

    def _packs(self, rows: list[PackedRow], rollouts: Rollouts) -> Iterator[Packed]:
        """Micro-batches; prompts without a policy gradient apart from the rest."""
        zero = rollouts.zero_advantage
        for wanted in (False, True):
            part = [row for row in rows if bool(zero[row.index]) == wanted]
            for batch in micro_batches(part, self.settings.micro_batch_tokens):
                yield pack(batch, self.pad)

    def _record(self, rollouts: Rollouts, trained: Rollouts, signal: np.ndarray) -> dict[str, Any]:
        """What the step record says of the rollouts."""
        truncated = [response[-1] not in self.ends for response in rollouts.responses]
        whole, lengths = self.curriculum.whole_batches, self.prompts.lengths
        return record_of(rollouts, trained, signal, lengths, truncated, whole)

    def trained_model(self) -> Any:
        """The policy as a plain model: itself, or a copy with the adapters merged."""
        return self.adapter.merged() if self.adapter else self.model

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "trainer_step": self.step_number,
            "model": (self.adapter or self.model).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "curriculum": json.dumps(self.curriculum.state_dict()),
            **({"extra": self.jumps.state_dict()} if self.jumps else {}),
            **({"templates": self.templates.state_dict()} if self.templates else {}),
            **({"critic": self.critic.state_dict()} if self.critic else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.step_number = state["trainer_step"]
        (self.adapter or self.model).load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.curriculum.load_state_dict(json.loads(state["curriculum"]))
        if self.jumps:
            self.jumps.load_state_dict(state["extra"])
        if self.templates:
            self.templates.load_state_dict(state["templates"])
        if self.critic:
            self.critic.load_state_dict(state["critic"])
