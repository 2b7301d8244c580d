"""Train splits that hold prompts which teach nothing: the key `pool` of a generated data set.

A group of rollouts that are all wrong or all right has no advantage, so its tokens are wasted; what
a curriculum is worth shows where there are many such prompts. They are prompts that the start model
(almost) never or (almost) always gets right, and they stay so for the length of a small run:

large: the start is far beyond what was taught, and so are all totals. long: so many operations that
neither were they taught nor does the work fit `max_response`. mislabelled: an ordinary prompt whose
gold answer is wrong. trivial: one operation, as `chain` asks it; it is only trivial to a model that
was not taught to be careless here too (`careful: 1` of the data sets of its warm-up).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gainrl.config.data import Generated, Pool
from gainrl.data.generate import (
    LARGEST,
    SMALL,
    TASKS,
    Numbers,
    Sum,
    chain,
    distinct,
    generate_splits,
    prompt_row,
    story,
    word,
)
from gainrl.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

LIVE = "live"
KINDS = ("large", "long", "mislabelled", "trivial")
"""The kinds of prompts that teach nothing; the column `kind` has these and LIVE."""

LARGE = Numbers(start=(60, 190), totals=(SMALL.totals[1] + 1, LARGEST))
LONGER = (6, 7, 8, 9)
"""How many more operations long prompts have than the highest level; they take turns."""
OFF_BY = 9
STREAM = 41


class _Task(Protocol):
    def __call__(self, rng: np.random.Generator, level: int, numbers: Numbers = SMALL) -> Sum: ...


POOLED: dict[str, _Task] = {"chain": chain, "word": word, "story": story}
"""The tasks that can have a pool."""


def check(spec: Generated, name: str) -> None:
    """Refuse a pool of a task that has none (ConfigError)."""
    if spec.pool is not None and spec.task not in POOLED:
        raise ConfigError(
            f"datasets.{name}.pool: the task '{spec.task}' has no pool; "
            f"{', '.join(POOLED)} have one"
        )


def counts(pool: Pool, size: int) -> dict[str, int]:
    """How many of `size` prompts are of each kind, live ones first.

    The sums of the shares, in the order of KINDS, are rounded, and not each share: so each count is
    off by less than 1, and live prompts are left exactly where the shares leave room for them.
    """
    sums = np.cumsum([getattr(pool, kind) for kind in KINDS])
    ends = np.rint(size * sums).astype(int)
    found = dict(zip(KINDS, np.diff(ends, prepend=0).tolist(), strict=True))
    return {LIVE: size - int(ends[-1]), **found}


def difficulty_range(spec: Generated) -> tuple[int, int]:
    """The lowest and the highest difficulty that prompts of a data set may have."""
    low, high = min(spec.levels), max(spec.levels)
    if spec.pool is None:
        return low, high
    return 1 if spec.pool.trivial else low, high + max(LONGER) if spec.pool.long else high


def generated_splits(spec: Generated, name: str) -> dict[str, pd.DataFrame]:
    """The tables of `generate_splits`, with the pool of the data set, if any, in the train split.

    Eval and warm-up are those of the same data set without a pool. So are the train split's live
    prompts, the first of its rows; mislabelled ones are later rows, with their right solutions.
    Large, long and trivial prompts are drawn for the pool; trivial ones may be in the warm-up, for
    there are few. Rows are shuffled and then numbered, so that neither place nor id tells the kind,
    which the column `kind` does. difficulty is the number of operations, whatever the kind.

    Raises:
        ConfigError, DataError: as `generate_splits`; or the task has no pool.
    """
    check(spec, name)
    splits = generate_splits(spec, name)
    if spec.pool is not None:
        splits["train"] = _pooled(splits, spec, spec.pool, name)
    return splits


def _pooled(
    splits: dict[str, pd.DataFrame], spec: Generated, pool: Pool, name: str
) -> pd.DataFrame:
    """The train split with the pool."""
    import pandas as pd  # here: the plan imports this module, and draws nothing

    task = list(TASKS).index(spec.task)
    large, long, labels, trivial, order = np.random.default_rng([spec.seed, STREAM, task]).spawn(5)
    sizes, clean = counts(pool, spec.train), splits["train"]
    live, rest = clean[: sizes[LIVE]], clean[sizes[LIVE] :]
    # One operation has few questions: they are left for trivial prompts, as far as that goes.
    wrong = rest.iloc[np.argsort(rest["difficulty"] == 1, kind="stable")][: sizes["mislabelled"]]
    wrong = wrong.assign(answer=[_wrong(labels, int(answer)) for answer in wrong["answer"]])
    rows: list[dict[Any, Any]] = live.assign(kind=LIVE).to_dict("records")
    rows += wrong.assign(kind="mislabelled").to_dict("records")
    held = {*splits["eval"]["question"], *(row["question"] for row in rows)}
    longer = [max(spec.levels) + more for more in LONGER]
    drawn = (
        ("large", partial(POOLED[spec.task], large, numbers=LARGE), spec.levels),
        ("long", partial(POOLED[spec.task], long), longer),
        ("trivial", partial(chain, trivial), (1,)),
    )
    for kind, draw, levels in drawn:
        where = f"data set '{name}', pool"
        for level, problem in distinct(draw, levels, sizes[kind], held, where, kind):
            held.add(problem.question)
            rows.append({**prompt_row(name, "train", 0, problem, level), "kind": kind})
    table = pd.DataFrame(rows, columns=[*clean.columns, "kind"])
    table = table.iloc[order.permutation(len(table))].reset_index(drop=True)
    table["id"] = [f"{name}/train/{number:05d}" for number in range(len(table))]
    return table


def _wrong(rng: np.random.Generator, right: int) -> str:
    """Another answer in the range of the task, off by 1..OFF_BY."""
    low, high = SMALL.totals
    near = range(max(low, right - OFF_BY), min(high, right + OFF_BY) + 1)
    return str(rng.choice([answer for answer in near if answer != right]))
