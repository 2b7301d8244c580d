"""The RL loop: ask the curriculum, roll out, grade, update, observe."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from gainrl.config.preset import Scoring, Training
from gainrl.curricula import Curriculum, Outcome
from gainrl.data.prompts import Prompts
from gainrl.grading.graders import Reward
from gainrl.grading.maths import marks_once
from gainrl.models.loading import autocast, end_tokens, pad_token
from gainrl.models.sampling import Sampling, generate
from gainrl.models.texts import texts_of
from gainrl.signals.angle import from_states
from gainrl.signals.taps import tapped
from gainrl.training.extra import Jumps
from gainrl.training.layout import row_tokens_for
from gainrl.training.local.downsample import down_sample
from gainrl.training.local.objective import policy_loss
from gainrl.training.local.rollouts import Known, Rollouts, gather
from gainrl.training.local.templates import Templates
from gainrl.training.packing import (
    ALONE,
    Branch,
    Packed,
    Row,
    log_probabilities,
    micro_batches,
    pack,
    split_rows,
)

DEFAULT_SCORING = Scoring()


class LocalTrainer:
    """GRPO on one device, driven by a curriculum.

    The forward pass that gives the log-probabilities also gives the prompts' hidden states, so the
    angle signal costs no pass of its own. Groups without variance have no gradient; with kl = 0
    they are run without a graph. With `downsample` a pass without a graph comes before the update:
    over the rollouts that are kept, for their entropies, and over all prompts, for the signal.

    renderings: of the prompts, one for each of `settings.templates`; every step draws among them.
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
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.prompts, self.answers = prompts, answers
        self.templates = Templates(renderings, seed) if renderings else None
        self.curriculum, self.settings, self.reward = curriculum, settings, reward
        self.scoring = scoring
        self.device = next(model.parameters()).device
        self.step_number = 0
        self.choosing = self.answering = 0.0
        self.ends, self.pad = end_tokens(model, tokenizer), pad_token(model, tokenizer)
        everything = [row for each in renderings or [prompts] for row in each.tokens]
        longest = max(map(len, everything)) + settings.max_response
        self.row_tokens = row_tokens_for(model, settings.row_tokens, everything, longest, self.pad)
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=settings.lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.jumps = Jumps(self.optimizer, settings.extra) if settings.extra else None
        mixed = int(np.random.SeedSequence([seed, 21]).generate_state(1)[0])
        self.generator = torch.Generator(device=self.device).manual_seed(mixed)
        self.reference = copy.deepcopy(model).requires_grad_(False) if settings.kl else None
        for parameter in model.parameters():  # AdamW skips what has none, also after a restart
            parameter.grad = torch.zeros_like(parameter)

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
        record = self._record(rollouts, trained, signal, {**losses, **learned})
        if self.jumps:
            record["jumped"] = int(self.jumps.after(self.step_number))
        updated = time.perf_counter()
        self.curriculum.observe(self._outcome(rollouts, trained, signal))
        for key, value in self.curriculum.metrics().items():
            record[f"curriculum/{key}"] = float(value)
        ended = time.perf_counter()
        return record, {
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
        rollouts = gather(self.curriculum, self._respond, bonus)
        self.choosing = time.perf_counter() - began - self.answering
        return rollouts

    def _respond(self, rows: np.ndarray, rollouts: int) -> tuple[list[list[int]], list[float]]:
        """Responses to some rows, `rollouts` each, and 1 for the right ones, else 0."""
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

    def _bonus(self, responses: list[list[int]]) -> list[float]:
        """What the format of responses adds to their rewards."""
        began = time.perf_counter()
        texts = texts_of(self.tokenizer, responses)
        found = [self.settings.format_weight * marks_once(text) for text in texts]
        self.answering += time.perf_counter() - began
        return found

    def _credit(self, rollouts: Rollouts) -> tuple[Rollouts, dict[str, float]]:
        """The rollouts with what is to be trained on, and what to record of that."""
        section = self.settings.downsample
        if section is None:
            return rollouts, {}
        progress = self.step_number / max(self.settings.steps - 1, 1)
        return down_sample(rollouts, section, progress, self._measure)

    def _update(self, rollouts: Rollouts) -> tuple[np.ndarray, dict[str, float]]:
        """All optimiser steps on one batch of rollouts; returns (P,) C and the mean losses."""
        parts, known = self._mini_batches(rollouts), rollouts.known
        if known is None and len(parts) > 1:
            known = self._measure(rollouts)
        signal = np.full(len(rollouts.rows), np.nan) if known is None else known.signal
        sums = dict.fromkeys(("loss", "kl", "entropy", "grad_norm"), 0.0)
        for rows in parts:
            mine = [branch.index for row in rows for branch in row.branches]
            tokens = int(rollouts.tokens_in_loss[mine].sum())
            everything = int(rollouts.lengths[mine].sum())
            self.optimizer.zero_grad(set_to_none=False)
            for packed in self._packs(rows, rollouts):
                entropy = self._accumulate(packed, rollouts, known, signal, tokens, sums)
                sums["entropy"] += entropy / everything
            norm = torch.nn.utils.clip_grad_norm_(
                self.model.parameters(), self.settings.max_grad_norm
            )
            self.optimizer.step()
            sums["grad_norm"] += float(norm)
        return signal, {key: value / len(parts) for key, value in sums.items()}

    def _accumulate(
        self,
        packed: Packed,
        rollouts: Rollouts,
        known: Known | None,
        signal: np.ndarray,
        tokens: int,
        sums: dict[str, float],
    ) -> float:
        """Forward (and backward where there is a gradient) of one micro-batch; token-mean loss.

        Returns:
            The entropies' sum over all its target tokens, also those that the loss is not of.
        """
        temperature = self.settings.temperature
        advantage = rollouts.advantages_of(packed).to(self.device)
        has_gradient = self.settings.kl > 0 or bool(advantage.any())
        with torch.set_grad_enabled(has_gradient), autocast(self.device):
            now, entropy, states = self._log_probabilities(packed)
        if known is None:
            self._read_signal(packed, states, rollouts, signal)
            before = now.detach()
        else:
            at = packed.branch.to(self.device), packed.places.to(self.device)
            before = known.log_probability[at]
        reference = None
        if self.reference is not None:
            with torch.no_grad(), autocast(self.device):
                reference = log_probabilities(self.reference, packed, temperature)[0]
        chosen = rollouts.mask_of(packed)
        if chosen is not None:
            chosen = chosen.to(self.device)
            now, before, advantage = now[chosen], before[chosen], advantage[chosen]
            reference = None if reference is None else reference[chosen]
        loss, divergence = policy_loss(
            now,
            before,
            advantage,
            clip=self.settings.clip,
            kl=self.settings.kl,
            reference=reference,
        )
        if has_gradient:
            (loss / tokens).backward()
        sums["loss"] += loss.item() / tokens
        sums["kl"] += divergence.item() / tokens
        return entropy.sum().item()

    def _measure(self, rollouts: Rollouts) -> Known:
        """A pass before the first update, over what it runs and the other prompts' trunks."""
        count, shape = len(rollouts.rows), (len(rollouts.responses), int(rollouts.lengths.max()))
        picked, entropy = torch.zeros((2, *shape), device=self.device)
        known = Known(np.full(count, np.nan), picked, entropy)
        rows = self._rows_of(rollouts, range(count))
        for i in sorted(set(range(count)) - {row.index for row in rows}):
            rows.append(Row(self.prompts.tokens[rollouts.rows[i]], (), i, self.row_tokens == ALONE))
        for packed in self._packs(rows, rollouts):
            at = packed.branch.to(self.device), packed.places.to(self.device)
            with torch.no_grad(), autocast(self.device):
                picked[at], entropy[at], states = self._log_probabilities(packed)
            self._read_signal(packed, states, rollouts, known.signal)
        return known

    def _log_probabilities(self, packed: Packed) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `log_probabilities`, with the states of the tap that C is read at."""
        with tapped(self.model, [self.scoring.tap]) as states:
            now, entropy = log_probabilities(self.model, packed, self.settings.temperature)
        return now, entropy, states[self.scoring.tap]

    def _read_signal(
        self, packed: Packed, states: torch.Tensor, rollouts: Rollouts, signal: np.ndarray
    ) -> None:
        """C of the prompts whose trunk is in this micro-batch, from states computed anyway."""
        places = np.array([row.index for row in packed.rows])
        chosen = rollouts.rows[places]
        lengths, prefixes = self.prompts.n_question[chosen], self.prompts.prefixes[chosen]
        for n_prefix in np.unique(prefixes).tolist():  # with templates there may be several
            at = np.flatnonzero(prefixes == n_prefix)
            mine = states if len(at) == len(places) else states[torch.from_numpy(at)]
            with torch.no_grad():
                found = from_states(mine, n_prefix, torch.tensor(lengths[at], device=self.device))
            signal[places[at]] = found.combined(
                self.scoring.inter_weight, self.scoring.variant == "offdiagonal"
            ).tolist()

    def _mini_batches(self, rollouts: Rollouts) -> list[list[Row]]:
        """The packed rows of each mini-batch; a group stays whole."""
        count, size = len(rollouts.rows), self.settings.mini_batch or len(rollouts.rows)
        return [
            self._rows_of(rollouts, range(at, min(at + size, count)))
            for at in range(0, count, size)
        ]

    def _rows_of(self, rollouts: Rollouts, chosen: range) -> list[Row]:
        """Packed rows of some prompts of the batch (positions in the batch), with what is run."""
        starts, wanted, rows = rollouts.starts, rollouts.tokens_in_loss, []
        for i in chosen:
            responses = range(starts[i], starts[i] + rollouts.sizes[i])
            branches = [Branch(k, rollouts.responses[k]) for k in responses if wanted[k]]
            trunk = self.prompts.tokens[rollouts.rows[i]]
            rows += split_rows(trunk, branches, self.row_tokens, i)
        return rows

    def _packs(self, rows: list[Row], rollouts: Rollouts) -> Iterator[Packed]:
        """Micro-batches; prompts without a policy gradient apart from the rest."""
        idle = rollouts.idle
        for wanted in (False, True):
            part = [row for row in rows if bool(idle[row.index]) == wanted]
            for batch in micro_batches(part, self.settings.micro_batch_tokens):
                yield pack(batch, self.pad)

    def _outcome(self, rollouts: Rollouts, trained: Rollouts, signal: np.ndarray) -> Outcome:
        """What the curriculum learns from: every group, also those that were not trained on."""
        kept = slice(None) if rollouts.kept is None else rollouts.kept
        measured, spread = np.full((2, len(rollouts.rows)), np.nan)
        measured[kept], spread[kept] = signal, trained.spread.double().numpy()
        updated = np.zeros(len(rollouts.rows), dtype=bool)
        updated[kept] = trained.updated
        seen = rollouts.groups()
        return Outcome(
            rows=seen.rows,
            accuracy=seen.accuracy,
            signal=measured,
            advantage=spread,
            tokens=seen.tokens,
            rollouts=seen.rollouts,
            mixed=seen.mixed,
            trained=updated,
        )

    def _record(
        self,
        rollouts: Rollouts,
        trained: Rollouts,
        signal: np.ndarray,
        losses: dict[str, float],
    ) -> dict[str, Any]:
        """The step record: everything in it is determined by the configuration."""
        lengths, accuracy = rollouts.lengths, float(rollouts.accuracy.double().mean())
        truncated = [response[-1] not in self.ends for response in rollouts.responses]
        return {
            "step": self.step_number,
            "accuracy": accuracy,
            "reward": float(rollouts.reward.double().mean()),
            "signal": float(signal.mean()),
            "zero_variance": float(rollouts.even.double().mean()),
            "rollout_tokens": int(lengths.sum()) + rollouts.estimated,
            "prompt_tokens": int(self.prompts.lengths[rollouts.rows].sum()),
            "response_length": float(lengths.mean()),
            "truncated": float(np.mean(truncated)),
            **self._parts(rollouts, trained),
            **losses,
        }

    def _parts(self, rollouts: Rollouts, trained: Rollouts) -> dict[str, Any]:
        """What the record says where not all is trained on, or a reward is more than right."""
        size, run = self.prompts.lengths, trained.updated
        found: dict[str, Any] = {}
        if not self.curriculum.whole_batches:
            found = {
                "groups": len(rollouts.rows),
                "trained_groups": int(run.sum()),
                "estimate_tokens": rollouts.estimated,
                "free_tokens": rollouts.free,
            }
        if found or trained.mask is not None:
            used = trained.lengths[trained.tokens_in_loss > 0]
            found["trained_prompt_tokens"] = int(size[trained.rows[run]].sum())
            found["trained_rollout_tokens"] = int(used.sum())
        if trained.mask is not None:
            found["measured_prompt_tokens"] = int(size[trained.rows].sum())
        if rollouts.right is not None:
            found["format"] = float((rollouts.rewards > rollouts.right).double().mean())
        return found

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "trainer_step": self.step_number,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "curriculum": json.dumps(self.curriculum.state_dict()),
            **({"extra": self.jumps.state_dict()} if self.jumps else {}),
            **({"templates": self.templates.state_dict()} if self.templates else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.step_number = state["trainer_step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.curriculum.load_state_dict(json.loads(state["curriculum"]))
        if self.jumps:
            self.jumps.load_state_dict(state["extra"])
        if self.templates:
            self.templates.load_state_dict(state["templates"])
