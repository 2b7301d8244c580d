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
    Expression,
    GraderName,
    Names,
    Positive,
    Section,
    Share,
    Template,
)


class DifficultyColumn(Section):
    """A column of numbers that say how hard a prompt is, and what they mean."""

    column: str
    """Its name; dots reach into records."""
    scale: Literal["difficulty", "pass_rate"]
    """'difficulty' is higher for harder prompts; 'pass_rate', the share of right answers, is turned
    round."""
    range: tuple[float, float] = (0.0, 1.0)
    """Lowest and highest number of the scale, which need not occur; [0, 1] for a pass rate, while a
    difficulty has to say."""

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
    """What the user asks."""
    answer: str = "answer"
    """The gold answer."""
    answer_after: Annotated[str | None, Absent()] = None
    """What stands before the answer in a longer text, as in 'The answer is 72': what follows the
    last of them, without a full stop at its end, is the gold answer. None: see docs/data.md."""
    solution: str | None = None
    """A worked solution, for a warm-up."""
    difficulty: DifficultyColumn | None = None
    """For methods with `difficulty: column`."""
    category: str | None = None
    """A subject or kind, kept for analyses."""

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


class Few(Section):
    """At most so many rows of a source, whatever else is asked for; a rehearsal sets it.

    Those that would be drawn first, but `longest` of them are the longest questions of the split.
    """

    train: Positive
    """Prompts of the train split."""
    eval: Positive
    """Problems of the eval split."""
    warmup: Positive
    """Worked solutions."""
    longest: Count = 2
    """Of each split."""


class DatasetBase(Section):
    """What every data set has, whatever its source."""

    grader: GraderName | None = None
    """Who grades its answers: maths, maths-tolerant, code, or a function of your own as
    'module:function' or 'file.py:function' (docs/evaluation.md); None for what the source says
    (gainrl.data.registry.grader_of)."""
    answer_in: Annotated[Expression | None, Absent()] = None
    """Regular expression that finds a response's answer, as in '(?s)<answer>(.*?)</answer>', for
    the maths graders: of several matches the last one counts, and a response without one is wrong.
    None: a box, an answer tag, or a phrase, as docs/evaluation.md says."""
    prompt: Template = "{question}"
    """The user's turn around a question."""
    system: str | None = None
    """The system's turn; None for none."""
    seed: int = 0
    """Of what is drawn: generated problems, and which rows of a source are taken."""
    overlong: Annotated[Literal["drop", "error"], Absent()] = "drop"
    """Training prompts that are too long for a model (training.max_prompt, or what a response
    leaves of its context) are left out and counted, or an error."""


class Pool(Section):
    """Shares of a train split that teach nothing (gainrl.data.pools); the rest of it is live."""

    large: Share = 0.0
    """Prompts with numbers far beyond those that were taught."""
    long: Share = 0.0
    """Prompts with many more operations than the highest level."""
    mislabelled: Share = 0.0
    """Prompts with a wrong gold answer."""
    trivial: Share = 0.0
    """Prompts that ask for a sum or difference of two numbers."""

    @model_validator(mode="after")
    def _is_part(self) -> Pool:
        whole = sum(self.model_dump().values())
        if whole > 1 + 1e-9:  # shares such as 0.7, 0.2 and 0.1 do not add up to 1 exactly
            raise ValueError(f"the shares add up to {whole:g}, more than 1")
        return self


class Generated(DatasetBase):
    """Problems from our own generators, with worked solutions (gainrl.data.generate)."""

    source: Literal["generate"]
    """Marks this kind of data set."""
    task: str
    """The generator: chain, word, story or code."""
    train: Count = 256
    """Prompts of the train split."""
    eval: Positive = 192
    """Problems of the eval split."""
    warmup: Count = 0
    """Worked solutions for a warm-up."""
    levels: tuple[Positive, ...] = (1, 2, 3, 4, 5)
    """Numbers of operations that problems have, all equally often."""
    corrupt: Share = 0.0
    """In noisy solutions, the probability that a step goes wrong."""
    direct: Share = 0.0
    """In noisy solutions, the probability of an answer without work; of task code, that one
    operation is left out or two change places."""
    careful: Annotated[Count, Absent()] = 0
    """Up to this level noisy solutions are clean."""
    pool: Annotated[Pool | None, Absent()] = None
    """Prompts that teach nothing in place of some of the train split; of chain, word and story
    only."""
    named: Annotated[Share | None, Absent()] = None
    """A gold answer names what is counted, `pens 17`, and so does this share of the solutions of
    the warm-up; the others have the number alone, which is graded wrong. So what is graded right is
    rare at first, however well the model calculates. Of word and story only, without a pool."""

    @model_validator(mode="after")
    def _names_things(self) -> Generated:
        if self.named is not None and self.task not in ("word", "story"):
            raise ValueError(f"named: nothing is counted in task '{self.task}'; in word, story")
        if self.named is not None and self.pool is not None:
            raise ValueError("named: not with the key 'pool', whose prompts have plain answers")
        return self


class Registered(DatasetBase):
    """A data set of the registry (gainrl.data.registry), from the hub or a local copy."""

    source: Literal["registry"]
    """Marks this kind of data set."""
    name: str
    """Its name in the registry (src/gainrl/data/entries)."""
    difficulty: Annotated[Literal["own", "published"], Absent()] = "own"
    """'own' is the data set's column, if it has one; 'published' is what others have measured of
    its training prompts, where the registry knows a table of it."""
    train: Count | None = None
    """Prompts to train on, drawn at random; None is all that the source has."""
    eval: Count | None = None
    """Problems to test on, drawn at random; None is all that the source has."""
    warmup: Count = 0
    """Worked solutions for a warm-up, taken out of the training prompts."""
    few: Annotated[Few | None, Absent()] = None
    """At most so many rows, the longest among them; None for all that is asked for."""


class Files(DatasetBase):
    """Local JSON, JSONL or Parquet files.

    With the grader "code" an answer is the text of a program's tests as gainrl.grading.code.encode
    writes it; so it is in a data set of the hub.
    """

    source: Literal["file"]
    """Marks this kind of data set."""
    train_file: str | None = None
    """Path of the training prompts: .json (a list of records), .jsonl, .jsonl.gz or .parquet."""
    eval_file: str | None = None
    """Path of the problems that models are tested on, of the same kinds."""
    fields: Fields = Fields()
    """Which columns hold what."""
    train: Count | None = None
    """Prompts to train on, drawn at random; None is all that the source has."""
    eval: Count | None = None
    """Problems to test on, drawn at random; None is all that the source has."""
    warmup: Count = 0
    """Worked solutions for a warm-up, taken out of the training prompts."""
    few: Annotated[Few | None, Absent()] = None
    """At most so many rows, the longest among them; None for all that is asked for."""


class Hub(DatasetBase):
    """Any data set of the Hugging Face hub."""

    source: Literal["hub"]
    """Marks this kind of data set."""
    id: str
    """Its id, OWNER/NAME."""
    config: str | None = None
    """Its configuration, where it has several."""
    revision: str = "main"
    """Branch, tag or commit."""
    train_split: str | None = "train"
    """The split of the training prompts; None for none."""
    eval_split: str | None = "test"
    """The split that models are tested on; None for none."""
    fields: Fields = Fields()
    """Which columns hold what."""
    train: Count | None = None
    """Prompts to train on, drawn at random; None is all that the source has."""
    eval: Count | None = None
    """Problems to test on, drawn at random; None is all that the source has."""
    warmup: Count = 0
    """Worked solutions for a warm-up, taken out of the training prompts."""
    few: Annotated[Few | None, Absent()] = None
    """At most so many rows, the longest among them; None for all that is asked for."""


class Gym(DatasetBase):
    """A reasoning-gym task (optional extra `gym`)."""

    source: Literal["reasoning_gym"]
    """Marks this kind of data set."""
    task: str
    """The name of the task there, such as chain_sum."""
    train: Count = 256
    """Prompts of the train split."""
    eval: Positive = 192
    """Problems of the eval split."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What the task is created with."""


class Mix(DatasetBase):
    """Other data sets of the preset, one after another; ids stay those of the parts."""

    source: Literal["mix"]
    """Marks this kind of data set."""
    parts: Names = Field(min_length=2)
    """Their names in the preset, two or more."""


Dataset = Annotated[Generated | Registered | Files | Hub | Gym | Mix, Field(discriminator="source")]
