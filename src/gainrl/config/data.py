"""Sections of a preset that describe data sets. No torch."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from gainrl.config.base import (
    Absent,
    Count,
    GraderName,
    Name,
    Positive,
    Section,
    Share,
    Template,
)


class DifficultyColumn(Section):
    """A column of numbers that say how hard a prompt is, and what they mean.

    scale: `difficulty` is higher for harder prompts; `pass_rate`, the share of right answers, is
    turned round. range: the scale's ends, which need not be there; [0, 1] for a pass rate unless
    given.
    """

    column: str
    scale: Literal["difficulty", "pass_rate"]
    range: tuple[float, float] = (0.0, 1.0)

    @model_validator(mode="after")
    def _has_ends(self) -> DifficultyColumn:
        low, high = self.range
        if self.scale == "difficulty" and "range" not in self.model_fields_set:
            raise ValueError("a difficulty has no ends of its own: it needs 'range', as in [1, 5]")
        if not (isfinite(low) and isfinite(high) and low < high):
            raise ValueError(f"range: [{low:g}, {high:g}] is not a lower and a higher number")
        return self

    def hardness(self, value: float) -> float:
        """A value as a difficulty within the same range.

        Raises:
            ValueError: it is outside the range.
        """
        low, high = self.range
        if not low <= value <= high:
            raise ValueError(f"is {value:g}, outside its range [{low:g}, {high:g}]")
        return value if self.scale == "difficulty" else low + high - value


class Fields(Section):
    """Names of the columns of a foreign data set that hold ours; dots reach into records."""

    question: str = "question"
    answer: str = "answer"
    solution: str | None = None
    difficulty: DifficultyColumn | None = None
    category: str | None = None

    @field_validator("difficulty", mode="before")
    @classmethod
    def _says_its_scale(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(
                f"a name alone does not say which end is hard; write {{column: {value}, scale: "
                f"pass_rate, range: [0, 1]}} or {{column: {value}, scale: difficulty, range: "
                "[LOWEST, HIGHEST]}"
            )
        return value


class DatasetBase(Section):
    """What every data set has, whatever its source.

    grader: None for what the source says (gainrl.data.registry.grader_of).
    """

    grader: GraderName | None = None
    prompt: Template = "{question}"
    system: str | None = None
    seed: int = 0


class Pool(Section):
    """Shares of a train split that teach nothing (gainrl.data.pools); the rest of it is live.

    large: numbers far beyond those that were taught. long: many more operations. mislabelled: a
    wrong gold answer. trivial: a sum or difference of two numbers.
    """

    large: Share = 0.0
    long: Share = 0.0
    mislabelled: Share = 0.0
    trivial: Share = 0.0

    @model_validator(mode="after")
    def _is_part(self) -> Pool:
        whole = sum(self.model_dump().values())
        if whole > 1 + 1e-9:  # shares such as 0.7, 0.2 and 0.1 do not add up to 1 exactly
            raise ValueError(f"the shares add up to {whole:g}, more than 1")
        return self


class Generated(DatasetBase):
    """Problems from our own generators, with worked solutions (gainrl.data.generate).

    corrupt, direct: how careless noisy solutions are; the task's `noisy_solution` says how.
    careful: up to this level they are clean. pool: prompts that teach nothing in place of some of
    the train split; of chain, word and story only.
    """

    source: Literal["generate"]
    task: str
    train: Count = 256
    eval: Positive = 192
    warmup: Count = 0
    levels: tuple[Positive, ...] = (1, 2, 3, 4, 5)
    corrupt: Share = 0.0
    direct: Share = 0.0
    careful: Annotated[Count, Absent()] = 0
    pool: Annotated[Pool | None, Absent()] = None


class Registered(DatasetBase):
    """A data set of the registry (gainrl.data.registry), from the hub or a local copy."""

    source: Literal["registry"]
    name: str
    train: Count | None = None
    eval: Count | None = None
    warmup: Count = 0


class Files(DatasetBase):
    """Local JSON, JSONL or Parquet files.

    With the grader "code" an answer is the text of a program's tests as gainrl.grading.code.encode
    writes it; so it is in a data set of the hub.
    """

    source: Literal["file"]
    train_file: str | None = None
    eval_file: str | None = None
    fields: Fields = Fields()
    train: Count | None = None
    eval: Count | None = None
    warmup: Count = 0


class Hub(DatasetBase):
    """Any data set of the Hugging Face hub."""

    source: Literal["hub"]
    id: str
    config: str | None = None
    revision: str = "main"
    train_split: str | None = "train"
    eval_split: str | None = "test"
    fields: Fields = Fields()
    train: Count | None = None
    eval: Count | None = None
    warmup: Count = 0


class Gym(DatasetBase):
    """A reasoning-gym task (optional extra `gym`)."""

    source: Literal["reasoning_gym"]
    task: str
    train: Count = 256
    eval: Positive = 192
    arguments: dict[str, Any] = Field(default_factory=dict)


class Mix(DatasetBase):
    """Other data sets of the preset, one after another; ids stay those of the parts."""

    source: Literal["mix"]
    parts: tuple[Name, ...] = Field(min_length=2)


Dataset = Annotated[Generated | Registered | Files | Hub | Gym | Mix, Field(discriminator="source")]
