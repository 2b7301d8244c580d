"""What every section of a preset is made of: its base class and the kinds of values. No torch."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _as_file_and_metric(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError(
            f"{value!r} is no name: letters, digits, '.', '_' and '-', a letter or digit first "
            "(files, and metrics in MLflow, are called by it)"
        )
    return value


Name = Annotated[str, Field(max_length=64), AfterValidator(_as_file_and_metric)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]


def _as_text(value: str) -> str:
    if found := re.search(r"[\ud800-\udfff]", value):
        code = ord(found.group())
        raise ValueError(f"has half of a surrogate pair (\\u{code:04x}), which is no text")
    return value


def _with_one_question(value: str) -> str:
    _as_text(value)
    if value.count("{question}") != 1:
        raise ValueError("must contain {question} exactly once")
    return value


Template = Annotated[str, AfterValidator(_with_one_question)]
"""What surrounds a question in the user's turn."""

GraderName = Literal["maths", "maths-tolerant", "code"]
"""Who compares an answer with the gold one. "maths-tolerant": numbers may differ a little."""


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, data: Any) -> Any:
        for key, value in data.items() if isinstance(data, dict) else ():
            if isinstance(value, str):
                try:
                    _as_text(value)
                except ValueError as error:
                    raise ValueError(f"'{key}' {error}") from None
        return data
