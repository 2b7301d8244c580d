"""Validation errors of a preset as one line a user can act on. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gainrl.errors import nearest

_SHOULD = "Input should "
_WIDTH = 40


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """One line for all problems of a section, each with its key and the nearest valid name."""
    return "; ".join(problems(error, root))


def problems(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """The same, one by one."""
    found = [item for item in error.errors() if not _follows(item)]
    return list(dict.fromkeys(_explain(item, root) for item in found))


def _follows(item: Any) -> bool:
    """Whether pydantic counts what is left of a list without entries that are wrong themselves."""
    given = item["input"]
    return (
        item["type"] == "too_short"
        and isinstance(given, list | tuple)
        and len(given) >= item["ctx"]["min_length"]
    )


def _explain(item: Any, root: type[BaseModel]) -> str:
    location = item["loc"]
    shown = [str(part) if str(part).isprintable() else repr(part) for part in location]
    if shown[:1] in (["models"], ["datasets"]) and len(shown) > 2:
        del shown[2]  # the union's tag, which the user did not write
    if shown[:1] == ["methods"] and shown[2:3] == ["curriculum"]:
        del shown[3:4]  # likewise
    key = ".".join(part for part in shown if part != "[key]")  # pydantic's, of a mapping's keys
    if item["type"] == "extra_forbidden":
        return f"unknown key '{key}'{nearest(shown[-1], _fields_at(location[:-1], root))}"
    if item["type"] == "union_tag_invalid":
        given, allowed = item["ctx"]["tag"], _quoted(item["ctx"]["expected_tags"])
        return f"{key}.source: unknown source '{given}'{nearest(given, allowed)}"
    if item["type"] == "literal_error":
        allowed = _quoted(item["ctx"]["expected"])
        return f"{key}: unknown value {item['input']!r}{nearest(item['input'], allowed)}"
    message = wrong(item)
    return f"{key}: {message}" if key else message


def wrong(item: Any) -> str:
    """What pydantic says of a value, with the value."""
    message: str = item["msg"].removeprefix("Value error, ")
    given = item["input"]
    if item["type"] == "missing":
        return "is missing"
    if item["type"] == "too_short":
        return f"has {len(given) or 'no'} entries: must have at least {item['ctx']['min_length']}"
    if item["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return f"is {_short(given)}: must be a mapping of keys"
    if message.startswith(_SHOULD):
        return f"is {_short(given)}: must {message.removeprefix(_SHOULD)}"
    return message


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 3]}..."


def _quoted(text: str) -> list[str]:
    return [part.strip("' ") for part in text.replace(" or ", ",").split(",")]


def _members(annotation: Any) -> list[type[BaseModel]]:
    """Every Section class that an annotation can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union) or get_args(annotation):
        return [member for part in get_args(annotation) for member in _members(part)]
    return []


def _fields_at(location: tuple[Any, ...], root: type[BaseModel]) -> list[str]:
    """Names that are valid at a location of a section, for the hint of an unknown key."""
    here: list[type[BaseModel]] = [root]
    for part in location:
        tagged = [m for m in here if part in _tags_of(m)]
        if tagged:
            here = tagged
            continue
        below = [m.model_fields[part].annotation for m in here if part in m.model_fields]
        here = [member for note in below for member in _members(note)] or here
    fields = [field for member in here for field in member.model_fields.items()]
    return sorted({field.alias or name for name, field in fields})


def _tags_of(member: type[BaseModel]) -> tuple[Any, ...]:
    field = member.model_fields.get("source")
    return get_args(field.annotation) if field else ()
