"""What every section of a preset is made of: its base class and the kinds of values. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo


def _as_file_and_metric(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError(
            f"{value!r} is no name: letters, digits, '.', '_' and '-', a letter or digit first "
            "(files, and metrics in MLflow, are called by it)"
        )
    return value


Name = Annotated[str, Field(max_length=64), AfterValidator(_as_file_and_metric)]


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if twice := [value for row, value in enumerate(values) if value in values[:row]]:
        raise ValueError(f"'{twice[0]}' is there twice")
    return values


Distinct = AfterValidator(_distinct)
"""Of a list that says which, not how often."""
Names = Annotated[tuple[Name, ...], Distinct]
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

GRADERS = ("maths", "maths-tolerant", "code")
"""Who compares an answer with the gold one. "maths-tolerant": numbers may differ a little."""


def _as_grader(value: str) -> str:
    if value not in GRADERS and ":" not in value:
        raise ValueError(
            f"'{value}' is no grader: {', '.join(GRADERS)}, or a function of your own as "
            "'module:function' or 'file.py:function'"
        )
    return value


GraderName = Annotated[
    str,
    AfterValidator(_as_grader),
    WithJsonSchema({"anyOf": [{"enum": [*GRADERS]}, {"type": "string", "pattern": ":"}]}),
]


def _as_expression(value: str) -> str:
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from None
    if groups > 1:
        raise ValueError(f"{value!r} has {groups} groups; one says what the answer is")
    return value


Expression = Annotated[str, AfterValidator(_as_expression)]
"""A regular expression of Python with at most one group."""


@dataclass(frozen=True)
class Absent:
    """Marks a key that there was not from the first: `Annotated[..., Absent()]`.

    At its default no fingerprint names it, so that results from before there was the key stay up to
    date. also: other values that mean the same.
    """

    also: tuple[Any, ...] = ()

    def holds(self, field: FieldInfo, value: Any) -> bool:
        """Whether the key, at this value, is as if it were not there."""
        return value in (field.get_default(call_default_factory=True), *self.also)


_FINGERPRINT = object()


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def fingerprint(
        self, *, include: set[str] | None = None, exclude: set[str] | None = None
    ) -> dict[str, Any]:
        """The section as results depend on it: JSON, without what is at its absent value."""
        return self.model_dump(mode="json", include=include, exclude=exclude, context=_FINGERPRINT)

    @model_serializer(mode="wrap")
    def _without_absent(
        self, dump: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        found: dict[str, Any] = dump(self)
        if info.context is _FINGERPRINT:  # that of a section that this one is part of, too
            for name, field in type(self).model_fields.items():
                for mark in field.metadata:
                    if isinstance(mark, Absent) and mark.holds(field, getattr(self, name)):
                        found.pop(name, None)
        return found

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
