"""Supervised training on worked solutions: the nano model's pre-training and any model's warm-up.

Without it a small model answers almost nothing, every group has zero variance and GRPO has no
gradient; with clean solutions only, too little is left for RL to improve.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gainrl.config.models import Warmup, WarmupPhase
from gainrl.data.prompts import Prompts
from gainrl.errors import DataError
from gainrl.training.layout import row_tokens_for
from gainrl.training.packing import Suffix, log_probabilities, pack, split_rows


@dataclass(frozen=True)
class SupervisedStep:
    """What one optimiser step reports; loss in nats a token."""

    step: int
    phase: int
    loss: float
    lr: float
    seconds: float


def train_supervised(
    model: Any,
    corpora: Sequence[tuple[Sequence[int], Sequence[Suffix]]],
    warmup: Warmup,
    *,
    pad: int,
    report: Callable[[SupervisedStep], None],
) -> None:
    """Train `model` in place, one corpus a phase, with a linear decay in each phase.

    AdamW, or with `muon_lr` Muon for the matrices of the blocks (Jordan et al. 2024: momentum whose
    singular values are made equal) and AdamW for the rest.

    Dropout, of models that have it, is drawn from the warm-up's seed.

    Args:
        corpora: for each phase the shared prefix and the suffixes (see `corpus`).
        pad: token id that fills batches; it is never predicted.

    Raises:
        DataError: a phase has no examples.
    """
    rng = np.random.default_rng([warmup.seed, 7])
    row_tokens = _row_tokens(model, corpora, warmup, pad)
    model.train()
    torch.manual_seed(int(np.random.SeedSequence([warmup.seed, 24]).generate_state(1)[0]))
    step, began = 0, time.perf_counter()
    for number, (phase, (prefix, suffixes)) in enumerate(zip(warmup.phases, corpora, strict=True)):
        if not suffixes:
            raise DataError(f"warm-up phase {number} has no worked solutions")
        optimizers = _optimizers(model, phase, warmup.weight_decay)
        batches = _batches(suffixes, phase.batch, rng)
        for inner in range(phase.steps):
            lr = _learning_rate(phase.lr, phase, inner)
            for optimizer, highest in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = _learning_rate(highest, phase, inner)
            rows = split_rows(prefix, next(batches), row_tokens)
            picked, _ = log_probabilities(model, pack(rows, pad))
            loss = -picked.mean()
            model.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), warmup.max_grad_norm)
            for optimizer, _ in optimizers:
                optimizer.step()
            step += 1
            report(SupervisedStep(step, number, loss.item(), lr, time.perf_counter() - began))
    model.eval()


def _row_tokens(
    model: Any,
    corpora: Sequence[tuple[Sequence[int], Sequence[Suffix]]],
    warmup: Warmup,
    pad: int,
) -> int:
    """As `row_tokens_for`, of all phases."""
    sizes = [len(prefix) + len(one.tokens) for prefix, suffixes in corpora for one in suffixes]
    some = [[*prefix, *one.tokens] for prefix, suffixes in corpora for one in suffixes[:8]]
    return row_tokens_for(model, warmup.row_tokens, some, max(sizes), pad) if sizes else 0


def _optimizers(
    model: Any, phase: WarmupPhase, weight_decay: float
) -> list[tuple[torch.optim.Optimizer, float]]:
    """Those of a phase, each with its highest learning rate."""
    matrices = _block_matrices(model) if phase.muon_lr is not None else []
    known = set(map(id, matrices))
    rest = [each for each in model.parameters() if id(each) not in known]
    adamw = torch.optim.AdamW(
        rest, lr=phase.lr, weight_decay=weight_decay, betas=(0.9, 0.95), fused=True
    )
    found: list[tuple[torch.optim.Optimizer, float]] = [(adamw, phase.lr)]
    if phase.muon_lr is not None:
        muon = torch.optim.Muon(matrices, lr=phase.muon_lr, weight_decay=weight_decay)
        found.append((muon, phase.muon_lr))
    return found


def _block_matrices(model: Any) -> list[torch.nn.Parameter]:
    """Every trained matrix but those of embeddings, of tokens or of positions, and the head's."""
    tables = [each for each in model.modules() if isinstance(each, torch.nn.Embedding)]
    ends = {
        id(each.weight) for each in (*tables, model.get_output_embeddings()) if each is not None
    }
    trained = (each for each in model.parameters() if each.requires_grad)
    return [each for each in trained if each.ndim == 2 and id(each) not in ends]


def _learning_rate(highest: float, phase: WarmupPhase, step: int) -> float:
    rise = min((step + 1) / max(phase.warmup_steps, 1), 1.0)
    fall = 1 - (1 - phase.final_lr_share) * step / phase.steps
    return highest * rise * fall


def _batches(
    corpus: Sequence[Suffix], size: int, rng: np.random.Generator
) -> Iterator[list[Suffix]]:
    """Endless batches of similar length: shuffle, sort pools of 16 batches, shuffle batches."""
    lengths = np.array([len(row.tokens) for row in corpus])
    while True:
        order = rng.permutation(len(corpus))
        for start in range(0, len(order), 16 * size):
            pool = order[start : start + 16 * size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            chunks = [pool[i : i + size] for i in range(0, len(pool), size)]
            for index in rng.permutation(len(chunks)):
                yield [corpus[i] for i in chunks[index]]


def corpus(
    tokenizer: Any,
    prompts: Prompts,
    solutions: Sequence[str],
    loss_on: str,
    end: int | None = None,
) -> list[Suffix]:
    """Questions with their worked solutions, ended by the token `end` or the tokenizer's own.

    The prompts' shared prefix is left out. With loss_on 'completion' only the
    solution is predicted, with 'all' the question too.
    """
    coded = tokenizer([text.strip() for text in solutions], add_special_tokens=False)["input_ids"]
    suffixes, last = [], tokenizer.eos_token_id if end is None else end
    for number, (prompt, completion) in enumerate(zip(prompts.tokens, coded, strict=True)):
        question = prompt[prompts.n_prefix :]
        first = len(question) if loss_on == "completion" else 0
        suffixes.append(Suffix(number, [*question, *completion, last], first))
    return suffixes
