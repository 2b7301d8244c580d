"""Our own problems with worked solutions: `chain` (arithmetic), `word`, `story` and `code`.

All work with whole numbers and a closed vocabulary, so that a tiny model with a word-level
tokenizer can learn them in minutes, and all read as plain English, so that a real model can be
trained on the same problems. The level of a problem is its number of operations. `code` is in
gainrl.data.generate_code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gainrl.config.data import Generated
from gainrl.data.generate_code import code
from gainrl.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 199
NAMING = 67
NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Ida")
THINGS = ("apples", "books", "cards", "coins", "eggs", "nuts", "pens", "shells")
GAIN_VERBS = ("buys", "finds", "wins")
LOSS_VERBS = ("loses", "sells", "breaks")
WORDS = (*NAMES, *THINGS, *GAIN_VERBS, *LOSS_VERBS, "has", "How", "many", "does", "have")
SYMBOLS = ("+", "-", "=", "?", ".", "####")
VOCABULARY = (*SYMBOLS, *WORDS, *(str(number) for number in range(LARGEST + 1)))
"""Every token that questions and solutions of `chain`, `word` and `story` use."""


@dataclass(frozen=True)
class Numbers:
    """The smallest and the largest start of a problem, and the same of its running totals."""

    start: tuple[int, int]
    totals: tuple[int, int]


SMALL = Numbers(start=(1, 29), totals=(0, 49))
"""The numbers of every split; only a pool has others (gainrl.data.pools)."""


class Problem(Protocol):
    """What a task draws."""

    @property
    def question(self) -> str:
        """What the model is asked."""

    @property
    def answer(self) -> str:
        """What the task's grader takes as gold."""

    @property
    def solution(self) -> str:
        """A right response."""

    def noisy_solution(self, rng: np.random.Generator, corrupt: float, direct: float) -> str:
        """A response with mistakes, whose shares the data set's spec gives."""


@dataclass(frozen=True)
class Sum:
    """A question, its operations as signed numbers, and the running totals they lead to."""

    question: str
    start: int
    steps: tuple[int, ...]

    @property
    def answer(self) -> str:
        """The last running total."""
        return str(self.start + sum(self.steps))

    @property
    def solution(self) -> str:
        """The worked solution: one equation a step, then `#### answer`."""
        return _worked(self.start, self.steps, [0] * len(self.steps))

    def noisy_solution(self, rng: np.random.Generator, corrupt: float, direct: float) -> str:
        """A solution as a careless pupil writes it; it is what leaves RL something to improve.

        With probability `direct` the answer stands without work; otherwise each step goes wrong
        with probability `corrupt`, and the work goes on from the wrong total.
        """
        if rng.random() < direct:
            return f"#### {self.answer}"
        count = len(self.steps)
        slips = np.where(rng.random(count) < corrupt, rng.integers(1, 10, count), 0)
        slips *= rng.choice([-1, 1], count)
        return _worked(self.start, self.steps, [int(slip) for slip in slips])


@dataclass(frozen=True)
class Named:
    """A story whose gold answer names what is counted, `pens 17`, in place of `17`.

    says: whether its solutions do so, too, or give the number alone, which is graded wrong.
    """

    story: Problem
    says: bool = True

    @property
    def question(self) -> str:
        """What the model is asked: the same."""
        return self.story.question

    @property
    def thing(self) -> str:
        """What is counted."""
        return self.question.rpartition("How many ")[2].split()[0]

    @property
    def answer(self) -> str:
        """The thing and the last running total."""
        return f"{self.thing} {self.story.answer}"

    @property
    def solution(self) -> str:
        """The worked solution."""
        return self._said(self.story.solution)

    def noisy_solution(self, rng: np.random.Generator, corrupt: float, direct: float) -> str:
        """The careless pupil's."""
        return self._said(self.story.noisy_solution(rng, corrupt, direct))

    def _said(self, text: str) -> str:
        return text.replace("#### ", f"#### {self.thing} ") if self.says else text


def _operations(
    rng: np.random.Generator, level: int, numbers: Numbers
) -> tuple[int, tuple[int, ...]]:
    """A start and `level` steps of 1..9 either way, whose totals stay within bounds."""
    low, high = numbers.totals
    start = int(rng.integers(numbers.start[0], numbers.start[1] + 1))
    total, steps = start, []
    for _ in range(level):
        size = int(rng.integers(1, 10))
        up = total - size < low or (total + size <= high and rng.random() < 0.5)
        steps.append(size if up else -size)
        total += steps[-1]
    return start, tuple(steps)


def _signed(step: int) -> str:
    return f"{'+' if step > 0 else '-'} {abs(step)}"


def chain(rng: np.random.Generator, level: int, numbers: Numbers = SMALL) -> Sum:
    """Sums and differences in `level` steps: `17 + 5 - 9 = ?`."""
    start, steps = _operations(rng, level, numbers)
    return Sum(f"{start} {' '.join(map(_signed, steps))} = ?", start, steps)


def word(rng: np.random.Generator, level: int, numbers: Numbers = SMALL) -> Sum:
    """A templated story with one to 1 + level // 2 sentences about someone and something else."""
    return _story(rng, level, numbers, distractors=True)


def story(rng: np.random.Generator, level: int, numbers: Numbers = SMALL) -> Sum:
    """A templated story in which every sentence counts: `word` without the others' sentences."""
    return _story(rng, level, numbers, distractors=False)


def _story(rng: np.random.Generator, level: int, numbers: Numbers, distractors: bool) -> Sum:
    start, steps = _operations(rng, level, numbers)
    hero, other = (NAMES[i] for i in rng.choice(len(NAMES), 2, replace=False))
    thing, distraction = (THINGS[i] for i in rng.choice(len(THINGS), 2, replace=False))
    told = [f"{hero} has {start} {thing}."]
    for step in steps:
        verbs = GAIN_VERBS if step > 0 else LOSS_VERBS
        told.append(f"{hero} {verbs[rng.integers(len(verbs))]} {abs(step)} {thing}.")
    for _ in range(int(rng.integers(1, 2 + level // 2)) if distractors else 0):
        verb = ("has", *GAIN_VERBS, *LOSS_VERBS)[rng.integers(7)]
        sentence = f"{other} {verb} {int(rng.integers(1, 10))} {distraction}."
        told.insert(int(rng.integers(1, len(told) + 1)), sentence)
    told.append(f"How many {thing} does {hero} have?")
    return Sum(" ".join(told), start, steps)


TASKS: dict[str, Callable[[np.random.Generator, int], Problem]] = {
    "chain": chain,
    "word": word,
    "code": code,
    "story": story,
}
"""Tasks by name. A task's place here seeds its problems, so new ones go to the end."""


def _worked(start: int, steps: tuple[int, ...], slips: list[int]) -> str:
    lines, total = [], start
    for step, slip in zip(steps, slips, strict=True):
        reached = min(max(total + step + slip, 0), LARGEST)
        lines.append(f"{total} {_signed(step)} = {reached}.")
        total = reached
    return " ".join([*lines, f"#### {total}"])


def generate_splits(spec: Generated, name: str) -> dict[str, pd.DataFrame]:
    """Draw the train, eval and warm-up tables of a generated data set, without its pool.

    Levels take turns, so every split holds equally many of each. No question of train or eval
    appears twice anywhere; warm-up questions may repeat, since there are few easy ones.

    Returns:
        'train', 'eval' and 'warmup': frames of the prompt schema (gainrl.records.PROMPTS) with
        difficulty = level; warmup also has noisy_solution.

    Raises:
        ConfigError: the task is unknown.
        DataError: the task has too few distinct questions for the sizes asked for.
    """
    import pandas as pd  # here: the plan imports this module, and draws nothing

    if spec.task not in TASKS:
        raise ConfigError(
            f"datasets.{name}.task: unknown task '{spec.task}'{nearest(spec.task, TASKS)}"
        )
    streams = np.random.default_rng([spec.seed, list(TASKS).index(spec.task)]).spawn(3)
    held: set[str] = set()
    splits = {}
    for (split, size), rng in zip(
        (("eval", spec.eval), ("train", spec.train), ("warmup", spec.warmup)), streams, strict=True
    ):
        rows: list[dict[str, object]] = []
        draw: Callable[[int], Problem] = partial(TASKS[spec.task], rng)
        if spec.named is not None:
            share = spec.named if split == "warmup" else 1.0
            draw = partial(_named, draw, np.random.default_rng([spec.seed, NAMING]), share)
        for level, problem in distinct(draw, spec.levels, size, held, f"data set '{name}'", split):
            if split != "warmup":
                held.add(problem.question)
            rows.append(prompt_row(name, split, len(rows), problem, level))
            if split == "warmup":
                noisy = problem.noisy_solution(rng, spec.corrupt, spec.direct)
                rows[-1]["noisy_solution"] = problem.solution if level <= spec.careful else noisy
        splits[split] = pd.DataFrame(rows, columns=_columns(split))
    return splits


def _named(
    draw: Callable[[int], Problem], rng: np.random.Generator, share: float, level: int
) -> Named:
    return Named(draw(level), says=bool(rng.random() < share))


def distinct(
    draw: Callable[[int], Problem],
    levels: Sequence[int],
    size: int,
    held: Collection[str],
    where: str,
    what: str,
) -> Iterator[tuple[int, Problem]]:
    """Yield `size` problems with their levels, which take turns; none asks what is in `held`.

    `held` is looked at anew for every problem, so what the caller adds to it does not come again.

    Raises:
        DataError: almost every problem that is drawn is held; `where` and `what` name the split.
    """
    found = misses = 0
    while found < size:
        level = levels[found % len(levels)]
        problem = draw(level)
        if problem.question not in held:
            found += 1
            yield level, problem
            continue
        misses += 1
        if misses > 100 * size:
            raise DataError(
                f"{where}: fewer than {size} distinct {what} questions at the levels {list(levels)}"
            )


def prompt_row(
    name: str, split: str, number: int, problem: Problem, level: int
) -> dict[str, object]:
    """A row of the prompt schema."""
    return {
        "id": f"{name}/{split}/{number:05d}",
        "question": problem.question,
        "answer": problem.answer,
        "difficulty": float(level),
        "category": f"level {level}",
        "solution": problem.solution,
    }


def _columns(split: str) -> list[str]:
    base = ["id", "question", "answer", "difficulty", "category", "solution"]
    return [*base, "noisy_solution"] if split == "warmup" else base
