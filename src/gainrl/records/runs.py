"""What a training run writes down: the rows and keys of the files in its folder (docs/files.md).

Writers construct these records, and a key that none of them has is an error there; `parse` checks
what is read back. That what is written is finite, `append_lines` checks, which names the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from gainrl.errors import DataError, nearest
from gainrl.records import not_finite, read_json, read_lines

Share = Annotated[float, Field(ge=0, le=1)]
Tokens = Annotated[int, Field(gt=0)]


class Record(BaseModel):
    """One row or file; keys of its own may only begin with `prefix`."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    prefix: ClassVar[str | None] = None

    @model_validator(mode="after")
    def _known(self) -> Record:
        for key in self.model_extra or {}:
            if self.prefix is None or not key.startswith(self.prefix):
                hint = nearest(key, type(self).model_fields)
                raise PydanticCustomError("unknown", "unknown key '{key}'{hint}", _at(key, hint))
        return self

    def row(self) -> dict[str, Any]:
        """What is written: the keys that were given."""
        return self.model_dump(exclude_unset=True)


def _at(key: str, hint: str) -> dict[str, Any]:
    return {"key": key, "hint": hint}


class StepRecord(Record):
    """A row of steps.jsonl: one RL step, determined by the configuration alone.

    accuracy, zero_variance, truncated: shares of rollouts, groups and responses; signal: mean C
    (dimensionless), None where a method measures none; tokens: prompt_tokens count each prompt
    once, rollout_tokens every response. What follows the blank line is there where it has a
    meaning. What a curriculum says of itself begins with `curriculum/`.
    """

    prefix = "curriculum/"
    step: int
    accuracy: Share
    reward: float
    signal: float | None
    zero_variance: Share
    rollout_tokens: Tokens
    prompt_tokens: Tokens

    response_length: float | None = None
    truncated: Share | None = None
    loss: float | None = None
    kl: float | None = None
    entropy: float | None = None
    grad_norm: float | None = None
    epochs: float | None = None
    approx_kl: float | None = None
    value_loss: float | None = None
    explained_variance: float | None = None
    format: Share | None = None
    jumped: int | None = None
    groups: int | None = None
    trained_groups: int | None = None
    groups_without_responses: int | None = None
    lost_responses: int | None = None
    estimate_tokens: int | None = None
    free_tokens: int | None = None
    prefill_tokens: int | None = None
    trained_prompt_tokens: int | None = None
    trained_rollout_tokens: int | None = None
    measured_prompt_tokens: int | None = None
    measured_rollout_tokens: int | None = None
    kept_rollouts: Share | None = None
    kept_tokens: Share | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], metrics: Mapping[str, float]) -> dict[str, Any]:
        """The row of a step; `metrics` are the curriculum's own, without their prefix."""
        own = {f"{cls.prefix}{key}": float(value) for key, value in metrics.items()}
        return cls.model_validate({**values, **own}).row()


class RedoneRecord(StepRecord):
    """A row of redone.jsonl: a step as it was before the run was interrupted, and taken again.

    after: the step from which the run then went on; seconds_step: as in timing.jsonl, None if the
    run died before that was written.
    """

    after: int
    seconds_step: float | None = None


class TimingRecord(Record):
    """A row of timing.jsonl: seconds of a step, and of parts of it (`seconds_...`)."""

    prefix = "seconds_"
    step: int
    seconds_rollout: float
    seconds_train: float
    seconds_step: Annotated[float, Field(gt=0)]


class OverheadRecord(Record):
    """A row of overheads.jsonl: what came after a step, and in the first row before it.

    seconds_start: from the launch to the first step; seconds_sync: new weights to the rollout
    engine; seconds_save: a checkpoint; seconds_tests: all benchmarks; gpu_mib: the most memory that
    training has reserved on a GPU so far.
    """

    step: int
    seconds_start: float | None = None
    seconds_sync: float | None = None
    seconds_save: float | None = None
    seconds_tests: float | None = None
    gpu_mib: float | None = None


class TestRecord(Record):
    """A row of eval.jsonl: a test at a step; accuracy is pass@1, the mean over all samples.

    overlong: ids of the problems that were too long for the model, which count as wrong.
    """

    __test__: ClassVar[bool] = False  # no test of pytest's
    step: int
    benchmark: str
    accuracy: Share
    problems: int
    samples: int
    response_length: float | None = None
    overlong: list[str] = []


class _Training(BaseModel):
    """The keys of `training` that readers need: what a step costs depends on them."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    steps: int
    backend: str
    prompts: int
    rollouts: int
    mini_batch: int | None
    kl: float
    tokens: int | None = None
    tests: int | None = None


class _Method(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    algorithm: str


class _Slice(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    method: _Method


class Prepared(BaseModel):
    """Tokens that the start model ran before a run could train: prompts once each, and responses.

    They are of difficulties that were measured and of prompts that were scored.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    prompt_tokens: int = 0
    rollout_tokens: int = 0


class RunRecord(Record):
    """run.json: what a run is, and where it came from.

    label: the method's name for people; overrides: keys of `training` that the method sets itself;
    slice: everything that the run depends on, of which config_hash is the digest; prepared: what
    its start model ran before it, None in runs of before that was noted.
    """

    preset: str
    model: str
    dataset: str
    method: str
    seed: int
    config_hash: str
    commit: str
    versions: dict[str, str]
    training: _Training
    evaluation: dict[str, Any]
    slice: _Slice
    label: str | None = None
    machine: dict[str, Any] | None = None
    prepared: Prepared | None = None
    overrides: list[str] = []


class LeftOut(BaseModel):
    """Training prompts that were too long for the model.

    prompts: how many there were in all; limit: tokens; ids: of those that are longer.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    prompts: int
    limit: int
    ids: list[str]


class DoneRecord(Record):
    """done.json, written last. final: benchmark -> accuracy of the last test."""

    final: dict[str, float]
    steps: int
    zero_variance_steps: int
    config_hash: str
    overlong: LeftOut | None = None


Kind = TypeVar("Kind", bound=Record)


def parse(kind: type[Kind], content: Any, where: str) -> Kind:
    """Check what was read.

    Args:
        where: file, and row if it has several, for the message.

    Raises:
        DataError: a key is missing, unknown or has a value that it cannot have.
    """
    if not isinstance(content, dict):
        raise DataError(f"{where}: not a mapping of keys")
    for key, number in not_finite(content):
        raise DataError(f"{where}: key '{key}' is {number}, which is not a number")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_url=False)
        first = next((each for each in found if each["type"] == "missing"), found[0])
        raise DataError(f"{where}: {_reason(first, content)}") from error


def _reason(error: ErrorDetails, content: Any) -> str:
    """A validation error in our words."""
    path = [part for part in error["loc"] if isinstance(part, str)]
    if not path:  # of the whole record: an unknown key
        return error["msg"]
    inside = f"{'.'.join(path[:-1])}: " if path[1:] else ""
    if error["type"] == "missing":
        return f"{inside}key '{path[-1]}' is missing"
    for part in path:
        content = content[part]
    said = {"greater_than": "not over 0", "int_type": "which is not int"}
    said |= dict.fromkeys(("greater_than_equal", "less_than_equal"), "not a share in [0, 1]")
    said |= {"string_type": "which is not str", "float_type": "which is not a number"}
    words = said.get(error["type"], f"which is not {error['type'].removesuffix('_type')}")
    return f"{inside}key '{path[-1]}' is {content!r}, {words}"


def read_record(path: Path, kind: type[Record]) -> dict[str, Any]:
    """The keys of a JSON file that is one record (DataError as `read_json` and `parse`)."""
    content: dict[str, Any] = read_json(path)
    parse(kind, content, str(path))
    return content


def read_rows(path: Path, kind: type[Record]) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file, as they were written.

    Raises:
        DataError: the file is missing or has no complete row, or as `read_lines` and `parse`.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    rows = read_lines(path)
    if not rows:
        raise DataError(f"{path}: no complete rows")
    for number, row in enumerate(rows, start=1):
        parse(kind, row, f"{path}: row {number}")
    return rows
