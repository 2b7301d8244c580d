"""A step's rollouts: groups of responses of any size, and how a curriculum gathers them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from gainrl.curricula import Curriculum
from gainrl.curricula.base import BoolArray, FloatArray, Groups, IntArray, Prefilled, Request
from gainrl.errors import ConfigError, GradingError
from gainrl.training.algorithms import Algorithm
from gainrl.training.packing import Packed


@dataclass
class OldPolicy:
    """What the policy before the first update says of rollouts, by a pass without a graph.

    signal: (P,) C; log_probability, entropy: (R, N) of at most N tokens a response, in nats, 0
    where nothing was run.
    """

    signal: FloatArray
    log_probability: torch.Tensor
    entropy: torch.Tensor


@dataclass
class Rollouts:
    """P groups, R responses in all; those of a group stand together.

    rows: (P,) rows of the training table; sizes: (P,) responses of each; responses: R sequences of
    tokens; rewards: (R,). advantages: (R,), or a critic's (R, N), one a token, 0 after a response's
    last. kept: positions of the groups that are trained on, None for all; estimated, free: tokens
    of responses that only gave an accuracy, counted or not; prefilled: rows that were only read, as
    often as they were. correct: (R,) what the grader says, None if that is the reward. mask: (R, N)
    bool, tokens that the loss is of, None for all; old: what was measured to choose them.
    """

    rows: IntArray
    sizes: IntArray
    responses: list[Sequence[int]]
    rewards: torch.Tensor
    advantages: torch.Tensor
    kept: IntArray | None = None
    estimated: int = 0
    free: int = 0
    prefilled: Sequence[int] = ()
    correct: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    old: OldPolicy | None = None

    @property
    def starts(self) -> IntArray:
        """(P,) index of each group's first response."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def lengths(self) -> IntArray:
        """(R,) tokens of each response."""
        return np.array([len(response) for response in self.responses], dtype=np.int64)

    @property
    def tokens(self) -> IntArray:
        """(P,) rollout tokens."""
        return np.add.reduceat(self.lengths, self.starts)

    @property
    def accuracy(self) -> torch.Tensor:
        """(P,) share of correct responses."""
        correct = self.rewards if self.correct is None else self.correct
        return by_group(correct, self.sizes, lambda group: group.mean(1))

    @property
    def reward(self) -> torch.Tensor:
        """(P,) mean reward."""
        return by_group(self.rewards, self.sizes, lambda group: group.mean(1))

    @property
    def zero_variance(self) -> torch.Tensor:
        """(P,) bool: groups of equal rewards."""
        return by_group(self.rewards, self.sizes, lambda group: (group == group[:, :1]).all(1))

    @property
    def zero_advantage(self) -> torch.Tensor:
        """(P,) bool: prompts without a policy gradient, since all their advantages are 0."""
        return by_group(self.advantages, self.sizes, lambda group: ~group.flatten(1).any(1))

    @property
    def mean_abs_advantage(self) -> torch.Tensor:
        """(P,) mean over a prompt's responses; of one with a critic's, the mean of its tokens'."""
        means = self.advantages.abs()
        if means.dim() > 1:
            means = means.sum(1) / torch.from_numpy(self.lengths)
        return by_group(means, self.sizes, lambda group: group.mean(1))

    def advantages_of(self, packed: Packed) -> torch.Tensor:
        """(T,) advantages of a micro-batch's target tokens."""
        whole = self.advantages.dim() == 1
        return self.advantages[packed.suffix if whole else (packed.suffix, packed.places)]

    @property
    def tokens_in_loss(self) -> IntArray:
        """(R,) tokens of each response that the loss is of."""
        return self.lengths if self.mask is None else self.mask.sum(1).numpy()

    @property
    def updated(self) -> BoolArray:
        """(P,) groups of which the update runs some response."""
        return np.add.reduceat(self.tokens_in_loss, self.starts) > 0

    def mask_of(self, packed: Packed) -> torch.Tensor | None:
        """(T,) bool, a micro-batch's target tokens that the loss is of; None for all."""
        return None if self.mask is None else self.mask[packed.suffix, packed.places]

    @property
    def trained(self) -> Rollouts:
        """The groups that are trained on."""
        return self if self.kept is None else self.take(self.kept)

    def take(self, groups: IntArray) -> Rollouts:
        """Some of the groups, by position."""
        chosen = np.concatenate([np.arange(s, s + n) for s, n in self._spans(groups)])
        return replace(
            self,
            rows=self.rows[groups],
            sizes=self.sizes[groups],
            responses=[self.responses[k] for k in chosen],
            rewards=self.rewards[chosen],
            advantages=self.advantages[chosen],
            kept=None,
            correct=None if self.correct is None else self.correct[chosen],
            mask=None if self.mask is None else self.mask[chosen],
            old=None,
        )

    def _spans(self, groups: IntArray) -> list[tuple[int, int]]:
        return list(zip(self.starts[groups].tolist(), self.sizes[groups].tolist(), strict=True))

    def groups(self) -> Groups:
        """What a curriculum gets to see of them."""
        return Groups(
            rows=self.rows,
            rollouts=self.sizes,
            accuracy=self.accuracy.double().numpy(),
            mixed=~self.zero_variance.numpy(),
            tokens=self.tokens,
        )


def by_group(
    values: torch.Tensor, sizes: IntArray, compute: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Compute over groups, those of a size at a time.

    Args:
        values: (R, ...), groups one after another.
        sizes: (P,) sizes of the groups.
        compute: (Q, G, ...) of Q groups of size G -> (Q,).

    Returns:
        (P,).
    """
    starts, found = np.cumsum(sizes) - sizes, None
    for size in np.unique(sizes):
        at = np.flatnonzero(sizes == size)
        part = compute(values[torch.from_numpy(starts[at][:, None] + np.arange(size))])
        if found is None:
            found = part.new_empty(len(sizes))
        found[torch.from_numpy(at)] = part
    assert found is not None
    return found


def advantages_by_group(
    algorithm: Algorithm, rewards: torch.Tensor, sizes: IntArray
) -> torch.Tensor:
    """(R,) group-relative advantages of (R,) rewards."""
    starts, found = np.cumsum(sizes) - sizes, torch.empty_like(rewards)
    for size in np.unique(sizes):
        at = torch.from_numpy(starts[sizes == size][:, None] + np.arange(size))
        found[at] = algorithm.advantages(rewards[at])
    return found


Respond = Callable[[IntArray, int], tuple[list[list[int]], list[float]]]
"""Roll out: (P,) rows and a group size -> P * G responses and whether they are correct."""

Bonus = Callable[[list[list[int]]], list[float]]
"""Responses -> what is added to their rewards."""

Entropies = Callable[[IntArray], FloatArray]
"""(P,) rows -> the (P,) entropies of their prompts (gainrl.curricula.base.Prefilled)."""


class Answers:
    """Responses, whether they are correct, and rewards by row, in the order of first requests.

    bonus: whether rewards are more than 1 for a correct response, else 0.
    """

    def __init__(self, bonus: bool) -> None:
        self.bonus = bonus
        self.by_row: dict[int, tuple[list[Sequence[int]], list[float], list[float]]] = {}

    def add(self, request: Request) -> int:
        """Roll out what is asked for; its tokens."""
        raise NotImplementedError

    def prefill(self, rows: IntArray) -> Prefilled:
        """Read prompts, without a response.

        Raises:
            ConfigError: nobody measures their entropy.
        """
        raise ConfigError("the curriculum asks for the entropy of prompts, which is not measured")

    def join(
        self,
        row: int,
        responses: Sequence[Sequence[int]],
        correct: Sequence[float],
        rewards: Sequence[float],
    ) -> None:
        """Add to a row's answers.

        Raises:
            GradingError: a reward is no number: the update would leave no weight one.
        """
        for value in rewards:
            if not math.isfinite(value):
                raise GradingError(
                    f"a response to row {row} of the training table: its reward is {value}"
                )
        texts, graded, values = self.by_row.setdefault(row, ([], [], []))
        texts += responses
        graded += correct
        values += rewards

    def together(self) -> Rollouts:
        """All groups, with advantages of 0."""
        found = list(self.by_row.values())
        rows = np.array(list(self.by_row), dtype=np.int64)
        sizes = np.array([len(texts) for texts, _, _ in found], dtype=np.int64)
        rewards = _floats(values for _, _, values in found)
        responses = [text for texts, _, _ in found for text in texts]
        correct = _floats(graded for _, graded, _ in found) if self.bonus else None
        return Rollouts(rows, sizes, responses, rewards, torch.zeros_like(rewards), correct=correct)

    def groups(self) -> Groups:
        """The same, for the curriculum."""
        return self.together().groups() if self.by_row else Groups.none()


class _Generated(Answers):
    """Answers of a function that rolls out prompts of one group size at a time."""

    def __init__(self, respond: Respond, bonus: Bonus | None, entropies: Entropies | None) -> None:
        super().__init__(bonus is not None)
        self.respond, self.more, self.entropies = respond, bonus, entropies

    def prefill(self, rows: IntArray) -> Prefilled:
        """Read prompts, without a response."""
        if self.entropies is None:
            return super().prefill(rows)
        return Prefilled(rows, self.entropies(rows))

    def add(self, request: Request) -> int:
        """Roll out what is asked for, prompts with equally many rollouts together; its tokens.

        Raises:
            GradingError: a response or a grade is missing, so whose the others are is not known.
        """
        tokens = 0
        for row in request.rows.tolist():  # groups stand in the order that they were asked for
            self.join(row, [], [], [])
        for size in np.unique(request.rollouts).tolist():
            rows = request.rows[request.rollouts == size]
            responses, correct = self.respond(rows, size)
            if not len(responses) == len(correct) == len(rows) * size:
                raise GradingError(
                    f"{len(rows) * size} responses were asked for: {len(responses)} came, "
                    f"{len(correct)} of them graded"
                )
            rewards = correct
            if self.more is not None:
                rewards = [a + b for a, b in zip(correct, self.more(responses), strict=True)]
            tokens += sum(map(len, responses))
            for i, row in enumerate(rows.tolist()):
                mine = slice(i * size, (i + 1) * size)
                self.join(row, responses[mine], correct[mine], rewards[mine])
        return tokens


def gather(
    curriculum: Curriculum,
    respond: Respond,
    algorithm: Algorithm,
    bonus: Bonus | None = None,
    entropies: Entropies | None = None,
) -> Rollouts:
    """As `collect`, with the group-relative advantages; a critic's are still to come.

    Args:
        bonus: of rewards; without, a reward is 1 for a correct response, else 0.
        entropies: of prompts, for curricula that read them.
    """
    found = collect(curriculum, lambda: _Generated(respond, bonus, entropies))
    if algorithm.critic:
        return found
    return replace(found, advantages=advantages_by_group(algorithm, found.rewards, found.sizes))


def collect(curriculum: Curriculum, fresh: Callable[[], Answers]) -> Rollouts:
    """Ask a curriculum what to roll out until it has enough: one step of any trainer.

    Args:
        fresh: no answers yet; called first for the step's groups, then for each request apart.

    Returns:
        The groups, with advantages of 0.

    Raises:
        ConfigError: the curriculum draws or keeps nothing.
    """
    seen = fresh()
    estimates: Groups | Prefilled | None = None
    tokens, prefilled = {"group": 0, "estimate": 0, "free": 0}, []
    while request := curriculum.draw(seen.groups(), estimates):
        if request.purpose == "prefill":
            estimates = seen.prefill(request.rows)
            prefilled += request.rows.tolist()
            continue
        apart = request.purpose != "group"
        into = fresh() if apart else seen
        tokens[request.purpose] += into.add(request)
        estimates = into.groups() if apart else None
    if not seen.by_row:
        raise ConfigError("the curriculum drew no prompts")
    found = seen.together()
    kept = curriculum.keep(found.groups())
    if not len(kept):
        raise ConfigError("the curriculum kept no prompts to train on")
    return replace(
        found,
        kept=kept,
        estimated=tokens["estimate"],
        free=tokens["free"],
        prefilled=prefilled,
    )


def _floats(lists: Iterable[list[float]]) -> torch.Tensor:
    """(R,) the numbers of all lists."""
    return torch.tensor([value for each in lists for value in each], dtype=torch.float32)
